package voucher

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

const (
	// Audience is the audience of assertions made for this service.
	Audience = "notify"
	// Purpose is the purpose of assertions that redeem vouchers.
	Purpose = "VOUCHER"

	// clockSkew is how far the clocks of two services may be apart.
	clockSkew = 5 * time.Second
)

var errWearerUnknown = fault.New(fault.FailedPrecondition, "WEARER_UNKNOWN",
	"whose band it is has not been heard of yet, and this voucher depends on it; try again in a moment")

// Proof is what a verified assertion of a band says: its signature is right, everything else is still to be matched.
type Proof struct {
	ID       string
	Audience string
	Purpose  string
	// Account is without a prefix, Device a resource name, Merchant a UUID.
	Account, Device, Merchant string
	// Intent is the UUID of what the wearer agreed to.
	Intent    string
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Match is nil when the proof is about this voucher at this merchant, now. A merchant that is not known is not compared.
func (p Proof) Match(v Voucher, merchant string, now time.Time) error {
	switch {
	case p.ID == "", !now.Before(p.ExpiresAt.Add(clockSkew)), now.Add(clockSkew).Before(p.IssuedAt):
		return ErrProofInvalid
	case p.Audience != Audience, p.Purpose != Purpose, p.Intent != v.ID, p.Account == "",
		v.Account != "" && p.Account != v.Account, v.Device != "" && p.Device != v.Device,
		merchant != "" && p.Merchant != "" && p.Merchant != merchant:
		return ErrProofMismatch
	}
	return nil
}

// wearer is whoever uses the voucher, as far as it was proved.
type wearer struct{ account, device, assertion string }

// may refuses a voucher of somebody else.
func (w wearer) may(v Voucher) error {
	if v.Account != "" && v.Account != w.account || v.Device != "" && v.Device != w.device {
		return ErrProofRequired
	}
	return nil
}

// NeedsProof reports whether a band has to confirm.
func (c Campaign) NeedsProof(v Voucher) bool { return c.ProofRequired || v.Assigned() }

// prove looks at nothing that has to be locked, so that it may run outside the transaction. For a bearer voucher of a
// campaign that asks for no band an assertion is not looked at.
func (s *Service) prove(ctx context.Context, by Actor, u Use, v Voucher, c Campaign, now time.Time) (wearer, error) {
	switch {
	case by.Role == RoleService:
		return s.payer(ctx, u, v, c)
	case !c.NeedsProof(v):
		return wearer{}, nil
	case u.Assertion == "":
		return wearer{}, ErrProofRequired
	}
	proof, err := s.assertions.Verify(ctx, u.Assertion)
	if err != nil {
		return wearer{}, err
	}
	return wearer{proof.Account, proof.Device, proof.ID}, proof.Match(v, u.Merchant, now)
}

// payer is who pays, by payments' word: the band that approves the payment is the proof, and payments compares it with
// what is answered here.
func (s *Service) payer(ctx context.Context, u Use, v Voucher, c Campaign) (wearer, error) {
	if !c.NeedsProof(v) {
		return wearer{account: u.Account}, nil
	}
	account, device, err := s.vouchers.Payer(ctx, u.Account, u.DeviceUID)
	if err != nil {
		return wearer{}, err
	}
	w := wearer{account: account, device: device}
	switch {
	case account == "" || device == "":
		return wearer{}, errWearerUnknown
	case w.may(v) != nil:
		return wearer{}, ErrVoucherNotFound
	}
	return w, nil
}
