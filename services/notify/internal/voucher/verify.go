package voucher

import (
	"context"
	"errors"
	"time"
)

// Verdict says what a code is worth now.
type Verdict struct {
	Voucher  Voucher
	Campaign Campaign
	// Reasons are all reasons why it cannot be redeemed, the most final first; none when it can.
	Reasons []string
	// Amount is what it takes off; known is false when that depends on a price that was not given.
	Amount Money
	Known  bool
}

// Verify says whether a code could be redeemed now. A code with a typo is refused without asking the store.
func (s *Service) Verify(ctx context.Context, by Actor, code string, price Money, now time.Time) (Verdict, error) {
	hash, err := s.parse(ctx, by, code, now)
	if err != nil {
		return Verdict{}, err
	}
	v, c, err := s.find(ctx, by, hash, now)
	if err != nil {
		return Verdict{}, err
	}
	amount, known := c.worth(v, price.MinorUnits)
	r := Redemption{
		CampaignID: c.ID, Voucher: v, Amount: Money{amount, c.Currency}, Merchant: by.Merchant, Account: v.Account, Device: v.Device, CreatedAt: now,
	}
	obstacles, err := r.obstacles(Use{Price: price, Merchant: by.Merchant}, c, func(all []Meter) ([]int64, error) {
		return s.redemptions.Used(ctx, c.ID, all)
	}, false, now)
	if err != nil {
		return Verdict{}, err
	}
	return Verdict{Voucher: v, Campaign: c, Reasons: reasons(obstacles), Amount: r.Amount, Known: known && c.Kind != Entitlement}, nil
}

// parse gives the hash to look a code up by. Whoever brings too many that do not exist is locked out.
func (s *Service) parse(ctx context.Context, by Actor, code string, now time.Time) ([]byte, error) {
	if s.guard.locked(by, now) {
		return nil, ErrLockedOut
	}
	hash, ok := s.codes.Parse(code)
	if !ok {
		return nil, s.miss(ctx, by, now)
	}
	return hash, nil
}

// find hides what the actor may not see, and counts it as a guess all the same.
func (s *Service) find(ctx context.Context, by Actor, hash []byte, now time.Time) (Voucher, Campaign, error) {
	if err := s.checkLock(ctx, by, now); err != nil {
		return Voucher{}, Campaign{}, err
	}
	v, c, err := s.vouchers.VoucherByCode(ctx, hash)
	if errors.Is(err, ErrVoucherNotFound) || err == nil && !by.Sees(v, c) {
		return Voucher{}, Campaign{}, s.miss(ctx, by, now)
	}
	return v, c, err
}
