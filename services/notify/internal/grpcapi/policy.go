package grpcapi

import (
	"maps"

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
)

// Policy says who may call what. Whose account, campaign or subscription it may be is decided further in.
func Policy() rpc.Policy {
	policy := alertPolicy()
	maps.Copy(policy, rpc.Policy{
		notifyv1.NotifyService_CreateCampaign_FullMethodName: {Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeIssue},
		notifyv1.NotifyService_IssueVoucher_FullMethodName:   {Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeIssue},
		notifyv1.NotifyService_VerifyVoucher_FullMethodName: {
			Roles: []rpc.Role{rpc.RoleTerminal, rpc.RolePartner, rpc.RoleOperator}, Scope: scopeVerify,
		},
		notifyv1.NotifyService_RedeemVoucher_FullMethodName: {Roles: []rpc.Role{rpc.RoleTerminal, rpc.RolePartner}, Scope: scopeRedeem},
		notifyv1.NotifyService_ListVouchers_FullMethodName:  {Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeIssue},
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
	return policy
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
