package grpcapi

import (
	"github.com/armlet-pay/armlet/platform/rpc"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

const (
	scopeInitiate = "payments.initiate"
	scopeRead     = "payments.read"
	scopeClear    = "offline.clear"
)

// Policy is who may call what. What each caller may see and do there is the domain's business.
func Policy() rpc.Policy {
	operator := rpc.Rule{Roles: []rpc.Role{rpc.RoleOperator}}
	wallet := rpc.Rule{Roles: []rpc.Role{rpc.RoleWearer, rpc.RoleOperator}}
	till := rpc.Rule{Roles: []rpc.Role{rpc.RoleTerminal, rpc.RoleOperator}}
	pay := rpc.Rule{Roles: []rpc.Role{rpc.RoleTerminal, rpc.RolePartner, rpc.RoleWearer}, Scope: scopeInitiate}
	everyone := []rpc.Role{rpc.RoleTerminal, rpc.RolePartner, rpc.RoleWearer, rpc.RoleOperator}
	read := rpc.Rule{Roles: everyone, Scope: scopeRead}
	return rpc.Policy{
		paymentsv1.PaymentsService_CreateAccount_FullMethodName:       operator,
		paymentsv1.PaymentsService_GetAccount_FullMethodName:          wallet,
		paymentsv1.PaymentsService_TopUpAccount_FullMethodName:        operator,
		paymentsv1.PaymentsService_WithdrawFromAccount_FullMethodName: operator,
		paymentsv1.PaymentsService_CloseAccount_FullMethodName:        operator,
		paymentsv1.PaymentsService_FreezeAccount_FullMethodName:       {Roles: []rpc.Role{rpc.RoleOperator}, Support: true}, // whoever sees fraud calls the desk
		paymentsv1.PaymentsService_UnfreezeAccount_FullMethodName:     operator,
		paymentsv1.PaymentsService_GetStatement_FullMethodName:        wallet,
		paymentsv1.PaymentsService_GetBalance_FullMethodName:          {Roles: []rpc.Role{rpc.RoleWearer, rpc.RoleTerminal, rpc.RoleOperator}},

		paymentsv1.PaymentsService_CreateMerchant_FullMethodName:  operator,
		paymentsv1.PaymentsService_GetMerchant_FullMethodName:     till,
		paymentsv1.PaymentsService_ListMerchants_FullMethodName:   operator,
		paymentsv1.PaymentsService_UpdateMerchant_FullMethodName:  operator,
		paymentsv1.PaymentsService_SuspendMerchant_FullMethodName: operator,
		paymentsv1.PaymentsService_ResumeMerchant_FullMethodName:  operator,
		paymentsv1.PaymentsService_CreateTerminal_FullMethodName:  operator,
		paymentsv1.PaymentsService_GetTerminal_FullMethodName:     till,
		paymentsv1.PaymentsService_ListTerminals_FullMethodName:   till,
		paymentsv1.PaymentsService_SuspendTerminal_FullMethodName: operator,
		paymentsv1.PaymentsService_ResumeTerminal_FullMethodName:  operator,

		paymentsv1.PaymentsService_CreatePayment_FullMethodName:    pay,
		paymentsv1.PaymentsService_ConfirmPayment_FullMethodName:   pay,
		paymentsv1.PaymentsService_AuthorizePayment_FullMethodName: pay,
		paymentsv1.PaymentsService_CapturePayment_FullMethodName:   till,
		paymentsv1.PaymentsService_VoidPayment_FullMethodName:      {Roles: everyone, Scope: scopeInitiate},
		paymentsv1.PaymentsService_RefundPayment_FullMethodName:    till,
		paymentsv1.PaymentsService_GetPayment_FullMethodName:       read,
		paymentsv1.PaymentsService_WatchPayment_FullMethodName:     read,
		paymentsv1.PaymentsService_ListPayments_FullMethodName:     read,
		paymentsv1.PaymentsService_SubmitOfflineTaps_FullMethodName: {
			Roles: []rpc.Role{rpc.RoleTerminal, rpc.RolePartner, rpc.RoleOperator}, Scope: scopeClear,
		},

		paymentsv1.PaymentsService_SetLimitPolicy_FullMethodName:    operator,
		paymentsv1.PaymentsService_GetLimitPolicy_FullMethodName:    operator,
		paymentsv1.PaymentsService_ListLimitPolicies_FullMethodName: operator,
		paymentsv1.PaymentsService_DeleteLimitPolicy_FullMethodName: operator,

		paymentsv1.PaymentsService_ListSettlements_FullMethodName:        till,
		paymentsv1.PaymentsService_GetSettlement_FullMethodName:          till,
		paymentsv1.PaymentsService_ExportSettlementReport_FullMethodName: till,
		paymentsv1.PaymentsService_PostTransfers_FullMethodName:          operator,
		paymentsv1.PaymentsService_ReverseTransfer_FullMethodName:        operator,
		paymentsv1.PaymentsService_GetTrialBalance_FullMethodName:        operator,
		paymentsv1.PaymentsService_VerifyLedger_FullMethodName:           operator,
	}
}
