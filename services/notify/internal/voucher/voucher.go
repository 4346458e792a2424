// Package voucher decides about campaigns and their vouchers: who may issue them, what a code looks like, what it is
// worth, and when it can be redeemed. Start at campaign.go and redemption.go, which draw the states.
package voucher

import (
	"errors"
	"math/bits"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// The reasons.
var (
	ErrCampaignNotFound   = fault.New(fault.NotFound, "CAMPAIGN_NOT_FOUND", "there is no such campaign, or it is not yours")
	ErrWindow             = fault.New(fault.Invalid, "CAMPAIGN_WINDOW_INVALID", "the campaign must end in the future, and after its start").WithField("expire_time")
	ErrBoundTooLow        = fault.New(fault.FailedPrecondition, "CAMPAIGN_BOUND_TOO_LOW", "more than this was used already; give at least what was")
	ErrLimitReached       = fault.New(fault.ResourceExhausted, "CAMPAIGN_LIMIT_REACHED", "the campaign may not issue that many vouchers; raise its voucher_limit")
	ErrVoucherNotFound    = fault.New(fault.NotFound, "VOUCHER_NOT_FOUND", "there is no voucher with this code; check the spelling").WithField("code")
	ErrLockedOut          = fault.New(fault.ResourceExhausted, "VOUCHER_LOCKED_OUT", "too many codes that do not exist; try again in 15 minutes")
	ErrAssigned           = fault.New(fault.FailedPrecondition, "VOUCHER_ASSIGNED", "the voucher belongs to somebody already")
	ErrRedemptionNotFound = fault.New(fault.NotFound, "REDEMPTION_NOT_FOUND", "there is no such redemption, or it is not yours")
	ErrUnfunded           = fault.New(fault.FailedPrecondition, "REDEMPTION_UNFUNDED", "the payment was heard of when its voucher had been given to others")
	ErrRollbackExceeds    = fault.New(fault.FailedPrecondition, "ROLLBACK_EXCEEDS_REDEMPTION", "that is more than is left of the redemption").WithField("amount")
	ErrBatchBusy          = fault.New(fault.Aborted, "BATCH_BUSY", "another call is generating this batch; when it has ended resume with after")
	ErrCursor             = fault.New(fault.Invalid, "CURSOR_INVALID", "the batch has fewer codes than that; begin again with 0").WithField("after")

	ErrProofRequired = fault.New(fault.FailedPrecondition, "ASSERTION_REQUIRED", "a band has to confirm; ask auth for a challenge with this voucher's intent_uid").WithField("assertion")
	ErrProofInvalid  = fault.New(fault.Invalid, "ASSERTION_INVALID", "the assertion is damaged or has expired; let the band confirm again").WithField("assertion")
	ErrProofMismatch = fault.New(fault.PermissionDenied, "ASSERTION_MISMATCH", "the assertion is about something else; ask for a challenge with this voucher's intent_uid").WithField("assertion")
	ErrProofUsed     = fault.New(fault.FailedPrecondition, "ASSERTION_USED", "the assertion was used before; let the band confirm again").WithField("assertion")
)

// ErrCodeTaken is what a store answers when another voucher has the code.
var ErrCodeTaken = errors.New("another voucher has this code")

// Money is an amount in the smallest unit of its currency.
type Money struct {
	MinorUnits int64
	// Currency is an alphabetic code of ISO 4217.
	Currency string
}

// Voucher is a right to what its campaign offers. HeldUses + Uses ≤ MaxUses and 0 ≤ Balance always hold.
type Voucher struct {
	// ID is a UUID; its code follows from it.
	ID         string
	CampaignID string
	// Account and Device are whose band has to confirm: the account without a prefix, the device as a resource name. Both
	// are empty for a bearer voucher.
	Account, Device string
	// Balance is what is left of a stored value, less what is held.
	Balance int64
	// Uses are redemptions, HeldUses reservations.
	MaxUses, Uses, HeldUses int64
	CreatedAt               time.Time
}

// Assigned reports whether it is somebody's.
func (v Voucher) Assigned() bool { return v.Account != "" || v.Device != "" }

// Redeemed reports whether nothing is left of it, holds aside.
func (v Voucher) Redeemed(c Campaign) bool {
	if c.Kind == StoredValue {
		return v.Balance == 0 && v.HeldUses == 0
	}
	return v.Uses >= v.MaxUses
}

// Reserved reports whether what is left of it is held.
func (v Voucher) Reserved(c Campaign) bool {
	if c.Kind == StoredValue {
		return v.Balance == 0 && v.HeldUses > 0
	}
	return v.Uses < v.MaxUses && v.Uses+v.HeldUses >= v.MaxUses
}

// worth is what the voucher takes off a price. known is false when that depends on a price that was not given; a price
// of 0 is none.
func (c Campaign) worth(v Voucher, price int64) (amount int64, known bool) {
	switch c.Kind {
	case FixedAmount:
		if price == 0 {
			return c.Value, true
		}
		return min(c.Value, price), true
	case Percent:
		return min(share(price, c.BasisPoints), c.Cap), price != 0
	case StoredValue:
		return min(v.Balance, price), price != 0
	case Entitlement:
		return 0, true
	}
	return 0, false
}

// share is rounded down; the product of an amount and 10,000 does not fit 64 bits.
func share(price, basis int64) int64 {
	hi, lo := bits.Mul64(uint64(price), uint64(basis))
	quotient, _ := bits.Div64(hi, lo, maxBasis)
	return int64(quotient)
}

// Role is the kind of caller.
type Role string

// The roles that have rules here.
const (
	RoleOperator Role = "operator"
	RolePartner  Role = "partner"
	RoleTerminal Role = "terminal"
	RoleWearer   Role = "wearer"
	RoleService  Role = "service"
)

// Actor is who asks.
type Actor struct {
	Role Role
	// ID is the caller's own.
	ID string
	// Partner is set for partners.
	Partner string
	// Account is a wearer's, without a prefix.
	Account string
	// Merchant is the UUID of a terminal's merchant.
	Merchant string
	// Mode is "live" or "test".
	Mode string
	// Behalf is whom a service asks for.
	Behalf string
}

// Key names the actor in what it holds: all clients of one partner, and all terminals of one merchant, are one.
func (a Actor) Key() string {
	switch a.Role {
	case RolePartner:
		return "partner/" + a.Partner
	case RoleTerminal:
		return "merchant/" + a.Merchant
	}
	return string(a.Role) + "/" + a.ID
}

// guesser names whose guesses are counted.
func (a Actor) guesser() string {
	if a.Role == RoleService {
		return a.Key() + "/" + a.Behalf
	}
	return string(a.Role) + "/" + a.ID
}

// Owns reports whether the actor may run the campaign: a partner its own, an operator any.
func (a Actor) Owns(c Campaign) bool {
	switch a.Role {
	case RoleOperator:
		return true
	case RolePartner:
		return a.Partner != "" && a.Partner == c.Partner && a.Mode == c.Mode
	case RoleTerminal, RoleWearer, RoleService:
	}
	return false
}

// Sees reports whether the actor may learn anything about the voucher. Any terminal or partner that may redeem does, but
// live and test never mix, and a wearer learns nothing of another's.
func (a Actor) Sees(v Voucher, c Campaign) bool {
	if a.Role == RoleWearer && v.Account != "" && v.Account != a.Account {
		return false
	}
	return a.Role == RoleOperator || a.Mode == c.Mode
}

// Issued is the fact that a voucher was issued.
type Issued struct {
	Voucher  Voucher
	Campaign Campaign
}

// Assigned is the fact that a voucher was given to somebody.
type Assigned struct {
	Voucher  Voucher
	Campaign Campaign
}

// Generated is the fact that a batch was counted as issued.
type Generated struct {
	Batch    Batch
	Campaign Campaign
}

// Changed is the fact that a campaign is new or different.
type Changed struct{ Campaign Campaign }
