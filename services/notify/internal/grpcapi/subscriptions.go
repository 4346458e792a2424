package grpcapi

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

var errNotYourPartner = fault.New(fault.PermissionDenied, rpc.ReasonCallerNotAllowed, "this is another partner's; use your own").WithField("parent")

// owner is whose subscriptions the caller may touch.
func owner(c rpc.Caller) subscription.Owner {
	if c.Role != rpc.RolePartner {
		return subscription.Owner{}
	}
	return subscription.Owner{Partner: c.Partner, Mode: mode(c)}
}

// subscriptionIDs are the parts of `partners/{partner}/subscriptions/{subscription}`.
func subscriptionIDs(name string) (partner, id string) {
	parts := strings.Split(name, "/")
	return parts[1], parts[3]
}

// CreateSubscription implements notifyv1.NotifyServiceServer.
func (s *Server) CreateSubscription(ctx context.Context, req *notifyv1.CreateSubscriptionRequest) (*notifyv1.Subscription, error) {
	caller, now := rpc.CallerFrom(ctx), s.cfg.Now()
	partner := lastID(req.GetParent())
	if partner != caller.Partner {
		return nil, errNotYourPartner
	}
	r, err := request(caller, "CreateSubscription", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	if t := req.GetStart().GetTime(); t != nil && !t.IsValid() {
		return nil, fault.InvalidField("start.time", "this is not a time")
	}
	want := subscription.Subscription{
		Partner: partner, ID: req.GetSubscriptionId(), Filters: req.GetFilters(), Sink: sinks[req.GetSink()],
		Thin: req.GetContent() == notifyv1.EventContent_EVENT_CONTENT_THIN, Start: startOf(req.GetStart(), now),
	}
	if hook := req.GetWebhook(); hook != nil {
		want.URL, want.Signature = hook.GetUrl(), subscription.Ed25519
		if hook.GetSignature() == notifyv1.WebhookSignature_WEBHOOK_SIGNATURE_HMAC_SHA256 {
			want.Signature = subscription.HMAC
		}
	}
	sub, err := s.cfg.Subscriptions.Create(ctx, r, want, mode(caller), now)
	return s.subscriptionAnswer(ctx, sub, err)
}

var sinks = map[notifyv1.Sink]subscription.Sink{
	notifyv1.Sink_SINK_UNSPECIFIED: subscription.NATS, notifyv1.Sink_SINK_NATS: subscription.NATS,
	notifyv1.Sink_SINK_WEBHOOK: subscription.Webhook, notifyv1.Sink_SINK_GRPC: subscription.GRPC,
}

func startOf(p *notifyv1.StartPosition, now time.Time) time.Time {
	switch {
	case p.GetNow():
		return now
	case p.GetTime() != nil:
		return p.GetTime().AsTime()
	}
	return time.Time{}
}

// GetSubscription implements notifyv1.NotifyServiceServer.
func (s *Server) GetSubscription(ctx context.Context, req *notifyv1.GetSubscriptionRequest) (*notifyv1.Subscription, error) {
	sub, err := s.ownSubscription(ctx, req.GetName())
	return s.subscriptionAnswer(ctx, sub, err)
}

func (s *Server) ownSubscription(ctx context.Context, name string) (subscription.Subscription, error) {
	partner, id := subscriptionIDs(name)
	sub, err := s.cfg.Reader.Subscription(ctx, partner, id)
	if err != nil {
		return sub, err
	}
	return sub, owner(rpc.CallerFrom(ctx)).Check(sub)
}

// ListSubscriptions implements notifyv1.NotifyServiceServer.
func (s *Server) ListSubscriptions(ctx context.Context, req *notifyv1.ListSubscriptionsRequest) (*notifyv1.ListSubscriptionsResponse, error) {
	caller, partner := rpc.CallerFrom(ctx), lastID(req.GetParent())
	if caller.Role == rpc.RolePartner && partner != caller.Partner {
		return nil, errNotYourPartner
	}
	subs, err := s.cfg.Reader.SubscriptionsOf(ctx, partner)
	if err != nil {
		return nil, err
	}
	out := &notifyv1.ListSubscriptionsResponse{}
	for _, sub := range subs {
		if owner(caller).Check(sub) != nil {
			continue
		}
		answer, err := s.subscriptionAnswer(ctx, sub, nil)
		if err != nil {
			return nil, err
		}
		out.Subscriptions = append(out.Subscriptions, answer)
	}
	return out, nil
}

// DeleteSubscription implements notifyv1.NotifyServiceServer.
func (s *Server) DeleteSubscription(ctx context.Context, req *notifyv1.DeleteSubscriptionRequest) (*notifyv1.DeleteSubscriptionResponse, error) {
	partner, id := subscriptionIDs(req.GetName())
	return &notifyv1.DeleteSubscriptionResponse{}, s.cfg.Subscriptions.Delete(ctx, owner(rpc.CallerFrom(ctx)), partner, id)
}

// PauseSubscription implements notifyv1.NotifyServiceServer.
func (s *Server) PauseSubscription(ctx context.Context, req *notifyv1.PauseSubscriptionRequest) (*notifyv1.Subscription, error) {
	partner, id := subscriptionIDs(req.GetName())
	sub, err := s.cfg.Subscriptions.Pause(ctx, owner(rpc.CallerFrom(ctx)), partner, id, s.cfg.Now())
	return s.subscriptionAnswer(ctx, sub, err)
}

// ResumeSubscription implements notifyv1.NotifyServiceServer.
func (s *Server) ResumeSubscription(ctx context.Context, req *notifyv1.ResumeSubscriptionRequest) (*notifyv1.Subscription, error) {
	partner, id := subscriptionIDs(req.GetName())
	sub, err := s.cfg.Subscriptions.Resume(ctx, owner(rpc.CallerFrom(ctx)), partner, id, req.GetWebhookUrl(), s.cfg.Now())
	return s.subscriptionAnswer(ctx, sub, err)
}

// ReplaySubscription implements notifyv1.NotifyServiceServer.
func (s *Server) ReplaySubscription(ctx context.Context, req *notifyv1.ReplaySubscriptionRequest) (*notifyv1.Subscription, error) {
	caller := rpc.CallerFrom(ctx)
	r, err := request(caller, "ReplaySubscription", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	if !req.GetFromTime().IsValid() {
		return nil, fault.InvalidField("from_time", "this is not a time")
	}
	partner, id := subscriptionIDs(req.GetName())
	sub, err := s.cfg.Subscriptions.Replay(ctx, r, owner(caller), partner, id, req.GetFromTime().AsTime(), s.cfg.Now())
	return s.subscriptionAnswer(ctx, sub, err)
}

func (s *Server) subscriptionAnswer(ctx context.Context, sub subscription.Subscription, err error) (*notifyv1.Subscription, error) {
	if err != nil {
		return nil, err
	}
	out := &notifyv1.Subscription{
		Name: "partners/" + sub.Partner + "/subscriptions/" + sub.ID, Filters: sub.Filters, CreateTime: timestamppb.New(sub.CreatedAt),
		UpdateTime: timestamppb.New(sub.UpdatedAt), Content: notifyv1.EventContent_EVENT_CONTENT_FULL,
		State: subscriptionStates[sub.State], DisableReason: sub.DisableReason,
	}
	if !sub.FailingSince.IsZero() {
		out.FailingSince = timestamppb.New(sub.FailingSince)
	}
	if sub.Thin {
		out.Content = notifyv1.EventContent_EVENT_CONTENT_THIN
	}
	switch sub.Sink {
	case subscription.NATS:
		out.Sink = notifyv1.Sink_SINK_NATS
		out.Stream, out.Consumer, out.ApiPrefix, out.NatsUrl = subscription.Stream(sub.Partner), sub.Consumer, s.cfg.APIPrefix, s.cfg.NATSURL
	case subscription.GRPC:
		out.Sink = notifyv1.Sink_SINK_GRPC
	case subscription.Webhook:
		out.Sink = notifyv1.Sink_SINK_WEBHOOK
		out.Webhook, err = s.webhookProto(ctx, sub)
	}
	return out, err
}

var subscriptionStates = map[subscription.State]notifyv1.SubscriptionState{
	subscription.Active:   notifyv1.SubscriptionState_SUBSCRIPTION_STATE_ACTIVE,
	subscription.Paused:   notifyv1.SubscriptionState_SUBSCRIPTION_STATE_PAUSED,
	subscription.Disabled: notifyv1.SubscriptionState_SUBSCRIPTION_STATE_DISABLED,
}
