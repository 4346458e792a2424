package sandbox

import (
	"context"
	"errors"
	"io"

	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

// Listen opens a stream of the partner's events, from now on at the first call and then from where it stopped, and hands
// over each one until ctx ends. An event that was seen is acknowledged. It returns the subscription's name before the first.
func (s *Sandbox) Listen(ctx context.Context, filter string, opened func(name string), see func(*notifyv1.StreamEventsResponse)) error {
	id := subscriptionID("listen", filter)
	name := Partner + "/subscriptions/" + id
	if _, err := s.Partner.Notify.CreateSubscription(ctx, &notifyv1.CreateSubscriptionRequest{
		Parent: Partner, SubscriptionId: id, Filters: filtersOf(filter), Sink: notifyv1.Sink_SINK_GRPC,
		Start: &notifyv1.StartPosition{At: &notifyv1.StartPosition_Now{Now: true}}, RequestId: "sandbox-" + id,
	}); err != nil {
		return err
	}
	stream, err := s.Partner.Notify.StreamEvents(ctx)
	if err != nil {
		return err
	}
	open := &notifyv1.StreamEventsRequest{Message: &notifyv1.StreamEventsRequest_Open{Open: name}}
	if err := stream.Send(open); err != nil && !errors.Is(err, io.EOF) { // after EOF the reason comes with Recv
		return err
	}
	opened(name)
	for {
		ev, err := stream.Recv()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		see(ev)
		ack := &notifyv1.StreamEventsRequest{Message: &notifyv1.StreamEventsRequest_Ack{Ack: ev.GetEventId()}}
		if err := stream.Send(ack); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
}
