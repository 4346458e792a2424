// Package voucher decides about campaigns and their vouchers: who may issue them, what a code looks like, and when it
// can be redeemed. Start at service.go.
package voucher

import (
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// The reasons.
var (
	ErrCampaignNotFound = fault.New(fault.NotFound, "CAMPAIGN_NOT_FOUND", "there is no such campaign, or it is not yours")
	ErrVoucherNotFound  = fault.New(fault.NotFound, "VOUCHER_NOT_FOUND", "there is no voucher with this code; check the spelling").WithField("code")
	ErrBudgetExhausted  = fault.New(fault.ResourceExhausted, "CAMPAIGN_BUDGET_EXHAUSTED", "all vouchers of the campaign were issued")
	ErrNotActive        = fault.New(fault.FailedPrecondition, "CAMPAIGN_NOT_ACTIVE", "the campaign is over")
	ErrExpired          = fault.New(fault.FailedPrecondition, "VOUCHER_EXPIRED", "the voucher has expired")
	ErrRedeemed         = fault.New(fault.FailedPrecondition, "VOUCHER_REDEEMED", "the voucher was redeemed already")
	ErrWindow           = fault.New(fault.Invalid, "CAMPAIGN_WINDOW_INVALID", "the campaign must end in the future").WithField("expire_time")
	ErrProofRequired    = fault.New(fault.FailedPrecondition, "ASSERTION_REQUIRED", "the voucher belongs to an account; its band has to confirm").WithField("assertion")
	ErrProofInvalid     = fault.New(fault.Invalid, "ASSERTION_INVALID", "the assertion is damaged or has expired; let the band confirm again").WithField("assertion")
	ErrProofMismatch    = fault.New(fault.PermissionDenied, "ASSERTION_MISMATCH", "the assertion is about something else; ask for a challenge with this voucher's intent_uid").WithField("assertion")
	ErrProofUsed        = fault.New(fault.FailedPrecondition, "ASSERTION_USED", "the assertion was used before; let the band confirm again").WithField("assertion")
)

// Money is an amount in the smallest unit of its currency.
type Money struct {
	MinorUnits int64
	// Currency is an alphabetic code of ISO 4217.
	Currency string
}

// Campaign is the frame of a batch of vouchers. It is active until it expires; nothing ends it before.
type Campaign struct {
	// ID is a UUID.
	ID          string
	DisplayName string
	// Partner is empty for the operator's own.
	Partner string
	// Mode is "live" or "test"; it is also that of the vouchers.
	Mode string
	// Value is what each voucher is worth.
	Value Money
	// Limit is how many vouchers may be issued. 0 ≤ Redeemed ≤ Issued ≤ Limit always holds.
	Limit, Issued, Redeemed int64
	ExpiresAt               time.Time
}

// Active reports whether vouchers can be issued and redeemed.
func (c Campaign) Active(now time.Time) bool { return now.Before(c.ExpiresAt) }

// Voucher is worth something once.
type Voucher struct {
	// ID is a UUID; its code follows from it.
	ID         string
	CampaignID string
	// Account is whose band has to confirm, without a prefix; empty for a bearer voucher.
	Account   string
	Value     Money
	Redeemed  bool
	ExpiresAt time.Time
	CreatedAt time.Time
}

// Redemption is the use of a voucher.
type Redemption struct {
	// ID is a UUID.
	ID string
	// Voucher is as it was after the redemption.
	Voucher Voucher
	// Merchant is the UUID of the terminal's merchant, or empty.
	Merchant string
	// AssertionID is the id of the band's assertion; empty for a bearer voucher.
	AssertionID string
	CreatedAt   time.Time
}

// Issued is the fact that a voucher was issued.
type Issued struct {
	Voucher  Voucher
	Campaign Campaign
}

// Redeemed is the fact that a voucher was redeemed.
type Redeemed struct {
	Redemption Redemption
	Campaign   Campaign
}

// Role is the kind of caller.
type Role string

// The roles that have rules here.
const (
	RoleOperator Role = "operator"
	RolePartner  Role = "partner"
	RoleTerminal Role = "terminal"
)

// Actor is who asks.
type Actor struct {
	Role Role
	// Partner is set for partners.
	Partner string
	// Merchant is the UUID of a terminal's merchant.
	Merchant string
	// Mode is "live" or "test".
	Mode string
}

// Owns reports whether the actor may run the campaign: a partner its own, an operator any.
func (a Actor) Owns(c Campaign) bool {
	switch a.Role {
	case RoleOperator:
		return true
	case RolePartner:
		return a.Partner != "" && a.Partner == c.Partner && a.Mode == c.Mode
	}
	return false
}

// Sees reports whether the actor may learn anything about the campaign's vouchers. Any terminal or partner that may
// redeem does, but live and test never mix.
func (a Actor) Sees(c Campaign) bool { return a.Role == RoleOperator || a.Mode == c.Mode }
