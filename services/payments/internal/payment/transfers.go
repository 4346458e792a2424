package payment

import (
	"context"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// Transfer is money that the operator moves between two ledger accounts.
type Transfer struct {
	// ID is the caller's own.
	ID string
	// Debit gives, Credit gets.
	Debit, Credit string
	Amount        Money
}

// Transferred is what became of a transfer.
type Transferred struct {
	// Transaction and Time are the ledger's, empty when it was refused.
	Transaction string
	Time        time.Time
	// Refused is why it was refused; nil when it was posted.
	Refused *fault.Error
}

// Poster posts to the ledger.
type Poster interface {
	// Post posts all or none. The error names the transaction that it is about, where it is about one, in its meta.
	Post(ctx context.Context, transactions ...ledger.Transaction) ([]ledger.Posted, error)
	// PostEach posts each for itself.
	PostEach(ctx context.Context, transactions []ledger.Transaction) ([]ledger.Posted, []error)
	// Transaction reads what was posted. It returns TRANSACTION_NOT_FOUND.
	Transaction(ctx context.Context, id string) (ledger.Transaction, error)
}

// MetaTransaction is where [Poster.Post] names the transaction that an error is about.
const MetaTransaction = "transaction"

// Transfer posts transfers, each for itself, or all or none when they are linked. An error says that it is not known what
// became of some; the same transfers again tell.
func (s *Service) Transfer(ctx context.Context, c Caller, books Poster, want []Transfer, linked bool, now time.Time) ([]Transferred, error) {
	transactions := make([]ledger.Transaction, len(want))
	key := c.Key() + "/"
	for i, t := range want {
		transactions[i] = ledger.Transaction{
			ID: s.newID(), Purpose: ledger.Transfer, Reference: key + t.ID, Time: now,
			Postings: []ledger.Posting{{Debit: t.Debit, Credit: t.Credit, Amount: t.Amount.Minor, Currency: t.Amount.Currency}},
		}
	}
	if err := checkDistinct(want); err != nil {
		return nil, err
	}
	if linked {
		posted, err := books.Post(ctx, transactions...)
		if err != nil {
			return refuseLinked(transactions, err)
		}
		return transferred(posted, make([]error, len(posted)))
	}
	return transferred(books.PostEach(ctx, transactions))
}

// Reverse undoes a transfer, once: the ledger knows the reversal by what it undoes.
func (s *Service) Reverse(ctx context.Context, books Poster, transaction string, now time.Time) (Transferred, error) {
	t, err := books.Transaction(ctx, transaction)
	if err != nil {
		return Transferred{}, err
	}
	back, ok := t.Reverse(s.newID(), now)
	if !ok || t.Purpose != ledger.Transfer {
		return Transferred{}, fault.New(fault.FailedPrecondition, "TRANSACTION_NOT_REVERSIBLE",
			"only a transfer can be reversed, this is a %s; refund payments, and withdraw or top up for the others", t.Purpose)
	}
	posted, err := books.Post(ctx, back)
	if err != nil {
		return Transferred{}, err
	}
	return Transferred{Transaction: posted[0].Transaction.ID, Time: posted[0].Transaction.Time}, nil
}

func checkDistinct(want []Transfer) error {
	if len(want) == 1 {
		return nil
	}
	seen := make(map[string]bool, len(want))
	for i, t := range want {
		if seen[t.ID] {
			return fault.InvalidField(fmt.Sprintf("transfers[%d].transfer_id", i), "must be another one for each transfer of a call")
		}
		seen[t.ID] = true
	}
	return nil
}

func transferred(posted []ledger.Posted, errs []error) ([]Transferred, error) {
	out := make([]Transferred, len(posted))
	for i, p := range posted {
		if errs[i] == nil {
			out[i] = Transferred{Transaction: p.Transaction.ID, Time: p.Transaction.Time}
			continue
		}
		f, ok := refusal(errs[i])
		if !ok {
			return nil, errs[i]
		}
		out[i] = Transferred{Refused: f}
	}
	return out, nil
}

// refuseLinked tells the transfer that was refused from those that were refused with it.
func refuseLinked(want []ledger.Transaction, err error) ([]Transferred, error) {
	f, ok := refusal(err)
	if !ok {
		return nil, err
	}
	other := fault.New(fault.FailedPrecondition, "LINKED_TRANSFER_REFUSED", "another one of the linked transfers was refused, so none was posted")
	out := make([]Transferred, len(want))
	for i, t := range want {
		out[i].Refused = f
		if culprit := f.Meta[MetaTransaction]; culprit != "" && culprit != t.ID {
			out[i].Refused = other
		}
	}
	return out, nil
}

// refusal is an error that says that nothing was posted, and why.
func refusal(err error) (*fault.Error, bool) {
	f, ok := fault.As(err)
	if !ok {
		return nil, false
	}
	switch f.Kind {
	case fault.Invalid, fault.NotFound, fault.FailedPrecondition, fault.AlreadyExists:
		return f, true
	}
	return nil, false
}
