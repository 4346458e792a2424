package bus

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
	"github.com/armlet-pay/armlet/services/notify/internal/senders"
	"github.com/armlet-pay/armlet/services/notify/internal/store"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

var testSeed = make([]byte, subscription.SeedBytes)

// receiver is a webhook that answers as it is told and keeps what it took.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	answer func(id string, try int) int
	tries  map[string]int
	bodies map[string]string
	forged int
}

func newReceiver(t *testing.T, answer func(id string, try int) int) *receiver {
	r := &receiver{answer: answer, tries: map[string]int{}, bodies: map[string]string{}}
	public, _ := ed25519.NewKeyFromSeed(testSeed).Public().(ed25519.PublicKey)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		id := req.Header.Get("Webhook-Id")
		sig, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(req.Header.Get("Webhook-Signature"), "v1a,"))
		r.mu.Lock()
		defer r.mu.Unlock()
		if !ed25519.Verify(public, []byte(id+"."+req.Header.Get("Webhook-Timestamp")+"."+string(body)), sig) {
			r.forged++
		}
		r.tries[id]++
		status := r.answer(id, r.tries[id])
		if status < 300 {
			r.bodies[id] = string(body)
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) took() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.bodies)
}

// hooks is a running delivery of webhooks on a real stream and a real database.
type hooks struct {
	*fortress
	st *store.Store
	db *sqldb.DB
}

func newHooks(t *testing.T) *hooks {
	return newHooksAt(t, time.Now, []time.Duration{time.Millisecond, time.Millisecond})
}

func newHooksAt(t *testing.T, now func() time.Time, retries []time.Duration) *hooks {
	db := testkit.OpenDB(t, "sqlite:"+filepath.Join(t.TempDir(), "n.db"))
	if err := store.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	h := &hooks{fortress: newFortress(t), st: store.New(db, Encode, func(string) {}), db: db}
	w := &Webhooks{
		Edge: h.edge, Store: h.st, Poster: senders.NewWebhooks(true), Retries: retries,
		Seeds: func(context.Context, []subscription.KeyRef) ([][]byte, error) { return [][]byte{testSeed}, nil }, Now: now, Log: discard, Pause: 50 * time.Millisecond,
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return h
}

func (h *hooks) post(id, url string, thin bool) {
	h.t.Helper()
	h.postOf("acme", id, url, thin)
}

func (h *hooks) postOf(partner, id, url string, thin bool) {
	h.t.Helper()
	s := subscription.Subscription{
		Partner: partner, ID: id, Filters: []string{"live.>"}, Consumer: id + "-x", Sink: subscription.Webhook, State: subscription.Active,
		URL: url, Signature: subscription.Ed25519, Thin: thin, CreatedAt: time.Now(), UpdatedAt: time.Now(),
	}
	if _, err := h.st.CreateSubscription(h.t.Context(), once.Request{Caller: "c", Method: "m", ID: partner + id, Fingerprint: []byte{1}}, s); err != nil {
		h.t.Fatal(err)
	}
	h.subs.add(s)
	if err := h.fabric.Ensure(h.t.Context(), s); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hooks) event(id string) {
	h.t.Helper()
	h.eventOf("acme", id)
}

func (h *hooks) eventOf(partner, id string) {
	h.t.Helper()
	data, err := proto.Marshal(&notifyv1.SubscriptionTested{Subscription: "partners/acme/subscriptions/x"})
	if err != nil {
		h.t.Fatal(err)
	}
	msg := &nats.Msg{Subject: subscription.Subject(partner, "live", "payments", "payment", "captured"), Data: data, Header: nats.Header{
		"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"/t"}, "ce-type": {"armlet.notify.v1.SubscriptionTested"},
		"ce-time": {"2026-03-01T12:00:00Z"}, "content-type": {"application/protobuf"}, "ce-subject": {"payments/1"},
	}}
	if _, err := h.edge.PublishMsg(h.t.Context(), msg); err != nil {
		h.t.Fatal(err)
	}
}

func (h *hooks) eventually(what string, check func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !check(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("it did not come that %s", what)
		}
	}
}

func TestAWebhookGetsEachEventSignedAndWhatItMissedAgain(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	r := newReceiver(t, func(id string, try int) int {
		if id == "slow" && try < 3 {
			return 500
		}
		return 204
	})
	h.post("hook", r.URL, false)
	for _, id := range []string{"one", "slow", "two"} {
		h.event(id)
	}
	h.eventually("all three arrived", func() bool { return r.took() == 3 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.forged != 0 || r.tries["slow"] != 3 || r.tries["one"] != 1 {
		t.Errorf("forged %d, tries %v", r.forged, r.tries)
	}
	var body struct {
		Type, Timestamp, Subject, Resource string
		Data                               map[string]string
	}
	if err := json.Unmarshal([]byte(r.bodies["slow"]), &body); err != nil {
		t.Fatal(err)
	}
	if body.Type != "armlet.notify.v1.SubscriptionTested" || body.Resource != "payments/1" || body.Data["subscription"] != "partners/acme/subscriptions/x" ||
		body.Timestamp != "2026-03-01T12:00:00Z" {
		t.Errorf("%+v", body)
	}
}

func TestOneWebhookThatHangsOrFailsSlowsNoOther(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	stop := make(chan struct{})
	hangs := newReceiver(t, func(string, int) int { <-stop; return 204 })
	t.Cleanup(func() { close(stop) })
	fails, thin := newReceiver(t, func(string, int) int { return 500 }), newReceiver(t, func(string, int) int { return 200 })
	h.post("hangs", hangs.URL, false)
	h.post("fails", fails.URL, false)
	h.post("thin", thin.URL, true)
	for _, id := range []string{"1", "2", "3", "4"} {
		h.event(id)
	}
	h.eventually("the good one has all", func() bool { return thin.took() == 4 })
	h.eventually("the failing one's events are dead", func() bool {
		dead, err := h.st.DeadLetters(t.Context(), "acme", "fails", "", 10)
		return err == nil && len(dead) == 4 && dead[0].Attempts == 3 && dead[0].LastError == "answered 500"
	})
	thin.mu.Lock()
	defer thin.mu.Unlock()
	if strings.Contains(thin.bodies["1"], `"data"`) {
		t.Errorf("a thin event has data: %s", thin.bodies["1"])
	}
}

// All that a receiver can do wrong, at one partner and at once: each is named among its dead letters, but for the one that hangs, whose
// tries take 15 seconds each, and nothing comes to an address inside. Another partner meanwhile has each event as it comes.
func TestAPartnerWhoseReceiversAreAllBrokenSlowsNoOther(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	inside := newReceiver(t, func(string, int) int { t.Error("a redirect was followed"); return 200 })
	redirects := httptest.NewServer(http.RedirectHandler(inside.URL, http.StatusTemporaryRedirect))
	t.Cleanup(redirects.Close)
	stop := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	t.Cleanup(hangs.Close)
	t.Cleanup(func() { close(stop) })
	fails, good := newReceiver(t, func(string, int) int { return 500 }), newReceiver(t, func(string, int) int { return 200 })
	broken := map[string]string{
		"redirects": "answered 307; redirects are not followed", "private": "refused: the host has a private address", "fails": "answered 500",
	}
	h.postOf("bolt", "good", good.URL, false)
	slowest := func(round string, beside func(id string)) (most time.Duration) {
		for i := range 10 {
			id := fmt.Sprint(round, i)
			beside(id)
			began := time.Now()
			h.eventOf("bolt", id)
			h.eventually("bolt has "+id, func() bool { _, ok := good.body(id); return ok })
			most = max(most, time.Since(began))
		}
		return most
	}
	alone := slowest("alone", func(string) {})
	h.post("hangs", hangs.URL, false)
	h.post("redirects", redirects.URL, false)
	h.post("private", "http://169.254.169.254/latest", false)
	h.post("fails", fails.URL, false)
	together := slowest("together", h.event)
	t.Logf("the slowest of bolt's events took %s alone, and %s beside acme's receivers", alone, together)
	if together > alone+5*time.Second {
		t.Errorf("bolt's slowest event took %s, and %s alone", together, alone)
	}
	for id, why := range broken {
		h.eventually("what "+id+" did not take can be seen", func() bool {
			dead, err := h.st.DeadLetters(t.Context(), "acme", id, "", 100)
			return err == nil && len(dead) == 10 && dead[0].LastError == why
		})
	}
}

// An hour of 500, by the schedule of production: each event is tried at once and after about 5 s, 5 and 30 minutes, the other
// webhook has each event as it comes, one can see since when the receiver fails, and afterwards it gets everything.
func TestAWebhookThatAnswers500ForAnHourIsTriedOnScheduleAndSlowsNoOther(t *testing.T) {
	t.Parallel()
	clock := testkit.Clock(time.Now().Truncate(time.Second))
	h := newHooksAt(t, clock.Now, subscription.Retries)
	healthy := false
	fails := newReceiver(t, func(string, int) int {
		if healthy {
			return 200
		}
		return 500
	})
	good := newReceiver(t, func(string, int) int { return 200 })
	h.post("fails", fails.URL, false)
	h.post("good", good.URL, false)
	h.event("0")
	tries := func(id string) int {
		fails.mu.Lock()
		defer fails.mu.Unlock()
		return fails.tries[id]
	}
	settled := func(n int) bool {
		return h.subCount(`SELECT COUNT(*) FROM deliveries WHERE event_id = '0' AND attempts = $1`, n) == 1
	}
	begun := clock.Now()
	for i, at := range []time.Duration{0, 6 * time.Second, 6 * time.Minute, 40 * time.Minute} { // jitter adds up to a tenth
		clock.Advance(at - clock.Now().Sub(begun))
		h.eventually("the next try has failed", func() bool { return tries("0") == i+1 && settled(i+1) })
	}
	for _, id := range []string{"1", "2", "3"} {
		clock.Advance(5 * time.Minute)
		h.event(id)
		h.eventually("the good one has each as it comes", func() bool { _, ok := good.body(id); return ok })
		h.eventually("the bad one was asked", func() bool { return tries(id) >= 1 })
	}
	clock.Advance(begun.Add(time.Hour).Sub(clock.Now()))
	s, err := h.st.Subscription(t.Context(), "acme", "fails")
	if err != nil || s.State != subscription.Active || s.FailingSince.Before(begun.Add(-time.Second)) || s.FailingSince.After(begun.Add(time.Second)) {
		t.Errorf("after an hour it is %s, failing since %s (begun %s), %v", s.State, s.FailingSince, begun, err)
	}
	if n := tries("0"); n != 4 {
		t.Errorf("%d tries in an hour", n)
	}
	fails.mu.Lock()
	healthy = true
	fails.mu.Unlock()
	clock.Advance(3 * time.Hour)
	h.eventually("it gets everything", func() bool {
		clock.Advance(time.Minute) // a try that was under way at the last step of the clock counts from after it
		return fails.took() == 4 && h.subCount(`SELECT COUNT(*) FROM deliveries`) == 0
	})
	h.eventually("it is not said to fail any more", func() bool {
		s, err := h.st.Subscription(t.Context(), "acme", "fails")
		return err == nil && s.FailingSince.IsZero()
	})
	if good.took() != 4 {
		t.Errorf("the good one has %d", good.took())
	}
}

func (r *receiver) body(id string) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.bodies[id]
	return b, ok
}

func (h *hooks) subCount(query string, args ...any) (n int) {
	h.t.Helper()
	if err := h.db.QueryRowContext(h.t.Context(), query, args...).Scan(&n); err != nil {
		h.t.Fatal(err)
	}
	return n
}

func TestAWebhookThatIsGoneIsDisabledAndItsEventsWait(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	r := newReceiver(t, func(_ string, try int) int { return http.StatusGone })
	h.post("gone", r.URL, false)
	h.event("1")
	h.eventually("it is disabled", func() bool {
		s, err := h.st.Subscription(t.Context(), "acme", "gone")
		return err == nil && s.State == subscription.Disabled && s.DisableReason == subscription.ReasonGone
	})
	r.mu.Lock()
	r.answer = func(string, int) int { return 200 }
	r.mu.Unlock()
	_, err := h.st.UpdateSubscription(t.Context(), nil, "acme", "gone", time.Now(), func(s subscription.Subscription) (subscription.Subscription, []any, error) {
		s, err := s.Resume("", time.Now())
		return s, nil, err
	})
	if err != nil {
		t.Fatal(err)
	}
	h.eventually("it gets what it had refused", func() bool { return r.took() == 1 })
}

func TestAReplayDeliversAgainAndAPauseHoldsBack(t *testing.T) {
	t.Parallel()
	h := newHooks(t)
	s := h.subscribe("acme", "main", "x")
	h.event("1")
	pull := func(s subscription.Subscription) int {
		got, err := h.fabric.Pull(t.Context(), s, 10, 300*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range got {
			if err := ev.Ack(); err != nil {
				t.Fatal(err)
			}
		}
		return len(got)
	}
	ensure := func(s subscription.Subscription) {
		t.Helper()
		if err := h.fabric.Ensure(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if n := pull(s); n != 1 {
		t.Fatalf("first %d", n)
	}
	ensure(s) // changes nothing
	if n := pull(s); n != 0 {
		t.Fatalf("again %d", n)
	}
	s.Start, s.Round = time.Now().Add(-time.Hour), 1
	ensure(s)
	if n := pull(s); n != 1 {
		t.Fatalf("replayed %d", n)
	}
	s.State, s.UpdatedAt = subscription.Paused, time.Now()
	ensure(s)
	h.event("2")
	if n := pull(s); n != 0 {
		t.Fatalf("paused %d", n)
	}
	s.State = subscription.Active
	ensure(s)
	if n := pull(s); n != 1 {
		t.Fatalf("resumed %d", n)
	}
	// What no subscription has is a leftover of a deletion that was cut short.
	h.subs.mu.Lock()
	h.subs.subs = nil
	h.subs.mu.Unlock()
	if err := h.fabric.prune(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.fabric.Pull(t.Context(), s, 1, 10*time.Millisecond); err == nil {
		t.Error("the consumer is still there")
	}
}
