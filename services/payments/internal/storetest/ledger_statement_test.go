package storetest

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

// expectedStatement is what the accounts' statements should say, written down while things are posted.
type expectedStatement map[string][]ledger.StatementLine

func (x expectedStatement) add(p ledger.Posted) {
	t := p.Transaction
	for n, l := range t.Postings {
		line := func(id, other string, s ledger.Side, amount int64) {
			if l.Step == ledger.VoidHold {
				amount = -amount
			}
			x[id] = append(x[id], ledger.StatementLine{
				Number: s.Number, Transaction: t.ID, Purpose: t.Purpose, Reference: t.Reference, Time: t.Time, Step: l.Step, Other: other,
				Amount: amount, Balance: s.Balance, Held: s.Held,
			})
		}
		line(l.Debit, l.Credit, p.Entries[n].Debit, -l.Amount)
		line(l.Credit, l.Debit, p.Entries[n].Credit, l.Amount)
	}
}

// asBefore writes a transfer as programs did before postings named the one before them.
func asBefore(t *testing.T, db *sqldb.DB, l *store.Ledger, x ledger.Transaction) ledger.Posted {
	t.Helper()
	books := ledger.Books{}
	for _, id := range x.Accounts() {
		a, err := l.LedgerAccount(t.Context(), id)
		must(t, err)
		books[id] = a
	}
	p, err := books.Post(x)
	must(t, err)
	g, e, at := p.Transaction.Postings[0], p.Entries[0], p.Transaction.Time.UnixMicro()
	must(t, db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		for _, s := range []struct {
			text string
			args []any
		}{
			{`INSERT INTO ledger_transactions (id, purpose, reference, posted_at) VALUES ($1, $2, $3, $4)`, []any{x.ID, string(x.Purpose), x.Reference, at}},
			{`INSERT INTO ledger_postings (transaction_id, line, debit_account, credit_account, amount, currency, posted_at, debit_entry, debit_balance,
				debit_held, credit_entry, credit_balance, credit_held) VALUES ($1, 0, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
				[]any{x.ID, g.Debit, g.Credit, g.Amount, g.Currency, at, e.Debit.Number, e.Debit.Balance, e.Debit.Held, e.Credit.Number, e.Credit.Balance, e.Credit.Held}},
			{`UPDATE ledger_accounts SET posted_debits = posted_debits + $2, entries = entries + 1, version = version + 1, posted_at = $3 WHERE id = $1`,
				[]any{g.Debit, g.Amount, at}},
			{`UPDATE ledger_accounts SET posted_credits = posted_credits + $2, entries = entries + 1, version = version + 1, posted_at = $3 WHERE id = $1`,
				[]any{g.Credit, g.Amount, at}},
		} {
			if _, err := tx.ExecContext(ctx, s.text, s.args...); err != nil {
				return err
			}
		}
		return nil
	}))
	return p
}

// Statements and balances of any moment are right over hundreds of entries, of which some share their time, some their
// transaction, and some were written by a program of before while this one runs.
func TestStatementsAndBalancesOfAnyMomentAreWhatWasPosted(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		t.Parallel()
		for _, name := range []string{"alone", "beside"} { // the chains hold only what one program wrote
			before := name == "beside"
			t.Run(name, func(t *testing.T) {
				l, w := newLedger(t, db), make([]string, 4)
				for i, kind := range []ledger.Kind{ledger.Funding, ledger.Wallet, ledger.Wallet, ledger.Merchant} {
					a := ledger.Open(kind, name+strconv.Itoa(i), cny)
					must(t, l.OpenAccounts(t.Context(), a))
					w[i] = a.ID
				}
				expected, at := expectedStatement{}, start
				for n := range 180 {
					at = at.Add(time.Duration(rand.N(3)) * time.Microsecond)
					x := transfer(w[0], w[1+rand.N(2)], 1+rand.Int64N(9))
					if n > 80 && rand.N(4) == 0 {
						x = transfer(w[2], w[3], 1)
					}
					x.Time = at
					if before && rand.N(3) == 0 {
						expected.add(asBefore(t, db, l, x))
						continue
					}
					p, err := l.Post(t.Context(), lengthened(x))
					must(t, err)
					expected.add(p[0])
				}
				for _, id := range w {
					readAll(t, l, id, expected[id], at)
				}
				if !before {
					sound(t, l)
				}
			})
		}
	})
}

// lengthened adds postings to a transaction, now and then a hold that is freed at once.
func lengthened(x ledger.Transaction) ledger.Transaction {
	first := x.Postings[0]
	for range rand.N(3) {
		x.Postings = append(x.Postings, first)
	}
	if rand.N(4) == 0 {
		hold := first
		hold.Step, hold.Hold = ledger.Pending, newID()
		free := hold
		free.Step = ledger.VoidHold
		x.Postings = append(x.Postings, hold, free)
	}
	return x
}

// readAll compares a statement, in pages of several sizes and from many moments, and the balance at each moment.
func readAll(t *testing.T, l *store.Ledger, id string, want []ledger.StatementLine, end time.Time) {
	t.Helper()
	for range 6 {
		from := start.Add(time.Duration(rand.Int64N(int64(end.Sub(start)) + 2000)))
		from = from.Add(-time.Microsecond).Truncate(time.Microsecond)
		to := from.Add(time.Duration(rand.Int64N(int64(end.Sub(start))+2000)) + time.Microsecond).Truncate(time.Microsecond)
		var inside []ledger.StatementLine
		at := ledger.BalanceAt{Account: id, Currency: cny}
		for _, e := range want {
			if !e.Time.Before(from) && e.Time.Before(to) {
				inside = append(inside, e)
			}
			if !e.Time.After(from) {
				at.Entries, at.Posted, at.Held = e.Number, e.Balance, e.Held
			}
		}
		limit := 20 + rand.N(130)
		var got []ledger.StatementLine
		for after := int64(0); ; after = got[len(got)-1].Number {
			lines, err := l.Statement(t.Context(), id, from, to, after, limit)
			must(t, err)
			got = append(got, lines...)
			if len(lines) < limit {
				break
			}
		}
		if diff := cmp.Diff(inside, got); diff != "" {
			t.Fatalf("the statement of %s in pages of %d (-want +got):\n%s", id, limit, diff)
		}
		balance, err := l.BalanceAt(t.Context(), id, from)
		must(t, err)
		if balance != at {
			t.Fatalf("%s at %s: %+v, want %+v", id, from, balance, at)
		}
	}
}
