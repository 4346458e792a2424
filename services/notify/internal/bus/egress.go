package bus

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

// copies is the name space of the ids of copies. A copy needs an id of its own because this service's outbox holds both
// the event and the copy of its own events.
var copies = uuid.MustParse("6f4f0b0e-5d0c-5b43-9a8e-3f1c6f8f2a11")

// Streams says whether a partner's stream is there. It never waits for NATS, since it is asked inside a transaction.
type Streams interface {
	// Ready is false while the stream is still missing; it is being made then.
	Ready(partner string) bool
}

// Partners knows which partners were offboarded.
type Partners interface {
	// OffboardedOf are those of the partners that were.
	OffboardedOf(ctx context.Context, tx *sqldb.Tx, partners []string) (map[string]bool, error)
}

// Egress copies the events that concern a partner into the partner's own stream.
type Egress struct {
	streams  Streams
	partners Partners
}

// NewEgress makes an Egress.
func NewEgress(streams Streams, partners Partners) *Egress { return &Egress{streams, partners} }

// Consumers are the consumers of everything that may concern a partner.
func (e *Egress) Consumers(src Source) []*events.Consumer {
	all := make([]*events.Consumer, 0, 4)
	for _, domain := range []string{"devices", "auth", "payments", "notify"} {
		filters := []string{"evt.v1.*." + domain + ".>"}
		if domain == "notify" {
			filters = StreamSubjects
		}
		all = append(all, src.consumer("EVT_"+strings.ToUpper(domain), "notify-egress-"+domain, e.Handle, filters...))
	}
	return all
}

// Handle writes the copies into the outbox in the transaction of the consumer, so that there is exactly one of each.
func (e *Egress) Handle(ctx context.Context, tx *sqldb.Tx, evs []events.Event) error {
	gone, err := e.partners.OffboardedOf(ctx, tx, partnersOf(evs))
	if err != nil {
		return err
	}
	copies := make([]events.Event, 0, len(evs))
	for _, ev := range evs {
		out, ok, err := e.copyOf(ev, gone)
		if err != nil {
			return err
		}
		if ok {
			copies = append(copies, out)
		}
	}
	return events.Append(ctx, tx, copies...)
}

// partnersOf are the partners that events concern. Subjects that cannot be read are seen to later.
func partnersOf(evs []events.Event) []string {
	var all []string
	for _, ev := range evs {
		if s, err := events.ParseSubject(ev.Subject); err == nil && s.Partner != "" && !slices.Contains(all, s.Partner) {
			all = append(all, s.Partner)
		}
	}
	return all
}

// copyOf is the copy of an event for the partner that it concerns, if there is one that was not offboarded.
func (e *Egress) copyOf(ev events.Event, gone map[string]bool) (out events.Event, ok bool, err error) {
	subject, err := events.ParseSubject(ev.Subject)
	if err != nil {
		return out, false, fault.New(fault.Invalid, "EVENT_INVALID", "the subject cannot be read").WithCause(err)
	}
	if subject.Partner == "" || gone[subject.Partner] {
		return out, false, nil
	}
	if !subscription.ValidPartner(subject.Partner) {
		return out, false, fault.New(fault.Invalid, "EVENT_INVALID", "the subject names no possible partner")
	}
	msg, err := decode(ev)
	if err != nil {
		return out, false, err
	}
	if !e.streams.Ready(subject.Partner) {
		return out, false, fault.New(fault.Unavailable, "STREAM_UNAVAILABLE", "the stream of the partner %s is being made", subject.Partner)
	}
	out, err = partnerCopy(ev, subject, msg)
	return out, true, err
}

func partnerCopy(ev events.Event, subject events.Subject, msg proto.Message) (events.Event, error) {
	redact(msg)
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg)
	if err != nil {
		return events.Event{}, fault.New(fault.Invalid, "EVENT_INVALID", "the copy cannot be written").WithCause(err)
	}
	out := ev
	out.ID = uuid.NewSHA1(copies, []byte(ev.ID)).String()
	out.Subject = subscription.Subject(subject.Partner, subject.Mode, subject.Domain, subject.Entity, subject.Verb)
	out.Key = WithoutAccount(ev.Key)
	out.Data = data
	return out, nil
}
