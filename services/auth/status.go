package auth

import (
	"context"

	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/status"
	statusv1 "github.com/armlet-pay/armlet/proto/gen/armlet/status/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/grpcapi"
)

// statusServer tells operators how the service is doing.
type statusServer struct {
	statusv1.UnimplementedStatusServiceServer
	source status.Source
}

// GetStatus looks when it is asked.
func (s statusServer) GetStatus(ctx context.Context, _ *statusv1.GetStatusRequest) (*statusv1.Status, error) {
	m := &statusv1.Status{}
	return m, s.source.Into(ctx, m)
}

// policy is that of the service's own contract, and who may see its status.
func policy() rpc.Policy {
	p := grpcapi.Policy()
	p[statusv1.StatusService_GetStatus_FullMethodName] = rpc.Rule{Roles: []rpc.Role{rpc.RoleOperator}}
	return p
}
