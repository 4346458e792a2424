package payment

import (
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// finalRefusals are auth's reasons after which no other tap can mend the payment. All others leave it as it was.
var finalRefusals = []string{"TAP_DECLINED", "DEVICE_SUSPENDED", "DEVICE_NOT_BOUND", "CLONE_SUSPECTED"}

// Confirm takes the band's response: approved, the money has moved when it returns. The payment comes back captured or
// declined, with the frame for the band in ResultFrame.
//
// Auth is asked before anything is locked. What it says is then matched and posted in one transaction together with the
// assertion's id, so that a repeat at any point moves nothing twice: it meets either a payment that still waits, or the
// stored answer.
func (s *Service) Confirm(ctx context.Context, c Caller, id string, response []byte, now time.Time) (Payment, error) {
	p, err := s.store.Payment(ctx, id)
	if err != nil {
		return Payment{}, err
	}
	if err := c.owns(p); err != nil {
		return Payment{}, err
	}
	if p, err = s.expireIfDue(ctx, p, now); err != nil {
		return Payment{}, err
	}
	sum := sha256.Sum256(response)
	digest := sum[:]
	if p.State != AwaitingTap {
		return p.answer(digest)
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
	return s.capture(ctx, p, assertion, decision, digest, now)
}

// answer is what a repeat gets once the payment is final.
func (p Payment) answer(digest []byte) (Payment, error) {
	if p.decided(digest) {
		return p, nil
	}
	return Payment{}, p.stateFault()
}

// refuse declines the payment unless it was decided in the meantime.
func (s *Service) refuse(ctx context.Context, id, reason string, digest []byte, now time.Time) (Payment, error) {
	return s.store.Update(ctx, id, func(old Payment) (Change, error) {
		if old.State != AwaitingTap {
			p, err := old.answer(digest)
			return Change{Payment: p}, err
		}
		return old.decline(reason, digest, nil, now), nil
	})
}

// capture moves the money, or declines the payment when the ledger cannot.
func (s *Service) capture(ctx context.Context, p Payment, a Assertion, d Decision, digest []byte, now time.Time) (Payment, error) {
	tx := ledger.Transaction{
		ID: s.newID(), Purpose: ledger.Capture, Reference: p.ID, Time: now,
		Postings: []ledger.Posting{{
			Debit:  ledger.ID(ledger.Wallet, p.Account),
			Credit: ledger.ID(ledger.Merchant, p.Merchant),
			Amount: p.Amount.Minor, Currency: p.Amount.Currency,
		}},
	}
	return s.store.Capture(ctx, p.ID, tx.Accounts(), func(old Payment, books ledger.Books) (Change, error) {
		if old.State != AwaitingTap {
			repeat, err := old.answer(digest)
			return Change{Payment: repeat}, err
		}
		if err := old.match(a, s.issuer); err != nil {
			return Change{}, err
		}
		return old.settle(books, tx, a, d, digest, now)
	})
}

// settle is the step of an approved payment, given the accounts as they stand.
func (p Payment) settle(books ledger.Books, tx ledger.Transaction, a Assertion, d Decision, digest []byte, now time.Time) (Change, error) {
	posted, err := books.Post(tx)
	switch reason := fault.ReasonOf(err); {
	case reason == "INSUFFICIENT_FUNDS" || reason == "BALANCE_OVERFLOW":
		change := p.decline(reason, digest, d.DeclinedFrame, now)
		change.Assertion = a.ID
		return change, nil
	case err != nil:
		return Change{}, err
	}
	p = p.finish(Captured, now)
	p.Transaction, p.ResponseDigest, p.ResultFrame = tx.ID, digest, d.ApprovedFrame
	return Change{Payment: p, Assertion: a.ID, Posted: &posted, Events: []Event{CapturedEvent{Payment: p}}}, nil
}
