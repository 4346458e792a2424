package payment

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// A voucher is reserved at notify before the band is asked, because the band signs what is left to pay. Three things can go
// wrong between that and the stored payment: this process dies, the call fails, or another call with the same request_id
// runs at the same time. So the payment's id is remembered as a hold first, and whether the payment is stored or the
// reservation is given up is decided once, by the fate below: who comes second gets the first one's answer. A hold that
// nobody finished is given up after holdPatience. From the stored payment on its events tell notify all that happens.

// Discount is what a voucher takes off a price.
type Discount struct {
	// Voucher is its id, empty without one.
	Voucher string
	Minor   int64
}

// VoucherUse is what a voucher is to be reserved for.
type VoucherUse struct {
	// Code is secret.
	Code    string
	Payment string
	Price   Money
	// Merchant is where.
	Merchant Merchant
	Payer    Payer
	// Behalf is the [Caller.Key] of who brought the code.
	Behalf string
}

// VoucherHold is a voucher that is reserved.
type VoucherHold struct {
	Discount Discount
	// Account and Device are whose it has to be, empty where it is anybody's.
	Account, Device string
}

// Vouchers knows vouchers; redemptions have the ids of their payments.
type Vouchers interface {
	// Reserve holds a voucher; the same use gets the same answer. It returns what ReserveVoucher returns, and
	// VOUCHERS_UNAVAILABLE of kind Unavailable when it cannot tell, and then it may be reserved or not.
	Reserve(ctx context.Context, use VoucherUse) (VoucherHold, error)
	// Cancel gives up what is reserved for the payment; where nothing is any more it does nothing.
	Cancel(ctx context.Context, payment string) error
	// Tell passes on that the payment was approved, or is over with nothing captured. It returns at once, and what it is
	// told may be lost: the payment's events say the same.
	Tell(payment string, approved bool)
}

// Holds remembers payments that may have a voucher reserved and are not stored yet.
type Holds interface {
	AddHold(ctx context.Context, payment string, now time.Time) error
	// HoldsBefore are those of before a time, oldest first.
	HoldsBefore(ctx context.Context, before time.Time, limit int) ([]string, error)
	DropHold(ctx context.Context, payment string) error
}

const (
	// holdPatience is how long a call may take from the hold to the stored payment.
	holdPatience = 2 * time.Minute
	// gaveUp is the fate of a payment whose voucher is released.
	gaveUp = "given up"
)

// fateOf decides, once, between a payment that is stored and a voucher that is given up.
func fateOf(payment string) *Request {
	return &Request{Caller: "payments", Method: "VoucherHold", ID: payment, Fingerprint: []byte{1}}
}

// abandoned says whether an earlier call about the payment gave its voucher up.
func (s *Service) abandoned(ctx context.Context, payment string, o Order) (bool, error) {
	if o.VoucherCode == "" {
		return false, nil
	}
	fate, _, err := s.store.Answered(ctx, *fateOf(payment))
	return fate.ID == gaveUp, err
}

// createDiscounted makes a payment of what the voucher leaves of the price. When it fails for good the voucher is free
// again; after a passing failure it stays reserved for the repeat, as long as the patience lasts.
func (s *Service) createDiscounted(ctx context.Context, c Caller, o Order, m Merchant, p Payment) (Payment, error) {
	hold, err := s.reserveVoucher(ctx, c, o, m, p)
	if err != nil {
		return Payment{}, err
	}
	p.Discount = hold.Discount
	p.Amount.Minor -= hold.Discount.Minor
	out, err := s.challenge(ctx, c, o, m, p)
	if err == nil {
		err = hold.mayBeUsed(out)
	}
	if err == nil {
		out, err = s.add(ctx, out)
	}
	switch {
	case err == nil:
		_ = s.directory.DropHold(ctx, p.ID) // otherwise AbandonDue does, and finds the payment
		return out, nil
	case !passing(err):
		_ = s.abandon(context.WithoutCancel(ctx), p.ID) // otherwise AbandonDue does
	}
	return Payment{}, err
}

// reserveVoucher remembers the hold and has the voucher reserved. After a refusal nothing is held.
func (s *Service) reserveVoucher(ctx context.Context, c Caller, o Order, m Merchant, p Payment) (VoucherHold, error) {
	if s.directory.Vouchers == nil {
		return VoucherHold{}, fault.New(fault.Unavailable, "VOUCHERS_UNAVAILABLE", "no vouchers are taken here; pay without one")
	}
	if err := s.directory.AddHold(ctx, p.ID, p.CreateTime); err != nil {
		return VoucherHold{}, err
	}
	hold, err := s.directory.Reserve(ctx, VoucherUse{
		Code: o.VoucherCode, Payment: p.ID, Price: o.Amount, Merchant: m, Payer: o.Payer, Behalf: c.Key(),
	})
	if err == nil && (hold.Discount.Voucher == "" || hold.Discount.Minor <= 0 || hold.Discount.Minor >= o.Amount.Minor) {
		err = fault.New(fault.Internal, "VOUCHER_INVALID", "notify took %d off a price of %d", hold.Discount.Minor, o.Amount.Minor)
		_ = s.abandon(context.WithoutCancel(ctx), p.ID)
		return VoucherHold{}, err
	}
	if err != nil && !passing(err) && fault.KindOf(err) != fault.Internal {
		_ = s.directory.DropHold(ctx, p.ID) // otherwise AbandonDue does, and finds nothing to cancel
	}
	return hold, err
}

// mayBeUsed compares whose notify took the band for with whose auth says it is.
func (h VoucherHold) mayBeUsed(p Payment) error {
	if h.Account != "" && h.Account != p.Account || h.Device != "" && h.Device != p.Device {
		return fault.New(fault.FailedPrecondition, "WEARER_UNKNOWN",
			"the band changed hands a moment ago, and this voucher depends on whose it is; try again in a moment")
	}
	return nil
}

// passing says whether the same call may succeed later, or may have had its effect.
func passing(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.DeadlineExceeded, fault.Canceled, fault.Aborted:
		return true
	}
	return false
}

// abandon gives up the voucher of a payment unless the payment is stored. It may be repeated.
func (s *Service) abandon(ctx context.Context, payment string) error {
	fate, err := s.store.Step(ctx, Step{Request: fateOf(payment)}, func(Facts) (Change, error) { return Change{Answer: Answer{ID: gaveUp}}, nil })
	if err != nil {
		return err
	}
	if fate.ID == gaveUp {
		if err := s.directory.Cancel(ctx, payment); err != nil {
			return err
		}
	}
	return s.directory.DropHold(ctx, payment)
}

// AbandonDue gives up vouchers whose payments were not stored in time, and returns how many holds it has looked at, at
// most limit. Any number of processes may do so at once.
func (s *Service) AbandonDue(ctx context.Context, limit int, now time.Time) (int, error) {
	if s.directory.Vouchers == nil {
		return 0, nil
	}
	due, err := s.directory.HoldsBefore(ctx, now.Add(-holdPatience), limit)
	if err != nil {
		return 0, err
	}
	for i, id := range due {
		if err := s.abandon(ctx, id); err != nil {
			return i, err
		}
	}
	return len(due), nil
}

// told passes on what a step came to, when that decides about a voucher.
func (s *Service) told(p Payment, err error) (Payment, error) {
	if err != nil || p.Discount.Voucher == "" || s.directory.Vouchers == nil {
		return p, err
	}
	switch p.State {
	case Authorized, Captured:
		s.directory.Tell(p.ID, true)
	case Declined, Expired, Voided:
		s.directory.Tell(p.ID, false)
	case AwaitingTap, PartiallyCaptured, PartiallyRefunded, Refunded:
	}
	return p, nil
}
