package grpcapi

import (
	"context"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

var errNotYourPartner = fault.New(fault.PermissionDenied, rpc.ReasonCallerNotAllowed, "this is another partner's; use your own").WithField("parent")

// CreateSubscription implements notifyv1.NotifyServiceServer.
func (s *Server) CreateSubscription(ctx context.Context, req *notifyv1.CreateSubscriptionRequest) (*notifyv1.Subscription, error) {
	caller := rpc.CallerFrom(ctx)
	partner := lastID(req.GetParent())
	if partner != caller.Partner {
		return nil, errNotYourPartner
	}
	r, err := request(caller, "CreateSubscription", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	sub, err := s.cfg.Subscriptions.Create(ctx, r, partner, req.GetSubscriptionId(), req.GetFilter(), mode(caller), s.cfg.Now())
	if err != nil {
		return nil, err
	}
	return s.subscriptionProto(sub), nil
}

// GetSubscription implements notifyv1.NotifyServiceServer.
func (s *Server) GetSubscription(ctx context.Context, req *notifyv1.GetSubscriptionRequest) (*notifyv1.Subscription, error) {
	caller := rpc.CallerFrom(ctx)
	parts := strings.Split(req.GetName(), "/") // partners/{partner}/subscriptions/{subscription}
	partner, id := parts[1], parts[3]
	if caller.Role == rpc.RolePartner && partner != caller.Partner {
		return nil, subscription.ErrNotFound
	}
	sub, err := s.cfg.Reader.Subscription(ctx, partner, id)
	if err != nil {
		return nil, err
	}
	if caller.Role == rpc.RolePartner && sub.Mode() != mode(caller) {
		return nil, subscription.ErrNotFound // whoever knows a consumer's name can pull from it
	}
	return s.subscriptionProto(sub), nil
}

func (s *Server) subscriptionProto(sub subscription.Subscription) *notifyv1.Subscription {
	return &notifyv1.Subscription{
		Name:   "partners/" + sub.Partner + "/subscriptions/" + sub.ID,
		Filter: sub.Filter, Stream: subscription.Stream(sub.Partner), Consumer: sub.Consumer,
		ApiPrefix: s.cfg.APIPrefix, NatsUrl: s.cfg.NATSURL, CreateTime: timestamppb.New(sub.CreatedAt),
	}
}
