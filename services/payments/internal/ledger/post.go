package ledger

import (
	"slices"
	"strings"

	"github.com/armlet-pay/armlet/platform/fault"
)

// touched are the few accounts that one transaction changes. A slice is searched faster than a map that small is made.
type touched []Account

func (s touched) find(id string) *Account {
	for i := range s {
		if s[i].ID == id {
			return &s[i]
		}
	}
	return nil
}

// Post applies a transaction to the books and returns what is to be written; the books themselves stay as they were.
// All postings happen or none, and only where the balances end counts. It is posted no earlier than what was posted to
// the same accounts before, so that time never runs backwards in a statement.
//
// Errors: INSUFFICIENT_FUNDS, BALANCE_OVERFLOW, CURRENCY_MISMATCH, AMOUNT_NOT_POSITIVE, LEDGER_ACCOUNT_NOT_FOUND,
// LEDGER_ACCOUNT_CLOSED, LEDGER_ACCOUNT_FROZEN, POSTING_INVALID, HOLD_STATE.
//
// The books know sums and not single holds: whoever keeps those checks that a hold is captured and freed within its
// amount, see [Hold.Apply].
func (b Books) Post(t Transaction) (Posted, error) {
	if len(t.Postings) == 0 {
		return Posted{}, fault.New(fault.Invalid, "POSTING_INVALID", "a transaction needs at least one posting")
	}
	after := make(touched, 0, 2*len(t.Postings))
	for _, p := range t.Postings {
		for _, id := range [...]string{p.Debit, p.Credit} {
			if after.find(id) != nil {
				continue
			}
			a, ok := b[id]
			if !ok {
				return Posted{}, fault.New(fault.NotFound, "LEDGER_ACCOUNT_NOT_FOUND", "there is no ledger account %q", id)
			}
			if a.LastTime.After(t.Time) {
				t.Time = a.LastTime
			}
			after = append(after, a)
		}
	}
	entries := make([]Entry, len(t.Postings))
	for i, p := range t.Postings {
		var err error
		if entries[i], err = after.apply(p); err != nil {
			return Posted{}, err
		}
	}
	slices.SortFunc(after, func(x, y Account) int { return strings.Compare(x.ID, y.ID) })
	for i := range after {
		if err := after[i].checkMinimum(b[after[i].ID], t.MayOverdraw); err != nil {
			return Posted{}, err
		}
		after[i].LastTime, after[i].LastTransaction = t.Time, t.ID
	}
	return Posted{Transaction: t, Accounts: after, Entries: entries}, nil
}

// checkMinimum refuses an account that ends below its minimum. One that stood there before may still rise.
func (a Account) checkMinimum(before Account, mayOverdraw bool) error {
	if a.MinBalance == nil {
		return nil
	}
	lowest := *a.MinBalance
	if mayOverdraw {
		lowest -= a.Overdraft
	}
	if a.Available() < lowest && a.Available() < before.Available() {
		return fault.New(fault.FailedPrecondition, "INSUFFICIENT_FUNDS", "the account does not hold enough; top it up and try again")
	}
	return nil
}

// apply does one posting.
func (s touched) apply(p Posting) (Entry, error) {
	debit, credit := s.find(p.Debit), s.find(p.Credit)
	if err := p.check(*debit, *credit); err != nil {
		return Entry{}, err
	}
	fits := true
	move := func(sum *int64, by int64) {
		*sum += by
		fits = fits && *sum >= 0 // from a number that is at least zero an overflow ends below
	}
	switch p.Step {
	case Direct:
		move(&debit.PostedDebits, p.Amount)
		move(&credit.PostedCredits, p.Amount)
	case Pending:
		move(&debit.PendingDebits, p.Amount)
		move(&credit.PendingCredits, p.Amount)
	default:
		if debit.PendingDebits < p.Amount || credit.PendingCredits < p.Amount {
			return Entry{}, holdState("less is set aside than %d", p.Amount)
		}
		debit.PendingDebits -= p.Amount
		credit.PendingCredits -= p.Amount
		if p.Step == CaptureHold {
			move(&debit.PostedDebits, p.Amount)
			move(&credit.PostedCredits, p.Amount)
		}
	}
	// Whatever is pending may be captured, so the sums with it have to fit too.
	if !fits || debit.PostedDebits+debit.PendingDebits < 0 || credit.PostedCredits+credit.PendingCredits < 0 {
		return Entry{}, fault.New(fault.FailedPrecondition, "BALANCE_OVERFLOW", "the amount is more than the books can hold")
	}
	return Entry{Debit: debit.entry(), Credit: credit.entry()}, nil
}

// entry notes that the account was touched and is what its statement says of that.
func (a *Account) entry() Side {
	a.Entries++
	a.Version++
	s := Side{Number: a.Entries, Balance: a.Balance(), Held: a.PendingDebits, Before: a.LastTransaction}
	a.LastTransaction = ""
	return s
}

// check says whether the posting is one at all and whether the two accounts take it.
func (p Posting) check(debit, credit Account) error {
	if p.Amount <= 0 {
		return fault.New(fault.Invalid, "AMOUNT_NOT_POSITIVE", "the amount must be positive, got %d", p.Amount)
	}
	if p.Debit == p.Credit {
		return fault.New(fault.Invalid, "POSTING_INVALID", "a posting needs two different accounts")
	}
	switch p.Step {
	case Direct, Pending, CaptureHold, VoidHold, ExpireHold:
	default:
		return fault.New(fault.Invalid, "POSTING_INVALID", "%q is no step of a posting", p.Step)
	}
	if (p.Step == Direct) != (p.Hold == "") {
		return fault.New(fault.Invalid, "POSTING_INVALID", "a posting names a hold if and only if it belongs to one")
	}
	if debit.Currency != p.Currency || credit.Currency != p.Currency {
		return fault.New(fault.FailedPrecondition, "CURRENCY_MISMATCH",
			"a posting in %s needs two accounts in %s, got %s and %s", p.Currency, p.Currency, debit.Currency, credit.Currency)
	}
	if debit.Status == StatusClosed || credit.Status == StatusClosed {
		return fault.New(fault.FailedPrecondition, "LEDGER_ACCOUNT_CLOSED", "an account of the posting is closed; it takes no more postings")
	}
	if debit.Status == StatusFrozen && (p.Step == Direct || p.Step == Pending) {
		return fault.New(fault.FailedPrecondition, "LEDGER_ACCOUNT_FROZEN", "the account is frozen and gives no money until it is opened again")
	}
	return nil
}
