package bus

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
)

// PartnerMessage is a partner in the contract's words.
func PartnerMessage(p partner.Partner) *authv1.Partner {
	out := &authv1.Partner{
		Name: p.Name(), DisplayName: p.DisplayName, PartnerNo: p.No, KeyEpoch: uint32(p.KeyEpoch),
		CreateTime: timestamppb.New(p.CreatedAt), State: authv1.PartnerState_PARTNER_STATE_ACTIVE,
	}
	if p.Suspended {
		out.State = authv1.PartnerState_PARTNER_STATE_SUSPENDED
	}
	if p.Offboarded {
		out.State = authv1.PartnerState_PARTNER_STATE_OFFBOARDED
	}
	return out
}

var grantState = map[partner.State]authv1.GrantState{
	partner.Requested: authv1.GrantState_GRANT_STATE_REQUESTED, partner.Sandbox: authv1.GrantState_GRANT_STATE_SANDBOX,
	partner.Approved: authv1.GrantState_GRANT_STATE_APPROVED, partner.Suspended: authv1.GrantState_GRANT_STATE_SUSPENDED,
	partner.Revoked: authv1.GrantState_GRANT_STATE_REVOKED,
}

// GrantMessage is a grant in the contract's words.
func GrantMessage(g partner.Grant) *authv1.Grant {
	out := &authv1.Grant{Name: g.Name(), Scope: g.Scope, Revision: g.Revision, State: grantState[g.State]}
	if !g.ExpiresAt.IsZero() {
		out.ExpireTime = timestamppb.New(g.ExpiresAt)
	}
	if !g.Limits.None() {
		out.Limits = &authv1.GrantLimits{CallsPerMinute: uint32(g.Limits.CallsPerMinute)}
		for _, currency := range slices.Sorted(maps.Keys(g.Limits.MaxAmounts)) {
			out.Limits.MaxAmounts = append(out.Limits.MaxAmounts, &typev1.Money{MinorUnits: g.Limits.MaxAmounts[currency], CurrencyCode: currency})
		}
	}
	return out
}

var (
	clientRole = map[partner.Role]authv1.ClientRole{
		partner.RolePartner: authv1.ClientRole_CLIENT_ROLE_PARTNER, partner.RoleOperator: authv1.ClientRole_CLIENT_ROLE_OPERATOR,
		partner.RoleTerminal: authv1.ClientRole_CLIENT_ROLE_TERMINAL,
	}
	clientState = map[partner.ClientState]authv1.ClientState{
		partner.ClientActive: authv1.ClientState_CLIENT_STATE_ACTIVE, partner.ClientSuspended: authv1.ClientState_CLIENT_STATE_SUSPENDED,
		partner.ClientRevoked: authv1.ClientState_CLIENT_STATE_REVOKED,
	}
	operatorRole = map[partner.OperatorRole]authv1.OperatorRole{
		partner.Admin: authv1.OperatorRole_OPERATOR_ROLE_ADMIN, partner.Support: authv1.OperatorRole_OPERATOR_ROLE_SUPPORT,
		partner.Auditor: authv1.OperatorRole_OPERATOR_ROLE_AUDITOR,
	}
	clientMode = map[partner.Mode]typev1.Mode{partner.Live: typev1.Mode_MODE_LIVE, partner.Test: typev1.Mode_MODE_TEST}
)

// ClientMessage is a client in the contract's words.
func ClientMessage(c partner.Client) *authv1.Client {
	out := &authv1.Client{
		Name: c.Name(), Role: clientRole[c.Role], Mode: clientMode[c.Mode], State: clientState[c.State], TlsClientAuth: c.TLS,
		OperatorRole: operatorRole[c.OperatorRole], Revision: c.Revision, CreateTime: timestamppb.New(c.CreatedAt),
	}
	if c.Partner != "" {
		out.Partner = "partners/" + c.Partner
	}
	if c.Terminal != "" {
		out.Merchant, out.Terminal = "merchants/"+c.Merchant, "terminals/"+c.Terminal
	}
	for _, k := range c.Keys {
		out.Keys = append(out.Keys, &authv1.ClientKey{KeyId: k.ID, PublicJwk: k.JWK, CreateTime: timestamppb.New(k.AddedAt)})
		out.PublicJwk = k.JWK
	}
	return out
}
