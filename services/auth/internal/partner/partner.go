// Package partner knows the hardware makers, the programs that act for them and what each may do.
//
//	partner:  created, for ever
//	grant:    APPROVED ──revoke──▶ REVOKED     (a new grant of the same scope begins with the next revision)
//	              └──its time ends──▶ expired  (still APPROVED in the record, but of no effect)
//
// A grant allows a partner one scope; tokens carry the scopes in force when they are made.
package partner

import (
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Partner is a hardware maker.
type Partner struct {
	ID          string    `json:"id"`
	DisplayName string    `json:"display_name"`
	No          uint32    `json:"no"`        // stands first in every uid of its devices
	KeyEpoch    int       `json:"key_epoch"` // the newest epoch of its master key
	CreatedAt   time.Time `json:"created_at"`
}

// Role says on whose behalf a client acts. The values are stored.
type Role string

// The roles of clients.
const (
	RolePartner  Role = "partner"
	RoleOperator Role = "operator"
)

// Mode separates trials from the live system. The values are stored and stand in tokens.
type Mode string

// The modes.
const (
	Live Mode = "live"
	Test Mode = "test"
)

// Client is a program that may ask for access tokens.
type Client struct {
	ID        string    `json:"id"`
	Role      Role      `json:"role"`
	Partner   string    `json:"partner"` // empty for operators
	PublicJWK string    `json:"public_jwk"`
	Mode      Mode      `json:"mode"`
	CreatedAt time.Time `json:"created_at"`
}

// State is where a grant is in its life. The values are stored.
type State string

// The states.
const (
	Approved State = "APPROVED"
	Revoked  State = "REVOKED"
)

// Grant allows a partner one scope.
type Grant struct {
	Partner   string    `json:"partner"`
	Scope     string    `json:"scope"`
	State     State     `json:"state"`
	ExpiresAt time.Time `json:"expires_at"` // zero: until revoked
	Revision  int64     `json:"revision"`   // rises with every change
}

// InForce reports whether the grant has effect.
func (g Grant) InForce(now time.Time) bool {
	return g.State == Approved && (g.ExpiresAt.IsZero() || now.Before(g.ExpiresAt))
}

// Created is the event of a new partner.
type Created struct{ Partner Partner }

// GrantChanged is the event of a grant that was made or revoked.
type GrantChanged struct{ Grant Grant }

// The refusals.
var (
	ErrNotFound      = fault.New(fault.NotFound, "PARTNER_NOT_FOUND", "there is no such partner")
	ErrExists        = fault.New(fault.AlreadyExists, "PARTNER_EXISTS", "a partner of this id exists; choose another id")
	ErrClientExists  = fault.New(fault.AlreadyExists, "CLIENT_EXISTS", "a client of this id exists; choose another id")
	ErrGrantExists   = fault.New(fault.AlreadyExists, "GRANT_EXISTS", "the partner has this scope already")
	ErrGrantNotFound = fault.New(fault.NotFound, "GRANT_NOT_FOUND", "the partner was never granted this scope")
	// ErrClientNotFound never leaves the service: the token endpoint answers alike for every refusal.
	ErrClientNotFound = fault.New(fault.NotFound, "CLIENT_NOT_FOUND", "there is no such client")
)

// approve is the grant that follows old when the scope is granted (again).
func approve(old, wanted Grant, now time.Time) (Grant, error) {
	if old.InForce(now) {
		return Grant{}, ErrGrantExists
	}
	wanted.State, wanted.Revision = Approved, old.Revision+1
	return wanted, nil
}

// revoke is the grant that follows old when it is taken back; taking it back twice changes nothing.
func revoke(old Grant) (Grant, bool) {
	if old.State == Revoked {
		return old, false
	}
	old.State = Revoked
	old.Revision++
	return old, true
}
