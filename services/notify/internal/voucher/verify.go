package voucher

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Verdict says what a code is worth now.
type Verdict struct {
	Voucher  Voucher
	Campaign Campaign
	// Obstacles are all reasons why it cannot be redeemed, the most final first; none when it can.
	Obstacles []*fault.Error
}

// obstacles are the reasons why a voucher cannot be redeemed now, the most final first.
func obstacles(v Voucher, c Campaign, now time.Time) []*fault.Error {
	var all []*fault.Error
	if v.Redeemed {
		all = append(all, ErrRedeemed)
	}
	if !now.Before(v.ExpiresAt) {
		all = append(all, ErrExpired)
	}
	if !c.Active(now) {
		all = append(all, ErrNotActive)
	}
	return all
}

// Verify says whether a code could be redeemed now. A code with a typo is refused without asking the store.
func (s *Service) Verify(ctx context.Context, by Actor, code string, now time.Time) (Verdict, error) {
	hash, ok := s.codes.Parse(code)
	if !ok {
		return Verdict{}, ErrVoucherNotFound
	}
	v, c, err := s.store.VoucherByCode(ctx, hash)
	if err != nil {
		return Verdict{}, err
	}
	if !by.Sees(c) {
		return Verdict{}, ErrVoucherNotFound
	}
	return Verdict{Voucher: v, Campaign: c, Obstacles: obstacles(v, c, now)}, nil
}
