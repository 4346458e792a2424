package sandbox

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

// Event is one event as the partner's own consumer got it.
type Event struct {
	Subject string
	ID      string
	Type    string // full name of the proto message
	Time    string // RFC 3339
	Data    proto.Message
}

// Events subscribes as the partner and hands over each event, oldest first, until
// ctx ends or see returns false; an event that was seen is acknowledged. The
// subscription is durable: the next call with the same filter goes on after it.
func (s *Sandbox) Events(ctx context.Context, filter string, see func(Event) bool) error {
	id := subscriptionID("cli", filter)
	sub, err := s.Partner.Notify.CreateSubscription(ctx, &notifyv1.CreateSubscriptionRequest{
		Parent: Partner, SubscriptionId: id, Filters: filtersOf(filter), RequestId: "sandbox-" + id,
	})
	if err != nil {
		return err
	}
	token, err := s.PartnerToken(ctx)
	if err != nil {
		return err
	}
	nc, err := nats.Connect(sub.GetNatsUrl(), nats.Token(token), nats.Name("armlet events"), nats.Timeout(10*time.Second))
	if err != nil {
		return fmt.Errorf("connect to NATS at %s as the partner: %w", sub.GetNatsUrl(), err)
	}
	defer nc.Close()
	js, err := jetstream.NewWithAPIPrefix(nc, sub.GetApiPrefix())
	if err != nil {
		return err
	}
	consumer, err := js.Consumer(ctx, sub.GetStream(), sub.GetConsumer())
	if err != nil {
		return fmt.Errorf("the partner's consumer %s: %w", sub.GetConsumer(), err)
	}
	return pull(ctx, consumer, see)
}

// subscriptionID is the same for the same filter, so that a command goes on where the one before stopped.
func subscriptionID(prefix, filter string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(filter))
	return fmt.Sprintf("%s-%08x", prefix, h.Sum32())
}

func filtersOf(filter string) []string {
	if filter == "" {
		return nil
	}
	return []string{filter}
}

func pull(ctx context.Context, consumer jetstream.Consumer, see func(Event) bool) error {
	for ctx.Err() == nil {
		batch, err := consumer.Fetch(16, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return err
		}
		for msg := range batch.Messages() {
			event, err := decode(msg)
			if err != nil {
				return err
			}
			goOn := see(event)
			if err := msg.Ack(); err != nil {
				return err
			}
			if !goOn {
				return nil
			}
		}
		if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
			return err
		}
	}
	return ctx.Err()
}

func decode(msg jetstream.Msg) (Event, error) {
	head := msg.Headers()
	e := Event{Subject: msg.Subject(), ID: head.Get("ce-id"), Type: head.Get("ce-type"), Time: head.Get("ce-time")}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(e.Type))
	if err != nil {
		return e, fmt.Errorf("event %s has a type that this program does not know: %q", e.ID, e.Type)
	}
	e.Data = kind.New().Interface()
	if err := proto.Unmarshal(msg.Data(), e.Data); err != nil {
		return e, fmt.Errorf("event %s is not a %s: %w", e.ID, e.Type, err)
	}
	return e, nil
}
