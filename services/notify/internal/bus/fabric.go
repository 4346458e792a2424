package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

// Stream is the stream of this service's own events.
const Stream = "EVT_NOTIFY"

// StreamSubjects is what that stream holds.
var StreamSubjects = []string{"evt.v1.*.alerts.>", "evt.v1.*.vouchers.>", "evt.v1.*.custom.>", "evt.v1.*.subscriptions.>"}

const (
	eventAge        = 7 * 24 * time.Hour
	partnerAge      = 7 * 24 * time.Hour
	partnerBytes    = 256 << 20
	partnerMsgBytes = 1 << 20
	partnerAckWait  = 30 * time.Second
	partnerPending  = 1000
	reconcileEvery  = 30 * time.Second
	fabricTimeout   = 10 * time.Second
)

// OwnStream is the configuration of the stream of this service's own events.
func OwnStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: Stream, Subjects: StreamSubjects, MaxAge: eventAge, Storage: jetstream.FileStorage}
}

// Subscriptions says what is to exist on NATS.
type Subscriptions interface {
	Subscriptions(ctx context.Context) ([]subscription.Subscription, error)
	SubscribedPartners(ctx context.Context) ([]string, error)
	// Offboarded are the partners for which nothing is made again.
	Offboarded(ctx context.Context) ([]string, error)
}

// Fabric makes partners' accounts, streams and consumers. A stream is made for the first event or the first
// subscription of its partner, whichever comes first.
type Fabric struct {
	edge     jetstream.JetStream
	accounts *Accounts
	subs     Subscriptions
	log      *slog.Logger

	wanted chan string

	mu    sync.Mutex
	ready map[string]bool
}

// NewFabric makes a Fabric on the account of partners' streams. Without accounts, partners share one account of a plain
// NATS server with everybody else; that is for development.
func NewFabric(edge jetstream.JetStream, accounts *Accounts, subs Subscriptions, log *slog.Logger) *Fabric {
	return &Fabric{
		edge: edge, accounts: accounts, subs: subs, log: log, wanted: make(chan string, 64), ready: map[string]bool{},
	}
}

// APIPrefix is the prefix of the JetStream API as partners see it.
func (f *Fabric) APIPrefix() string {
	if f.accounts == nil {
		return jetstream.DefaultAPIPrefix
	}
	return partnerAPI
}

// Ready implements Streams.
func (f *Fabric) Ready(partner string) bool {
	f.mu.Lock()
	ready := f.ready[partner]
	f.mu.Unlock()
	if !ready {
		select {
		case f.wanted <- partner:
		default: // the worker has plenty to do; the event comes again
		}
	}
	return ready
}

// Ensure implements subscription.Fabric: account, stream and consumer, in this order.
func (f *Fabric) Ensure(ctx context.Context, sub subscription.Subscription) error {
	if err := f.accounts.Ensure(ctx, f.subs.SubscribedPartners); err != nil {
		return err
	}
	return f.ensureConsumer(ctx, sub)
}

// ensureConsumer makes the consumer, anew when a replay wants it to begin elsewhere, and pauses it or lets it go on.
func (f *Fabric) ensureConsumer(ctx context.Context, sub subscription.Subscription) error {
	if err := f.ensureStream(ctx, sub.Partner); err != nil {
		return err
	}
	stream := subscription.Stream(sub.Partner)
	want := consumerConfig(sub)
	have, err := f.edge.Consumer(ctx, stream, sub.Consumer)
	if err == nil && have.CachedInfo().Config.Metadata[roundKey] != want.Metadata[roundKey] {
		if err = f.edge.DeleteConsumer(ctx, stream, sub.Consumer); err == nil {
			err = jetstream.ErrConsumerNotFound
		}
	}
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		have, err = f.edge.CreateConsumer(ctx, stream, want)
	case err == nil && !slices.Equal(have.CachedInfo().Config.FilterSubjects, want.FilterSubjects):
		want.DeliverPolicy, want.OptStartTime = have.CachedInfo().Config.DeliverPolicy, have.CachedInfo().Config.OptStartTime
		have, err = f.edge.UpdateConsumer(ctx, stream, want)
	}
	if err != nil {
		return fmt.Errorf("make the consumer of %s/%s: %w", sub.Partner, sub.ID, err)
	}
	return f.pause(ctx, sub, have.CachedInfo().Paused)
}

// roundKey is where a consumer says which replay it was made for.
const roundKey = "armlet-round"

func consumerConfig(sub subscription.Subscription) jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		Durable:        sub.Consumer,
		FilterSubjects: sub.FilterSubjects(),
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        partnerAckWait,
		MaxAckPending:  partnerPending,
		HeadersOnly:    sub.Thin,
		Metadata:       map[string]string{roundKey: strconv.FormatInt(sub.Round, 10)},
	}
	if !sub.Start.IsZero() {
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &sub.Start
	}
	return c
}

// forever is until when a consumer is paused.
const forever = 100 * 365 * 24 * time.Hour

func (f *Fabric) pause(ctx context.Context, sub subscription.Subscription, paused bool) (err error) {
	stream := subscription.Stream(sub.Partner)
	switch {
	case sub.State != subscription.Active && !paused:
		_, err = f.edge.PauseConsumer(ctx, stream, sub.Consumer, sub.UpdatedAt.Add(forever))
	case sub.State == subscription.Active && paused:
		_, err = f.edge.ResumeConsumer(ctx, stream, sub.Consumer)
	}
	if err != nil {
		return fmt.Errorf("pause or resume the consumer of %s/%s: %w", sub.Partner, sub.ID, err)
	}
	return nil
}

// Remove implements subscription.Fabric.
func (f *Fabric) Remove(ctx context.Context, sub subscription.Subscription) error {
	err := f.edge.DeleteConsumer(ctx, subscription.Stream(sub.Partner), sub.Consumer)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("delete the consumer of %s/%s: %w", sub.Partner, sub.ID, err)
	}
	return nil
}

// prune deletes the consumers of a partner's stream that no subscription has: those whose deletion was cut short. The rows
// are read after the names, because a row comes before its consumer.
func (f *Fabric) prune(ctx context.Context, partner string) error {
	stream, err := f.edge.Stream(ctx, subscription.Stream(partner))
	if err != nil {
		return err
	}
	var names []string
	list := stream.ConsumerNames(ctx)
	for name := range list.Name() {
		names = append(names, name)
	}
	if err := list.Err(); err != nil {
		return err
	}
	subs, err := f.subs.Subscriptions(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if slices.ContainsFunc(subs, func(s subscription.Subscription) bool { return s.Consumer == name }) {
			continue
		}
		if err := stream.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
	}
	return nil
}

func (f *Fabric) ensureStream(ctx context.Context, partner string) error {
	_, err := f.edge.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:       subscription.Stream(partner),
		Subjects:   []string{subscription.Subjects(partner)},
		MaxAge:     partnerAge,
		MaxBytes:   partnerBytes,
		MaxMsgSize: partnerMsgBytes,
		Discard:    jetstream.DiscardOld,
		Storage:    jetstream.FileStorage,
	})
	if err != nil {
		return fmt.Errorf("make the stream of %s: %w", partner, err)
	}
	f.mu.Lock()
	f.ready[partner] = true
	f.mu.Unlock()
	return nil
}

// Run makes everything that subscriptions need, again every half minute in case something was deleted, and the streams
// that events are waiting for, until ctx ends.
func (f *Fabric) Run(ctx context.Context) error {
	tick := time.NewTicker(reconcileEvery)
	defer tick.Stop()
	f.try(ctx, "partners' streams cannot be made at present", f.reconcile)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f.try(ctx, "partners' streams cannot be made at present", f.reconcile)
		case partner := <-f.wanted:
			f.mu.Lock()
			ready := f.ready[partner]
			f.mu.Unlock()
			if !ready {
				f.try(ctx, "a partner's stream cannot be made at present", func(ctx context.Context) error {
					return f.ensureStream(ctx, partner)
				})
			}
		}
	}
}

func (f *Fabric) try(ctx context.Context, failure string, do func(context.Context) error) {
	bounded, cancel := context.WithTimeout(ctx, fabricTimeout)
	defer cancel()
	if err := do(bounded); err != nil && ctx.Err() == nil {
		f.log.WarnContext(ctx, failure, "error", err)
	}
}

func (f *Fabric) reconcile(ctx context.Context) error {
	if err := f.accounts.Ensure(ctx, f.subs.SubscribedPartners); err != nil {
		return err
	}
	gone, err := f.subs.Offboarded(ctx)
	if err != nil {
		return err
	}
	f.forget(gone...)
	subs, err := f.subs.Subscriptions(ctx)
	if err != nil {
		return err
	}
	for _, sub := range subs {
		if slices.Contains(gone, sub.Partner) {
			continue
		}
		if err := f.ensureConsumer(ctx, sub); err != nil {
			return err
		}
	}
	for _, partner := range f.known() {
		if err := f.ensureStream(ctx, partner); err != nil {
			return err
		}
	}
	for _, partner := range f.known() {
		if err := f.prune(ctx, partner); err != nil {
			return fmt.Errorf("look for leftovers of %s: %w", partner, err)
		}
	}
	return nil
}

func (f *Fabric) known() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]string, 0, len(f.ready))
	for partner := range f.ready {
		all = append(all, partner)
	}
	return all
}
