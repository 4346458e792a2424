package grpcapi

import (
	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

// The scopes that partners need.
const (
	scopeSend      = "alerts.send"
	scopeIssue     = "vouchers.issue"
	scopeVerify    = "vouchers.verify"
	scopeRedeem    = "vouchers.redeem"
	scopeSubscribe = "events.subscribe"
)

// Policy says who may call what. Whose account, campaign or subscription it may be is decided further in.
func Policy() rpc.Policy {
	return rpc.Policy{
		notifyv1.NotifyService_StreamInbox_FullMethodName:    {Roles: []rpc.Role{rpc.RoleWearer}},
		notifyv1.NotifyService_ListAlerts_FullMethodName:     {Roles: []rpc.Role{rpc.RoleWearer, rpc.RoleOperator}},
		notifyv1.NotifyService_SendAlert_FullMethodName:      {Roles: []rpc.Role{rpc.RolePartner}, Scope: scopeSend},
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
	}
}
