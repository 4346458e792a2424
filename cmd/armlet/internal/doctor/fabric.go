package doctor

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	statusv1 "github.com/armlet-pay/armlet/proto/gen/armlet/status/v1"
)

const (
	deadLetters  = "DLQ"
	ofPartner    = "PE_" // streams of what a partner is to receive: how far it has read is its own business
	lagWarn      = 1000
	lagFail      = 1_000_000
	fillWarnPart = 80 // per cent of a stream's bytes
)

// ownStreams are there from the first start of the services on; partners' come with their first event.
var ownStreams = []string{"EVT_DEVICES", "EVT_AUTH", "EVT_PAYMENTS", "EVT_NOTIFY", deadLetters} //nolint:gochecknoglobals // a table

// streamsGone also covers streams without a leader: JetStream leaves those out of its list.
const streamsGone = "look again in a minute: they are being made, or elect a leader. Else start nodes of NATS that are down; " +
	"if none is, the streams are lost with what they held: restart the services, which make them"

// streams tells of JetStream what notify sees.
func streams(replicas []replica, states []*statusv1.Status) []Finding {
	for i, r := range replicas {
		if st := states[i]; r.service == "notify" && st != nil {
			return streamsOf(st)
		}
	}
	return []Finding{Finding{Part: "nats", Check: "streams"}.fail("see notify", "notify, which keeps their consumers, did not tell of them")}
}

func streamsOf(st *statusv1.Status) []Finding {
	whole := Finding{Part: "nats", Check: "streams"}
	if st.GetStreamsProblem() != "" {
		return []Finding{whole.fail("is NATS up, with JetStream? `notify --check` tests it", "%s", st.GetStreamsProblem())}
	}
	var bad []Finding
	messages := int64(0)
	for _, s := range st.GetStreams() {
		messages += s.GetMessages()
		bad = append(bad, stream(s)...)
	}
	if gone := missing(st); len(gone) > 0 {
		whole = whole.fail(streamsGone, "missing: %s", strings.Join(gone, ", "))
	} else {
		whole = whole.ok("%d streams with %d messages", len(st.GetStreams()), messages)
	}
	return append([]Finding{whole}, bad...)
}

// missing are those of our own streams that are not there.
func missing(st *statusv1.Status) []string {
	return slices.DeleteFunc(slices.Clone(ownStreams), func(name string) bool {
		return slices.ContainsFunc(st.GetStreams(), func(s *statusv1.Stream) bool { return s.GetName() == name })
	})
}

// stream has a finding for all that is not as it should be.
func stream(s *statusv1.Stream) (bad []Finding) {
	f := func(check string) Finding { return Finding{Part: "nats " + s.GetName(), Check: check} }
	switch have, want := s.GetCurrentReplicas(), s.GetReplicas(); {
	case have*2 <= want && want > 1, have == 0:
		bad = append(bad, f("replicas").fail("start the nodes of NATS that are down", "%d of %d are current: it takes nothing", have, want))
	case have < want:
		bad = append(bad, f("replicas").warn("start the node of NATS that is down", "%d of %d are current", have, want))
	}
	if limit := s.GetMaxBytes(); limit > 0 && s.GetBytes() >= limit/100*fillWarnPart {
		bad = append(bad, f("size").warn("its consumers are behind or its quota is small: docs/runbook.md", "%d of %d bytes are used", s.GetBytes(), limit))
	}
	if s.GetName() == deadLetters && s.GetMessages() > 0 {
		bad = append(bad, f("dead letters").warn("docs/runbook.md, DeadLetters", "%d events were given up", s.GetMessages()))
	}
	if strings.HasPrefix(s.GetName(), ofPartner) {
		return bad
	}
	for _, c := range s.GetConsumers() {
		text := fmt.Sprintf("%s is %d messages behind", c.GetName(), c.GetPending())
		switch {
		case c.GetPending() > lagFail:
			bad = append(bad, f("lag").fail("does notify run, and keep up? docs/runbook.md, ConsumerLags", "%s", text))
		case c.GetPending() > lagWarn:
			bad = append(bad, f("lag").warn("look again in a minute; if it grows: docs/runbook.md, ConsumerLags", "%s", text))
		}
	}
	return bad
}

// entrance looks whether partners get as far as NATS.
func (d Deployment) entrance(ctx context.Context) []Finding {
	f := Finding{Part: "nats", Check: "partners' entrance"}
	u, err := url.Parse(d.At.NATSURL)
	if err != nil || u.Host == "" {
		return []Finding{f.fail("correct nats_url in endpoints.json", "it is no URL")} // it may hold a password
	}
	ctx, cancel := context.WithTimeout(ctx, d.Patience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return []Finding{f.fail("start NATS", "%v", err)}
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(d.Patience))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "INFO ") {
		return []Finding{f.fail("is nats_url in endpoints.json that of NATS?", "at %s is no NATS server", u.Host)}
	}
	return []Finding{f.ok("at %s", u.Host)}
}
