package grpcapi

import (
	"maps"
	"slices"

	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

// The scopes that partners need.
const (
	scopeSend      = "alerts.send"
	scopeCritical  = "alerts.critical"
	scopeTypes     = "alerts.types"
	scopeIssue     = "vouchers.issue"
	scopeVerify    = "vouchers.verify"
	scopeRedeem    = "vouchers.redeem"
	scopeSubscribe = "events.subscribe"
	scopePublish   = "events.publish"
)

// payments is the service that redeems vouchers with payments.
const payments = "payments"

// Policy says who may call what. Whose account, campaign or subscription it may be is decided further in.
func Policy() rpc.Policy {
	p := alertPolicy()
	maps.Copy(p, rpc.Policy{
		notifyv1.NotifyService_CreateSubscription_FullMethodName: {
			Roles: []rpc.Role{rpc.RolePartner}, Scope: scopeSubscribe,
		},
		notifyv1.NotifyService_GetSubscription_FullMethodName: {
			Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeSubscribe,
		},
		notifyv1.NotifyService_ListSubscriptions_FullMethodName: {
			Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeSubscribe,
		},
		notifyv1.NotifyService_DeleteSubscription_FullMethodName: {
			Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeSubscribe,
		},
		notifyv1.NotifyService_PauseSubscription_FullMethodName: {
			Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeSubscribe,
		},
		notifyv1.NotifyService_ResumeSubscription_FullMethodName: {
			Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeSubscribe,
		},
		notifyv1.NotifyService_ListDeadLetters_FullMethodName: {
			Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeSubscribe,
		},
		notifyv1.NotifyService_RedriveDeadLetters_FullMethodName: {
			Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeSubscribe,
		},
		notifyv1.NotifyService_DiscardDeadLetters_FullMethodName: {
			Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeSubscribe,
		},
		notifyv1.NotifyService_ReplaySubscription_FullMethodName: {Roles: []rpc.Role{rpc.RolePartner}, Scope: scopeSubscribe},
		notifyv1.NotifyService_SendTestEvent_FullMethodName:      {Roles: []rpc.Role{rpc.RolePartner}, Scope: scopeSubscribe},
		notifyv1.NotifyService_RotateWebhookKey_FullMethodName:   {Roles: []rpc.Role{rpc.RolePartner}, Scope: scopeSubscribe},
		notifyv1.NotifyService_GetWebhookSecret_FullMethodName:   {Roles: []rpc.Role{rpc.RolePartner}, Scope: scopeSubscribe},
		notifyv1.NotifyService_StreamEvents_FullMethodName:       {Roles: []rpc.Role{rpc.RolePartner}, Scope: scopeSubscribe},
		notifyv1.NotifyService_GetNatsCredentials_FullMethodName: {Roles: []rpc.Role{rpc.RolePartner}, Scope: scopeSubscribe},
	})
	types := rpc.Rule{Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopePublish}
	maps.Copy(p, rpc.Policy{
		notifyv1.NotifyService_GetOffboarding_FullMethodName:  {Roles: []rpc.Role{rpc.RoleOperator}},
		notifyv1.NotifyService_CreateEventType_FullMethodName: types,
		notifyv1.NotifyService_GetEventType_FullMethodName:    types,
		notifyv1.NotifyService_ListEventTypes_FullMethodName:  types,
		notifyv1.NotifyService_UpdateEventType_FullMethodName: types,
		notifyv1.NotifyService_DeleteEventType_FullMethodName: types,
		// Each event needs scopePublish or its type's own scope.
		notifyv1.NotifyService_PublishEvents_FullMethodName: {Roles: []rpc.Role{rpc.RolePartner}},
	})
	maps.Copy(p, vouchersPolicy())
	return p
}

// alertPolicy is the part of [Policy] that is about alerts.
func alertPolicy() rpc.Policy {
	wearer, both := []rpc.Role{rpc.RoleWearer}, []rpc.Role{rpc.RoleWearer, rpc.RoleOperator}
	senders := rpc.Rule{Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeSend}
	types := rpc.Rule{Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeTypes}
	all := rpc.Rule{Roles: []rpc.Role{rpc.RolePartner, rpc.RoleWearer, rpc.RoleOperator}, Scope: scopeSend}
	return rpc.Policy{
		notifyv1.NotifyService_CreateAlertType_FullMethodName:     types,
		notifyv1.NotifyService_GetAlertType_FullMethodName:        types,
		notifyv1.NotifyService_ListAlertTypes_FullMethodName:      types,
		notifyv1.NotifyService_UpdateAlertType_FullMethodName:     types,
		notifyv1.NotifyService_PublishAlertType_FullMethodName:    types,
		notifyv1.NotifyService_PreviewAlertType_FullMethodName:    types,
		notifyv1.NotifyService_SendAlert_FullMethodName:           senders,
		notifyv1.NotifyService_BatchSendAlerts_FullMethodName:     senders,
		notifyv1.NotifyService_GetAlertBroadcast_FullMethodName:   senders,
		notifyv1.NotifyService_ExplainAlert_FullMethodName:        all,
		notifyv1.NotifyService_StreamInbox_FullMethodName:         {Roles: wearer},
		notifyv1.NotifyService_ListAlerts_FullMethodName:          {Roles: both},
		notifyv1.NotifyService_AcknowledgeAlerts_FullMethodName:   {Roles: wearer},
		notifyv1.NotifyService_EraseInbox_FullMethodName:          {Roles: both},
		notifyv1.NotifyService_GetAlertSettings_FullMethodName:    all,
		notifyv1.NotifyService_UpdateAlertSettings_FullMethodName: all,
		notifyv1.NotifyService_CreateTopic_FullMethodName:         senders,
		notifyv1.NotifyService_GetTopic_FullMethodName:            senders,
		notifyv1.NotifyService_DeleteTopic_FullMethodName:         senders,
		notifyv1.NotifyService_ListTopics_FullMethodName:          senders,
		notifyv1.NotifyService_ChangeTopicMembers_FullMethodName:  senders,
		notifyv1.NotifyService_ListTopicMembers_FullMethodName:    senders,
	}
}

func vouchersPolicy() rpc.Policy {
	issuers := rpc.Rule{Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeIssue}
	redeemers := rpc.Rule{Roles: []rpc.Role{rpc.RoleTerminal, rpc.RolePartner, rpc.RoleService}, Services: []string{payments}, Scope: scopeRedeem}
	return rpc.Policy{
		notifyv1.NotifyService_CreateCampaign_FullMethodName:   issuers,
		notifyv1.NotifyService_GetCampaign_FullMethodName:      issuers,
		notifyv1.NotifyService_ListCampaigns_FullMethodName:    issuers,
		notifyv1.NotifyService_UpdateCampaign_FullMethodName:   issuers,
		notifyv1.NotifyService_ActivateCampaign_FullMethodName: issuers,
		notifyv1.NotifyService_PauseCampaign_FullMethodName:    issuers,
		notifyv1.NotifyService_EndCampaign_FullMethodName:      issuers,
		notifyv1.NotifyService_IssueVoucher_FullMethodName:     issuers,
		notifyv1.NotifyService_AssignVoucher_FullMethodName:    issuers,
		notifyv1.NotifyService_GenerateVouchers_FullMethodName: issuers,
		notifyv1.NotifyService_ListVouchers_FullMethodName:     issuers,
		notifyv1.NotifyService_VerifyVoucher_FullMethodName: {
			Roles: []rpc.Role{rpc.RoleTerminal, rpc.RoleWearer, rpc.RolePartner, rpc.RoleOperator}, Scope: scopeVerify,
		},
		notifyv1.NotifyService_ReserveVoucher_FullMethodName:    redeemers,
		notifyv1.NotifyService_ConfirmRedemption_FullMethodName: redeemers,
		notifyv1.NotifyService_CancelRedemption_FullMethodName: {
			Roles: append(slices.Clone(redeemers.Roles), rpc.RoleOperator), Services: redeemers.Services, Scope: scopeRedeem,
		},
		notifyv1.NotifyService_RedeemVoucher_FullMethodName: {Roles: []rpc.Role{rpc.RoleTerminal, rpc.RolePartner}, Scope: scopeRedeem},
		notifyv1.NotifyService_RollbackRedemption_FullMethodName: {
			Roles: []rpc.Role{rpc.RoleTerminal, rpc.RolePartner, rpc.RoleOperator}, Scope: scopeRedeem,
		},
	}
}
