// Package ledger is double-entry bookkeeping in minor units: accounts, transactions and postings, and the rules that no
// posting may break. It decides; it stores nothing.
//
// A posting moves one amount from a debit account to a credit account of the same currency, so that every transaction
// sums to zero in each currency by its very shape. A balance is credits less debits: what the operator owes the account's
// owner. What is set aside by a hold is still in the balance but no longer available. Only the accounts that stand for
// the world outside may fall without limit.
//
// Start with post.go, which has the rules, then holds.go and chain.go.
package ledger

import (
	"slices"
	"time"
)

// Kind says what an account is for; it stands first in the account's id.
type Kind string

// The chart of accounts.
const (
	// Wallet holds a wearer's money; it never falls below its minimum, which is zero unless credit was granted.
	Wallet Kind = "wallet"
	// Merchant holds what a merchant has earned and was not paid out.
	Merchant Kind = "merchant"
	// Fee holds what the operator has earned.
	Fee Kind = "fee"
	// Settlement holds what is on its way to merchants' banks.
	Settlement Kind = "settlement"
	// Funding stands for the money outside, one account a currency; it falls with every top-up and has no minimum.
	Funding Kind = "funding"
	// Suspense holds what cannot be assigned yet, in either direction; it has no minimum.
	Suspense Kind = "suspense"
)

// Unlimited says whether accounts of the kind have no minimum.
func (k Kind) Unlimited() bool { return k == Funding || k == Suspense }

// Status says what may be posted to an account.
type Status string

// The statuses.
const (
	// StatusOpen takes everything.
	StatusOpen Status = "open"
	// StatusFrozen receives but gives nothing; what was set aside before may still be captured or released.
	StatusFrozen Status = "frozen"
	// StatusClosed takes nothing. Its balance is zero and nothing is pending.
	StatusClosed Status = "closed"
)

// Account is one ledger account with what was posted to it so far.
type Account struct {
	// ID is kind and owner: "wallet/alice", "merchant/<uuid>", "funding/CNY".
	ID string
	// Kind is the first half of the id.
	Kind Kind
	// Currency is the only one it holds, ISO 4217.
	Currency string
	// Status is open for a new account.
	Status Status
	// MinBalance is the lowest available balance allowed; nil allows any.
	MinBalance *int64
	// Overdraft is how far below MinBalance a transaction that may overdraw can take it; at least zero.
	Overdraft int64
	// PostedDebits and PostedCredits are the sums of all postings, PendingDebits and PendingCredits those of the holds that
	// are neither captured nor released. Each is at least zero.
	PostedDebits, PostedCredits   int64
	PendingDebits, PendingCredits int64
	// Entries is how many postings touched it, LastTime when the last one did.
	Entries  int64
	LastTime time.Time
	// LastTransaction is the one that touched it last, empty when none has.
	LastTransaction string
	// Version grows with every change.
	Version int64
}

// Open is a new, empty account. Funding and suspense accounts get no minimum, every other one a minimum of zero.
func Open(kind Kind, owner, currency string) Account {
	a := Account{ID: ID(kind, owner), Kind: kind, Currency: currency, Status: StatusOpen}
	if !kind.Unlimited() {
		a.MinBalance = new(int64)
	}
	return a
}

// ID is the id of an owner's account of one kind.
func ID(kind Kind, owner string) string { return string(kind) + "/" + owner }

// Balance is credits less debits. Both are at least zero, so it cannot overflow.
func (a Account) Balance() int64 { return a.PostedCredits - a.PostedDebits }

// Available is the balance less what holds set aside.
func (a Account) Available() int64 { return a.Balance() - a.PendingDebits }

// Owed is how far the balance is below zero.
func (a Account) Owed() int64 { return max(0, -a.Balance()) }

// Step says what a posting does to the money.
type Step string

// The steps. All but Direct belong to a hold.
const (
	// Direct moves posted money at once. It is the zero value.
	Direct Step = ""
	// Pending sets money aside.
	Pending Step = "pending"
	// CaptureHold moves money that was set aside.
	CaptureHold Step = "capture"
	// VoidHold and ExpireHold free money that was set aside: because somebody said so, or because its time was over.
	VoidHold   Step = "void"
	ExpireHold Step = "expire"
)

// Posting moves an amount between two accounts.
type Posting struct {
	// Debit is the account that gives, Credit the one that gets.
	Debit, Credit string
	// Amount is in minor units and positive.
	Amount int64
	// Currency is that of both accounts.
	Currency string
	// Step is Direct for most.
	Step Step
	// Hold is the hold's id: a new one, a UUID, with Pending, and the one that is captured or freed with the other steps.
	Hold string
	// ExpireTime is until when the hold is good, with Pending; zero is for ever.
	ExpireTime time.Time
}

// Purpose says what a transaction is for. With the reference it is unique: a thing is posted once.
type Purpose string

// The purposes. The comment says what the reference is.
const (
	// TopUp brings money in. The reference is the caller and the id of its request.
	TopUp Purpose = "topup"
	// Withdrawal pays money out. The reference is the caller and the id of its request.
	Withdrawal Purpose = "withdrawal"
	// Authorize sets money aside for a payment, Capture pays the merchant, Release frees what was set aside and Refund gives
	// back. The reference is the payment, and from the second one on its number after a slash.
	Authorize Purpose = "authorize"
	Capture   Purpose = "capture"
	Release   Purpose = "release"
	Refund    Purpose = "refund"
	// Payout moves what a merchant has earned to its settlement account. The reference is the settlement.
	Payout Purpose = "payout"
	// Transfer moves money for whatever reason its reference tells.
	Transfer Purpose = "transfer"
	// Reversal undoes a transaction. The reference is that transaction's id, so that it is undone once.
	Reversal Purpose = "reversal"
)

// Transaction is a set of postings that happen together or not at all. Once posted it never changes.
type Transaction struct {
	// ID is a UUID.
	ID string
	// Purpose and Reference say why; the pair is unique.
	Purpose   Purpose
	Reference string
	// Postings is not empty.
	Postings []Posting
	// Time is when it was posted.
	Time time.Time
	// MayOverdraw lets accounts fall below their minimum by their overdraft.
	MayOverdraw bool
}

// Accounts is the ids of all accounts that the transaction touches, sorted, each once. Whoever locks, locks in this order.
func (t Transaction) Accounts() []string {
	ids := make([]string, 0, 2*len(t.Postings))
	for _, p := range t.Postings {
		ids = append(ids, p.Debit, p.Credit)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Reverse is the transaction that undoes this one: the same amounts the other way. What was only set aside is not undone
// but freed, so a transaction with other steps than Direct cannot be reversed and ok is false.
func (t Transaction) Reverse(id string, now time.Time) (_ Transaction, ok bool) {
	back := Transaction{ID: id, Purpose: Reversal, Reference: t.ID, Time: now, Postings: make([]Posting, len(t.Postings))}
	for i, p := range t.Postings {
		if p.Step != Direct {
			return Transaction{}, false
		}
		back.Postings[i] = Posting{Debit: p.Credit, Credit: p.Debit, Amount: p.Amount, Currency: p.Currency}
	}
	return back, true
}

// Books is a set of accounts by id, as they stand under lock.
type Books map[string]Account

// Balance is the balance of an account in the books, zero when it is not among them.
func (b Books) Balance(id string) int64 { return b[id].Balance() }

// Posted is a transaction that was found good, with the accounts as they stand after it, sorted by id.
type Posted struct {
	Transaction Transaction
	Accounts    []Account
	// Entries are what the accounts' statements say of each posting, in the order of the postings.
	Entries []Entry
}

// Owed is how far an account is below zero after the transaction.
func (p Posted) Owed(id string) int64 {
	for _, a := range p.Accounts {
		if a.ID == id {
			return a.Owed()
		}
	}
	return 0
}

// Collect splits a transaction of one posting in two: the first brings what its account owes, the second the rest.
func (t Transaction) Collect(owed int64) Transaction {
	first, rest := t.Postings[0], t.Postings[0]
	first.Amount = min(owed, first.Amount)
	rest.Amount -= first.Amount
	t.Postings = []Posting{first}
	if rest.Amount > 0 {
		t.Postings = append(t.Postings, rest)
	}
	return t
}

// Entry is one posting as its two accounts see it.
type Entry struct{ Debit, Credit Side }

// Side is an account right after a posting.
type Side struct {
	// Number counts the account's entries, from 1 without a gap.
	Number int64
	// Balance is what is posted, Held how much of it is set aside.
	Balance, Held int64
	// Before is the transaction that touched the account before this one, which is how a statement is read: from one to the one
	// before. Only the first posting of a transaction on an account says it. It leads to entries and is none; no hash covers it.
	Before string
}
