package grpcapi_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
)

// calls has every RPC in a form that everybody can try.
func calls() map[string]func(context.Context, client) error {
	return map[string]func(context.Context, client) error{
		"StreamInbox": func(ctx context.Context, c client) error {
			stream, err := c.StreamInbox(ctx, &notifyv1.StreamInboxRequest{Account: "accounts/alice", ClientId: "p", Surface: phone})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"ListAlerts": func(ctx context.Context, c client) error {
			_, err := c.ListAlerts(ctx, &notifyv1.ListAlertsRequest{Parent: "accounts/alice"})
			return err
		},
		"SendAlert": func(ctx context.Context, c client) error {
			_, err := c.SendAlert(ctx, &notifyv1.SendAlertRequest{Device: device, BandText: "hi", RequestId: uuid.NewString()})
			return err
		},
		"BatchSendAlerts": func(ctx context.Context, c client) error {
			_, err := c.BatchSendAlerts(ctx, &notifyv1.BatchSendAlertsRequest{Requests: []*notifyv1.SendAlertRequest{{Device: device, BandText: "hi", RequestId: "b"}}})
			return err
		},
		"GetAlertBroadcast": func(ctx context.Context, c client) error {
			_, err := c.GetAlertBroadcast(ctx, &notifyv1.GetAlertBroadcastRequest{Name: "alertBroadcasts/" + noUUID})
			return err
		},
		"ExplainAlert": func(ctx context.Context, c client) error {
			_, err := c.ExplainAlert(ctx, &notifyv1.ExplainAlertRequest{Name: "accounts/-/alerts/" + noUUID})
			return err
		},
		"AcknowledgeAlerts": func(ctx context.Context, c client) error {
			_, err := c.AcknowledgeAlerts(ctx, &notifyv1.AcknowledgeAlertsRequest{
				Account: "accounts/alice", ClientId: "p", RequestId: uuid.NewString(),
				Acks: []*notifyv1.AlertAck{{Alert: "accounts/alice/alerts/" + noUUID, Surface: phone, Kind: notifyv1.AckKind_ACK_KIND_READ}},
			})
			return err
		},
		"EraseInbox": func(ctx context.Context, c client) error {
			_, err := c.EraseInbox(ctx, &notifyv1.EraseInboxRequest{Account: "accounts/alice", RequestId: uuid.NewString()})
			return err
		},
		"GetAlertSettings": func(ctx context.Context, c client) error {
			_, err := c.GetAlertSettings(ctx, &notifyv1.GetAlertSettingsRequest{Name: "accounts/alice/alertSettings"})
			return err
		},
		"UpdateAlertSettings": func(ctx context.Context, c client) error {
			_, err := c.UpdateAlertSettings(ctx, &notifyv1.UpdateAlertSettingsRequest{
				Settings: &notifyv1.AlertSettings{Name: "accounts/alice/alertSettings", Locale: "zh"}, RequestId: uuid.NewString(),
			})
			return err
		},
		"CreateAlertType": func(ctx context.Context, c client) error {
			_, err := c.CreateAlertType(ctx, &notifyv1.CreateAlertTypeRequest{
				Parent: "partners/acme", AlertTypeId: "t" + uuid.NewString()[:8], Draft: battery(), RequestId: uuid.NewString(),
			})
			return err
		},
		"GetAlertType": func(ctx context.Context, c client) error {
			_, err := c.GetAlertType(ctx, &notifyv1.GetAlertTypeRequest{Name: "partners/acme/alertTypes/none"})
			return err
		},
		"ListAlertTypes": func(ctx context.Context, c client) error {
			_, err := c.ListAlertTypes(ctx, &notifyv1.ListAlertTypesRequest{Parent: "partners/acme"})
			return err
		},
		"UpdateAlertType": func(ctx context.Context, c client) error {
			_, err := c.UpdateAlertType(ctx, &notifyv1.UpdateAlertTypeRequest{
				AlertType: &notifyv1.AlertType{Name: "partners/acme/alertTypes/none", Draft: battery()}, RequestId: uuid.NewString(),
			})
			return err
		},
		"PublishAlertType": func(ctx context.Context, c client) error {
			_, err := c.PublishAlertType(ctx, &notifyv1.PublishAlertTypeRequest{Name: "partners/acme/alertTypes/none", RequestId: uuid.NewString()})
			return err
		},
		"PreviewAlertType": func(ctx context.Context, c client) error {
			_, err := c.PreviewAlertType(ctx, &notifyv1.PreviewAlertTypeRequest{Name: "partners/acme/alertTypes/none"})
			return err
		},
		"CreateTopic": func(ctx context.Context, c client) error {
			_, err := c.CreateTopic(ctx, &notifyv1.CreateTopicRequest{
				Parent: "partners/acme", TopicId: uuid.NewString(), DisplayName: "x", RequestId: uuid.NewString(),
			})
			return err
		},
		"GetTopic": func(ctx context.Context, c client) error {
			_, err := c.GetTopic(ctx, &notifyv1.GetTopicRequest{Name: "partners/acme/topics/none"})
			return err
		},
		"DeleteTopic": func(ctx context.Context, c client) error {
			_, err := c.DeleteTopic(ctx, &notifyv1.DeleteTopicRequest{Name: "partners/acme/topics/none", RequestId: uuid.NewString()})
			return err
		},
		"ListTopics": func(ctx context.Context, c client) error {
			_, err := c.ListTopics(ctx, &notifyv1.ListTopicsRequest{Parent: "partners/acme"})
			return err
		},
		"ChangeTopicMembers": func(ctx context.Context, c client) error {
			_, err := c.ChangeTopicMembers(ctx, &notifyv1.ChangeTopicMembersRequest{Topic: "partners/acme/topics/none", RequestId: uuid.NewString()})
			return err
		},
		"ListTopicMembers": func(ctx context.Context, c client) error {
			_, err := c.ListTopicMembers(ctx, &notifyv1.ListTopicMembersRequest{Parent: "partners/acme/topics/none"})
			return err
		},
		"CreateEventType": func(ctx context.Context, c client) error {
			_, err := c.CreateEventType(ctx, &notifyv1.CreateEventTypeRequest{
				Parent: "partners/acme", EventTypeId: uuid.NewString(), EventType: &notifyv1.EventType{PayloadSchema: `{"type":"object"}`}, RequestId: uuid.NewString(),
			})
			return err
		},
		"GetEventType": func(ctx context.Context, c client) error {
			_, err := c.GetEventType(ctx, &notifyv1.GetEventTypeRequest{Name: "partners/acme/eventTypes/none"})
			return err
		},
		"ListEventTypes": func(ctx context.Context, c client) error {
			_, err := c.ListEventTypes(ctx, &notifyv1.ListEventTypesRequest{Parent: "partners/acme"})
			return err
		},
		"UpdateEventType": func(ctx context.Context, c client) error {
			_, err := c.UpdateEventType(ctx, &notifyv1.UpdateEventTypeRequest{
				EventType: &notifyv1.EventType{Name: "partners/acme/eventTypes/none", PayloadSchema: `{"type":"object"}`}, RequestId: uuid.NewString(),
			})
			return err
		},
		"DeleteEventType": func(ctx context.Context, c client) error {
			_, err := c.DeleteEventType(ctx, &notifyv1.DeleteEventTypeRequest{Name: "partners/acme/eventTypes/none", RequestId: uuid.NewString()})
			return err
		},
		"PublishEvents": func(ctx context.Context, c client) error {
			_, err := c.PublishEvents(ctx, &notifyv1.PublishEventsRequest{Parent: "partners/acme", Events: []*notifyv1.PublishedEvent{{EventId: "e", Type: "partners/acme/eventTypes/none"}}})
			return err
		},
		"CreateCampaign": func(ctx context.Context, c client) error {
			_, err := c.CreateCampaign(ctx, campaignRequest(1))
			return err
		},
		"GetCampaign": func(ctx context.Context, c client) error {
			_, err := c.GetCampaign(ctx, &notifyv1.GetCampaignRequest{Name: "campaigns/" + noUUID})
			return err
		},
		"ListCampaigns": func(ctx context.Context, c client) error {
			_, err := c.ListCampaigns(ctx, &notifyv1.ListCampaignsRequest{})
			return err
		},
		"UpdateCampaign": func(ctx context.Context, c client) error {
			_, err := c.UpdateCampaign(ctx, &notifyv1.UpdateCampaignRequest{
				Campaign:   &notifyv1.Campaign{Name: "campaigns/" + noUUID, DisplayName: "x"},
				UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name"}}, RequestId: uuid.NewString(),
			})
			return err
		},
		"ActivateCampaign": func(ctx context.Context, c client) error {
			_, err := c.ActivateCampaign(ctx, &notifyv1.ActivateCampaignRequest{Name: "campaigns/" + noUUID, RequestId: uuid.NewString()})
			return err
		},
		"PauseCampaign": func(ctx context.Context, c client) error {
			_, err := c.PauseCampaign(ctx, &notifyv1.PauseCampaignRequest{Name: "campaigns/" + noUUID, RequestId: uuid.NewString()})
			return err
		},
		"EndCampaign": func(ctx context.Context, c client) error {
			_, err := c.EndCampaign(ctx, &notifyv1.EndCampaignRequest{Name: "campaigns/" + noUUID, RequestId: uuid.NewString()})
			return err
		},
		"AssignVoucher": func(ctx context.Context, c client) error {
			_, err := c.AssignVoucher(ctx, &notifyv1.AssignVoucherRequest{Name: "vouchers/" + noUUID, Account: "accounts/alice", RequestId: uuid.NewString()})
			return err
		},
		"GenerateVouchers": func(ctx context.Context, c client) error {
			stream, err := c.GenerateVouchers(ctx, &notifyv1.GenerateVouchersRequest{Campaign: "campaigns/" + noUUID, Count: 1, RequestId: uuid.NewString()})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"ReserveVoucher": func(ctx context.Context, c client) error {
			_, err := c.ReserveVoucher(ctx, &notifyv1.ReserveVoucherRequest{Code: "00000-00000-00000", RequestId: uuid.NewString()})
			return err
		},
		"ConfirmRedemption": func(ctx context.Context, c client) error {
			_, err := c.ConfirmRedemption(ctx, &notifyv1.ConfirmRedemptionRequest{Name: "vouchers/-/redemptions/" + noUUID, RequestId: uuid.NewString()})
			return err
		},
		"CancelRedemption": func(ctx context.Context, c client) error {
			_, err := c.CancelRedemption(ctx, &notifyv1.CancelRedemptionRequest{Name: "vouchers/-/redemptions/" + noUUID, RequestId: uuid.NewString()})
			return err
		},
		"RollbackRedemption": func(ctx context.Context, c client) error {
			_, err := c.RollbackRedemption(ctx, &notifyv1.RollbackRedemptionRequest{Name: "vouchers/-/redemptions/" + noUUID, RequestId: uuid.NewString()})
			return err
		},
		"IssueVoucher": func(ctx context.Context, c client) error {
			_, err := c.IssueVoucher(ctx, &notifyv1.IssueVoucherRequest{Campaign: "campaigns/" + noUUID, RequestId: uuid.NewString()})
			return err
		},
		"VerifyVoucher": func(ctx context.Context, c client) error {
			_, err := c.VerifyVoucher(ctx, &notifyv1.VerifyVoucherRequest{Code: "00000-00000-00000"})
			return err
		},
		"RedeemVoucher": func(ctx context.Context, c client) error {
			_, err := c.RedeemVoucher(ctx, &notifyv1.RedeemVoucherRequest{Code: "00000-00000-00000", RequestId: uuid.NewString()})
			return err
		},
		"ListVouchers": func(ctx context.Context, c client) error {
			_, err := c.ListVouchers(ctx, &notifyv1.ListVouchersRequest{Parent: "campaigns/" + noUUID})
			return err
		},
		"CreateSubscription": func(ctx context.Context, c client) error {
			_, err := c.CreateSubscription(ctx, &notifyv1.CreateSubscriptionRequest{Parent: "partners/acme", SubscriptionId: "s", RequestId: uuid.NewString()})
			return err
		},
		"GetSubscription": func(ctx context.Context, c client) error {
			_, err := c.GetSubscription(ctx, &notifyv1.GetSubscriptionRequest{Name: "partners/acme/subscriptions/none"})
			return err
		},
		"ListSubscriptions": func(ctx context.Context, c client) error {
			_, err := c.ListSubscriptions(ctx, &notifyv1.ListSubscriptionsRequest{Parent: "partners/acme"})
			return err
		},
		"DeleteSubscription": func(ctx context.Context, c client) error {
			_, err := c.DeleteSubscription(ctx, &notifyv1.DeleteSubscriptionRequest{Name: "partners/acme/subscriptions/none"})
			return err
		},
		"PauseSubscription": func(ctx context.Context, c client) error {
			_, err := c.PauseSubscription(ctx, &notifyv1.PauseSubscriptionRequest{Name: "partners/acme/subscriptions/none"})
			return err
		},
		"ResumeSubscription": func(ctx context.Context, c client) error {
			_, err := c.ResumeSubscription(ctx, &notifyv1.ResumeSubscriptionRequest{Name: "partners/acme/subscriptions/none"})
			return err
		},
		"GetWebhookSecret": func(ctx context.Context, c client) error {
			_, err := c.GetWebhookSecret(ctx, &notifyv1.GetWebhookSecretRequest{Name: "partners/acme/subscriptions/none"})
			return err
		},
		"SendTestEvent": func(ctx context.Context, c client) error {
			_, err := c.SendTestEvent(ctx, &notifyv1.SendTestEventRequest{Name: "partners/acme/subscriptions/none", RequestId: uuid.NewString()})
			return err
		},
		"RotateWebhookKey": func(ctx context.Context, c client) error {
			_, err := c.RotateWebhookKey(ctx, &notifyv1.RotateWebhookKeyRequest{Name: "partners/acme/subscriptions/none", RequestId: uuid.NewString()})
			return err
		},
		"ReplaySubscription": func(ctx context.Context, c client) error {
			_, err := c.ReplaySubscription(ctx, &notifyv1.ReplaySubscriptionRequest{Name: "partners/acme/subscriptions/none", FromTime: timestamppb.New(noon), RequestId: uuid.NewString()})
			return err
		},
		"ListDeadLetters": func(ctx context.Context, c client) error {
			_, err := c.ListDeadLetters(ctx, &notifyv1.ListDeadLettersRequest{Parent: "partners/acme/subscriptions/none"})
			return err
		},
		"RedriveDeadLetters": func(ctx context.Context, c client) error {
			_, err := c.RedriveDeadLetters(ctx, &notifyv1.RedriveDeadLettersRequest{Parent: "partners/acme/subscriptions/none"})
			return err
		},
		"DiscardDeadLetters": func(ctx context.Context, c client) error {
			_, err := c.DiscardDeadLetters(ctx, &notifyv1.DiscardDeadLettersRequest{Parent: "partners/acme/subscriptions/none"})
			return err
		},
		"GetOffboarding": func(ctx context.Context, c client) error {
			_, err := c.GetOffboarding(ctx, &notifyv1.GetOffboardingRequest{Name: "partners/acme/offboarding"})
			return err
		},
		"GetNatsCredentials": func(ctx context.Context, c client) error {
			_, err := c.GetNatsCredentials(ctx, &notifyv1.GetNatsCredentialsRequest{Parent: "partners/acme"})
			return err
		},
		"StreamEvents": func(ctx context.Context, c client) error {
			stream, err := c.StreamEvents(ctx)
			if err != nil {
				return err
			}
			// When the call is refused already, sending says no more than EOF; the reason comes with Recv.
			_ = stream.Send(&notifyv1.StreamEventsRequest{Message: &notifyv1.StreamEventsRequest_Open{Open: "partners/acme/subscriptions/none"}})
			_, err = stream.Recv()
			return err
		},
	}
}

func TestEachCallIsOpenToItsCallersOnly(t *testing.T) {
	a := newAPI(t)
	// What the caller meets: "" is let in, whatever the answer is.
	const not, scope, unknown, none = "CALLER_NOT_ALLOWED", "SCOPE_MISSING", "CALLER_UNKNOWN", "SUBSCRIPTION_NOT_FOUND"
	const noType, noTopic = "ALERT_TYPE_NOT_FOUND", "TOPIC_NOT_FOUND"
	table := map[string]map[string]string{
		"StreamInbox":       {"operator": not, "acme": not, "alice": "", "bob": not, "terminal": not},
		"ListAlerts":        {"operator": "", "acme": not, "alice": "", "bob": not, "terminal": not},
		"SendAlert":         {"operator": "RECIPIENT_NOT_FOUND", "acme": "RECIPIENT_NOT_FOUND", "bolt": "RECIPIENT_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": not},
		"BatchSendAlerts":   {"operator": "", "acme": "", "acme-bare": scope, "alice": not, "terminal": not},
		"GetAlertBroadcast": {"operator": "BROADCAST_NOT_FOUND", "acme": "BROADCAST_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": not},
		"ExplainAlert":      {"operator": "ALERT_NOT_FOUND", "acme": "ALERT_NOT_FOUND", "acme-bare": scope, "alice": "ALERT_NOT_FOUND", "terminal": not},
		"AcknowledgeAlerts": {"operator": not, "acme": not, "alice": "ALERT_NOT_FOUND", "bob": not, "terminal": not},
		"EraseInbox":        {"operator": "", "acme": not, "alice": "", "bob": not, "terminal": not},
		"GetAlertSettings":  {"operator": "", "acme": "RECIPIENT_NOT_FOUND", "acme-bare": scope, "alice": "", "bob": "RECIPIENT_NOT_FOUND", "terminal": not},
		"UpdateAlertSettings": {
			"operator": "", "acme": "RECIPIENT_NOT_FOUND", "acme-bare": scope, "alice": "", "bob": "RECIPIENT_NOT_FOUND", "terminal": not,
		},
		"CreateAlertType":    {"operator": "", "acme": "", "bolt": not, "acme-bare": scope, "alice": not, "terminal": not},
		"GetAlertType":       {"operator": noType, "acme": noType, "bolt": noType, "acme-bare": scope, "alice": not, "terminal": not},
		"ListAlertTypes":     {"operator": "", "acme": "", "bolt": not, "acme-bare": scope, "alice": not, "terminal": not},
		"UpdateAlertType":    {"operator": noType, "acme": noType, "bolt": noType, "acme-bare": scope, "alice": not, "terminal": not},
		"PublishAlertType":   {"operator": noType, "acme": noType, "bolt": noType, "acme-bare": scope, "alice": not, "terminal": not},
		"PreviewAlertType":   {"operator": noType, "acme": noType, "bolt": noType, "acme-bare": scope, "alice": not, "terminal": not},
		"CreateTopic":        {"operator": "", "acme": "", "bolt": not, "acme-bare": scope, "alice": not, "terminal": not},
		"GetTopic":           {"operator": noTopic, "acme": noTopic, "bolt": noTopic, "acme-bare": scope, "alice": not, "terminal": not},
		"DeleteTopic":        {"operator": noTopic, "acme": noTopic, "bolt": noTopic, "acme-bare": scope, "alice": not, "terminal": not},
		"ListTopics":         {"operator": "", "acme": "", "bolt": not, "acme-bare": scope, "alice": not, "terminal": not},
		"ChangeTopicMembers": {"operator": noTopic, "acme": noTopic, "bolt": noTopic, "acme-bare": scope, "alice": not, "terminal": not},
		"ListTopicMembers":   {"operator": noTopic, "acme": noTopic, "bolt": noTopic, "acme-bare": scope, "alice": not, "terminal": not},
		"CreateCampaign":     {"operator": "", "acme": "", "acme-bare": scope, "alice": not, "terminal": not, "payments": not},
		"GetCampaign":        {"operator": "CAMPAIGN_NOT_FOUND", "acme": "CAMPAIGN_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": not, "payments": not},
		"ListCampaigns":      {"operator": "", "acme": "", "acme-bare": scope, "alice": not, "terminal": not, "payments": not},
		"UpdateCampaign":     {"operator": "CAMPAIGN_NOT_FOUND", "acme": "CAMPAIGN_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": not, "payments": not},
		"ActivateCampaign":   {"operator": "CAMPAIGN_NOT_FOUND", "acme": "CAMPAIGN_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": not, "payments": not},
		"PauseCampaign":      {"operator": "CAMPAIGN_NOT_FOUND", "acme": "CAMPAIGN_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": not, "payments": not},
		"EndCampaign":        {"operator": "CAMPAIGN_NOT_FOUND", "acme": "CAMPAIGN_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": not, "payments": not},
		"IssueVoucher":       {"operator": "CAMPAIGN_NOT_FOUND", "acme": "CAMPAIGN_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": not, "payments": not},
		"AssignVoucher":      {"operator": "VOUCHER_NOT_FOUND", "acme": "VOUCHER_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": not, "payments": not},
		"GenerateVouchers":   {"operator": "CAMPAIGN_NOT_FOUND", "acme": "CAMPAIGN_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": not, "payments": not},
		"ListVouchers":       {"operator": "CAMPAIGN_NOT_FOUND", "acme": "CAMPAIGN_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": not, "payments": not},
		"VerifyVoucher": {
			"operator": "VOUCHER_NOT_FOUND", "acme": "VOUCHER_NOT_FOUND", "acme-bare": scope, "alice": "VOUCHER_NOT_FOUND", "terminal": "VOUCHER_NOT_FOUND",
			"payments": not,
		},
		"ReserveVoucher": {
			"operator": not, "acme": "VOUCHER_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": "VOUCHER_NOT_FOUND", "payments": "INVALID_FIELD", "auth": not,
		},
		"RedeemVoucher": {"operator": not, "acme": "VOUCHER_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": "VOUCHER_NOT_FOUND", "payments": not},
		"ConfirmRedemption": {
			"operator": not, "acme": "REDEMPTION_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": "REDEMPTION_NOT_FOUND",
			"payments": "REDEMPTION_NOT_FOUND", "auth": not,
		},
		"CancelRedemption": {
			"operator": "REDEMPTION_NOT_FOUND", "acme": "REDEMPTION_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": "REDEMPTION_NOT_FOUND",
			"payments": "REDEMPTION_NOT_FOUND", "auth": not,
		},
		"RollbackRedemption": {
			"operator": "REDEMPTION_NOT_FOUND", "acme": "REDEMPTION_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": "REDEMPTION_NOT_FOUND",
			"payments": not,
		},
		"CreateEventType": {"operator": "", "acme": "", "bolt": not, "acme-bare": scope, "acme-one": scope, "alice": not, "terminal": not, "payments": not},
		"GetEventType": {
			"operator": "EVENT_TYPE_NOT_FOUND", "acme": "EVENT_TYPE_NOT_FOUND", "bolt": "EVENT_TYPE_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": not,
		},
		"ListEventTypes": {"operator": "", "acme": "", "bolt": not, "acme-bare": scope, "alice": not, "terminal": not},
		"UpdateEventType": {
			"operator": "EVENT_TYPE_NOT_FOUND", "acme": "EVENT_TYPE_NOT_FOUND", "bolt": "EVENT_TYPE_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": not,
		},
		"DeleteEventType": {
			"operator": "EVENT_TYPE_NOT_FOUND", "acme": "EVENT_TYPE_NOT_FOUND", "bolt": "EVENT_TYPE_NOT_FOUND", "acme-bare": scope, "alice": not, "terminal": not,
		},
		"PublishEvents":      {"operator": not, "acme": "", "acme-bare": "", "bolt": not, "alice": not, "terminal": not, "payments": not}, // each result says
		"CreateSubscription": {"operator": not, "acme": "", "bolt": not, "acme-bare": scope, "alice": not, "terminal": not},
		"ListSubscriptions":  {"operator": "", "acme": "", "bolt": not, "acme-bare": scope, "alice": not, "terminal": not},
		"DeleteSubscription": {"operator": "", "acme": "", "bolt": "", "acme-bare": scope, "alice": not, "terminal": not},
		"GetOffboarding":     {"operator": "", "acme": not, "bolt": not, "acme-bare": not, "alice": not, "terminal": not, "payments": not, "auth": not},
		"GetNatsCredentials": {"operator": not, "acme": "", "bolt": not, "acme-bare": scope, "alice": not, "terminal": not},
		"PauseSubscription":  {"operator": none, "acme": none, "bolt": none, "acme-bare": scope, "alice": not, "terminal": not},
		"ResumeSubscription": {"operator": none, "acme": none, "bolt": none, "acme-bare": scope, "alice": not, "terminal": not},
		"ListDeadLetters":    {"operator": none, "acme": none, "bolt": none, "acme-bare": scope, "alice": not, "terminal": not},
		"RedriveDeadLetters": {"operator": none, "acme": none, "bolt": none, "acme-bare": scope, "alice": not, "terminal": not},
		"DiscardDeadLetters": {"operator": none, "acme": none, "bolt": none, "acme-bare": scope, "alice": not, "terminal": not},
		"ReplaySubscription": {"operator": not, "acme": none, "bolt": none, "acme-bare": scope, "alice": not, "terminal": not},
		"SendTestEvent":      {"operator": not, "acme": none, "bolt": none, "acme-bare": scope, "alice": not, "terminal": not},
		"RotateWebhookKey":   {"operator": not, "acme": none, "bolt": none, "acme-bare": scope, "alice": not, "terminal": not},
		"GetWebhookSecret":   {"operator": not, "acme": none, "bolt": none, "acme-bare": scope, "alice": not, "terminal": not},
		"StreamEvents":       {"operator": not, "acme": none, "bolt": none, "acme-bare": scope, "alice": not, "terminal": not},
		"GetSubscription": {
			"operator": "SUBSCRIPTION_NOT_FOUND", "acme": "SUBSCRIPTION_NOT_FOUND", "bolt": "SUBSCRIPTION_NOT_FOUND", "acme-bare": scope,
			"alice": not, "terminal": not,
		},
	}
	for method, call := range calls() {
		row, ok := table[method]
		if !ok {
			t.Fatalf("%s is not in the table", method)
		}
		row[""], row["forged"] = unknown, unknown
		for token, want := range row {
			if got := fault.ReasonOf(call(t.Context(), a.as(token))); got != want {
				t.Errorf("%s as %q: got %q, want %q", method, token, got, want)
			}
		}
	}
	if want := len(notifyv1.NotifyService_ServiceDesc.Methods) + len(notifyv1.NotifyService_ServiceDesc.Streams); len(calls()) != want {
		t.Errorf("%d of %d calls are tried", len(calls()), want)
	}
}

func TestNonsenseIsRefusedByField(t *testing.T) {
	a := newAPI(t)
	operator, acme, alice, terminal := a.as("operator"), a.as("acme"), a.as("alice"), a.as("terminal")
	campaign := func(change func(*notifyv1.CreateCampaignRequest)) func(context.Context) error {
		return func(ctx context.Context) error {
			req := campaignRequest(1)
			change(req)
			_, err := operator.CreateCampaign(ctx, req)
			return err
		}
	}
	send := func(change func(*notifyv1.SendAlertRequest)) func(context.Context) error {
		return func(ctx context.Context) error {
			req := &notifyv1.SendAlertRequest{Device: device, BandText: "hi", RequestId: "r"}
			change(req)
			_, err := acme.SendAlert(ctx, req)
			return err
		}
	}
	subscribe := func(filter string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := acme.CreateSubscription(ctx, &notifyv1.CreateSubscriptionRequest{Parent: "partners/acme", SubscriptionId: "x", Filters: []string{filter}, RequestId: "r"})
			return err
		}
	}
	for name, call := range map[string]func(context.Context) error{
		"a campaign without a value": campaign(func(r *notifyv1.CreateCampaignRequest) { r.Value = nil }),
		"a campaign worth nothing":   campaign(func(r *notifyv1.CreateCampaignRequest) { r.Value.MinorUnits = 0 }),
		"a campaign worth less":      campaign(func(r *notifyv1.CreateCampaignRequest) { r.Value.MinorUnits = -1 }),
		"a campaign in a wrong unit": campaign(func(r *notifyv1.CreateCampaignRequest) { r.Value.CurrencyCode = "yuan" }),
		"a percentage without a cap": campaign(func(r *notifyv1.CreateCampaignRequest) {
			r.Kind, r.Value = notifyv1.VoucherKind_VOUCHER_KIND_PERCENT, nil
		}),
		"an entitlement with a value":  campaign(func(r *notifyv1.CreateCampaignRequest) { r.Kind = notifyv1.VoucherKind_VOUCHER_KIND_ENTITLEMENT }),
		"a budget in another currency": campaign(func(r *notifyv1.CreateCampaignRequest) { r.Budget = &typev1.Money{MinorUnits: 1, CurrencyCode: "EUR"} }),
		"a budget of nothing":          campaign(func(r *notifyv1.CreateCampaignRequest) { r.Budget = &typev1.Money{CurrencyCode: "CNY"} }),
		"a limit of nothing":           campaign(func(r *notifyv1.CreateCampaignRequest) { r.Limits = []*notifyv1.CampaignLimit{{}} }),
		"a merchant that is none":      campaign(func(r *notifyv1.CreateCampaignRequest) { r.Merchants = []string{"merchants/x"} }),
		"uses of a stored value": campaign(func(r *notifyv1.CreateCampaignRequest) {
			r.Kind, r.UsesPerVoucher = notifyv1.VoucherKind_VOUCHER_KIND_STORED_VALUE, 2
		}),
		"a price of nothing": func(ctx context.Context) error {
			_, err := terminal.VerifyVoucher(ctx, &notifyv1.VerifyVoucherRequest{Code: "00000-00000-00000", PurchaseAmount: &typev1.Money{CurrencyCode: "CNY"}})
			return err
		},
		"a payment that a terminal speaks of": func(ctx context.Context) error {
			_, err := terminal.ReserveVoucher(ctx, &notifyv1.ReserveVoucherRequest{Code: "00000-00000-00000", Payment: "payments/" + noUUID, RequestId: "r"})
			return err
		},
		"a batch of none": func(ctx context.Context) error {
			stream, err := acme.GenerateVouchers(ctx, &notifyv1.GenerateVouchersRequest{Campaign: "campaigns/" + noUUID, RequestId: "r"})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"an update of what cannot change": func(ctx context.Context) error {
			_, err := acme.UpdateCampaign(ctx, &notifyv1.UpdateCampaignRequest{
				Campaign: &notifyv1.Campaign{Name: "campaigns/" + noUUID}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"kind"}}, RequestId: "r",
			})
			return err
		},
		"a campaign without vouchers": campaign(func(r *notifyv1.CreateCampaignRequest) { r.VoucherLimit = 0 }),
		"a campaign with too many":    campaign(func(r *notifyv1.CreateCampaignRequest) { r.VoucherLimit = 100_000_001 }),
		"a campaign without an end":   campaign(func(r *notifyv1.CreateCampaignRequest) { r.ExpireTime = nil }),
		"a campaign in year 10,000":   campaign(func(r *notifyv1.CreateCampaignRequest) { r.ExpireTime = &timestamppb.Timestamp{Seconds: 253402300800} }),
		"a campaign without a name":   campaign(func(r *notifyv1.CreateCampaignRequest) { r.DisplayName = "" }),
		"a request id with spaces":    campaign(func(r *notifyv1.CreateCampaignRequest) { r.RequestId = "a b" }),
		"no request id":               campaign(func(r *notifyv1.CreateCampaignRequest) { r.RequestId = "" }),
		"a band text of 19 bytes":     send(func(r *notifyv1.SendAlertRequest) { r.BandText = "1234567890123456789" }),
		"a band text of 10 yen signs": send(func(r *notifyv1.SendAlertRequest) { r.BandText = "¥¥¥¥¥¥¥¥¥¥" }),
		"an empty band text":          send(func(r *notifyv1.SendAlertRequest) { r.BandText = "" }),
		"a band text with a bell":     send(func(r *notifyv1.SendAlertRequest) { r.BandText = "\a" }),
		"two recipients":              send(func(r *notifyv1.SendAlertRequest) { r.Topic = "partners/acme/topics/t" }),
		"no recipient":                send(func(r *notifyv1.SendAlertRequest) { r.Device = "" }),
		"a ttl of a month":            send(func(r *notifyv1.SendAlertRequest) { r.Ttl = durationpb.New(29 * 24 * time.Hour) }),
		"a negative ttl":              send(func(r *notifyv1.SendAlertRequest) { r.Ttl = durationpb.New(-time.Second) }),
		"a ttl of 0 that waits": send(func(r *notifyv1.SendAlertRequest) {
			r.Ttl, r.DeliverTime = durationpb.New(0), timestamppb.New(noon.Add(time.Hour))
		}),
		"a deliver_time in a month":     send(func(r *notifyv1.SendAlertRequest) { r.DeliverTime = timestamppb.New(noon.Add(29 * 24 * time.Hour)) }),
		"four actions":                  send(func(r *notifyv1.SendAlertRequest) { r.Actions = actions("a", "b", "c", "d") }),
		"two actions of one id":         send(func(r *notifyv1.SendAlertRequest) { r.Actions = actions("a", "a") }),
		"a type and a text":             send(func(r *notifyv1.SendAlertRequest) { r.Type = "partners/acme/alertTypes/x" }),
		"a long collapse key":           send(func(r *notifyv1.SendAlertRequest) { r.CollapseKey = strings.Repeat("x", 65) }),
		"a device that is none":         send(func(r *notifyv1.SendAlertRequest) { r.Device = "partners/acme/devices/zz" }),
		"a filter of the other mode":    subscribe("test.>"),
		"a filter that matches nothing": subscribe("live.payments"),
		"a filter that is none":         subscribe("pevt.v1.bolt.>"),
		"a short code": func(ctx context.Context) error {
			_, err := terminal.VerifyVoucher(ctx, &notifyv1.VerifyVoucherRequest{Code: "12345"})
			return err
		},
		"a negative cursor": func(ctx context.Context) error {
			stream, err := alice.StreamInbox(ctx, &notifyv1.StreamInboxRequest{
				Account: "accounts/alice", ClientId: "p", Surface: phone, Cursor: &notifyv1.InboxCursor{Sequence: -1},
			})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
		"a page of 1,001": func(ctx context.Context) error {
			_, err := alice.ListAlerts(ctx, &notifyv1.ListAlertsRequest{Parent: "accounts/alice", PageSize: 1001})
			return err
		},
		"a campaign's name that is none": func(ctx context.Context) error {
			_, err := acme.ListVouchers(ctx, &notifyv1.ListVouchersRequest{Parent: "campaigns/1"})
			return err
		},
	} {
		refused(t, name, call(t.Context()), fault.Invalid, fault.ReasonInvalidField)
	}
	_, err := operator.CreateCampaign(t.Context(), &notifyv1.CreateCampaignRequest{
		DisplayName: "Late", Value: &typev1.Money{MinorUnits: 1, CurrencyCode: "CNY"}, VoucherLimit: 1,
		ExpireTime: timestamppb.New(noon.Add(-time.Second)), RequestId: "late",
	})
	refused(t, "a campaign that is over", err, fault.Invalid, "CAMPAIGN_WINDOW_INVALID")
	if n := a.count(`SELECT COUNT(*) FROM campaigns`); n != 0 {
		t.Errorf("nonsense made %d campaigns", n)
	}
}
