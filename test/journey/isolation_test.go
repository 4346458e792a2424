package journey

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/testkit"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/sdk"
)

// The same is shown with a nats-server process, in TestFourProcessesPassTheSameJourney.
func TestOnTheEmbeddedServerAPartnerReachesOnlyItsOwn(t *testing.T) {
	t.Parallel()
	isolated(t, newWorld(t, suite(t)))
}

// What the server says.
const (
	notLetIn     = "Authorization Violation"
	notPermitted = "Permissions Violation"
)

// isolated lets the stock nats client, with nothing but what GetNatsCredentials gave a partner, try all it can against
// another partner; then the same with a credential that has expired and with one that was revoked.
func isolated(t *testing.T, w *world) {
	victim := w.natsUser("victim", time.Time{})
	mallory := w.natsUser("mallory", time.Time{})
	lapses := time.Now().Add(15 * time.Second)
	expired := w.natsUser("expired", lapses)
	revoked := w.natsUser("revoked", time.Time{})
	for _, u := range []*natsUser{victim, mallory, expired, revoked} {
		u.takesItsOwnEvent(t)
	}
	marker := "m" + short()
	eyes := w.watchNATS(t, marker)
	before := eyes.consumers(t, victim, mallory, expired, revoked)

	mallory.attacks(t, victim, marker, notPermitted)
	_, err := w.operator.Auth.RevokeGrant(callCtx(t), &authv1.RevokeGrantRequest{Name: revoked.partner + "/grants/events.subscribe", RequestId: id()})
	must(t, err)
	revoked.isShutOut(t)
	revoked.attacks(t, victim, marker, notLetIn)
	time.Sleep(time.Until(lapses))
	expired.isShutOut(t)
	expired.attacks(t, victim, marker, notLetIn)

	if heard := eyes.heard(); len(heard) > 0 {
		t.Errorf("reached the accounts of the services: %v", heard)
	}
	if after := eyes.consumers(t, victim, mallory, expired, revoked); !slices.Equal(before, after) {
		t.Errorf("the consumers were\n%v and are\n%v", before, after)
	}
	victim.takesItsOwnEvent(t) // and can still acknowledge
}

// natsUser is a partner with its own subscription who uses the stock client.
type natsUser struct {
	partner, stream, consumer string
	home                      string // where the client finds its context
}

func (w *world) natsUser(role string, ends time.Time) *natsUser {
	t := w.t
	t.Helper()
	u := &natsUser{partner: "partners/" + role[:3] + short(), home: t.TempDir()}
	tokens := w.newPartner(u.partner)
	grant := &authv1.CreateGrantRequest{Parent: u.partner, Scope: "events.subscribe", RequestId: id()}
	if !ends.IsZero() {
		grant.ExpireTime = timestamppb.New(ends)
	}
	_, err := w.operator.Auth.CreateGrant(callCtx(t), grant)
	must(t, err)
	client := w.d.client(t, tokens)
	var sub *notifyv1.Subscription
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		sub, err = client.Notify.CreateSubscription(callCtx(t), &notifyv1.CreateSubscriptionRequest{
			Parent: u.partner, SubscriptionId: "main", RequestId: "main",
		})
		if !sdk.Retryable(err) || time.Now().After(deadline) {
			break
		}
	}
	must(t, err)
	u.stream, u.consumer = sub.GetStream(), sub.GetConsumer()
	creds, err := client.Notify.GetNatsCredentials(callCtx(t), &notifyv1.GetNatsCredentialsRequest{Parent: u.partner})
	must(t, err)
	// As docs/events.md tells partners to do it.
	contexts := filepath.Join(u.home, "nats", "context")
	must(t, os.MkdirAll(contexts, 0o700))
	must(t, os.WriteFile(filepath.Join(contexts, "armlet.json"), []byte(creds.GetContextJson()), 0o600))
	return u
}

// nats runs the stock client.
func (u *natsUser) nats(t *testing.T, timeout time.Duration, args ...string) (output string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, testkit.Tool(t, "nats"), append([]string{"--context", "armlet", "--timeout", timeout.String()}, args...)...)
	c.Env = append(os.Environ(), "XDG_CONFIG_HOME="+u.home, "HOME="+u.home)
	out, err := c.CombinedOutput()
	return string(out), err == nil
}

// takesItsOwnEvent pulls one event, those of the partner's own making, and acknowledges it.
func (u *natsUser) takesItsOwnEvent(t *testing.T) {
	t.Helper()
	out, ok := u.nats(t, 20*time.Second, "consumer", "next", u.stream, u.consumer, "--count", "1", "--ack")
	if !ok || !strings.Contains(out, "ce-type") || !strings.Contains(out, "Acknowledged") {
		t.Errorf("%s cannot take its own event:\n%s", u.partner, out)
	}
}

// isShutOut waits until the server lets the user in no more: a revocation takes up to a second. A command that was
// connected as it came fails otherwise, after trying to connect again, so only one that is refused at the door tells.
func (u *natsUser) isShutOut(t *testing.T) {
	t.Helper()
	out := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if out, _ = u.nats(t, 3*time.Second, "consumer", "info", u.stream, u.consumer); strings.Contains(out, notLetIn) {
			return
		}
	}
	t.Errorf("%s still gets in:\n%s", u.partner, out)
}

// attack is a command of the stock client. A silent one is allowed by the letter, and must lead nowhere.
type attack struct {
	args   string // split at spaces
	body   string
	silent bool
	first  bool // of its kind: tried also by those who should not even be let in
}

// attacks tries everything against the victim, of whom it knows even the secret name of the consumer.
func (u *natsUser) attacks(t *testing.T, victim *natsUser, marker, refusal string) {
	t.Helper()
	name := strings.TrimPrefix(victim.partner, "partners/")
	internal := "evt.v1.live.payments.payment.captured." + name + "." + marker
	foreign := "pevt.v1." + name + ".live.payments.payment." + marker
	own := "pevt.v1." + strings.TrimPrefix(u.partner, "partners/") + ".live.payments.payment." + marker
	pull := "armlet.api.CONSUMER.MSG.NEXT." + u.stream + "." + u.consumer
	all := []attack{
		{args: "sub --count=1 --wait=300ms pevt.v1." + name + ".>", first: true},
		{args: "sub --count=1 --wait=300ms evt.>"},
		{args: "sub --count=1 --wait=300ms >"},
		{args: "consumer next --count=1 " + victim.stream + " " + victim.consumer, first: true},
		{args: "consumer info " + victim.stream + " " + victim.consumer},
		{args: "stream get " + victim.stream + " 1"},
		{args: "stream purge -f " + victim.stream},
		{args: "consumer add --pull --defaults " + u.stream + " " + marker, first: true},
		{args: "consumer add --pull --defaults " + victim.stream + " " + marker},
		{args: "consumer add --pull --defaults --filter=pevt.> " + u.stream + " " + u.consumer, first: true},
		{args: "consumer rm -f " + victim.stream + " " + victim.consumer},
		{args: "req armlet.api.CONSUMER.CREATE." + u.stream + "." + u.consumer, body: `{"stream_name":"` + u.stream + `","config":{"durable_name":"` + u.consumer + `","ack_policy":"explicit"}}`},
		{args: "req $JS.API.CONSUMER.DURABLE.CREATE." + victim.stream + "." + marker, body: `{"stream_name":"` + victim.stream + `","config":{"durable_name":"` + marker + `","ack_policy":"explicit"}}`},
		{args: "pub --reply=" + internal + " " + pull, body: `{"batch":1,"no_wait":true}`, silent: true, first: true},
		{args: "pub --reply=" + foreign + " " + pull, body: `{"batch":1,"no_wait":true}`, silent: true},
		{args: "pub --reply=" + foreign + " armlet.api.CONSUMER.INFO." + u.stream + "." + u.consumer, silent: true},
		{args: "pub " + foreign, body: "forged"},
		{args: "pub " + own, body: "forged", first: true},
		{args: "pub " + internal, body: "forged"},
		{args: "pub evt.v1." + marker, body: "forged", first: true},
		{args: "pub $JS.ACK." + victim.stream + "." + victim.consumer + ".1.2.2.1.0", body: "+TERM"},
	}
	if refusal == notLetIn {
		all = slices.DeleteFunc(all, func(a attack) bool { return !a.first })
	}
	room := make(chan struct{}, 4)
	var wg sync.WaitGroup
	for _, a := range all {
		wg.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			args := strings.Fields(a.args)
			if a.body != "" || args[0] == "pub" {
				args = append(args, a.body)
			}
			out, _ := u.nats(t, 300*time.Millisecond, args...)
			if refused := strings.Contains(out, refusal); !refused && (!a.silent || refusal == notLetIn) {
				t.Errorf("nats %s is not refused:\n%s", a.args, out)
			}
		})
	}
	wg.Wait()
}

// eyes see what happens in the accounts of the services, which only their users can.
type eyes struct {
	edge  jetstream.JetStream
	mu    sync.Mutex
	seen  []string
	conns []*nats.Conn
}

// watchNATS listens for whatever carries the marker, with the passwords from the server's own configuration.
func (w *world) watchNATS(t *testing.T, marker string) *eyes {
	t.Helper()
	config, err := os.ReadFile(filepath.Join(w.d.dir, "nats.conf"))
	must(t, err)
	e := &eyes{}
	for _, user := range []string{"core", "edge"} {
		found := regexp.MustCompile(`user: ` + user + `, password: "([^"]+)"`).FindSubmatch(config)
		if found == nil {
			t.Fatalf("nats.conf has no user %s", user)
		}
		nc, err := nats.Connect(w.d.at.NATSURL, nats.UserInfo(user, string(found[1])), nats.Timeout(10*time.Second))
		must(t, err)
		t.Cleanup(nc.Close)
		_, err = nc.Subscribe(">", func(m *nats.Msg) {
			if strings.Contains(m.Subject, marker) {
				e.mu.Lock()
				defer e.mu.Unlock()
				e.seen = append(e.seen, user+": "+m.Subject)
			}
		})
		must(t, err)
		must(t, nc.Flush())
		e.conns = append(e.conns, nc)
	}
	e.edge, err = jetstream.New(e.conns[1])
	must(t, err)
	return e
}

func (e *eyes) heard() []string {
	for _, nc := range e.conns {
		_ = nc.Flush()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	// An attempt on the own stream's API reaches EDGE, where its service is: what must not be there are events.
	return slices.DeleteFunc(slices.Clone(e.seen), func(s string) bool { return strings.Contains(s, "$JS.") })
}

// consumers are the consumers of each partner's stream with what their configuration is.
func (e *eyes) consumers(t *testing.T, users ...*natsUser) []string {
	t.Helper()
	var all []string
	for _, u := range users {
		s, err := e.edge.Stream(callCtx(t), u.stream)
		must(t, err)
		list := s.ListConsumers(callCtx(t))
		for c := range list.Info() {
			all = append(all, fmt.Sprintln(c.Stream, c.Name, c.Config.FilterSubjects, c.AckFloor.Stream))
		}
		must(t, list.Err())
	}
	slices.Sort(all)
	return all
}
