package grpcapi

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/bus"
)

// SendAlert implements notifyv1.NotifyServiceServer.
func (s *Server) SendAlert(ctx context.Context, req *notifyv1.SendAlertRequest) (*notifyv1.SendAlertResponse, error) {
	caller := rpc.CallerFrom(ctx)
	r, err := request(caller, "SendAlert", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	wanted, err := wantedAlert(req)
	if err != nil {
		return nil, err
	}
	by := alert.Sender{Partner: caller.Partner, Mode: mode(caller), Critical: caller.Role == rpc.RoleOperator || caller.HasScope(scopeCritical)}
	if wanted.Topic != "" {
		b, err := s.cfg.Alerts.Broadcast(ctx, by, r, wanted, s.cfg.Now())
		if err != nil {
			return nil, err
		}
		return &notifyv1.SendAlertResponse{Result: &notifyv1.SendAlertResponse_Broadcast{Broadcast: broadcastProto(b)}}, nil
	}
	a, err := s.cfg.Alerts.Send(ctx, by, r, wanted, s.cfg.Now())
	if err != nil {
		return nil, err
	}
	return &notifyv1.SendAlertResponse{Result: &notifyv1.SendAlertResponse_Alert{Alert: senderProto(caller, a)}}, nil
}

// BatchSendAlerts implements notifyv1.NotifyServiceServer.
func (s *Server) BatchSendAlerts(ctx context.Context, req *notifyv1.BatchSendAlertsRequest) (*notifyv1.BatchSendAlertsResponse, error) {
	out := &notifyv1.BatchSendAlertsResponse{}
	for _, one := range req.GetRequests() {
		sent, err := s.SendAlert(ctx, one)
		result := &notifyv1.BatchSendAlertsResult{Sent: sent}
		if err != nil {
			refusal, ok := fault.As(err)
			if !ok || passing(refusal.Kind) {
				return nil, err // what was sent is safe to send again
			}
			result.Reason, result.Message, result.Field = refusal.Reason, refusal.Message, refusal.Field
		}
		out.Results = append(out.Results, result)
	}
	return out, nil
}

// passing reports whether a failure says nothing about the request.
func passing(k fault.Kind) bool {
	switch k {
	case fault.Internal, fault.Unavailable, fault.DeadlineExceeded, fault.Canceled:
		return true
	default:
		return false
	}
}

// GetAlertBroadcast implements notifyv1.NotifyServiceServer.
func (s *Server) GetAlertBroadcast(ctx context.Context, req *notifyv1.GetAlertBroadcastRequest) (*notifyv1.AlertBroadcast, error) {
	caller := rpc.CallerFrom(ctx)
	b, err := s.cfg.AlertReader.BroadcastByID(ctx, lastID(req.GetName()))
	if err != nil {
		return nil, err
	}
	if caller.Role == rpc.RolePartner && (b.Sender.Partner != caller.Partner || b.Sender.Mode != mode(caller)) {
		return nil, alert.ErrBroadcastNotFound
	}
	return broadcastProto(b), nil
}

// wantedAlert is a request in the words of the domain.
func wantedAlert(req *notifyv1.SendAlertRequest) (alert.Request, error) {
	w := alert.Request{
		Account: lastID(req.GetAccount()), Device: req.GetDevice(), Priority: alert.Priority(req.GetPriority()), CollapseKey: req.GetCollapseKey(),
	}
	w.TopicPartner, w.Topic = ownerAndID(req.GetTopic())
	if t := req.GetDeliverTime(); t != nil {
		if !t.IsValid() {
			return w, fault.InvalidField("deliver_time", "this is not a time")
		}
		w.DeliverAt = t.AsTime()
	}
	if d := req.GetTtl(); d != nil {
		if !d.IsValid() {
			return w, fault.InvalidField("ttl", "this is not a duration")
		}
		ttl := d.AsDuration()
		w.TTL = &ttl
	}
	for _, a := range req.GetActions() {
		w.Actions = append(w.Actions, alert.Action{ID: a.GetId(), Label: a.GetLabel()})
	}
	if req.GetType() == "" {
		if req.GetBandText() == "" {
			return w, fault.InvalidField("band_text", "say what a band shows, or name a type")
		}
		w.Kind = alert.Key{ID: alert.PartnerMessage}
		w.Payload = map[string]any{"band_text": req.GetBandText(), "phone_text": req.GetPhoneText()}
		return w, nil
	}
	if req.GetBandText() != "" || req.GetPhoneText() != "" {
		return w, fault.InvalidField("band_text", "with a type its templates say what is shown; put values into the payload")
	}
	w.Kind = kindOf(req.GetType())
	var err error
	w.Payload, w.PayloadBytes, err = payloadOf(req.GetPayload())
	return w, err
}

func payloadOf(p *structpb.Struct) (map[string]any, int, error) {
	if p == nil {
		return map[string]any{}, 0, nil
	}
	payload := p.AsMap()
	text, err := json.Marshal(payload)
	if err != nil { // NaN, which JSON cannot say
		return nil, 0, fault.InvalidField("payload", "it cannot be written as JSON")
	}
	return payload, len(text), nil
}

// ownerAndID takes `partners/{partner}/things/{id}` or `things/{id}` apart.
func ownerAndID(name string) (partner, id string) {
	if rest, ok := strings.CutPrefix(name, "partners/"); ok {
		partner, _, _ = strings.Cut(rest, "/")
	}
	return partner, lastID(name)
}

func kindOf(name string) alert.Key {
	partner, id := ownerAndID(name)
	return alert.Key{Partner: partner, ID: id}
}

func broadcastProto(b alert.Broadcast) *notifyv1.AlertBroadcast {
	return &notifyv1.AlertBroadcast{
		Name: "alertBroadcasts/" + b.ID, Topic: topicName(b.Partner, b.Topic), Type: bus.KindName(b.Request.Kind),
		State:       notifyv1.BroadcastState(notifyv1.BroadcastState_value["BROADCAST_STATE_"+string(b.State)]),
		MemberCount: b.Members, SentCount: b.Sent, HeldCount: b.Held, DroppedCount: b.Dropped, CreateTime: timestamppb.New(b.CreatedAt),
	}
}

func clockTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
