package settlement

import (
	"context"
	"errors"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// Store keeps settlements.
type Store interface {
	// Unsettled lists merchants whose ledger account has entries after their last settlement, by id after the given one.
	Unsettled(ctx context.Context, after string, limit int) ([]Merchant, error)
	// LastSettlement is a merchant's last one, which may be open; ok is false when there is none.
	LastSettlement(ctx context.Context, merchant string) (s Settlement, ok bool, err error)
	// FirstAfter is when the first entry after a place was posted, payouts aside; ok is false when there is none.
	FirstAfter(ctx context.Context, merchant string, p Place) (at time.Time, ok bool, err error)
	// LastBefore is the last entry before a moment.
	LastBefore(ctx context.Context, merchant string, at time.Time) (Place, error)
	// Sum sums the entries after one place up to another.
	Sum(ctx context.Context, merchant string, after, last Place) (Sums, error)
	// OpenSettlement stores a settlement unless the merchant has one of that number, and returns the stored one.
	OpenSettlement(ctx context.Context, s Settlement) (Settlement, error)
	// CloseSettlement notes what was paid, once, with the event.
	CloseSettlement(ctx context.Context, s Settlement) error
}

// Books pay out.
type Books interface {
	OpenAccounts(ctx context.Context, accounts ...ledger.Account) error
	LedgerAccount(ctx context.Context, id string) (ledger.Account, error)
	// Posted reads what was posted with a purpose and a reference.
	Posted(ctx context.Context, p ledger.Purpose, reference string) (t ledger.Transaction, ok bool, err error)
	Post(ctx context.Context, transactions ...ledger.Transaction) ([]ledger.Posted, error)
}

// payTries is how often the payout is decided anew when a refund took the money in between.
const payTries = 5

// Service settles.
type Service struct {
	store Store
	books Books
	newID func() string
	// lateness is how long after the cut-off a day is settled, so that what was decided just before it is there. What comes
	// even later belongs to the next settlement.
	lateness time.Duration
}

// NewService puts the rules on top of a store and the books. newID makes UUIDs that sort by time; a day is settled that
// long after its cut-off.
func NewService(store Store, books Books, newID func() string, lateness time.Duration) *Service {
	return &Service{store: store, books: books, newID: newID, lateness: lateness}
}

// SettleDue settles every merchant whose cut-off has passed, and returns how many settlements were made. Any number of
// processes may do so at once, and each step may be repeated after a crash. A merchant that cannot be settled does not keep
// the others from it; the first error is returned after all were tried.
func (s *Service) SettleDue(ctx context.Context, page int, now time.Time) (made int, err error) {
	for after := ""; ; {
		merchants, listErr := s.store.Unsettled(ctx, after, page)
		if listErr != nil {
			return made, listErr
		}
		for _, m := range merchants {
			after = m.ID
			n, settleErr := s.settle(ctx, m, now)
			made += n
			if settleErr != nil && err == nil {
				err = settleErr
			}
		}
		if len(merchants) < page || ctx.Err() != nil {
			return made, err
		}
	}
}

// settle makes all settlements of a merchant that are due.
func (s *Service) settle(ctx context.Context, m Merchant, now time.Time) (made int, err error) {
	for {
		next, ok, err := s.next(ctx, m, now)
		if err != nil || !ok {
			return made, err
		}
		if err := s.pay(ctx, next, now); err != nil {
			if errors.Is(err, errLater) {
				err = nil
			}
			return made, err
		}
		made++
	}
}

// next is the settlement to be made next, stored as an open one.
func (s *Service) next(ctx context.Context, m Merchant, now time.Time) (Settlement, bool, error) {
	last, found, err := s.store.LastSettlement(ctx, m.ID)
	if err != nil {
		return Settlement{}, false, err
	}
	if found && last.CreateTime.IsZero() {
		return last, true, nil
	}
	if !found {
		last = Settlement{End: m.CreateTime}
	}
	first, ok, err := s.store.FirstAfter(ctx, m.ID, last.Last)
	if err != nil || !ok {
		return Settlement{}, false, err
	}
	if first.Before(last.End) {
		first = last.End
	}
	end, err := m.Schedule.Next(first)
	if err != nil || now.Before(end.Add(s.lateness)) {
		return Settlement{}, false, err
	}
	next := Settlement{
		ID: s.newID(), Merchant: m.ID, Number: last.Number + 1, Currency: m.Currency, Start: last.End, End: end,
		After: last.Last, CarriedIn: last.CarriedOut, PayoutAccount: m.PayoutAccount,
	}
	if next.Last, err = s.store.LastBefore(ctx, m.ID, end); err != nil {
		return Settlement{}, false, err
	}
	if next.Sums, err = s.store.Sum(ctx, m.ID, next.After, next.Last); err != nil {
		return Settlement{}, false, err
	}
	if entries := next.Captured - next.Refunded - next.Fees - next.Payouts; next.After.Balance+entries != next.Last.Balance {
		return Settlement{}, false, fault.New(fault.Internal, "SETTLEMENT_MISMATCH",
			"merchant %s: %d and the entries of the day, %d, are not the %d that the ledger says; nothing is paid out",
			m.ID, next.After.Balance, entries, next.Last.Balance)
	}
	next.CarriedOut = next.Net()
	next, err = s.store.OpenSettlement(ctx, next)
	return next, err == nil && next.CreateTime.IsZero(), err
}

// pay moves what the merchant gets to its settlement account, and closes the settlement.
func (s *Service) pay(ctx context.Context, open Settlement, now time.Time) error {
	paid, done, err := s.books.Posted(ctx, ledger.Payout, open.ID)
	if err != nil {
		return err
	}
	if !done && open.Net() > 0 {
		if paid, err = s.post(ctx, open, now); err != nil {
			return err
		}
	}
	if len(paid.Postings) > 0 {
		open.Transaction, open.PaidOut = paid.ID, paid.Postings[0].Amount
	}
	open.CarriedOut, open.CreateTime = open.Net()-open.PaidOut, now
	return s.store.CloseSettlement(ctx, open)
}

// errLater says that refunds since the cut-off have left nothing of what is to be paid out. The settlement stays open until
// something came in again: were it closed with nothing, another process that is about to pay could not be stopped.
var errLater = errors.New("nothing is left to be paid out")

// post pays out what was earned until the cut-off, or what refunds since then have left of it.
func (s *Service) post(ctx context.Context, open Settlement, now time.Time) (ledger.Transaction, error) {
	from, to := ledger.ID(ledger.Merchant, open.Merchant), ledger.Open(ledger.Settlement, open.Merchant, open.Currency)
	if err := s.books.OpenAccounts(ctx, to); err != nil {
		return ledger.Transaction{}, err
	}
	for try := 1; ; try++ {
		account, err := s.books.LedgerAccount(ctx, from)
		if err != nil {
			return ledger.Transaction{}, err
		}
		amount := min(open.Net(), account.Available())
		if amount <= 0 {
			// It may be another process's payout that has left nothing.
			stored, done, err := s.books.Posted(ctx, ledger.Payout, open.ID)
			if err == nil && !done {
				err = errLater
			}
			return stored, err
		}
		t := ledger.Transaction{
			ID: s.newID(), Purpose: ledger.Payout, Reference: open.ID, Time: now,
			Postings: []ledger.Posting{{Debit: from, Credit: to.ID, Amount: amount, Currency: open.Currency}},
		}
		_, err = s.books.Post(ctx, t)
		switch reason := fault.ReasonOf(err); {
		case err == nil, reason == "REFERENCE_REUSED":
			// Another process may have been first, with another amount.
			stored, _, err := s.books.Posted(ctx, ledger.Payout, open.ID)
			return stored, err
		case reason == "INSUFFICIENT_FUNDS" && try < payTries:
		default:
			return ledger.Transaction{}, err
		}
	}
}
