package subscription

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// Store remembers subscriptions.
type Store interface {
	// CreateSubscription fails with ErrExists. A repeated request gets the first answer.
	CreateSubscription(ctx context.Context, req once.Request, sub Subscription) (Subscription, error)
	// Subscription fails with ErrNotFound.
	Subscription(ctx context.Context, partner, id string) (Subscription, error)
}

// Fabric makes on NATS what a subscription needs: the partner's account, stream and consumer.
type Fabric interface {
	// Ensure may be repeated.
	Ensure(ctx context.Context, sub Subscription) error
}

// Service makes subscriptions.
type Service struct {
	store  Store
	fabric Fabric
	secret func() string
}

// NewService makes a Service; secret makes random names of at least 80 bits, in lower-case letters and digits.
func NewService(store Store, fabric Fabric, secret func() string) *Service {
	return &Service{store: store, fabric: fabric, secret: secret}
}

// Create makes a subscription. The row comes first and NATS follows, so that two requests cannot make two consumers; when
// NATS fails, repeating the request goes on from there.
func (s *Service) Create(ctx context.Context, req once.Request, partner, id, filter, mode string, now time.Time) (Subscription, error) {
	filter, err := Filter(filter, mode)
	if err != nil {
		return Subscription{}, err
	}
	// Between accounts the server passes replies below $JS.ACK on as they are, and its one guard is to refuse them from
	// clients. A name that cannot be guessed keeps partners from acknowledging each other's events without that guard too.
	sub, err := s.store.CreateSubscription(ctx, req, Subscription{
		Partner: partner, ID: id, Filter: filter, Consumer: id + "-" + s.secret(), CreatedAt: now,
	})
	if err != nil {
		return Subscription{}, err
	}
	if err := s.fabric.Ensure(ctx, sub); err != nil {
		return Subscription{}, fault.New(fault.Unavailable, "NATS_UNAVAILABLE",
			"the consumer cannot be made at present; repeat the request with the same request_id").WithCause(err)
	}
	return sub, nil
}
