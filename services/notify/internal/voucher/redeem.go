package voucher

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

const (
	// Audience is the audience of assertions made for this service.
	Audience = "notify"
	// Purpose is the purpose of assertions that redeem vouchers.
	Purpose = "VOUCHER"

	// clockSkew is how far the clocks of two services may be apart.
	clockSkew = 5 * time.Second
)

// Proof is what a verified assertion of a band says: its signature is right, everything else is still to be matched.
type Proof struct {
	ID       string
	Audience string
	Purpose  string
	// Account is without a prefix.
	Account string
	// Intent is the UUID of what the wearer agreed to.
	Intent    string
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Match is nil when the proof is about this voucher, now.
func (p Proof) Match(v Voucher, now time.Time) error {
	switch {
	case p.ID == "", !now.Before(p.ExpiresAt.Add(clockSkew)), now.Add(clockSkew).Before(p.IssuedAt):
		return ErrProofInvalid
	case p.Audience != Audience, p.Purpose != Purpose, p.Intent != v.ID, p.Account == "", p.Account != v.Account:
		return ErrProofMismatch
	}
	return nil
}

// Redeem uses a voucher up. A voucher of an account needs the assertion of that wearer's band; for a bearer voucher an
// assertion is not looked at.
func (s *Service) Redeem(ctx context.Context, by Actor, req once.Request, code, assertion string, now time.Time) (Redemption, error) {
	hash, ok := s.codes.Parse(code)
	if !ok {
		return Redemption{}, ErrVoucherNotFound
	}
	// A repeated request gets its answer although its assertion has expired since.
	if r, found, err := s.store.Redemption(ctx, req); err != nil || found {
		return r, err
	}
	v, c, err := s.store.VoucherByCode(ctx, hash)
	if err != nil {
		return Redemption{}, err
	}
	if !by.Sees(c) {
		return Redemption{}, ErrVoucherNotFound
	}
	proof, err := s.prove(ctx, v, assertion, now)
	if err != nil {
		return Redemption{}, err
	}
	return s.store.Redeem(ctx, req, hash, now, func(v Voucher, c Campaign) (Redemption, error) {
		if all := obstacles(v, c, now); len(all) > 0 {
			return Redemption{}, all[0]
		}
		v.Redeemed = true
		return Redemption{ID: s.newID(), Voucher: v, Merchant: by.Merchant, AssertionID: proof.ID, CreatedAt: now}, nil
	})
}

// prove looks at nothing that changes, so that it may run outside the transaction.
func (s *Service) prove(ctx context.Context, v Voucher, assertion string, now time.Time) (Proof, error) {
	if v.Account == "" {
		return Proof{}, nil
	}
	if assertion == "" {
		return Proof{}, ErrProofRequired
	}
	proof, err := s.assertions.Verify(ctx, assertion)
	if err != nil {
		return Proof{}, err
	}
	return proof, proof.Match(v, now)
}
