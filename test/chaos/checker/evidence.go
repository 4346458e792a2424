package checker

// Payment is a row of the table payments.
type Payment struct {
	ID, Account, State, Currency string
	Amount, Captured             int64
}

// Book is a row of the table ledger_accounts.
type Book struct {
	ID, Currency    string
	Debits, Credits int64
	// PendingDebits and PendingCredits are held.
	PendingDebits, PendingCredits int64
}

// Posting is a row of the table ledger_postings.
type Posting struct {
	Transaction, Debit, Credit, Currency, Step string
	Amount                                     int64
}

// Event is a message of a stream that says that a payment was captured.
type Event struct {
	ID, Payment, Account string
	Amount               int64
}

// Alert is an entry of a wearer's inbox that says that a payment was captured.
type Alert struct {
	Account, Text string
}

// Evidence is what there is. Names are without their collection: "alice", not "accounts/alice".
type Evidence struct {
	Payments []Payment
	Books    []Book
	Postings []Posting
	// Unpublished is how many events wait in the outbox.
	Unpublished int
	// Events are those of the stream of payments, Feed those of the partner's own stream.
	Events, Feed []Event
	Alerts       []Alert
	// DeadLetters is how many events a consumer gave up.
	DeadLetters int
}
