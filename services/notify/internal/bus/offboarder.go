package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/offboarding"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

const (
	offboardEvery   = 15 * time.Second
	offboardRetry   = time.Second // while something is left
	offboardTimeout = time.Minute
)

// Offboardings remembers which partners were offboarded.
type Offboardings interface {
	StartOffboarding(ctx context.Context, tx *sqldb.Tx, partner string, now time.Time) error
	// OffboardingsDue are those that are not over, and those that began since then.
	OffboardingsDue(ctx context.Context, since time.Time) ([]offboarding.Offboarding, error)
}

// Offboarder removes what is kept for partners that auth has offboarded. Any number of replicas may have one.
type Offboarder struct {
	store  Offboardings
	remove func(ctx context.Context, partner string, now time.Time) (done bool, err error)
	now    func() time.Time
	log    *slog.Logger
	hurry  chan struct{}
}

// NewOffboarder makes an Offboarder.
func NewOffboarder(store Offboardings, service *offboarding.Service, now func() time.Time, log *slog.Logger) *Offboarder {
	return &Offboarder{store: store, remove: service.Remove, now: now, log: log, hurry: make(chan struct{}, 1)}
}

// Consumers are the consumers of what auth says of partners.
func (o *Offboarder) Consumers(src Source) []*events.Consumer {
	return []*events.Consumer{src.consumer("EVT_AUTH", "notify-offboarding", o.Handle, "evt.v1.*.auth.partner.offboarded.>")}
}

// Handle begins offboardings.
func (o *Offboarder) Handle(ctx context.Context, tx *sqldb.Tx, evs []events.Event) error {
	for _, ev := range evs {
		msg, err := decode(ev)
		if err != nil {
			return err
		}
		left, ok := msg.(*authv1.PartnerOffboarded)
		partner := strings.TrimPrefix(left.GetPartner().GetName(), "partners/")
		if !ok || !subscription.ValidPartner(partner) {
			return fault.New(fault.Invalid, "EVENT_INVALID", "the event names no partner that was offboarded")
		}
		if err := o.store.StartOffboarding(ctx, tx, partner, o.now()); err != nil {
			return err
		}
	}
	tx.OnCommit(func() {
		select {
		case o.hurry <- struct{}{}:
		default:
		}
	})
	return nil
}

// Run removes until ctx ends.
func (o *Offboarder) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		wait := offboardEvery
		left, err := o.round(ctx)
		if err != nil && ctx.Err() == nil {
			o.log.WarnContext(ctx, "what a partner had is not all removed; it is tried again", "error", err)
		}
		if left || err != nil {
			wait = offboardRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-o.hurry:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// round removes once what is left of every partner. One that cannot be removed holds up no other.
func (o *Offboarder) round(ctx context.Context) (left bool, err error) {
	due, err := o.store.OffboardingsDue(ctx, o.now().Add(-offboarding.Watch))
	if err != nil {
		return false, err
	}
	for _, one := range due {
		bounded, cancel := context.WithTimeout(ctx, offboardTimeout)
		done, failed := o.remove(bounded, one.Partner, o.now())
		cancel()
		err = errors.Join(err, failed)
		left = left || !done
		if done && one.EndedAt.IsZero() {
			o.log.InfoContext(ctx, "all that was kept for an offboarded partner is removed", "partner", one.Partner)
		}
	}
	return left, err
}

// PartnerHoldings implements offboarding.Fabric.
func (f *Fabric) PartnerHoldings(ctx context.Context, partner string) (offboarding.NATS, error) {
	h := offboarding.NATS{Account: f.accounts.Has(partner)}
	stream, err := f.edge.Stream(ctx, subscription.Stream(partner))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return h, nil
	}
	if err != nil {
		return h, natsUnavailable(err)
	}
	state := stream.CachedInfo().State
	h.Stream, h.StreamEvents, h.Consumers = true, int64(state.Msgs), int64(state.Consumers)
	return h, nil
}

// RemoveAccount implements offboarding.Fabric: the partners that have an account are those with subscriptions.
func (f *Fabric) RemoveAccount(ctx context.Context, partner string) error {
	f.forget(partner)
	return f.accounts.Ensure(ctx, f.subs.SubscribedPartners)
}

// RemoveStream implements offboarding.Fabric.
func (f *Fabric) RemoveStream(ctx context.Context, partner string) error {
	f.forget(partner)
	err := f.edge.DeleteStream(ctx, subscription.Stream(partner))
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("delete the stream: %w", err)
	}
	return nil
}

// forget keeps the worker from making streams anew.
func (f *Fabric) forget(partners ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, partner := range partners {
		delete(f.ready, partner)
	}
}
