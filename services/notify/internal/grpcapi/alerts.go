package grpcapi

import (
	"context"
	"crypto/rand"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/bus"
)

// ListAlerts implements notifyv1.NotifyServiceServer.
func (s *Server) ListAlerts(ctx context.Context, req *notifyv1.ListAlertsRequest) (*notifyv1.ListAlertsResponse, error) {
	account, err := inboxOf(rpc.CallerFrom(ctx), req.GetParent())
	if err != nil {
		return nil, err
	}
	list := "alerts/" + account
	cursor, err := s.pages.cursor(list, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	before := int64(math.MaxInt64)
	if cursor != "" {
		if before, err = strconv.ParseInt(cursor, 10, 64); err != nil {
			return nil, errPageToken
		}
	}
	size := pageSize(req.GetPageSize())
	alerts, err := s.cfg.Inboxes.AlertsBefore(ctx, account, before, size)
	if err != nil {
		return nil, err
	}
	out := &notifyv1.ListAlertsResponse{}
	for _, a := range alerts {
		out.Alerts = append(out.Alerts, alertProto(a))
	}
	if n := len(alerts); n == size && alerts[n-1].Sequence > 1 {
		out.NextPageToken = s.pages.next(list, strconv.FormatInt(alerts[n-1].Sequence, 10))
	}
	return out, nil
}

// ExplainAlert implements notifyv1.NotifyServiceServer.
func (s *Server) ExplainAlert(ctx context.Context, req *notifyv1.ExplainAlertRequest) (*notifyv1.ExplainAlertResponse, error) {
	caller := rpc.CallerFrom(ctx)
	a, err := s.cfg.AlertReader.Alert(ctx, lastID(req.GetName()))
	if err != nil {
		return nil, err
	}
	account := strings.Split(req.GetName(), "/")[1]
	own := strings.TrimPrefix(caller.Account, "accounts/")
	if account != "-" && account != a.Account ||
		caller.Role == rpc.RoleWearer && own != a.Account ||
		caller.Role == rpc.RolePartner && (account != "-" || a.Sender != caller.Partner || a.Mode != mode(caller)) {
		return nil, alert.ErrNotFound
	}
	acks, err := s.cfg.AlertReader.Acks(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	forPartner := caller.Role == rpc.RolePartner
	out := &notifyv1.ExplainAlertResponse{Alert: senderProto(caller, a)}
	for _, d := range a.Decisions {
		decision := &notifyv1.AlertDecision{
			Step: d.Step, Outcome: notifyv1.DecisionOutcome(notifyv1.DecisionOutcome_value["DECISION_OUTCOME_"+string(d.Outcome)]),
			Reason: d.Reason, Detail: d.Detail, Time: timestamppb.New(d.At),
		}
		if forPartner && d.Step != alert.StepThrottle && d.Step != alert.StepSchedule { // the rest tells of the wearer's life
			decision.Detail = ""
		}
		out.Decisions = append(out.Decisions, decision)
	}
	for _, ack := range acks {
		delivery := &notifyv1.AlertDelivery{
			Time: timestamppb.New(ack.At), Surface: surfaceProto(ack.Surface), Kind: notifyv1.AckKind(notifyv1.AckKind_value["ACK_KIND_"+string(ack.Kind)]),
			ActionId: ack.ActionID, ClientId: ack.ClientID,
		}
		if forPartner {
			delivery.ClientId = ""
		}
		out.Deliveries = append(out.Deliveries, delivery)
	}
	return out, nil
}

// AcknowledgeAlerts implements notifyv1.NotifyServiceServer.
func (s *Server) AcknowledgeAlerts(ctx context.Context, req *notifyv1.AcknowledgeAlertsRequest) (*notifyv1.AcknowledgeAlertsResponse, error) {
	caller := rpc.CallerFrom(ctx)
	account, err := inboxOf(caller, req.GetAccount())
	if err != nil {
		return nil, err
	}
	r, err := request(caller, "AcknowledgeAlerts", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	acks := make([]alert.Ack, 0, len(req.GetAcks()))
	for _, ack := range req.GetAcks() {
		if !strings.HasPrefix(ack.GetAlert(), "accounts/"+account+"/") {
			return nil, alert.ErrNotFound.WithField("acks.alert")
		}
		acks = append(acks, alert.Ack{
			AlertID: lastID(ack.GetAlert()), Surface: surfaceOf(ack.GetSurface()), ActionID: ack.GetActionId(), ClientID: req.GetClientId(),
			Kind: alert.AckKind(strings.TrimPrefix(ack.GetKind().String(), "ACK_KIND_")),
		})
	}
	now, err := s.cfg.Acker.Acknowledge(ctx, r, account, acks, s.cfg.Now())
	if err != nil {
		return nil, err
	}
	out := &notifyv1.AcknowledgeAlertsResponse{}
	for _, a := range now {
		out.States = append(out.States, stateProto(a))
	}
	return out, nil
}

// EraseInbox implements notifyv1.NotifyServiceServer.
func (s *Server) EraseInbox(ctx context.Context, req *notifyv1.EraseInboxRequest) (*notifyv1.EraseInboxResponse, error) {
	caller := rpc.CallerFrom(ctx)
	account, err := inboxOf(caller, req.GetAccount())
	if err != nil {
		return nil, err
	}
	r, err := request(caller, "EraseInbox", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	n, err := s.cfg.Acker.EraseInbox(ctx, r, account, rand.Text(), s.cfg.Now())
	return &notifyv1.EraseInboxResponse{ErasedCount: n}, err
}

// senderProto is an alert for whoever asks: a partner is not told who wears its band, nor how much else that wearer hears.
func senderProto(c rpc.Caller, a alert.Alert) *notifyv1.Alert {
	out := alertProto(a)
	if c.Role == rpc.RolePartner {
		out.Name, out.Sequence, out.Surfaces, out.Locale = bus.WithoutAccount(out.GetName()), 0, nil, ""
	}
	return out
}

func alertProto(a alert.Alert) *notifyv1.Alert {
	out := &notifyv1.Alert{
		Name: bus.AlertName(a), Type: bus.KindName(a.Kind), BandText: a.Text.Band, PhoneText: a.Text.Phone, Vibration: uint32(a.Text.Vibration),
		Device: a.Device, Sequence: a.Sequence, CreateTime: timestamppb.New(a.CreatedAt), Category: categoryProto(a.Category),
		Priority: notifyv1.AlertPriority(a.Priority), Title: a.Text.Title, FullText: a.Text.Full, Icon: a.Text.Icon,
		Delivery: bus.DeliveryProto(a.Delivery), Engagement: bus.EngagementProto(a.Engagement), Attempt: int32(a.Attempt), Locale: a.Text.Locale,
	}
	if !a.ExpiresAt.IsZero() {
		out.ExpireTime = timestamppb.New(a.ExpiresAt)
	}
	if a.Broadcast != "" {
		out.Broadcast = "alertBroadcasts/" + a.Broadcast
	}
	for _, action := range a.Actions {
		out.Actions = append(out.Actions, &notifyv1.AlertAction{Id: action.ID, Label: action.Label})
	}
	for _, surface := range a.Surfaces {
		out.Surfaces = append(out.Surfaces, surfaceProto(surface))
	}
	return out
}

func surfaceOf(s notifyv1.Surface) alert.Surface {
	return alert.Surface(strings.TrimPrefix(s.String(), "SURFACE_"))
}

func surfaceProto(s alert.Surface) notifyv1.Surface {
	return notifyv1.Surface(notifyv1.Surface_value["SURFACE_"+string(s)])
}

func categoryOf(c notifyv1.AlertCategory) alert.Category {
	return alert.Category(strings.TrimPrefix(c.String(), "ALERT_CATEGORY_"))
}

func categoryProto(c alert.Category) notifyv1.AlertCategory {
	return notifyv1.AlertCategory(notifyv1.AlertCategory_value["ALERT_CATEGORY_"+string(c)])
}
