package subscription

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// Store remembers subscriptions.
type Store interface {
	// CreateSubscription fails with ErrExists or ErrLimit. A repeated request gets the first answer.
	CreateSubscription(ctx context.Context, req once.Request, sub Subscription) (Subscription, error)
	// Subscription fails with ErrNotFound.
	Subscription(ctx context.Context, partner, id string) (Subscription, error)
	// UpdateSubscription lets change decide under a lock and publishes its facts in the same transaction. With a request a
	// repetition gets the first answer. It fails with ErrNotFound.
	UpdateSubscription(ctx context.Context, req *once.Request, partner, id string, now time.Time,
		change func(Subscription) (Subscription, []any, error)) (Subscription, error)
	// DeleteSubscription forgets it and its deliveries, and returns what was there. It fails with ErrNotFound.
	DeleteSubscription(ctx context.Context, partner, id string) (Subscription, error)
}

// Fabric makes on NATS what a subscription needs: the partner's account, stream and consumer.
type Fabric interface {
	// Ensure may be repeated.
	Ensure(ctx context.Context, sub Subscription) error
	// Remove may be repeated.
	Remove(ctx context.Context, sub Subscription) error
}

// Service makes and changes subscriptions. In everything the row comes first and NATS follows, so that two requests cannot
// make two consumers; when NATS fails, repeating the request goes on from there, and the fabric's worker does so by itself.
type Service struct {
	store    Store
	fabric   Fabric
	secret   func() string
	loopback bool
}

// NewService makes a Service; secret makes random names of at least 80 bits, in lower-case letters and digits. With loopback,
// webhooks of this machine are allowed.
func NewService(store Store, fabric Fabric, secret func() string, loopback bool) *Service {
	return &Service{store: store, fabric: fabric, secret: secret, loopback: loopback}
}

// Create makes a subscription of the wanted shape in the caller's mode.
func (s *Service) Create(ctx context.Context, req once.Request, want Subscription, mode string, now time.Time) (Subscription, error) {
	var err error
	if want.Filters, err = Filters(want.Filters, mode); err != nil {
		return want, err
	}
	switch {
	case want.Sink == Webhook && want.URL == "":
		return want, fault.InvalidField("webhook", "is needed with SINK_WEBHOOK")
	case want.Sink != Webhook && want.URL != "":
		return want, fault.InvalidField("webhook", "goes with SINK_WEBHOOK only")
	case want.Start.After(now):
		return want, fault.InvalidField("start.time", "lies in the future")
	}
	if want.Sink == Webhook {
		if err := CheckURL(want.URL, s.loopback); err != nil {
			return want, err
		}
		want.Keys = []KeyRef{{Name: s.keyName(want)}}
	}
	// Between accounts the server passes replies below $JS.ACK on as they are, and its one guard is to refuse them from
	// clients. A name that cannot be guessed keeps partners from acknowledging each other's events without that guard too.
	want.Consumer, want.State, want.CreatedAt, want.UpdatedAt = want.ID+"-"+s.secret(), Active, now, now
	sub, err := s.store.CreateSubscription(ctx, req, want)
	if err != nil {
		return sub, err
	}
	return sub, s.ensure(ctx, sub)
}

func (s *Service) keyName(sub Subscription) string {
	return "webhook/" + sub.Partner + "/" + sub.ID + "/" + s.secret()
}

// Owner says whose subscriptions a caller may touch; a zero Owner is the operator.
type Owner struct{ Partner, Mode string }

// Check is ErrNotFound for another's subscription: whoever knows a consumer's name can pull from it.
func (o Owner) Check(sub Subscription) error {
	if o.Partner != "" && (o.Partner != sub.Partner || o.Mode != sub.Mode()) {
		return ErrNotFound
	}
	return nil
}

func (s *Service) change(ctx context.Context, req *once.Request, o Owner, partner, id string, now time.Time,
	change func(Subscription) (Subscription, []any, error),
) (Subscription, error) {
	sub, err := s.store.UpdateSubscription(ctx, req, partner, id, now, func(sub Subscription) (Subscription, []any, error) {
		if err := o.Check(sub); err != nil {
			return sub, nil, err
		}
		return change(sub)
	})
	if err != nil {
		return sub, err
	}
	return sub, s.ensure(ctx, sub)
}

func (s *Service) ensure(ctx context.Context, sub Subscription) error {
	return unavailable(s.fabric.Ensure(ctx, sub))
}

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Unavailable, "NATS_UNAVAILABLE", "NATS does not answer at present; repeat the request").WithCause(err)
}

// Pause stops deliveries.
func (s *Service) Pause(ctx context.Context, o Owner, partner, id string, now time.Time) (Subscription, error) {
	return s.change(ctx, nil, o, partner, id, now, func(sub Subscription) (Subscription, []any, error) {
		sub, err := sub.Pause(now)
		return sub, nil, err
	})
}

// Resume starts deliveries again, at another URL when one is given.
func (s *Service) Resume(ctx context.Context, o Owner, partner, id, url string, now time.Time) (Subscription, error) {
	if url != "" {
		if err := CheckURL(url, s.loopback); err != nil {
			return Subscription{}, err
		}
	}
	return s.change(ctx, nil, o, partner, id, now, func(sub Subscription) (Subscription, []any, error) {
		sub, err := sub.Resume(url, now)
		return sub, nil, err
	})
}

// Replay delivers everything again from a time on.
func (s *Service) Replay(ctx context.Context, req once.Request, o Owner, partner, id string, from, now time.Time) (Subscription, error) {
	return s.change(ctx, &req, o, partner, id, now, func(sub Subscription) (Subscription, []any, error) {
		sub, err := sub.Replay(from, now)
		return sub, nil, err
	})
}

// Rotate makes a new signing key.
func (s *Service) Rotate(ctx context.Context, req once.Request, o Owner, partner, id string, now time.Time) (Subscription, error) {
	return s.change(ctx, &req, o, partner, id, now, func(sub Subscription) (Subscription, []any, error) {
		sub, err := sub.Rotate(s.keyName(sub), now)
		return sub, nil, err
	})
}

// Test sends a test event with an id that is the same for the same request.
func (s *Service) Test(ctx context.Context, req once.Request, o Owner, partner, id, event string, now time.Time) (Subscription, error) {
	return s.change(ctx, &req, o, partner, id, now, func(sub Subscription) (Subscription, []any, error) {
		return sub, []any{TestEvent{Subscription: sub, EventID: event}}, nil
	})
}

// Delete ends a subscription. Deleting what is gone changes nothing.
func (s *Service) Delete(ctx context.Context, o Owner, partner, id string) error {
	sub, err := s.store.Subscription(ctx, partner, id)
	if err == nil {
		err = o.Check(sub)
	}
	if err == nil {
		sub, err = s.store.DeleteSubscription(ctx, partner, id)
	}
	if fault.ReasonOf(err) == "SUBSCRIPTION_NOT_FOUND" {
		return nil
	}
	if err != nil {
		return err
	}
	return unavailable(s.fabric.Remove(ctx, sub))
}
