package grpcapi

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/bus"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
)

var grantStateOf = map[authv1.GrantState]partner.State{
	authv1.GrantState_GRANT_STATE_UNSPECIFIED: partner.Approved,
	authv1.GrantState_GRANT_STATE_APPROVED:    partner.Approved,
	authv1.GrantState_GRANT_STATE_SANDBOX:     partner.Sandbox,
}

// CreateGrant implements authv1.AuthServiceServer. What a partner creates for itself is a wish.
func (s *Server) CreateGrant(ctx context.Context, in *authv1.CreateGrantRequest) (*authv1.Grant, error) {
	if err := ownOnly(ctx, id(in.GetParent())); err != nil {
		return nil, err
	}
	req, err := requestOf(ctx, "CreateGrant", in)
	if err != nil {
		return nil, err
	}
	g := partner.Grant{Partner: id(in.GetParent()), Scope: in.GetScope(), State: grantStateOf[in.GetState()]}
	if rpc.CallerFrom(ctx).Role == rpc.RolePartner {
		g.State = partner.Requested
	}
	limits, err := limitsOf(in.GetLimits())
	if err != nil {
		return nil, err
	}
	if limits != nil {
		g.Limits = *limits
	}
	if g.ExpiresAt, err = expiryOf(in.GetExpireTime()); err != nil {
		return nil, err
	}
	return grantOr(s.partners.Grant(ctx, req, g, s.now()))
}

// ApplyGrantBundle implements authv1.AuthServiceServer.
func (s *Server) ApplyGrantBundle(ctx context.Context, in *authv1.ApplyGrantBundleRequest) (*authv1.ApplyGrantBundleResponse, error) {
	req, err := requestOf(ctx, "ApplyGrantBundle", in)
	if err != nil {
		return nil, err
	}
	bundle := partner.Basic
	if in.GetBundle() == authv1.GrantBundle_GRANT_BUNDLE_EXTENDED {
		bundle = partner.Extended
	}
	grants, err := s.partners.ApplyBundle(ctx, req, id(in.GetParent()), bundle, s.now())
	if err != nil {
		return nil, err
	}
	out := &authv1.ApplyGrantBundleResponse{}
	for _, g := range grants {
		out.Grants = append(out.Grants, bus.GrantMessage(g))
	}
	return out, nil
}

// limitsOf is nil for unset ones.
func limitsOf(in *authv1.GrantLimits) (*partner.Limits, error) {
	if in == nil {
		return nil, nil //nolint:nilnil // they are optional
	}
	limits := &partner.Limits{CallsPerMinute: int(in.GetCallsPerMinute())}
	for _, m := range in.GetMaxAmounts() {
		if _, twice := limits.MaxAmounts[m.GetCurrencyCode()]; twice || m.GetMinorUnits() <= 0 {
			return nil, fault.InvalidField("limits.max_amounts", "give one positive amount for each currency")
		}
		if limits.MaxAmounts == nil {
			limits.MaxAmounts = map[string]int64{}
		}
		limits.MaxAmounts[m.GetCurrencyCode()] = m.GetMinorUnits()
	}
	return limits, nil
}

// expiryOf is the zero time for an unset one.
func expiryOf(in *timestamppb.Timestamp) (time.Time, error) {
	if in == nil {
		return time.Time{}, nil
	}
	if !in.IsValid() {
		return time.Time{}, fault.InvalidField("expire_time", "this is not a time")
	}
	return in.AsTime().Truncate(time.Microsecond), nil
}

// grantOr does not tell whether the partner exists where the grant does not.
func grantOr(g partner.Grant, err error) (*authv1.Grant, error) {
	if err != nil {
		return nil, err
	}
	return bus.GrantMessage(g), nil
}

func hidePartner(err error) error {
	if fault.ReasonOf(err) == partner.ErrNotFound.Reason {
		return partner.ErrGrantNotFound
	}
	return err
}

// GetGrant implements authv1.AuthServiceServer.
func (s *Server) GetGrant(ctx context.Context, in *authv1.GetGrantRequest) (*authv1.Grant, error) {
	of, scope := grantParts(in.GetName())
	if ownOnly(ctx, of) != nil {
		return nil, partner.ErrGrantNotFound
	}
	return grantOr(s.reader.Grant(ctx, of, scope))
}

// ApproveGrant implements authv1.AuthServiceServer.
func (s *Server) ApproveGrant(ctx context.Context, in *authv1.ApproveGrantRequest) (*authv1.Grant, error) {
	req, err := requestOf(ctx, "ApproveGrant", in)
	if err != nil {
		return nil, err
	}
	expiresAt, err := expiryOf(in.GetExpireTime())
	if err != nil {
		return nil, err
	}
	limits, err := limitsOf(in.GetLimits())
	if err != nil {
		return nil, err
	}
	of, scope := grantParts(in.GetName())
	g, err := s.partners.Approve(ctx, req, of, scope, grantStateOf[in.GetState()], limits, expiresAt, s.now())
	return grantOr(g, hidePartner(err))
}

// SuspendGrant implements authv1.AuthServiceServer.
func (s *Server) SuspendGrant(ctx context.Context, in *authv1.SuspendGrantRequest) (*authv1.Grant, error) {
	req, err := requestOf(ctx, "SuspendGrant", in)
	if err != nil {
		return nil, err
	}
	of, scope := grantParts(in.GetName())
	g, err := s.partners.SuspendGrant(ctx, req, of, scope, in.GetNote(), s.now())
	return grantOr(g, hidePartner(err))
}

// RevokeGrant implements authv1.AuthServiceServer.
func (s *Server) RevokeGrant(ctx context.Context, in *authv1.RevokeGrantRequest) (*authv1.Grant, error) {
	req, err := requestOf(ctx, "RevokeGrant", in)
	if err != nil {
		return nil, err
	}
	of, scope := grantParts(in.GetName())
	g, err := s.partners.Revoke(ctx, req, of, scope, s.now())
	return grantOr(g, hidePartner(err))
}

// ListGrants implements authv1.AuthServiceServer.
func (s *Server) ListGrants(ctx context.Context, in *authv1.ListGrantsRequest) (*authv1.ListGrantsResponse, error) {
	of := id(in.GetParent())
	if err := ownOnly(ctx, of); err != nil {
		return nil, err
	}
	if _, err := s.reader.Partner(ctx, of); err != nil {
		return nil, err
	}
	grants, err := s.reader.Grants(ctx, of)
	if err != nil {
		return nil, err
	}
	out := &authv1.ListGrantsResponse{}
	for _, g := range grants {
		out.Grants = append(out.Grants, bus.GrantMessage(g))
	}
	return out, nil
}
