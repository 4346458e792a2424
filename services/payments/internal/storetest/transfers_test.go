package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// Many callers of two processes post the same batch, of which one transfer is refused: each other one is posted once, and
// everybody gets the same answers.
func TestABatchThatManyCallersPostIsPostedOnce(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.topUp(t, "alice", 1000)
		f.wallet(t, "bob", 0)
		want := []payment.Transfer{{ID: "none", Debit: "wallet/alice", Credit: "wallet/nobody", Amount: payment.Money{Minor: 1, Currency: cny}}}
		for i := range 40 {
			want = append(want, payment.Transfer{ID: fmt.Sprint(i), Debit: "wallet/alice", Credit: "wallet/bob", Amount: payment.Money{Minor: 1, Currency: cny}})
		}
		books := []payment.Poster{f.store, newStoreOn(db)}
		answers := make([][]payment.Transferred, 16)
		for _, err := range together(len(answers), func(i int) error {
			var err error
			answers[i], err = f.service.Transfer(t.Context(), operator, books[i%2], want, false, start)
			if fault.KindOf(err) == fault.Aborted { // two processes got in each other's way for long; what became of it a repeat tells
				answers[i], err = f.service.Transfer(t.Context(), operator, books[i%2], want, false, start)
			}
			return err
		}) {
			t.Error(err)
		}
		for _, a := range answers {
			for i, got := range a {
				if (got.Refused != nil) != (i == 0) || got.Transaction != answers[0][i].Transaction {
					t.Fatalf("transfer %d: %+v and %+v", i, got, answers[0][i])
				}
			}
		}
		if got := f.balance(t, "bob"); got != 40 {
			t.Errorf("bob has %d, want 40", got)
		}
		sound(t, f.store.Ledger)
	})
}

// A caller who goes away leaves some posted and some not; a repeat completes it.
func TestATransferIsKnownByItsIDAfterItsCallerHasGone(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		l := newLedger(t, db)
		ids := wallets(t, l, 2, 1000)
		var batch []ledger.Transaction
		for range 100 {
			batch = append(batch, transfer(ids[0], ids[1], 1))
		}
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		_, errs := l.PostEach(ctx, batch)
		for _, err := range errs {
			if err != nil && !errors.Is(err, ctx.Err()) {
				t.Error(err)
			}
		}
		posted, errs := l.PostEach(t.Context(), batch)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		for i, p := range posted {
			if p.Transaction.ID != batch[i].ID {
				t.Errorf("transfer %d is %s, not %s", i, p.Transaction.ID, batch[i].ID)
			}
		}
		a, err := l.LedgerAccount(t.Context(), ids[1])
		must(t, err)
		if a.Balance() != 1100 {
			t.Errorf("%d arrived", a.Balance()-1000)
		}
		sound(t, l)
	})
}
