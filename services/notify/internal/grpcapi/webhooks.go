package grpcapi

import (
	"context"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

// testEvents is the name space of the ids of test events, which follow from the request.
var testEvents = uuid.MustParse("0b0a5c5e-7a0e-5d6f-8f0c-53d2b1d9c7aa")

func (s *Server) webhookProto(ctx context.Context, sub subscription.Subscription) (*notifyv1.Webhook, error) {
	out := &notifyv1.Webhook{Url: sub.URL, Signature: notifyv1.WebhookSignature_WEBHOOK_SIGNATURE_HMAC_SHA256}
	if sub.Signature == subscription.HMAC {
		return out, nil
	}
	out.Signature = notifyv1.WebhookSignature_WEBHOOK_SIGNATURE_ED25519
	seeds, err := s.cfg.Seeds(ctx, sub.SigningKeys(s.cfg.Now()))
	for _, seed := range seeds {
		out.PublicKeys = append(out.PublicKeys, subscription.PublicKey(seed))
	}
	return out, err
}

// SendTestEvent implements notifyv1.NotifyServiceServer.
func (s *Server) SendTestEvent(ctx context.Context, req *notifyv1.SendTestEventRequest) (*notifyv1.SendTestEventResponse, error) {
	caller := rpc.CallerFrom(ctx)
	r, err := request(caller, "SendTestEvent", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	partner, id := subscriptionIDs(req.GetName())
	event := uuid.NewSHA1(testEvents, []byte(r.Caller+"/"+req.GetName()+"/"+r.ID)).String()
	_, err = s.cfg.Subscriptions.Test(ctx, r, owner(caller), partner, id, event, s.cfg.Now())
	return &notifyv1.SendTestEventResponse{EventId: event}, err
}

// RotateWebhookKey implements notifyv1.NotifyServiceServer.
func (s *Server) RotateWebhookKey(ctx context.Context, req *notifyv1.RotateWebhookKeyRequest) (*notifyv1.Subscription, error) {
	caller := rpc.CallerFrom(ctx)
	r, err := request(caller, "RotateWebhookKey", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	partner, id := subscriptionIDs(req.GetName())
	sub, err := s.cfg.Subscriptions.Rotate(ctx, r, owner(caller), partner, id, s.cfg.Now())
	return s.subscriptionAnswer(ctx, sub, err)
}

// GetWebhookSecret implements notifyv1.NotifyServiceServer.
func (s *Server) GetWebhookSecret(ctx context.Context, req *notifyv1.GetWebhookSecretRequest) (*notifyv1.GetWebhookSecretResponse, error) {
	sub, err := s.ownSubscription(ctx, req.GetName())
	if err == nil {
		err = sub.HasSecret()
	}
	if err != nil {
		return nil, err
	}
	out := &notifyv1.GetWebhookSecretResponse{}
	seeds, err := s.cfg.Seeds(ctx, sub.SigningKeys(s.cfg.Now()))
	for _, seed := range seeds {
		out.Secrets = append(out.Secrets, subscription.Secret(seed))
	}
	return out, err
}

// ListDeadLetters implements notifyv1.NotifyServiceServer.
func (s *Server) ListDeadLetters(ctx context.Context, req *notifyv1.ListDeadLettersRequest) (*notifyv1.ListDeadLettersResponse, error) {
	sub, err := s.ownSubscription(ctx, req.GetParent())
	if err != nil {
		return nil, err
	}
	scope := "dead-letters/" + req.GetParent()
	after, err := s.pages.cursor(scope, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := pageSize(req.GetPageSize())
	dead, err := s.cfg.DeadLetters.DeadLetters(ctx, sub.Partner, sub.ID, after, size+1)
	if err != nil {
		return nil, err
	}
	out := &notifyv1.ListDeadLettersResponse{}
	if len(dead) > size {
		dead = dead[:size]
		out.NextPageToken = s.pages.next(scope, dead[size-1].EventID)
	}
	for _, d := range dead {
		out.DeadLetters = append(out.DeadLetters, &notifyv1.DeadLetter{
			Name: req.GetParent() + "/deadLetters/" + d.EventID, EventType: d.EventType, Subject: d.Subject, Attempts: int32(min(d.Attempts, 1<<20)),
			LastError: d.LastError, CreateTime: timestamppb.New(d.UpdatedAt),
		})
	}
	return out, nil
}

// RedriveDeadLetters implements notifyv1.NotifyServiceServer.
func (s *Server) RedriveDeadLetters(ctx context.Context, req *notifyv1.RedriveDeadLettersRequest) (*notifyv1.RedriveDeadLettersResponse, error) {
	sub, err := s.ownSubscription(ctx, req.GetParent())
	if err != nil {
		return nil, err
	}
	n, err := s.cfg.DeadLetters.RedriveDeadLetters(ctx, sub.Partner, sub.ID, req.GetEventIds(), s.cfg.Now())
	return &notifyv1.RedriveDeadLettersResponse{Count: n}, err
}

// DiscardDeadLetters implements notifyv1.NotifyServiceServer.
func (s *Server) DiscardDeadLetters(ctx context.Context, req *notifyv1.DiscardDeadLettersRequest) (*notifyv1.DiscardDeadLettersResponse, error) {
	sub, err := s.ownSubscription(ctx, req.GetParent())
	if err != nil {
		return nil, err
	}
	n, err := s.cfg.DeadLetters.DiscardDeadLetters(ctx, sub.Partner, sub.ID, req.GetEventIds())
	return &notifyv1.DiscardDeadLettersResponse{Count: n}, err
}
