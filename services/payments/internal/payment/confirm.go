package payment

import (
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
)

// finalRefusals are auth's reasons after which no other tap can mend the payment. All others leave it as it was.
var finalRefusals = []string{"TAP_DECLINED", "DEVICE_SUSPENDED", "DEVICE_NOT_BOUND", "CLONE_SUSPECTED"}

// declines are the ledger's reasons to refuse an approved payment, and what they are called there.
var declines = map[string]string{
	"INSUFFICIENT_FUNDS": "INSUFFICIENT_FUNDS", "BALANCE_OVERFLOW": "BALANCE_OVERFLOW",
	"LEDGER_ACCOUNT_CLOSED": "ACCOUNT_CLOSED", "LEDGER_ACCOUNT_FROZEN": "ACCOUNT_FROZEN",
}

// Confirm takes the band's response: approved, the money has moved or is held when it returns. The payment comes back
// captured, authorized or declined, with the frame for the band in ResultFrame.
//
// Auth is asked before anything is locked. What it says is then matched and posted in one transaction together with the
// assertion's id, so that a repeat at any point moves nothing twice: it meets either a payment that still waits, or the
// stored answer.
func (s *Service) Confirm(ctx context.Context, c Caller, id string, response []byte, now time.Time) (Payment, error) {
	digest := digestOf(response)
	p, over, err := s.tapped(ctx, c, id, digest, now)
	if err != nil || over {
		return p, err
	}
	decision, err := s.auth.VerifyResponse(ctx, p.Tap.Challenge, response)
	if reason := fault.ReasonOf(err); slices.Contains(finalRefusals, reason) {
		return s.refuse(ctx, id, reason, digest, now)
	}
	if err != nil {
		return Payment{}, err
	}
	assertion, err := s.auth.OpenAssertion(ctx, decision.Assertion)
	if err != nil {
		return Payment{}, err
	}
	return s.approve(ctx, p, tapped{Assertion: assertion, frames: decision, digest: digest, now: now})
}

// Authorize is Confirm with auth's assertion in hand; there is no frame for the band.
func (s *Service) Authorize(ctx context.Context, c Caller, id, assertion string, now time.Time) (Payment, error) {
	digest := digestOf([]byte(assertion))
	p, over, err := s.tapped(ctx, c, id, digest, now)
	if err != nil || over {
		return p, err
	}
	opened, err := s.auth.OpenAssertion(ctx, assertion)
	if err != nil {
		return Payment{}, err
	}
	return s.approve(ctx, p, tapped{Assertion: opened, digest: digest, now: now})
}

func digestOf(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

// tapped is the payment that the caller has a response for. over says that this response has decided it already.
func (s *Service) tapped(ctx context.Context, c Caller, id string, digest []byte, now time.Time) (p Payment, over bool, err error) {
	if p, err = s.store.Payment(ctx, id); err != nil {
		return Payment{}, false, err
	}
	if err := c.owns(p); err != nil {
		return Payment{}, false, err
	}
	if err := s.checkTerminal(ctx, c); err != nil {
		return Payment{}, false, err
	}
	if p, err = s.expireIfDue(ctx, p, now); err != nil {
		return Payment{}, false, err
	}
	if p.State != AwaitingTap {
		p, err = p.answer(digest)
		return p, true, err
	}
	return p, false, nil
}

// answer is what a repeat gets once the payment was decided.
func (p Payment) answer(digest []byte) (Payment, error) {
	if p.decided(digest) {
		return p, nil
	}
	return Payment{}, p.tapFault()
}

// refuse declines the payment unless it was decided in the meantime.
func (s *Service) refuse(ctx context.Context, id, reason string, digest []byte, now time.Time) (Payment, error) {
	out, err := s.store.Step(ctx, Step{Payment: id}, func(f Facts) (Change, error) {
		if f.Payment.State != AwaitingTap {
			p, err := f.Payment.answer(digest)
			return Change{Payment: p}, err
		}
		return f.Payment.decline(reason, digest, nil, now), nil
	})
	return s.told(out.Payment, err)
}

// tapped is what a tap came with.
type tapped struct {
	Assertion
	frames Decision
	digest []byte
	now    time.Time
	// id is for the ledger transaction, holdUntil how long a hold is good.
	id        string
	holdUntil time.Time
	policy    limit.Policy
}

// approve moves or holds the money, or declines the payment when a limit or the ledger forbids it.
func (s *Service) approve(ctx context.Context, p Payment, a tapped) (Payment, error) {
	var err error
	if a.policy, err = s.directory.Policy(ctx, p.Amount.Currency); err != nil {
		return Payment{}, err
	}
	a.id, a.holdUntil = s.newID(), a.now.Add(s.holdFor)
	step := Step{
		Payment: p.ID, Merchant: p.Merchant, Assertion: a.ID, Ledger: p.accounts(), Counters: a.policy.Keys(p.tap(a.now)),
	}
	out, err := s.store.Step(ctx, step, func(f Facts) (Change, error) {
		if f.Payment.State != AwaitingTap {
			repeat, err := f.Payment.answer(a.digest)
			return Change{Payment: repeat}, err
		}
		if err := f.Payment.match(a.Assertion, s.issuer); err != nil {
			return Change{}, err
		}
		return f.Payment.approve(f, a)
	})
	return s.told(out.Payment, err)
}

// tap is the payment as the limits see it.
func (p Payment) tap(now time.Time) limit.Tap {
	return limit.Tap{Account: p.Account, Device: uidOf(p.Device), Category: p.CategoryCode, Amount: p.Amount.Minor, Time: now}
}

// approve is the step of a payment that the band approved, given everything as it stands.
func (p Payment) approve(f Facts, a tapped) (Change, error) {
	if reason := p.forbidden(f, a); reason != "" {
		return p.decline(reason, a.digest, a.frames.DeclinedFrame, a.now), nil
	}
	step := p.captureNow
	if p.CaptureMode == Manual {
		step = p.holdNow
	}
	change, err := step(f, a)
	if reason, ok := declines[fault.ReasonOf(err)]; ok {
		return p.decline(reason, a.digest, a.frames.DeclinedFrame, a.now), nil
	}
	return change, err
}

// forbidden is why the rules aside from the ledger decline an approved payment, or empty.
func (p Payment) forbidden(f Facts, a tapped) string {
	tap := p.tap(a.now)
	switch {
	case f.Merchant.Suspended:
		return "MERCHANT_SUSPENDED"
	case a.policy.Need(tap, f.Counters).Level > max(a.Assurance, limit.LeastLevel):
		return "STRONG_AUTHENTICATION_REQUIRED"
	case a.policy.Exceeded(tap, f.Counters) != "":
		return "LIMIT_EXCEEDED"
	}
	return ""
}

// approved is the payment with what the approval leaves on it, its limits reserved.
func (p Payment) approved(to State, f Facts, a tapped) Change {
	p = p.move(to, a.now)
	p.ResponseDigest, p.ResultFrame, p.Assurance = a.digest, a.frames.ApprovedFrame, a.Assurance
	var counters limit.Counters
	counters, p.Reserved = a.policy.Reserve(p.tap(a.now), a.Assurance, f.Counters)
	return Change{Payment: p, Counters: counters}
}

// captureNow moves the whole amount.
func (p Payment) captureNow(f Facts, a tapped) (Change, error) {
	change := p.approved(Captured, f, a)
	move := ledger.Posting{Debit: p.wallet(), Credit: p.till(), Amount: p.Amount.Minor, Currency: p.Amount.Currency}
	change.Payment = change.Payment.count(f.Merchant.Fees, p.Amount.Minor, a.id)
	t := change.Payment.captureOf(p, move)
	t.ID, t.Time = a.id, a.now
	if err := change.post(f, t); err != nil {
		return Change{}, err
	}
	change.Events = []Event{CapturedEvent{Payment: change.Payment, Amount: p.Amount, Transaction: a.id}}
	return change, nil
}

// holdNow sets the whole amount aside.
func (p Payment) holdNow(f Facts, a tapped) (Change, error) {
	change := p.approved(Authorized, f, a)
	change.Payment.AuthorizationExpireTime = a.holdUntil
	err := change.post(f, ledger.Transaction{
		ID: a.id, Purpose: ledger.Authorize, Reference: p.reference(1), Time: a.now,
		Postings: []ledger.Posting{{
			Debit: p.wallet(), Credit: p.till(), Amount: p.Amount.Minor, Currency: p.Amount.Currency,
			Step: ledger.Pending, Hold: p.ID, ExpireTime: a.holdUntil.Add(holdMargin),
		}},
	})
	if err != nil {
		return Change{}, err
	}
	change.Events = []Event{AuthorizedEvent{Payment: change.Payment}}
	return change, nil
}
