package grpcapi

import (
	"github.com/armlet-pay/armlet/platform/rpc"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
)

// The scopes that partners need.
const (
	scopeRead      = "devices.read"
	scopeProvision = "devices.provision"
)

// Policy says who may call what. Which things a caller then sees is the domain's to decide.
func Policy() rpc.Policy {
	provision := rpc.Rule{Roles: []rpc.Role{rpc.RolePartner}, Scope: scopeProvision}
	provisionOrOperator := rpc.Rule{Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeProvision}
	read := rpc.Rule{Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator}, Scope: scopeRead}
	auth := rpc.Rule{Roles: []rpc.Role{rpc.RoleService}, Services: []string{"auth"}}
	return rpc.Policy{
		devicesv1.DeviceRegistryService_CreateModel_FullMethodName:        provision,
		devicesv1.DeviceRegistryService_GetModel_FullMethodName:           read,
		devicesv1.DeviceRegistryService_ListModels_FullMethodName:         read,
		devicesv1.DeviceRegistryService_CreateLot_FullMethodName:          provision,
		devicesv1.DeviceRegistryService_GetLot_FullMethodName:             read,
		devicesv1.DeviceRegistryService_ListLots_FullMethodName:           read,
		devicesv1.DeviceRegistryService_CreateDevice_FullMethodName:       provision,
		devicesv1.DeviceRegistryService_ListAuditEntries_FullMethodName:   read,
		devicesv1.DeviceRegistryService_CheckDevice_FullMethodName:        auth,
		devicesv1.DeviceRegistryService_BeginBinding_FullMethodName:       auth,
		devicesv1.DeviceRegistryService_ConfirmBinding_FullMethodName:     auth,
		devicesv1.DeviceRegistryService_UpdateModel_FullMethodName:        provision,
		devicesv1.DeviceRegistryService_SetModelStatus_FullMethodName:     provisionOrOperator,
		devicesv1.DeviceRegistryService_ReleaseLot_FullMethodName:         provision,
		devicesv1.DeviceRegistryService_RecallLot_FullMethodName:          provisionOrOperator,
		devicesv1.DeviceRegistryService_ImportDevices_FullMethodName:      provision,
		devicesv1.DeviceRegistryService_GetImport_FullMethodName:          read,
		devicesv1.DeviceRegistryService_GetQuota_FullMethodName:           read,
		devicesv1.DeviceRegistryService_UpdateQuota_FullMethodName:        {Roles: []rpc.Role{rpc.RoleOperator}},
		devicesv1.DeviceRegistryService_UpdateDevice_FullMethodName:       provision,
		devicesv1.DeviceRegistryService_ReleaseBinding_FullMethodName:     auth,
		devicesv1.DeviceRegistryService_CompleteTransfer_FullMethodName:   auth,
		devicesv1.DeviceRegistryService_RetireDevice_FullMethodName:       provisionOrOperator,
		devicesv1.DeviceRegistryService_RevokeDevice_FullMethodName:       provisionOrOperator,
		devicesv1.DeviceRegistryService_AddCredential_FullMethodName:      provision,
		devicesv1.DeviceRegistryService_RetireCredential_FullMethodName:   provisionOrOperator,
		devicesv1.DeviceRegistryService_VerifyAuditRange_FullMethodName:   read,
		devicesv1.DeviceRegistryService_GetAuditCheckpoint_FullMethodName: read,
		devicesv1.DeviceRegistryService_BeginTransfer_FullMethodName:      {Roles: []rpc.Role{rpc.RoleWearer}},
		devicesv1.DeviceRegistryService_CancelTransfer_FullMethodName: {
			Roles: []rpc.Role{rpc.RoleWearer, rpc.RoleOperator},
		},
		devicesv1.DeviceRegistryService_WatchDevices_FullMethodName: {
			Roles: []rpc.Role{rpc.RoleOperator, rpc.RoleService}, Services: []string{"auth"},
		},
		devicesv1.DeviceRegistryService_BatchGetDevices_FullMethodName: {
			Roles:    []rpc.Role{rpc.RolePartner, rpc.RoleOperator, rpc.RoleService},
			Services: []string{"auth"}, Scope: scopeRead,
		},
		devicesv1.DeviceRegistryService_GetDevice_FullMethodName: {
			Roles:    []rpc.Role{rpc.RolePartner, rpc.RoleOperator, rpc.RoleWearer, rpc.RoleService},
			Services: []string{"auth"}, Scope: scopeRead,
		},
		devicesv1.DeviceRegistryService_ListDevices_FullMethodName: {
			Roles: []rpc.Role{rpc.RolePartner, rpc.RoleOperator, rpc.RoleWearer}, Scope: scopeRead,
		},
		devicesv1.DeviceRegistryService_ReportDeviceLost_FullMethodName: {
			Roles: []rpc.Role{rpc.RoleWearer, rpc.RoleOperator}, Support: true, // whoever lost a band calls the desk
		},
		devicesv1.DeviceRegistryService_SuspendDevice_FullMethodName: {
			Roles:    []rpc.Role{rpc.RolePartner, rpc.RoleOperator, rpc.RoleService},
			Services: []string{"auth"}, Scope: scopeProvision,
		},
		devicesv1.DeviceRegistryService_LiftSuspension_FullMethodName: {
			Roles: []rpc.Role{rpc.RoleWearer, rpc.RolePartner, rpc.RoleOperator}, Scope: scopeProvision,
		},
	}
}
