package voucher

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// Use is what a voucher is to be used for.
type Use struct {
	Code string
	// Price is what is bought; 0 leaves it open.
	Price Money
	// Assertion is auth's, where one is needed. Secret.
	Assertion string
	// Merchant and Category are where, as far as the caller's word counts.
	Merchant string
	Category uint32
	// Payment, DeviceUID and Account are payments' to say.
	Payment, DeviceUID, Account string
	// Once redeems at once instead of reserving.
	Once bool
}

// Reserve holds a voucher, or redeems it at once. What it decides on is read under lock; the store repeats every bound in
// the conditions of its updates.
func (s *Service) Reserve(ctx context.Context, by Actor, req once.Request, u Use, now time.Time) (Redemption, Campaign, error) {
	hash, err := s.parse(ctx, by, u.Code, now)
	if err != nil {
		return Redemption{}, Campaign{}, err
	}
	// A repeated request gets its answer although its assertion has expired since.
	if r, found, err := s.redemptions.Answered(ctx, req); err != nil || found {
		return s.withCampaign(ctx, r, err)
	}
	v, c, err := s.find(ctx, by, hash, now)
	if err != nil {
		return Redemption{}, Campaign{}, err
	}
	if u, err = by.word(u, c); err != nil {
		return Redemption{}, Campaign{}, err
	}
	who, err := s.prove(ctx, by, u, v, c, now)
	if err != nil {
		return Redemption{}, Campaign{}, err
	}
	r, err := s.redemptions.Reserve(ctx, req, hash, now, func(v Voucher, c Campaign, used Used) (Redemption, error) {
		return s.reserve(by, u, who, v, c, used, now)
	})
	return s.withCampaign(ctx, r, err)
}

func (s *Service) withCampaign(ctx context.Context, r Redemption, err error) (Redemption, Campaign, error) {
	if err != nil {
		return Redemption{}, Campaign{}, err
	}
	c, err := s.campaigns.Campaign(ctx, r.CampaignID)
	return r, c, err
}

func (s *Service) reserve(by Actor, u Use, who wearer, v Voucher, c Campaign, used Used, now time.Time) (Redemption, error) {
	if err := who.may(v); err != nil { // it may have been assigned since
		return Redemption{}, err
	}
	amount, _ := c.worth(v, u.Price.MinorUnits)
	r := Redemption{
		ID: u.Payment, CampaignID: c.ID, Voucher: v, State: Reserved, Amount: Money{amount, c.Currency},
		Merchant: u.Merchant, Payment: u.Payment, Account: who.account, Device: who.device, Holder: by.Key(),
		AssertionID: who.assertion, HoldExpiresAt: now.Add(holdFor), ReleaseAt: now.Add(holdFor), CreatedAt: now, UpdatedAt: now,
	}
	if r.ID == "" {
		r.ID = s.newID()
	} else {
		r.ReleaseAt = r.HoldExpiresAt.Add(paymentGrace)
	}
	obstacles, err := r.obstacles(u, c, used, true, now)
	if err != nil {
		return Redemption{}, err
	}
	if len(obstacles) > 0 {
		return Redemption{}, refusal(obstacles)
	}
	if u.Once {
		r.State = Confirmed
	}
	return r, nil
}

// refusal is the first obstacle, with all of them in its detail.
func refusal(all []*fault.Error) error {
	return all[0].WithMeta("reasons", strings.Join(reasons(all), ","))
}

// word keeps what the actor may say about where the voucher is used: a terminal is always its own merchant's, and only
// payments and those who run the campaign know a merchant's category.
func (a Actor) word(u Use, c Campaign) (Use, error) {
	switch {
	case a.Role == RoleService || a.Owns(c):
		return u, nil
	case a.Role == RoleTerminal && (u.Merchant == "" || u.Merchant == a.Merchant):
		u.Merchant = a.Merchant
	case u.Merchant != "":
		return u, fault.InvalidField("merchant", "only the partner that runs the campaign may name the merchant; leave it out")
	}
	if u.Category != 0 {
		return u, fault.InvalidField("merchant_category_code", "only the partner that runs the campaign may name the category; leave it out")
	}
	return u, nil
}

// Used is how much of each meter is used.
type Used func([]Meter) ([]int64, error)

// The obstacles, the most final first.
var (
	errRedeemed  = fault.New(fault.FailedPrecondition, "VOUCHER_REDEEMED", "the voucher was used up")
	errReserved  = fault.New(fault.FailedPrecondition, "VOUCHER_RESERVED", "the voucher is held by a purchase under way; try again in 15 minutes")
	errExpired   = fault.New(fault.FailedPrecondition, "VOUCHER_EXPIRED", "the voucher has expired")
	errNotBegun  = fault.New(fault.FailedPrecondition, "VOUCHER_NOT_STARTED", "the voucher is not valid yet")
	errNotActive = fault.New(fault.FailedPrecondition, "CAMPAIGN_NOT_ACTIVE", "the campaign is not active")
	errBudget    = fault.New(fault.ResourceExhausted, "CAMPAIGN_BUDGET_EXHAUSTED", "the campaign's budget does not allow this any more")
	errMerchant  = fault.New(fault.FailedPrecondition, "MERCHANT_NOT_ELIGIBLE", "the voucher is for other merchants")
	errCategory  = fault.New(fault.FailedPrecondition, "CATEGORY_NOT_ELIGIBLE", "the voucher is for other kinds of merchants, or can be used with a payment only")
	errCurrency  = fault.New(fault.FailedPrecondition, "CURRENCY_MISMATCH", "the price is in another currency than the voucher").WithField("purchase_amount.currency_code")
	errNoPrice   = fault.New(fault.FailedPrecondition, "AMOUNT_REQUIRED", "what the voucher is worth depends on the price; give it").WithField("purchase_amount")
	errWorthless = fault.New(fault.FailedPrecondition, "VOUCHER_WORTH_NOTHING", "the voucher takes nothing off this price")
	errNotToPay  = fault.New(fault.FailedPrecondition, "VOUCHER_NOT_FOR_PAYMENTS", "the voucher takes nothing off a price; redeem it without a payment")
	errCovers    = fault.New(fault.FailedPrecondition, "VOUCHER_COVERS_PRICE", "the voucher covers the price, so that nothing is left to pay; redeem it without a payment")
	errLimit     = fault.New(fault.ResourceExhausted, "VOUCHER_LIMIT_REACHED", "a limit of the campaign does not allow this any more")

	// What a store answers when a bound was reached in the meantime.
	ErrRedeemed, ErrReserved, ErrNotActive, ErrBudgetExhausted, ErrLimit = errRedeemed, errReserved, errNotActive, errBudget, errLimit
)

// obstacles are all reasons why the redemption cannot be made now. strict counts what is not known as an obstacle.
func (r Redemption) obstacles(u Use, c Campaign, used Used, strict bool, now time.Time) ([]*fault.Error, error) {
	v := r.Voucher
	var all []*fault.Error
	add := func(is bool, e *fault.Error) {
		if is {
			all = append(all, e)
		}
	}
	add(v.Redeemed(c), errRedeemed)
	add(v.Reserved(c), errReserved)
	add(!now.Before(c.ExpiresAt), errExpired)
	add(now.Before(c.StartsAt), errNotBegun)
	add(!c.Active(now), errNotActive)
	add(c.Budget > 0 && r.Amount.MinorUnits > c.Budget-c.Held-c.Redeemed, errBudget)
	known := strict || u.Merchant != ""
	add(known && len(c.Rules.Merchants) > 0 && !slices.Contains(c.Rules.Merchants, u.Merchant) || strict && u.Merchant == "" && c.countsMerchants(), errMerchant)
	known = strict || u.Category != 0
	add(known && len(c.Rules.Categories) > 0 && !slices.Contains(c.Rules.Categories, u.Category), errCategory)
	add(u.Price.MinorUnits != 0 && c.Kind != Entitlement && u.Price.Currency != c.Currency, errCurrency)
	amount, priced := c.worth(v, u.Price.MinorUnits)
	add(strict && !priced, errNoPrice)
	add(priced && amount == 0 && c.Kind != Entitlement && !v.Redeemed(c) && !v.Reserved(c), errWorthless)
	add(u.Payment != "" && c.Kind == Entitlement, errNotToPay)
	add(u.Payment != "" && amount > 0 && amount >= u.Price.MinorUnits, errCovers)
	over, err := r.overLimit(c, used)
	add(over, errLimit)
	return all, err
}

func (c Campaign) countsMerchants() bool {
	return slices.ContainsFunc(c.Rules.Limits, func(l Limit) bool { return l.Scope == ScopeMerchant })
}

func (r Redemption) overLimit(c Campaign, used Used) (bool, error) {
	meters := c.Meters(r)
	if len(meters) == 0 {
		return false, nil
	}
	counts, err := used(meters)
	if err != nil {
		return false, err
	}
	more := Holding{HeldUses: 1, Held: r.Amount.MinorUnits}
	for i, m := range meters {
		if counts[i]+m.Counts(more) > m.Bound {
			return true, nil
		}
	}
	return false, nil
}

func reasons(all []*fault.Error) []string {
	out := make([]string, len(all))
	for i, e := range all {
		out[i] = e.Reason
	}
	return out
}
