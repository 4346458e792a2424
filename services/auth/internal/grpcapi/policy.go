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
	wearer := rpc.Rule{Roles: []rpc.Role{rpc.RoleWearer}}
	payments := rpc.Rule{Roles: []rpc.Role{rpc.RoleService}, Services: []string{"payments"}}
	tap := rpc.Rule{
		Roles: []rpc.Role{rpc.RoleService, rpc.RoleTerminal, rpc.RoleWearer, rpc.RolePartner}, Services: []string{"payments"},
	}
	return rpc.Policy{
		authv1.AuthService_CreatePartner_FullMethodName: operator,
		authv1.AuthService_GetPartner_FullMethodName:    self,
		authv1.AuthService_CreateClient_FullMethodName:  operator,
		authv1.AuthService_CreateGrant_FullMethodName:   operator,
		authv1.AuthService_RevokeGrant_FullMethodName:   operator,
		authv1.AuthService_ListGrants_FullMethodName: {
			Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator, rpc.RoleService}, Services: []string{"notify"},
		},
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
