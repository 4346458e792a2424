package voucher

import (
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// CampaignState is where a campaign is in its life.
//
//	DRAFT ──▶ ACTIVE ◀──▶ PAUSED
//	             │           │
//	             └──▶ ENDED ◀┘      (a draft can be ended too)
//
// A campaign whose window is over is as good as ended; see [Campaign.StateAt].
type CampaignState string

// The states, as stored.
const (
	Draft  CampaignState = "DRAFT"
	Active CampaignState = "ACTIVE"
	Paused CampaignState = "PAUSED"
	Ended  CampaignState = "ENDED"
)

// Kind is what a voucher does.
type Kind string

// The kinds, as stored.
const (
	FixedAmount Kind = "FIXED_AMOUNT"
	Percent     Kind = "PERCENT"
	StoredValue Kind = "STORED_VALUE"
	Entitlement Kind = "ENTITLEMENT"
)

const (
	// unlimitedUses is what a voucher gets that ends with its balance.
	unlimitedUses = 1_000_000_000
	maxBasis      = 10_000
)

// Campaign is the frame of a batch of vouchers.
type Campaign struct {
	// ID is a UUID that sorts by time.
	ID          string
	DisplayName string
	// Partner is empty for the operator's own.
	Partner string
	// Mode is "live" or "test"; it is also that of the vouchers.
	Mode  string
	State CampaignState
	Kind  Kind
	// Currency is that of all amounts, and empty for entitlements.
	Currency string
	// Value is what each voucher takes off, or holds at first.
	Value int64
	// BasisPoints and Cap are what a voucher of kind PERCENT takes off.
	BasisPoints, Cap int64
	// Entitlement says what a voucher of that kind gives.
	Entitlement string
	// Budget bounds Held + Redeemed; 0 is no bound.
	Budget, Held, Redeemed int64
	// Limit is how many vouchers may be issued. 0 ≤ Issued ≤ Limit always holds.
	Limit, Issued int64
	// Uses is how often each voucher can be redeemed.
	Uses int64
	// HeldCount and RedeemedCount count redemptions.
	HeldCount, RedeemedCount int64
	// ProofRequired asks bearers too for the assertion of a band, or a payment.
	ProofRequired bool
	Rules         Rules
	// StartsAt is inclusive, ExpiresAt exclusive.
	StartsAt, ExpiresAt, CreatedAt time.Time
}

// Rules bound where, and how often, vouchers can be redeemed. They do not change once the campaign is made.
type Rules struct {
	// Merchants are UUIDs; empty is any.
	Merchants []string `json:"merchants,omitempty"`
	// Categories are merchant category codes; empty is any.
	Categories []uint32 `json:"categories,omitempty"`
	Limits     []Limit  `json:"limits,omitempty"`
}

// StateAt is the state with the window taken into account.
func (c Campaign) StateAt(now time.Time) CampaignState {
	if !now.Before(c.ExpiresAt) {
		return Ended
	}
	return c.State
}

// Active reports whether vouchers can be issued.
func (c Campaign) Active(now time.Time) bool { return c.StateAt(now) == Active }

// check says whether a new campaign makes sense, and completes what follows from the rest.
func (c Campaign) check(now time.Time) (Campaign, error) {
	if c.StartsAt.IsZero() {
		c.StartsAt = now
	}
	switch {
	case !now.Before(c.ExpiresAt) || !c.StartsAt.Before(c.ExpiresAt):
		return c, ErrWindow
	case c.Budget < 0:
		return c, fault.InvalidField("budget.minor_units", "a budget is positive; leave it out for none")
	case c.Kind == Entitlement && c.Budget != 0:
		return c, fault.InvalidField("budget", "entitlements cost no money; bound them with a limit of redemptions")
	case c.Kind == StoredValue && c.Uses != 0:
		return c, fault.InvalidField("uses_per_voucher", "a stored value ends with its balance; leave this out")
	}
	if err := c.checkWorth(); err != nil {
		return c, err
	}
	for i := range c.Rules.Limits {
		l := c.Rules.Limits[i]
		if c.Kind == Entitlement && l.Metric == MetricAmount {
			return c, fault.InvalidField("limits", "entitlements have no amount; limit their redemptions")
		}
		c.ProofRequired = c.ProofRequired || l.Scope == ScopeAccount || l.Scope == ScopeDevice
	}
	switch {
	case c.Kind == StoredValue:
		c.Uses = unlimitedUses
	case c.Uses == 0:
		c.Uses = 1
	}
	return c, nil
}

// checkWorth wants exactly what the kind needs.
func (c Campaign) checkWorth() error {
	hasValue, hasPercent, hasText := c.Value != 0, c.BasisPoints != 0 || c.Cap != 0, c.Entitlement != ""
	switch c.Kind {
	case FixedAmount, StoredValue:
		if c.Value <= 0 {
			return fault.InvalidField("value.minor_units", "a voucher must be worth something; give a positive amount")
		}
		hasValue = false
	case Percent:
		if c.BasisPoints < 1 || c.BasisPoints > maxBasis || c.Cap <= 0 {
			return fault.InvalidField("percent", "give 1 to 10,000 basis points and a positive cap")
		}
		hasPercent = false
	case Entitlement:
		if c.Entitlement == "" {
			return fault.InvalidField("entitlement", "say what the voucher gives")
		}
		hasText = false
	}
	switch {
	case hasValue:
		return fault.InvalidField("value", "vouchers of this kind have no value; leave it out")
	case hasPercent:
		return fault.InvalidField("percent", "this is for vouchers of kind PERCENT; leave it out")
	case hasText:
		return fault.InvalidField("entitlement", "this is for vouchers of kind ENTITLEMENT; leave it out")
	}
	return nil
}

// CampaignUpdate has the new values; nil leaves one as it is.
type CampaignUpdate struct {
	DisplayName   *string
	Limit, Budget *int64
	// Currency is the budget's.
	Currency  string
	ExpiresAt *time.Time
}

// update changes what may be changed while vouchers are out. The store repeats the bounds.
func (c Campaign) update(u CampaignUpdate, now time.Time) (Campaign, error) {
	if c.State == Ended {
		return c, errCampaignState(c)
	}
	if u.DisplayName != nil {
		c.DisplayName = *u.DisplayName
	}
	if u.ExpiresAt != nil {
		if !now.Before(*u.ExpiresAt) || !c.StartsAt.Before(*u.ExpiresAt) {
			return c, ErrWindow
		}
		c.ExpiresAt = *u.ExpiresAt
	}
	if u.Limit != nil {
		if *u.Limit < c.Issued {
			return c, ErrBoundTooLow.WithField("campaign.voucher_limit")
		}
		c.Limit = *u.Limit
	}
	if u.Budget != nil {
		if c.Budget == 0 || *u.Budget <= 0 || u.Currency != c.Currency {
			return c, fault.InvalidField("campaign.budget", "only a campaign that has a budget can get another one, positive and in the same currency")
		}
		if *u.Budget < c.Held+c.Redeemed {
			return c, ErrBoundTooLow.WithField("campaign.budget")
		}
		c.Budget = *u.Budget
	}
	return c, nil
}

// become is the step to another state; to the one it has it is no step.
func (c Campaign) become(to CampaignState) (Campaign, error) {
	from := map[CampaignState][]CampaignState{
		Active: {Draft, Paused}, Paused: {Active}, Ended: {Draft, Active, Paused},
	}[to]
	if c.State != to && !slices.Contains(from, c.State) {
		return c, errCampaignState(c)
	}
	c.State = to
	return c, nil
}

func errCampaignState(c Campaign) error {
	return fault.New(fault.FailedPrecondition, "CAMPAIGN_STATE", "the campaign is %s, which does not allow this", c.State).
		WithMeta("state", string(c.State))
}
