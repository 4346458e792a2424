// Package partner knows the hardware makers, the programs and people that act, and what each may do.
//
//	partner:  ACTIVE ◀──resume── ──suspend──▶ SUSPENDED,  either ──offboard──▶ OFFBOARDED (final)
//	client:   ACTIVE ◀──resume── ──suspend──▶ SUSPENDED,  either ──revoke──▶ REVOKED (final)
//	grant:    REQUESTED ──▶ SANDBOX ──approve──▶ APPROVED      SANDBOX and APPROVED ◀──approve── ──suspend──▶ SUSPENDED
//	              └───────────approve──────────────▲           each ──revoke──▶ REVOKED
//	          An operator may begin at SANDBOX or APPROVED. After REVOKED, or once its time has ended, a grant of the same
//	          scope begins anew with the next revision.
//
// A grant allows a partner one scope; tokens carry the scopes in force when they are made. Whatever stops being allowed is
// taken back at once: see package revocation.
package partner

import (
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/auth/internal/revocation"
)

// TokenLife is how long the tokens of clients live, and with it how long a revocation is of use.
const TokenLife = 5 * time.Minute

// Partner is a hardware maker.
type Partner struct {
	ID          string    `json:"id"`
	DisplayName string    `json:"display_name"`
	No          uint32    `json:"no"`        // stands first in every uid of its devices
	KeyEpoch    int       `json:"key_epoch"` // of its master key, for new devices
	Suspended   bool      `json:"suspended"`
	Offboarded  bool      `json:"offboarded"` // for good
	CreatedAt   time.Time `json:"created_at"`
}

// Name is the partner's resource name.
func (p Partner) Name() string { return "partners/" + p.ID }

// Mode separates trials from the live system. The values are stored and stand in tokens.
type Mode string

// The modes.
const (
	Live Mode = "live"
	Test Mode = "test"
)

// State is where a grant is in its life. The values are stored.
type State string

// The states.
const (
	Requested State = "REQUESTED"
	Sandbox   State = "SANDBOX" // in force for clients of mode Test
	Approved  State = "APPROVED"
	Suspended State = "SUSPENDED"
	Revoked   State = "REVOKED"
)

// Limits bound what a grant permits; zero is no bound.
type Limits struct {
	CallsPerMinute int `json:"calls_per_minute"`
	// MaxAmounts is the largest single payment in minor units by currency, of payments.initiate alone. When it has any, other
	// currencies are not permitted.
	MaxAmounts map[string]int64 `json:"max_amounts,omitempty"`
}

// None reports whether nothing is bounded.
func (l Limits) None() bool { return l.CallsPerMinute == 0 && len(l.MaxAmounts) == 0 }

// initiate is the scope under which partners create payments.
const initiate = "payments.initiate"

// fits refuses limits that mean nothing for a scope.
func (l Limits) fits(scope string) error {
	if len(l.MaxAmounts) > 0 && scope != initiate {
		return fault.InvalidField("limits.max_amounts", "only the scope payments.initiate has amounts; leave them out")
	}
	return nil
}

// Grant allows a partner one scope.
type Grant struct {
	Partner   string    `json:"partner"`
	Scope     string    `json:"scope"`
	State     State     `json:"state"`
	ExpiresAt time.Time `json:"expires_at"` // zero: until revoked
	Revision  int64     `json:"revision"`   // rises with every change
	Limits    Limits    `json:"limits"`
}

// Name is the grant's resource name.
func (g Grant) Name() string { return "partners/" + g.Partner + "/grants/" + g.Scope }

// InForce reports whether the grant has effect for a client of the mode.
func (g Grant) InForce(mode Mode, now time.Time) bool {
	return (g.State == Approved || g.State == Sandbox && mode == Test) && !g.ended(now)
}

func (g Grant) ended(now time.Time) bool { return !g.ExpiresAt.IsZero() && !now.Before(g.ExpiresAt) }

// over reports whether a grant of the same scope may begin anew.
func (g Grant) over(now time.Time) bool { return g.Revision == 0 || g.State == Revoked || g.ended(now) }

// Created is the event of a new partner.
type Created struct{ Partner Partner }

// Changed is the event of a partner that was suspended or resumed.
type Changed struct{ Partner Partner }

// Offboarded is the event of a partner that was offboarded.
type Offboarded struct{ Partner Partner }

// ClientChanged is the event of a client that was made or changed.
type ClientChanged struct{ Client Client }

// GrantChanged is the event of a grant that was made or changed.
type GrantChanged struct{ Grant Grant }

// The refusals.
var (
	ErrNotFound       = fault.New(fault.NotFound, "PARTNER_NOT_FOUND", "there is no such partner")
	ErrExists         = fault.New(fault.AlreadyExists, "PARTNER_EXISTS", "a partner of this id exists, or was offboarded; choose another id")
	ErrOffboarded     = fault.New(fault.FailedPrecondition, "PARTNER_OFFBOARDED", "the partner was offboarded, which is for good; register it anew under another id")
	ErrGrantExists    = fault.New(fault.AlreadyExists, "GRANT_EXISTS", "the partner has this scope already, or has asked for it")
	ErrGrantNotFound  = fault.New(fault.NotFound, "GRANT_NOT_FOUND", "the partner was never granted this scope")
	ErrTransition     = fault.New(fault.FailedPrecondition, "ILLEGAL_TRANSITION", "the grant's state does not allow this; read it with GetGrant")
	ErrClientExists   = fault.New(fault.AlreadyExists, "CLIENT_EXISTS", "a client of this id exists; choose another id")
	ErrClientNotFound = fault.New(fault.NotFound, "CLIENT_NOT_FOUND", "there is no such client")
	ErrClientRevoked  = fault.New(fault.FailedPrecondition, "CLIENT_REVOKED", "the client was revoked for good; register a new one")
	ErrKeyExists      = fault.New(fault.AlreadyExists, "KEY_EXISTS", "the client has this key already").WithField("public_jwk")
	ErrKeyNotFound    = fault.New(fault.NotFound, "KEY_NOT_FOUND", "the client has no such key; GetClient lists them")
	ErrKeyLimit       = fault.New(fault.FailedPrecondition, "KEY_LIMIT_REACHED", "the client has 5 keys; remove one first")
	ErrLastKey        = fault.New(fault.FailedPrecondition, "LAST_KEY", "the client could not authenticate any more; add another key first, or revoke the client")
)

// begin is the grant that follows old when the scope is granted or asked for (again).
func begin(old, wanted Grant, now time.Time) (Grant, error) {
	if !old.over(now) {
		return Grant{}, ErrGrantExists
	}
	wanted.Revision = old.Revision + 1
	return wanted, nil
}

// approve is the grant that follows old when it comes into force as to, with what wanted changes about it.
func approve(old Grant, to State, limits *Limits, expiresAt time.Time) (Grant, error) {
	switch {
	case old.Revision == 0:
		return Grant{}, ErrGrantNotFound
	case old.State == Revoked, old.State == Approved && to == Sandbox:
		return Grant{}, ErrTransition
	}
	old.State = to
	if limits != nil {
		if err := limits.fits(old.Scope); err != nil {
			return Grant{}, err
		}
		old.Limits = *limits
	}
	if !expiresAt.IsZero() {
		old.ExpiresAt = expiresAt
	}
	old.Revision++
	return old, nil
}

// suspend is the grant that follows old when it is taken out of force for now.
func suspend(old Grant) (next Grant, changed bool, err error) {
	switch old.State {
	case Suspended:
		return old, false, nil
	case Sandbox, Approved:
		old.State = Suspended
		old.Revision++
		return old, true, nil
	}
	if old.Revision == 0 {
		return old, false, ErrGrantNotFound
	}
	return old, false, ErrTransition
}

// revoke is the grant that follows old when it is taken back; taking it back twice changes nothing.
func revoke(old Grant) (next Grant, changed bool, err error) {
	if old.Revision == 0 {
		return old, false, ErrGrantNotFound
	}
	if old.State == Revoked {
		return old, false, nil
	}
	old.State = Revoked
	old.Revision++
	return old, true, nil
}

// void takes back the tokens that rest on a thing.
func void(kind revocation.Kind, id string, now time.Time) revocation.Entry {
	return revocation.Entry{Kind: kind, ID: id, Until: now.Add(TokenLife)}
}
