package ledger

// TrialBalance is the state of the books at one moment, summed from the postings themselves.
type TrialBalance struct {
	// Lines are the accounts with the largest turnover, by id.
	Lines []Line
	// Totals is one entry a currency, over all accounts.
	Totals []Total
}

// Line is what was posted to one account.
type Line struct {
	Account  string
	Currency string
	// Debits and Credits are sums of postings, in minor units.
	Debits, Credits int64
}

// Total is one currency.
type Total struct {
	Currency string
	// Difference is all debits less all credits; anything but zero is an error.
	Difference int64
	// Transactions is how many were posted.
	Transactions int64
	// Wrong is how many accounts hold a balance that differs from their postings, or stand below their minimum.
	Wrong int64
}

// Balanced says whether every currency sums to zero and every balance is what its postings say.
func (t TrialBalance) Balanced() bool {
	for _, c := range t.Totals {
		if c.Difference != 0 || c.Wrong != 0 {
			return false
		}
	}
	return true
}
