package payment

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// holdMargin is how much longer the ledger keeps a hold than the payment says, so that what was decided in time is never
// refused for the moment it took.
const holdMargin = time.Minute

// Wish is what CapturePayment and RefundPayment ask for.
type Wish struct {
	Payment string
	// Amount is nil for all there is.
	Amount *Money
	// Final releases what is left of the hold.
	Final bool
}

// minor is the amount that is asked for, at most most.
func (w Wish) minor(p Payment, most int64, reason, what string) (int64, error) {
	switch {
	case w.Amount == nil:
		return most, nil
	case w.Amount.Currency != p.Amount.Currency:
		return 0, currencyMismatch("payment", p.Amount.Currency, w.Amount.Currency)
	case w.Amount.Minor > most:
		return 0, fault.New(fault.FailedPrecondition, reason, "the amount is more than the %d minor units that %s", most, what).
			WithField("amount.minor_units")
	}
	return w.Amount.Minor, nil
}

// Capture takes all or part of what is held.
func (s *Service) Capture(ctx context.Context, c Caller, req Request, w Wish, now time.Time) (Answer, error) {
	p, err := s.forTill(ctx, c, w, now)
	if err != nil {
		return Answer{}, err
	}
	id := s.newID()
	return s.store.Step(ctx, p.step(&req), func(f Facts) (Change, error) { return f.Payment.capture(f, w, id, now) })
}

// forTill is the payment that a merchant's terminal or an operator wants to take a step with, as far as it can be known
// before anything is locked.
func (s *Service) forTill(ctx context.Context, c Caller, w Wish, now time.Time) (Payment, error) {
	if w.Amount != nil {
		if err := checkAmount(*w.Amount); err != nil {
			return Payment{}, err
		}
	}
	p, err := s.store.Payment(ctx, w.Payment)
	if err != nil {
		return Payment{}, err
	}
	if !c.runs(p) {
		return Payment{}, notFound()
	}
	if err := s.checkTerminal(ctx, c); err != nil {
		return Payment{}, err
	}
	return s.expireIfDue(ctx, p, now)
}

// step is what every later step of the payment looks at.
func (p Payment) step(req *Request) Step {
	out := Step{Payment: p.ID, Merchant: p.Merchant, Request: req, Ledger: p.accounts(), Counters: p.Reserved.Keys()}
	if p.CaptureMode == Manual {
		out.Holds = []string{p.ID}
	}
	return out
}

// capture is the step of a hold that is captured.
func (p Payment) capture(f Facts, w Wish, id string, now time.Time) (Change, error) {
	if !p.State.holds() || now.After(p.AuthorizationExpireTime) {
		return Change{}, p.stateFault("captured")
	}
	amount, err := w.minor(p, p.held(), "AMOUNT_EXCEEDS_AUTHORIZED", "are still held")
	if err != nil {
		return Change{}, err
	}
	next := p.count(f.Merchant.Fees, amount, id)
	rest := next.held()
	to := PartiallyCaptured
	if rest == 0 || w.Final {
		to = Captured
	}
	next = next.move(to, now)
	t := next.captureOf(p, p.hold().Capture(amount))
	t.ID, t.Time = id, now
	change := Change{Events: []Event{nil}}
	if rest > 0 && to == Captured {
		t.Postings = append(t.Postings, next.hold().Void())
		next.ReleasedMinor += rest
		change.Counters = p.Reserved.Release(rest, false, f.Counters)
		change.Events = append(change.Events, ReleasedEvent{Payment: next, Amount: p.money(rest)})
	}
	change.Events[0] = CapturedEvent{Payment: next, Amount: p.money(amount), Transaction: id}
	change.Payment = next
	return change, change.post(f, t)
}

// count adds a capture to the payment.
func (p Payment) count(fees FeeSchedule, amount int64, transaction string) Payment {
	if p.Captures == 0 {
		p.Transaction = transaction
	}
	p.FeeMinor += fees.of(amount, p.Captures == 0)
	p.CapturedMinor += amount
	p.Captures++
	return p
}

// captureOf is the ledger transaction of the payment's latest capture, after which it is as it is now: the move to the
// merchant and the fee of it.
func (p Payment) captureOf(before Payment, move ledger.Posting) ledger.Transaction {
	t := ledger.Transaction{Purpose: ledger.Capture, Reference: p.reference(p.Captures), Postings: []ledger.Posting{move}}
	if fee := p.FeeMinor - before.FeeMinor; fee > 0 {
		t.Postings = append(t.Postings, ledger.Posting{Debit: p.till(), Credit: p.feeAccount(), Amount: fee, Currency: p.Amount.Currency})
	}
	return t
}

// Void gives up a payment that waits for the tap, or what is held and not captured.
func (s *Service) Void(ctx context.Context, c Caller, req Request, id string, now time.Time) (Payment, error) {
	p, err := s.store.Payment(ctx, id)
	if err != nil {
		return Payment{}, err
	}
	if !c.runs(p) && c.Key() != p.Creator {
		return Payment{}, notFound()
	}
	if err := s.checkTerminal(ctx, c); err != nil {
		return Payment{}, err
	}
	if p, err = s.expireIfDue(ctx, p, now); err != nil {
		return Payment{}, err
	}
	transaction := s.newID()
	out, err := s.store.Step(ctx, p.step(&req), func(f Facts) (Change, error) {
		if f.Payment.State.holds() && !c.runs(f.Payment) {
			return Change{}, f.Payment.stateFault("voided by who created it")
		}
		return f.Payment.void(f, transaction, now)
	})
	return s.told(out.Payment, err)
}

// void is the step of a payment that is given up. A repeat finds it done.
func (p Payment) void(f Facts, transaction string, now time.Time) (Change, error) {
	switch {
	case p.State == Voided || p.State == Captured && p.ReleasedMinor > 0:
		return Change{Payment: p}, nil
	case p.State == AwaitingTap:
		next := p.move(Voided, now)
		return Change{Payment: next, Events: []Event{VoidedEvent{Payment: next}}}, nil
	case !p.State.holds():
		return Change{}, p.stateFault("voided")
	}
	return p.release(f, Voided, p.hold().Void(), transaction, now)
}

// release frees what is left of the hold: the payment is to, or captured when a part of it was.
func (p Payment) release(f Facts, to State, free ledger.Posting, transaction string, now time.Time) (Change, error) {
	rest, whole := p.held(), p.CapturedMinor == 0
	if !whole {
		to = Captured
	}
	next := p.move(to, now)
	next.ReleasedMinor += rest
	change := Change{Payment: next, Counters: p.Reserved.Release(rest, whole, f.Counters)}
	switch {
	case !whole:
		change.Events = []Event{ReleasedEvent{Payment: next, Amount: p.money(rest)}}
	case to == Voided:
		change.Events = []Event{VoidedEvent{Payment: next}}
	default:
		change.Events = []Event{ExpiredEvent{Payment: next}}
	}
	return change, change.post(f, ledger.Transaction{
		ID: transaction, Purpose: ledger.Release, Reference: p.reference(1), Time: now, Postings: []ledger.Posting{free},
	})
}
