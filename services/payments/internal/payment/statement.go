package payment

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// Entry is one posting to a wallet.
type Entry struct {
	// Number counts what was posted to the wallet, holds included.
	Number      int64
	Transaction string
	Purpose     string
	// Payment is its id where it belongs to one.
	Payment string
	// Amount is what the wallet got, or gave when it is negative; Balance what it held afterwards, holds included.
	Amount, Balance Money
	Time            time.Time
}

// Statement is a page of what was posted to a wallet.
type Statement struct {
	Opening, Closing Money
	Entries          []Entry
	More             bool
}

// Period is from when to when, the first inclusive and the second exclusive; zero is without end.
type Period struct{ From, To time.Time }

// Books is what statements and balances read of the ledger.
type Books interface {
	Statement(ctx context.Context, id string, from, to time.Time, after int64, limit int) ([]ledger.StatementLine, error)
	BalanceAt(ctx context.Context, id string, at time.Time) (ledger.BalanceAt, error)
}

// BalanceAt is what a ledger account held at a moment, now when that is zero. Wearers see their wallet, terminals the account
// of their merchant.
func (s *Service) BalanceAt(ctx context.Context, c Caller, books Books, id string, at time.Time) (ledger.BalanceAt, error) {
	own := c.Role == Operator || c.Role == Wearer && id == ledger.ID(ledger.Wallet, c.Account) ||
		c.Role == Terminal && id == ledger.ID(ledger.Merchant, c.Merchant)
	if !own {
		return ledger.BalanceAt{}, fault.New(fault.NotFound, "LEDGER_ACCOUNT_NOT_FOUND", "there is no such ledger account, or the caller may not see it")
	}
	if at.IsZero() {
		at = time.UnixMicro(math.MaxInt64)
	}
	return books.BalanceAt(ctx, id, at)
}

// Place is where a page of a statement begins: after the entry with the number, which left the balance.
type Place struct{ Number, Balance int64 }

// Statement lists what was posted to a wallet, oldest first. What was only set aside, or freed, moved nothing and is left
// out.
func (s *Service) Statement(ctx context.Context, c Caller, books Books, account string, in Period, after *Place, limit int) (Statement, error) {
	a, err := s.Account(ctx, c, account)
	if err != nil {
		return Statement{}, err
	}
	id := ledger.ID(ledger.Wallet, account)
	if after == nil {
		after = &Place{}
		if !in.From.IsZero() {
			before, err := books.BalanceAt(ctx, id, in.From.Add(-time.Microsecond))
			if err != nil {
				return Statement{}, err
			}
			after.Balance = before.Posted
		}
	}
	if in.To.IsZero() {
		in.To = time.UnixMicro(math.MaxInt64)
	}
	money := func(minor int64) Money { return Money{Minor: minor, Currency: a.Balance.Currency} }
	out := Statement{Opening: money(after.Balance), Closing: money(after.Balance)}
	for number := after.Number; ; {
		lines, err := books.Statement(ctx, id, in.From, in.To, number, limit+1)
		if err != nil {
			return Statement{}, err
		}
		for _, l := range lines {
			number = l.Number
			if l.Step != ledger.Direct && l.Step != ledger.CaptureHold {
				continue
			}
			if len(out.Entries) == limit {
				out.More = true
				return out, nil
			}
			out.Entries = append(out.Entries, Entry{
				Number: l.Number, Transaction: l.Transaction, Purpose: purposeOf(l), Payment: paymentOf(l),
				Amount: money(l.Amount), Balance: money(l.Balance), Time: l.Time,
			})
			out.Closing = money(l.Balance)
		}
		if len(lines) <= limit {
			return out, nil
		}
	}
}

// purposeOf tells the part of a top-up that paid what was owed from the rest: it leaves no more than nothing.
func purposeOf(l ledger.StatementLine) string {
	if l.Purpose == ledger.TopUp && l.Balance <= 0 {
		return "collection"
	}
	return string(l.Purpose)
}

// paymentOf is the payment that a line belongs to: the beginning of its reference.
func paymentOf(l ledger.StatementLine) string {
	switch l.Purpose {
	case ledger.Authorize, ledger.Capture, ledger.Release, ledger.Refund:
		id, _, _ := strings.Cut(l.Reference, "/")
		return id
	}
	return ""
}
