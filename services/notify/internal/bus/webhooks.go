package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

const (
	// webhookFlights is how many posts of one subscription are under way at once.
	webhookFlights = 8
	// webhookLease keeps a delivery from others while it is tried.
	webhookLease = time.Minute
	// webhookPause is how often it is looked for subscriptions and what is due, when nothing else tells.
	webhookPause = time.Second
	// webhookSettle is how long the outcome of a try may take to be written.
	webhookSettle = 5 * time.Second
)

// Deliveries remembers what webhooks did not take, and which there are.
type Deliveries interface {
	Webhooks(ctx context.Context) ([]subscription.Subscription, error)
	KeepDelivery(ctx context.Context, d subscription.Delivery) error
	DueDeliveries(ctx context.Context, partner, id string, limit int, now time.Time, lease time.Duration) ([]subscription.Delivery, error)
	SettleDelivery(ctx context.Context, d subscription.Delivery, taken bool) error
	NoteWebhook(ctx context.Context, partner, id string, now time.Time, change func(subscription.Subscription) subscription.Subscription) error
}

// Poster posts one event to a URL.
type Poster interface {
	Post(ctx context.Context, url, id string, at time.Time, signature string, body []byte) subscription.Outcome
}

// Webhooks posts the events of subscriptions to their URLs. Each subscription has a goroutine of its own, so that one which
// hangs slows no other. An event that is not taken at once leaves the stream for the deliveries in SQL, which have the retry
// schedule; so a stream never waits for a receiver.
type Webhooks struct {
	Edge    jetstream.JetStream
	Store   Deliveries
	Poster  Poster
	Seeds   func(ctx context.Context, names []subscription.KeyRef) ([][]byte, error)
	Retries []time.Duration
	Now     func() time.Time
	Log     *slog.Logger
	// Pause is how often it is looked for subscriptions and for what is due again; zero is a second.
	Pause time.Duration

	// failing are the subscriptions whose receiver took nothing lately, by partner and id, as of the last look or note.
	failing sync.Map
}

// Run serves all active webhooks until ctx ends.
func (w *Webhooks) Run(ctx context.Context) error {
	if w.Pause <= 0 {
		w.Pause = webhookPause
	}
	running := map[string]context.CancelFunc{}
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(w.Pause)
	defer tick.Stop()
	for {
		subs, err := w.Store.Webhooks(ctx)
		if err != nil && ctx.Err() == nil {
			w.Log.WarnContext(ctx, "webhooks cannot be read at present", "error", err)
		}
		if err == nil {
			w.match(ctx, subs, running, &all)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// match starts what is new or changed and stops what is no longer there.
func (w *Webhooks) match(ctx context.Context, subs []subscription.Subscription, running map[string]context.CancelFunc, all *sync.WaitGroup) {
	wanted := map[string]subscription.Subscription{}
	for _, s := range subs {
		w.failing.Store(s.Partner+"/"+s.ID, !s.FailingSince.IsZero())
		wanted[fmt.Sprintf("%s/%s/%d/%d", s.Partner, s.ID, s.Round, s.UpdatedAt.UnixMicro())] = s
	}
	for key, stop := range running {
		if _, ok := wanted[key]; !ok {
			stop()
			delete(running, key)
		}
	}
	for key, s := range wanted {
		if running[key] == nil {
			own, stop := context.WithCancel(ctx)
			running[key] = stop
			all.Go(func() { w.serve(own, s) })
		}
	}
}

func (w *Webhooks) serve(ctx context.Context, s subscription.Subscription) {
	for ctx.Err() == nil {
		err := w.round(ctx, s)
		if errors.Is(err, errDisabled) {
			return
		}
		if err != nil && ctx.Err() == nil {
			w.Log.DebugContext(ctx, "a webhook waits", "partner", s.Partner, "subscription", s.ID, "error", err)
			pause(ctx, w.Pause)
		}
	}
}

// errDisabled ends the serving of a webhook that was just disabled. When its owner resumes it, it is served anew.
var errDisabled = errors.New("the webhook is disabled")

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// round tries what is due again and then what is new.
func (w *Webhooks) round(ctx context.Context, s subscription.Subscription) error {
	seeds, err := w.Seeds(ctx, s.SigningKeys(w.Now()))
	if err != nil {
		return err
	}
	due, err := w.Store.DueDeliveries(ctx, s.Partner, s.ID, webhookFlights, w.Now(), webhookLease)
	if err != nil {
		return err
	}
	if together(due, func(d subscription.Delivery) bool { return w.again(ctx, s, seeds, d) }) {
		return errDisabled
	}
	consumer, err := w.Edge.Consumer(ctx, subscription.Stream(s.Partner), s.Consumer)
	if err != nil {
		return err
	}
	batch, err := consumer.Fetch(webhookFlights, jetstream.FetchMaxWait(w.Pause))
	if err != nil {
		return err
	}
	var msgs []jetstream.Msg
	for msg := range batch.Messages() {
		msgs = append(msgs, msg)
	}
	if together(msgs, func(msg jetstream.Msg) bool { return w.first(ctx, s, seeds, msg) }) {
		return errDisabled
	}
	if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
		return err
	}
	return nil
}

// together does something with all items at once and tells whether any said yes.
func together[T any](items []T, do func(T) bool) bool {
	var wg sync.WaitGroup
	var yes atomic.Bool
	for _, i := range items {
		wg.Go(func() {
			if do(i) {
				yes.Store(true)
			}
		})
	}
	wg.Wait()
	return yes.Load()
}

// first posts an event from the stream. What is posted but not acknowledged, because the process ended in between, is posted
// again with the same id. It tells whether the webhook was disabled by that.
func (w *Webhooks) first(ctx context.Context, s subscription.Subscription, seeds [][]byte, msg jetstream.Msg) bool {
	ev, err := events.Decode(msg.Subject(), msg.Headers().Get, msg.Data())
	if err != nil {
		w.Log.ErrorContext(ctx, "an event in a partner's stream cannot be read", "subject", msg.Subject(), "error", err)
		_ = msg.TermWithReason("cannot be read")
		return false
	}
	d := newDelivery(s, ev)
	o := w.try(ctx, s, seeds, d)
	if ctx.Err() != nil && !o.Taken {
		_ = msg.Nak()
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), webhookSettle)
	defer cancel()
	if !o.Taken {
		err = w.Store.KeepDelivery(ctx, d.After(o, w.Retries, rand.Float64(), w.Now())) //nolint:gosec // jitter needs no secrecy
	}
	if err == nil {
		err = w.note(ctx, s, o)
	}
	if err != nil {
		_ = msg.NakWithDelay(w.Pause)
		return false
	}
	_ = msg.Ack()
	return o.Gone
}

func newDelivery(s subscription.Subscription, ev events.Event) subscription.Delivery {
	return subscription.Delivery{
		Partner: s.Partner, Subscription: s.ID, EventID: ev.ID, EventType: ev.Type, Subject: ev.Subject, Resource: ev.Key,
		EventTime: ev.Time, Data: ev.Data, TraceParent: ev.TraceParent,
	}
}

// again tries a delivery that failed before and tells whether the webhook was disabled by that. When its outcome cannot be
// written, the lease ends and it is tried once more.
func (w *Webhooks) again(ctx context.Context, s subscription.Subscription, seeds [][]byte, d subscription.Delivery) bool {
	o := w.try(ctx, s, seeds, d)
	cut := ctx.Err() != nil && !o.Taken
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), webhookSettle) // what came of it is written even at the end
	defer cancel()
	if cut { // not its receiver's fault: given back as it was, so that whoever serves it next need not wait for the lease
		if err := w.Store.SettleDelivery(ctx, d, false); err != nil {
			w.Log.WarnContext(ctx, "a delivery was not given back", "event", d.EventID, "error", err)
		}
		return false
	}
	if !o.Taken {
		d = d.After(o, w.Retries, rand.Float64(), w.Now()) //nolint:gosec // jitter needs no secrecy
	}
	if err := errors.Join(w.Store.SettleDelivery(ctx, d, o.Taken), w.note(ctx, s, o)); err != nil {
		w.Log.WarnContext(ctx, "the outcome of a delivery was not written", "event", d.EventID, "error", err)
		return false
	}
	return o.Gone
}

func (w *Webhooks) note(ctx context.Context, s subscription.Subscription, o subscription.Outcome) error {
	now := w.Now()
	key := s.Partner + "/" + s.ID
	if failing, _ := w.failing.Load(key); o.Taken && failing != true {
		return nil
	}
	w.failing.Store(key, !o.Taken)
	return w.Store.NoteWebhook(ctx, s.Partner, s.ID, now, func(s subscription.Subscription) subscription.Subscription {
		switch {
		case o.Taken:
			return s.Succeeded()
		case o.Gone && s.State == subscription.Active:
			return s.Failed(now).Disable(subscription.ReasonGone, now)
		default:
			return s.Failed(now)
		}
	})
}

func (w *Webhooks) try(ctx context.Context, s subscription.Subscription, seeds [][]byte, d subscription.Delivery) subscription.Outcome {
	body, err := webhookBody(s.Thin, d)
	if err != nil {
		return subscription.Outcome{Error: "the event cannot be written as JSON"}
	}
	now := w.Now()
	return w.Poster.Post(ctx, s.URL, d.EventID, now, subscription.Sign(s.Signature, seeds, d.EventID, now, body), body)
}

// webhookBody is the payload: type, timestamp and data, as the Standard Webhooks specification proposes, and what else the
// attributes of the event say.
func webhookBody(thin bool, d subscription.Delivery) ([]byte, error) {
	body := struct {
		Type      string          `json:"type"`
		Timestamp string          `json:"timestamp"`
		Subject   string          `json:"subject"`
		Resource  string          `json:"resource,omitempty"`
		Data      json.RawMessage `json:"data,omitempty"`
	}{Type: d.EventType, Timestamp: d.EventTime.UTC().Format(time.RFC3339Nano), Subject: d.Subject, Resource: d.Resource}
	if !thin {
		msg, err := decode(events.Event{Type: d.EventType, Data: d.Data})
		if err != nil {
			return nil, err
		}
		if body.Data, err = protojson.Marshal(msg); err != nil {
			return nil, err
		}
	}
	return json.Marshal(body)
}
