package journey

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/sdk"
)

// feed is what a partner's own consumer got.
type feed struct {
	t    testing.TB
	mu   sync.Mutex
	seen []*nats.Msg
}

// subscribe makes a subscription and pulls from it, as a partner's program does.
func (w *world) subscribe(filter string) *feed {
	w.t.Helper()
	return w.subscribeAs("journey", filter)
}

func (w *world) subscribeAs(subscription, filter string) *feed {
	t := w.t
	t.Helper()
	ctx := callCtx(t)
	var sub *notifyv1.Subscription
	var err error
	// A client repeats what is unavailable: NATS may have been started a moment ago.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		sub, err = w.partner.Notify.CreateSubscription(ctx, &notifyv1.CreateSubscriptionRequest{
			Parent: w.name, SubscriptionId: subscription, Filters: strings.Fields(filter), RequestId: "sub-" + subscription,
		})
		if !sdk.Retryable(err) || time.Now().After(deadline) {
			break
		}
	}
	must(t, err)
	token, err := w.tokens.Token(ctx)
	must(t, err)
	var nc *nats.Conn
	// Neither does it give up when it is not let in at once: auth, which decides, may be busy.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		nc, err = nats.Connect(sub.GetNatsUrl(), nats.Token(token), nats.MaxReconnects(-1), nats.Timeout(10*time.Second))
		if err == nil || time.Now().After(deadline) {
			break
		}
	}
	must(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.NewWithAPIPrefix(nc, sub.GetApiPrefix())
	must(t, err)
	consumer, err := js.Consumer(ctx, sub.GetStream(), sub.GetConsumer())
	must(t, err)
	f := &feed{t: t}
	done := make(chan struct{})
	pulling, stop := context.WithCancel(context.Background())
	t.Cleanup(func() { stop(); <-done })
	go func() {
		defer close(done)
		f.pull(pulling, consumer)
	}()
	return f
}

func (f *feed) pull(ctx context.Context, consumer jetstream.Consumer) {
	for ctx.Err() == nil {
		batch, err := consumer.Fetch(64, jetstream.FetchMaxWait(500*time.Millisecond))
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, nats.ErrConnectionClosed) {
				time.Sleep(50 * time.Millisecond)
			}
			continue
		}
		for m := range batch.Messages() {
			f.mu.Lock()
			f.seen = append(f.seen, &nats.Msg{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()})
			f.mu.Unlock()
			_ = m.Ack()
		}
	}
}

// all are the events of a type so far, by event id.
func (f *feed) all(kind string) map[string]*nats.Msg {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := map[string]*nats.Msg{}
	for _, m := range f.seen {
		if m.Header.Get("ce-type") == kind {
			found[m.Header.Get("ce-id")] = m
		}
	}
	return found
}

// await waits for the first event of a type and decodes it.
func (f *feed) await(kind string, into proto.Message) {
	f.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for _, m := range f.all(kind) {
			must(f.t, proto.Unmarshal(m.Data, into))
			return
		}
	}
	f.t.Fatalf("no event %s within 30 s", kind)
}
