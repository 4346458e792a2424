package payment

import (
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
)

// Step is what a change needs to look at. All of it is as it will be when the change is committed, or the change is decided
// again.
type Step struct {
	// Payment is locked; empty when there is none. Fresh says that it may not be there yet.
	Payment string
	Fresh   bool
	// Merchant is read.
	Merchant string
	// Request makes the step repeatable: once it was done its answer is given again and nothing is decided.
	Request *Request
	// Assertion is the id of the approval that the step uses up, or empty. An id is used for one payment, ever.
	Assertion string
	// Ledger are accounts of the ledger, Holds the holds that the step captures or frees.
	Ledger, Holds []string
	// Counters are locked.
	Counters []limit.Key
}

// Facts are what a step decides on.
type Facts struct {
	// Payment is the one of the step; Found is false when it is not there.
	Payment  Payment
	Found    bool
	Merchant Merchant
	Books    ledger.Books
	Counters limit.Counters
}

// Change is what one step makes of things; the store writes it whole or not at all. A payment of the same revision is not
// written, and then neither is anything else.
type Change struct {
	Payment Payment
	// Posted is what the step writes to the ledger.
	Posted []ledger.Posted
	// Counters are the limits' counters that it changes.
	Counters limit.Counters
	// Events are published when the change is committed.
	Events []Event
	// Answer is what a repeat of the request gets, aside from the payment.
	Answer Answer
}

// Answer is what a step came to.
type Answer struct {
	// Payment is as the step left it.
	Payment Payment
	// ID is what the step has named.
	ID string
	// Transaction is what it posted.
	Transaction string
	// Account is a wallet after it, Collected what a top-up has paid of what it owed.
	Account   Account
	Collected int64
}

// post decides a ledger transaction on the books.
func (c *Change) post(f Facts, t ledger.Transaction) error {
	posted, err := f.Books.Post(t)
	if err != nil {
		return err
	}
	c.Posted = append(c.Posted, posted)
	c.Answer.Transaction = t.ID
	return nil
}

// accounts of the ledger that a payment moves money between.
func (p Payment) accounts() []string { return []string{p.wallet(), p.till(), p.feeAccount()} }

func (p Payment) wallet() string     { return ledger.ID(ledger.Wallet, p.Account) }
func (p Payment) till() string       { return ledger.ID(ledger.Merchant, p.Merchant) }
func (p Payment) feeAccount() string { return ledger.ID(ledger.Fee, p.Amount.Currency) }

// hold is the payment's hold as the ledger knows it: it has the payment's id.
func (p Payment) hold() ledger.Hold {
	return ledger.Hold{
		ID: p.ID, Debit: p.wallet(), Credit: p.till(), Currency: p.Amount.Currency,
		Amount: p.Amount.Minor, Captured: p.CapturedMinor, Released: p.ReleasedMinor, State: ledger.HoldPending,
	}
}
