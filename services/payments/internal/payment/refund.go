package payment

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// Refund gives captured money back to the wallet.
func (s *Service) Refund(ctx context.Context, c Caller, req Request, w Wish, now time.Time) (Answer, error) {
	p, err := s.forTill(ctx, c, w, now)
	if err != nil {
		return Answer{}, err
	}
	id := s.newID()
	step := p.step(&req)
	step.Holds, step.Counters = nil, nil // what was executed stays counted
	return s.store.Step(ctx, step, func(f Facts) (Change, error) { return f.Payment.refund(f, w, id, now) })
}

// refund is the step of a captured payment of which something is given back.
func (p Payment) refund(f Facts, w Wish, id string, now time.Time) (Change, error) {
	if p.State != Captured && p.State != PartiallyRefunded {
		return Change{}, p.stateFault("refunded")
	}
	amount, err := w.minor(p, p.CapturedMinor-p.RefundedMinor, "AMOUNT_EXCEEDS_CAPTURED", "were captured and not given back yet")
	if err != nil {
		return Change{}, err
	}
	fee := p.feeBack(f.Merchant.Fees, amount)
	to := PartiallyRefunded
	if p.RefundedMinor+amount == p.CapturedMinor {
		to = Refunded
	}
	next := p.move(to, now)
	next.RefundedMinor += amount
	next.FeeBackMinor += fee
	next.Refunds++
	t := ledger.Transaction{ID: id, Purpose: ledger.Refund, Reference: p.reference(next.Refunds), Time: now, Postings: []ledger.Posting{
		{Debit: p.till(), Credit: p.wallet(), Amount: amount, Currency: p.Amount.Currency},
	}}
	if fee > 0 {
		t.Postings = append(t.Postings, ledger.Posting{Debit: p.feeAccount(), Credit: p.till(), Amount: fee, Currency: p.Amount.Currency})
	}
	change := Change{Payment: next, Events: []Event{RefundedEvent{Payment: next, Amount: p.money(amount), Transaction: id}}}
	err = change.post(f, t)
	switch fault.ReasonOf(err) {
	case "INSUFFICIENT_FUNDS":
		return Change{}, fault.New(fault.FailedPrecondition, "INSUFFICIENT_FUNDS",
			"the merchant was paid out and does not hold enough for this refund; wait for its next captures")
	case "LEDGER_ACCOUNT_CLOSED", "LEDGER_ACCOUNT_FROZEN":
		return Change{}, accountClosed()
	}
	return change, err
}
