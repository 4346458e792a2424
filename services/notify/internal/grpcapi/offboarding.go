package grpcapi

import (
	"context"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/offboarding"
)

// GetOffboarding implements notifyv1.NotifyServiceServer.
func (s *Server) GetOffboarding(ctx context.Context, req *notifyv1.GetOffboardingRequest) (*notifyv1.Offboarding, error) {
	partner := strings.TrimSuffix(strings.TrimPrefix(req.GetName(), "partners/"), "/offboarding")
	o, h, err := s.cfg.Offboarding.Look(ctx, partner)
	if err != nil {
		return nil, err
	}
	return offboardingProto(o, h), nil
}

func offboardingProto(o offboarding.Offboarding, h offboarding.Holdings) *notifyv1.Offboarding {
	out := &notifyv1.Offboarding{
		Name: "partners/" + o.Partner + "/offboarding", State: notifyv1.OffboardingState_OFFBOARDING_STATE_NONE,
		Holdings: &notifyv1.PartnerHoldings{
			Subscriptions: h.Subscriptions, WebhookKeys: h.WebhookKeys, Deliveries: h.Deliveries, AlertTypes: h.AlertTypes, EventTypes: h.EventTypes,
			Topics: h.Topics, TopicMembers: h.TopicMembers, WaitingAlerts: h.WaitingAlerts, OpenCampaigns: h.OpenCampaigns,
			PendingEvents: h.PendingEvents, NatsAccount: h.Account, Stream: h.Stream, StreamEvents: h.StreamEvents, StreamConsumers: h.Consumers,
		},
	}
	if !o.StartedAt.IsZero() {
		out.State, out.StartTime = notifyv1.OffboardingState_OFFBOARDING_STATE_RUNNING, timestamppb.New(o.StartedAt)
	}
	if !o.EndedAt.IsZero() {
		out.State, out.EndTime = notifyv1.OffboardingState_OFFBOARDING_STATE_DONE, timestamppb.New(o.EndedAt)
	}
	return out
}
