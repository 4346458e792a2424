package ledger

import "time"

// StatementLine is one posting as one of its accounts sees it.
type StatementLine struct {
	// Number counts the account's entries, from 1 without a gap.
	Number      int64
	Transaction string
	Purpose     Purpose
	Reference   string
	Time        time.Time
	Step        Step
	// Other is the account on the other side.
	Other string
	// Amount is in minor units: positive for what the account got, negative for what it gave or set aside.
	Amount int64
	// Balance is what is posted after it, Held how much of that is set aside.
	Balance, Held int64
}

// BalanceAt is an account at one moment.
type BalanceAt struct {
	Account  string
	Currency string
	// Entries is how many postings had touched it.
	Entries int64
	// Posted is its balance, Held how much of it was set aside, in minor units.
	Posted, Held int64
}

// Available is what could have been spent.
func (b BalanceAt) Available() int64 { return b.Posted - b.Held }
