package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

const (
	cny     = "CNY"
	funding = "funding/CNY"
)

// newLedger is a ledger on a fresh database with a funding account in CNY.
func newLedger(t testing.TB, db *sqldb.DB) *store.Ledger {
	t.Helper()
	must(t, db.Migrate(t.Context(), store.Migrations()))
	l := store.NewLedger(db, func() time.Time { return start })
	must(t, l.OpenAccounts(t.Context(), ledger.Open(ledger.Funding, cny, cny)))
	return l
}

// wallets opens n wallets with a balance each and returns their ids.
func wallets(t testing.TB, l *store.Ledger, n int, balance int64) []string {
	t.Helper()
	ids, accounts := make([]string, n), make([]ledger.Account, n)
	for i := range ids {
		accounts[i] = ledger.Open(ledger.Wallet, fmt.Sprintf("w%06d", i), cny)
		ids[i] = accounts[i].ID
	}
	must(t, l.OpenAccounts(t.Context(), accounts...))
	if balance == 0 {
		return ids
	}
	for from := 0; from < n; from += 500 {
		fill := ledger.Transaction{ID: newID(), Purpose: ledger.TopUp, Reference: newID(), Time: start}
		for _, id := range ids[from:min(n, from+500)] {
			fill.Postings = append(fill.Postings, ledger.Posting{Debit: funding, Credit: id, Amount: balance, Currency: cny})
		}
		_, err := l.Post(t.Context(), fill)
		must(t, err)
	}
	return ids
}

// transfer is a transaction with one posting and a reference of its own.
func transfer(from, to string, amount int64) ledger.Transaction {
	id := newID()
	return ledger.Transaction{
		ID: id, Purpose: ledger.Transfer, Reference: id, Time: start,
		Postings: []ledger.Posting{{Debit: from, Credit: to, Amount: amount, Currency: cny}},
	}
}

func pay(ctx context.Context, l *store.Ledger, from, to string, amount int64) error {
	_, err := l.Post(ctx, transfer(from, to, amount))
	return err
}

// sound checks the books and every chain, and returns how many transactions are in the chains.
func sound(t testing.TB, l *store.Ledger) int64 {
	t.Helper()
	trial, err := l.TrialBalance(t.Context())
	must(t, err)
	if !trial.Balanced() {
		t.Fatalf("the books do not balance: %+v", trial.Totals)
	}
	v, err := l.VerifyLedger(t.Context())
	must(t, err)
	if !v.Intact() {
		t.Fatalf("the ledger is not intact: %v %q", v.Broken, v.Wrong)
	}
	return v.Transactions
}
