package journey

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/test/programs"
)

// grpcFeed reads a subscription of SINK_GRPC and acknowledges only what it is told to.
type grpcFeed struct {
	stream notifyv1.NotifyService_StreamEventsClient
	stop   context.CancelFunc
	got    chan *notifyv1.StreamEventsResponse
}

// subscribeGRPC repeats what is unavailable: NATS may have been started a moment ago.
func (w *world) subscribeGRPC(t *testing.T, id string, filters ...string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		_, err := w.partner.Notify.CreateSubscription(callCtx(t), &notifyv1.CreateSubscriptionRequest{
			Parent: w.name, SubscriptionId: id, Sink: notifyv1.Sink_SINK_GRPC, Filters: filters, RequestId: "sub-" + id,
		})
		if !sdk.Retryable(err) || time.Now().After(deadline) {
			must(t, err)
			return
		}
	}
}

func (w *world) follow(t *testing.T, subscription string) *grpcFeed {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	s, err := w.partner.Notify.StreamEvents(ctx)
	must(t, err)
	must(t, s.Send(&notifyv1.StreamEventsRequest{Message: &notifyv1.StreamEventsRequest_Open{Open: w.name + "/subscriptions/" + subscription}}))
	f := &grpcFeed{stream: s, stop: stop, got: make(chan *notifyv1.StreamEventsResponse, 100)}
	go func() {
		defer close(f.got)
		for {
			ev, err := s.Recv()
			if err != nil {
				return
			}
			f.got <- ev
		}
	}()
	return f
}

func (f *grpcFeed) next(t *testing.T) *notifyv1.StreamEventsResponse {
	t.Helper()
	select {
	case ev, open := <-f.got:
		if open {
			return ev
		}
		t.Fatal("the stream ended")
	case <-time.After(45 * time.Second):
		t.Fatal("no event came")
	}
	return nil
}

func (f *grpcFeed) ack(t *testing.T, ev *notifyv1.StreamEventsResponse) {
	t.Helper()
	must(t, f.stream.Send(&notifyv1.StreamEventsRequest{Message: &notifyv1.StreamEventsRequest_Ack{Ack: ev.GetEventId()}}))
}

// grpcKeeper follows a subscription of SINK_GRPC as a partner should: it opens the stream again when that ends, and knows an
// event that comes a second time by its id.
type grpcKeeper struct {
	mu     sync.Mutex
	events map[string]string // id → payment
}

// keepFollowing keeps what comes until the test ends.
func (w *world) keepFollowing(t *testing.T, subscription string) *grpcKeeper {
	t.Helper()
	k := &grpcKeeper{events: map[string]string{}}
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			_ = k.read(ctx, w.partner.Notify, w.name+"/subscriptions/"+subscription) // it ends with notify, and goes on with the next
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { stop(); done.Wait() })
	return k
}

func (k *grpcKeeper) read(ctx context.Context, client notifyv1.NotifyServiceClient, name string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s, err := client.StreamEvents(ctx)
	if err != nil {
		return err
	}
	if err := s.Send(&notifyv1.StreamEventsRequest{Message: &notifyv1.StreamEventsRequest_Open{Open: name}}); err != nil {
		return err
	}
	for {
		ev, err := s.Recv()
		if err != nil {
			return err
		}
		captured := &paymentsv1.PaymentCaptured{}
		if err := proto.Unmarshal(ev.GetData(), captured); err != nil {
			return err
		}
		k.mu.Lock()
		k.events[ev.GetEventId()] = captured.GetPayment().GetPayment()
		k.mu.Unlock()
		if err := s.Send(&notifyv1.StreamEventsRequest{Message: &notifyv1.StreamEventsRequest_Ack{Ack: ev.GetEventId()}}); err != nil {
			return err
		}
	}
}

// payments counts the events of each payment.
func (k *grpcKeeper) payments() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := map[string]int{}
	for _, payment := range k.events {
		n[payment]++
	}
	return n
}

// What was not acknowledged comes again on the next stream; what is replayed comes again on the same one.
func TestAPartnerFollowsItsEventsOverGRPC(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	_, phone := w.newWearer(100_00)
	began := time.Now()
	w.subscribeGRPC(t, "stream", "live.payments.payment.captured")
	first := w.follow(t, "stream")
	p, err := w.charge(callCtx(t), phone.Band, 12_00)
	must(t, err)
	phone.Band.Knock()
	p, err = w.till.Confirm(callCtx(t), phone.Band, p)
	must(t, err)
	is := func(ev *notifyv1.StreamEventsResponse, when string) {
		t.Helper()
		captured := &paymentsv1.PaymentCaptured{}
		must(t, proto.Unmarshal(ev.GetData(), captured))
		if ev.GetEventType() != "armlet.payments.v1.PaymentCaptured" || captured.GetPayment().GetPayment() != p.GetName() || captured.GetPayment().GetAccount() != "" {
			t.Errorf("%s came %v", when, ev)
		}
	}
	one := first.next(t)
	is(one, "at first")
	first.stop()
	second := w.follow(t, "stream")
	again := second.next(t)
	is(again, "on the next stream")
	if again.GetEventId() != one.GetEventId() {
		t.Errorf("the event is %s and was %s", again.GetEventId(), one.GetEventId())
	}
	second.ack(t, again)
	_, err = w.partner.Notify.ReplaySubscription(callCtx(t), &notifyv1.ReplaySubscriptionRequest{
		Name: w.name + "/subscriptions/stream", FromTime: timestamppb.New(began), RequestId: id(),
	})
	must(t, err)
	replayed := second.next(t)
	is(replayed, "replayed, on the same stream,")
	second.ack(t, replayed)
}

// hook is a receiver on this machine that verifies what it gets.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	secret string
	types  map[string]string // by event id
	times  map[string]int
	forged []string
}

func newHook(t *testing.T) *hook {
	h := &hook{types: map[string]string{}, times: map[string]int{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		event, err := sdk.VerifyWebhook(r.Header, body, time.Now(), h.secret)
		if err != nil {
			h.forged = append(h.forged, err.Error())
			w.WriteHeader(http.StatusForbidden)
			return
		}
		var payload struct {
			Type string `json:"type"`
		}
		_ = json.Unmarshal(body, &payload)
		h.types[event], h.times[event] = payload.Type, h.times[event]+1
	}))
	t.Cleanup(h.Close)
	return h
}

// came counts the events of a type, and how often they came.
func (h *hook) came(kind string) (events, times int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, k := range h.types {
		if k == kind {
			events, times = events+1, times+h.times[id]
		}
	}
	return events, times
}

// A developer without a public address: what happens, a test event and a replay arrive at a local URL, signed.
func TestTheCommandLineForwardsEventsAndThoseThatAreSentAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := up(t, dir)
	t.Cleanup(func() { must(t, d.process.Stop()) })
	run := func(args ...string) string {
		t.Helper()
		code, out, errs := armlet(t, append(args, "--data", dir)...)
		if code != 0 {
			t.Fatalf("armlet %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
		}
		return out
	}
	h := newHook(t)
	began := time.Now()
	listen := programs.Launch(t, nil, programs.Armlet(t), "listen", "--forward-to", h.URL, "--data", dir, "-o", "json")
	t.Cleanup(func() { must(t, listen.Stop()) })
	eventually := func(what string, check func() bool) {
		t.Helper()
		for deadline := time.Now().Add(45 * time.Second); !check(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) || listen.Exited() {
				t.Fatalf("%s did not happen:\n%s", what, listen.Output())
			}
		}
	}
	var said []string
	eventually("it listens", func() bool {
		said = regexp.MustCompile(`(?s)listening as (\S+);.*signed with (whsec_\S+)`).FindStringSubmatch(listen.Output())
		return said != nil
	})
	subscription := said[1][strings.LastIndex(said[1], "/")+1:]
	h.mu.Lock()
	h.secret = said[2]
	h.mu.Unlock()

	run("tap", "--amount", "3.00", "--top-up", "20.00")
	const captured, tested = "armlet.payments.v1.PaymentCaptured", "armlet.notify.v1.SubscriptionTested"
	eventually("a payment is forwarded", func() bool { n, _ := h.came(captured); return n == 1 })
	run("events", "test", subscription)
	eventually("a test event is forwarded", func() bool { n, _ := h.came(tested); return n == 1 })
	run("events", "replay", subscription, "--from", began.UTC().Format(time.RFC3339))
	eventually("the replay is forwarded", func() bool {
		_, payments := h.came(captured)
		_, tests := h.came(tested)
		return payments == 2 && tests == 2
	})
	if n, _ := h.came(captured); n != 1 {
		t.Errorf("the replay made %d payments of one", n)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.forged) > 0 {
		t.Errorf("not verified: %v", h.forged)
	}
	for _, shown := range []string{`"answer":"200 OK"`, captured, tested} {
		if !strings.Contains(listen.Output(), shown) {
			t.Errorf("it does not show %s:\n%s", shown, listen.Output())
		}
	}
}
