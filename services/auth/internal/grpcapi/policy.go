package grpcapi

import (
	"github.com/armlet-pay/armlet/platform/rpc"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
)

const scopeProvision = "devices.provision"

// Policy is who may call what. Which purposes a caller may make challenges of, and which devices it sees, is the domain's
// business.
func Policy() rpc.Policy {
	operator := rpc.Rule{Roles: []rpc.Role{rpc.RoleOperator}}
	self := rpc.Rule{Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}}
	grants := rpc.Rule{Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator, rpc.RoleService}, Services: []string{"notify"}}
	wearer := rpc.Rule{Roles: []rpc.Role{rpc.RoleWearer}}
	payments := rpc.Rule{Roles: []rpc.Role{rpc.RoleService}, Services: []string{"payments"}}
	tap := rpc.Rule{
		Roles: []rpc.Role{rpc.RoleService, rpc.RoleTerminal, rpc.RoleWearer, rpc.RolePartner}, Services: []string{"payments"},
	}
	return rpc.Policy{
		authv1.AuthService_CreatePartner_FullMethodName:         operator,
		authv1.AuthService_GetPartner_FullMethodName:            self,
		authv1.AuthService_ListPartners_FullMethodName:          operator,
		authv1.AuthService_SuspendPartner_FullMethodName:        operator,
		authv1.AuthService_OffboardPartner_FullMethodName:       operator,
		authv1.AuthService_ResumePartner_FullMethodName:         operator,
		authv1.AuthService_CreateClient_FullMethodName:          operator,
		authv1.AuthService_GetClient_FullMethodName:             self,
		authv1.AuthService_ListClients_FullMethodName:           self,
		authv1.AuthService_AddClientKey_FullMethodName:          self,
		authv1.AuthService_RemoveClientKey_FullMethodName:       self,
		authv1.AuthService_SuspendClient_FullMethodName:         self,
		authv1.AuthService_ResumeClient_FullMethodName:          operator,
		authv1.AuthService_RevokeClient_FullMethodName:          self,
		authv1.AuthService_CreateGrant_FullMethodName:           self,
		authv1.AuthService_ApplyGrantBundle_FullMethodName:      operator,
		authv1.AuthService_GetGrant_FullMethodName:              grants,
		authv1.AuthService_ApproveGrant_FullMethodName:          operator,
		authv1.AuthService_SuspendGrant_FullMethodName:          operator,
		authv1.AuthService_RevokeGrant_FullMethodName:           operator,
		authv1.AuthService_ListGrants_FullMethodName:            grants,
		authv1.AuthService_ListAuditEntries_FullMethodName:      operator,
		authv1.AuthService_VerifyAudit_FullMethodName:           operator,
		authv1.AuthService_CreateMasterKey_FullMethodName:       operator,
		authv1.AuthService_ImportMasterKey_FullMethodName:       operator,
		authv1.AuthService_GetImportKey_FullMethodName:          operator,
		authv1.AuthService_ListMasterKeys_FullMethodName:        self,
		authv1.AuthService_ActivateMasterKey_FullMethodName:     operator,
		authv1.AuthService_TaintMasterKey_FullMethodName:        operator,
		authv1.AuthService_DestroyMasterKey_FullMethodName:      operator,
		authv1.AuthService_ListSigningKeys_FullMethodName:       operator,
		authv1.AuthService_RotateSigningKey_FullMethodName:      operator,
		authv1.AuthService_TaintSigningKey_FullMethodName:       operator,
		authv1.AuthService_RevokeSessions_FullMethodName:        {Roles: []rpc.Role{rpc.RoleOperator, rpc.RoleWearer}, Support: true},
		authv1.AuthService_ExportMasterKey_FullMethodName:       {Roles: []rpc.Role{rpc.RolePartner}, Scope: scopeProvision},
		authv1.AuthService_CreateWearerSession_FullMethodName:   operator,
		authv1.AuthService_CreateTerminalSession_FullMethodName: operator,
		authv1.AuthService_BeginClaim_FullMethodName:            wearer,
		authv1.AuthService_CompleteClaim_FullMethodName:         wearer,
		authv1.AuthService_CreateChallenge_FullMethodName:       tap,
		authv1.AuthService_VerifyResponse_FullMethodName:        tap,
		authv1.AuthService_StreamDenyList_FullMethodName: {
			Roles: []rpc.Role{rpc.RoleTerminal, rpc.RolePartner, rpc.RoleOperator}, Scope: "offline.clear",
		},
		authv1.AuthService_VerifyOfflineTaps_FullMethodName: payments,
	}
}
