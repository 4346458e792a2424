// Package bus connects notify with NATS: facts of the domain become events, events of all services become alerts and
// copies for partners, and partners get their accounts, streams and consumers.
package bus

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/events"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/custom"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

const source = "/services/notify"

// Encode turns a fact of the domain into an event. It is the store's Encoder.
func Encode(ctx context.Context, fact any, at time.Time) (events.Event, error) {
	switch f := fact.(type) {
	case alert.Sent:
		a := f.Alert
		return encode(ctx, at, AlertName(a), &notifyv1.AlertSent{Alert: AlertName(a), Type: KindName(a.Kind), Device: a.Device}, alertSubject(a, "sent"))
	case alert.Moved:
		return encode(ctx, at, AlertName(f.Alert), &notifyv1.AlertStateChanged{
			Alert: AlertName(f.Alert), Type: KindName(f.Alert.Kind), Device: f.Alert.Device, Delivery: DeliveryProto(f.Alert.Delivery),
			Engagement: EngagementProto(f.Alert.Engagement), ActionId: f.ActionID,
		}, alertSubject(f.Alert, "state_changed"))
	case voucher.Issued, voucher.Assigned, voucher.Generated, voucher.Changed, voucher.MovedRedemption:
		return encodeVoucher(ctx, fact, at)
	case custom.Published:
		return encodeCustom(ctx, f, at)
	case subscription.TestEvent:
		ev, err := encodeOn(ctx, at, f.Subscription.TestSubject(), SubscriptionName(f.Subscription),
			&notifyv1.SubscriptionTested{Subscription: SubscriptionName(f.Subscription)})
		ev.ID = f.EventID
		return ev, err
	case subscription.DisabledEvent:
		sub := f.Subscription
		return encode(ctx, at, SubscriptionName(sub),
			&notifyv1.SubscriptionDisabled{Subscription: SubscriptionName(sub), Reason: sub.DisableReason},
			events.Subject{Mode: sub.Mode(), Domain: "subscriptions", Entity: "subscription", Verb: "disabled", Partner: sub.Partner, ID: sub.ID})
	}
	return events.Event{}, fmt.Errorf("no event is known for the fact %T", fact)
}

// encodeCustom puts a partner's own event on a subject of the partner's own stream, never inside.
func encodeCustom(ctx context.Context, f custom.Published, at time.Time) (events.Event, error) {
	payload, err := structpb.NewStruct(f.Event.Payload)
	if err != nil {
		return events.Event{}, fmt.Errorf("the payload of %s: %w", f.ID, err)
	}
	name := "partners/" + f.Type.Partner + "/eventTypes/" + f.Type.ID
	key := f.Event.Resource
	if key == "" {
		key = name
	}
	ev, err := encodeOn(ctx, at, subscription.Subject(f.Type.Partner, f.Mode, "custom", f.Type.ID, "published"), key, &notifyv1.CustomEventPublished{
		Type: name, EventId: f.Event.ID, Payload: payload, Resource: f.Event.Resource, OccurTime: timestamppb.New(f.Event.OccurTime), TypeRevision: f.Type.Revision,
	})
	ev.ID = f.ID
	return ev, err
}

func encode(ctx context.Context, at time.Time, key string, msg proto.Message, subject events.Subject) (events.Event, error) {
	return encodeOn(ctx, at, subject.String(), key, msg)
}

func encodeOn(ctx context.Context, at time.Time, subject, key string, msg proto.Message) (events.Event, error) {
	return events.New(source, subject, key, at, msg, ctx)
}

// SubscriptionName is `partners/{partner}/subscriptions/{subscription}`.
func SubscriptionName(s subscription.Subscription) string {
	return "partners/" + s.Partner + "/subscriptions/" + s.ID
}

func alertSubject(a alert.Alert, verb string) events.Subject {
	return events.Subject{Mode: a.Mode, Domain: "alerts", Entity: "alert", Verb: verb, Partner: a.Partner, ID: a.ID}
}

// KindName is `alertTypes/{type}` or `partners/{partner}/alertTypes/{type}`.
func KindName(k alert.Key) string {
	if k.Partner == "" {
		return "alertTypes/" + k.ID
	}
	return "partners/" + k.Partner + "/alertTypes/" + k.ID
}

// DeliveryProto is a delivery in the contract's words.
func DeliveryProto(d alert.Delivery) notifyv1.DeliveryState {
	return notifyv1.DeliveryState(notifyv1.DeliveryState_value["DELIVERY_STATE_"+string(d)])
}

// EngagementProto is an engagement in the contract's words.
func EngagementProto(e alert.Engagement) notifyv1.Engagement {
	return notifyv1.Engagement(notifyv1.Engagement_value["ENGAGEMENT_"+string(e)])
}

// AccountName is `accounts/{account}`, and empty for no account.
func AccountName(account string) string {
	if account == "" {
		return ""
	}
	return "accounts/" + account
}

// AlertName is `accounts/{account}/alerts/{uuid}`.
func AlertName(a alert.Alert) string { return AccountName(a.Account) + "/alerts/" + a.ID }
