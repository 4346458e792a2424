package rpc

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Role says what kind of caller it is.
type Role string

// The roles. The empty role is a caller nobody knows.
const (
	// RoleOperator is the operator of the installation.
	RoleOperator Role = "operator"
	// RolePartner is a program of a partner; Caller.Partner is set.
	RolePartner Role = "partner"
	// RoleWearer is the holder of one account; Caller.Account is set.
	RoleWearer Role = "wearer"
	// RoleTerminal is a terminal; Caller.Terminal is set.
	RoleTerminal Role = "terminal"
	// RoleService is another service of the installation; Caller.ID is its name.
	RoleService Role = "service"
)

// What an operator may do, by Caller.Operator.
const (
	// OperatorAdmin may call everything that is open to operators.
	OperatorAdmin = "admin"
	// OperatorSupport helps wearers: it reads, and calls what a rule opens to support.
	OperatorSupport = "support"
	// OperatorAuditor only reads.
	OperatorAuditor = "auditor"
)

var operatorRoles = []string{OperatorAdmin, OperatorSupport, OperatorAuditor}

// Caller is who makes a call, as the transport or a verified token says. It holds no credential.
type Caller struct {
	// Role is empty when the caller is not known.
	Role Role
	// ID is the subject of the token, or the name of the service.
	ID string
	// Operator says what an operator may do: OperatorAdmin, OperatorSupport or OperatorAuditor; empty is OperatorAdmin.
	Operator string
	// Partner is the id of the partner the caller belongs to, where one applies.
	Partner string
	// PartnerNo is the number of that partner.
	PartnerNo uint32
	// Account is set for wearers.
	Account string
	// Merchant is set for terminals.
	Merchant string
	// Terminal is set for terminals.
	Terminal string
	// Mode is "live" or "test", and empty where the token does not say.
	Mode string
	// Certificate is the SHA-256 (x5t#S256 of RFC 8705) of the client certificate that the token is bound to, empty for none.
	Certificate string
	// Limits are how many calls a minute a scope permits, where that is bounded. Do not change it.
	Limits map[string]int
	// Amounts are what one call may be worth at most, in minor units by scope and currency, where that is bounded. Do not
	// change it.
	Amounts map[string]map[string]int64
	// Scopes are what the token grants. The slice is shared between calls: do not change it.
	Scopes []string
}

// HasScope reports whether the caller's token grants the scope.
func (c Caller) HasScope(scope string) bool { return slices.Contains(c.Scopes, scope) }

// String names the caller for logs, as in `partner acme-1 partner=acme`. It never has secrets in it.
func (c Caller) String() string {
	if c.Role == "" {
		return "unknown caller"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", c.Role, c.ID)
	for _, p := range [...]struct{ k, v string }{
		{"as", c.Operator}, {"partner", c.Partner}, {"account", c.Account}, {"merchant", c.Merchant}, {"terminal", c.Terminal}, {"mode", c.Mode},
	} {
		if p.v != "" {
			fmt.Fprintf(&b, " %s=%s", p.k, p.v)
		}
	}
	return b.String()
}

type callKey struct{}

// call is made by the outermost interceptor and filled in once the caller is known, so that the interceptors around that
// point can name the caller in the log too.
type call struct{ caller *Caller }

// CallerFrom is the caller of the RPC that the context belongs to, and the zero Caller when it is not known.
func CallerFrom(ctx context.Context) Caller {
	if c, ok := ctx.Value(callKey{}).(*call); ok && c.caller != nil {
		return *c.caller
	}
	return Caller{}
}

// WithCaller is a context that carries the caller. Servers do this themselves; it is for tests of handlers.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callKey{}, &call{caller: &c})
}

// withCall is the context of a call whose caller is not known yet.
func withCall(ctx context.Context) context.Context { return context.WithValue(ctx, callKey{}, &call{}) }

// setCaller keeps the pointer, so that a connection's identity is not copied on every call.
func setCaller(ctx context.Context, caller *Caller) {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		c.caller = caller
	}
}
