package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

// Pull gives up to limit events of a subscription, waiting a moment for the first.
func (f *Fabric) Pull(ctx context.Context, sub subscription.Subscription, limit int, wait time.Duration) ([]subscription.Pulled, error) {
	consumer, err := f.edge.Consumer(ctx, subscription.Stream(sub.Partner), sub.Consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil, subscription.ErrNotFound
	}
	if err != nil {
		return nil, natsUnavailable(err)
	}
	batch, err := consumer.Fetch(limit, jetstream.FetchMaxWait(wait))
	if err != nil {
		return nil, natsUnavailable(err)
	}
	var all []subscription.Pulled
	for msg := range batch.Messages() {
		ev, err := events.Decode(msg.Subject(), msg.Headers().Get, msg.Data())
		if err != nil {
			return all, fmt.Errorf("an event of %s: %w", sub.Consumer, errors.Join(err, msg.Nak()))
		}
		all = append(all, subscription.Pulled{Delivery: newDelivery(sub, ev), Ack: msg.Ack, Nak: msg.Nak})
	}
	if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
		return all, natsUnavailable(err)
	}
	return all, nil
}

func natsUnavailable(err error) error {
	return fault.New(fault.Unavailable, "NATS_UNAVAILABLE", "NATS does not answer at present; try again").WithCause(err)
}
