package storetest

import (
	"context"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// Whoever writes to the database without the rules of this service still cannot break the books.
func TestTheDatabaseRefusesWhatTheCodeWouldNeverWrite(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.topUp(t, "alice", 1000)
		_, err := f.service.CreateAccount(t.Context(), request("CreateAccount"), "eve", "EUR", start)
		must(t, err)
		waiting, paid := f.pay(t, "alice", 100).ID, f.pay(t, "alice", 100).ID
		_, err = f.confirm(t, paid)
		must(t, err)
		var posted string
		must(t, db.QueryRowContext(t.Context(), `SELECT transaction_id FROM payments WHERE id = $1`, paid).Scan(&posted))
		shop := "merchant/" + f.merchant.ID
		const posting = `INSERT INTO ledger_postings (transaction_id, line, debit_account, credit_account, amount, currency)
			VALUES ($1, 1, $2, $3, $4, $5)`
		for name, c := range map[string]struct {
			check func(error) bool
			query string
			args  []any
		}{
			"a wallet below zero":          {sqldb.IsCheck, `UPDATE ledger_accounts SET posted_debits = posted_debits + 901 WHERE id = 'wallet/alice'`, nil},
			"a merchant below zero":        {sqldb.IsCheck, `UPDATE ledger_accounts SET posted_credits = 0, posted_debits = 1 WHERE id = $1`, []any{shop}},
			"negative debits":              {sqldb.IsCheck, `UPDATE ledger_accounts SET posted_debits = -1 WHERE id = 'wallet/alice'`, nil},
			"a wallet without a minimum":   {sqldb.IsCheck, `UPDATE ledger_accounts SET min_balance = NULL WHERE id = 'wallet/alice'`, nil},
			"a posting of nothing":         {sqldb.IsCheck, posting, []any{posted, "wallet/alice", shop, 0, "CNY"}},
			"a negative posting":           {sqldb.IsCheck, posting, []any{posted, "wallet/alice", shop, -5, "CNY"}},
			"a posting to itself":          {sqldb.IsCheck, posting, []any{posted, "wallet/alice", "wallet/alice", 5, "CNY"}},
			"a payment posted twice":       {sqldb.IsUnique, `INSERT INTO ledger_transactions (id, purpose, reference, posted_at) VALUES ($1, 'capture', $2, 0)`, []any{newID(), paid}},
			"a hold without a hold":        {sqldb.IsCheck, `UPDATE ledger_postings SET step = 'pending'`, nil},
			"a step that is none":          {sqldb.IsCheck, `UPDATE ledger_postings SET step = 'gone', hold = 'h'`, nil},
			"money held twice":             {sqldb.IsCheck, `UPDATE ledger_accounts SET pending_debits = 901 WHERE id = 'wallet/alice'`, nil},
			"less than nothing held":       {sqldb.IsCheck, `UPDATE ledger_accounts SET pending_credits = -1 WHERE id = 'wallet/alice'`, nil},
			"closed with money in it":      {sqldb.IsCheck, `UPDATE ledger_accounts SET status = 'closed' WHERE id = 'wallet/alice'`, nil},
			"a kind that is none":          {sqldb.IsCheck, `UPDATE ledger_accounts SET kind = 'purse' WHERE id = 'wallet/alice'`, nil},
			"an approval used twice":       {sqldb.IsUnique, `INSERT INTO assertions SELECT jti, payment, used_at FROM assertions`, nil},
			"captured without the money":   {sqldb.IsCheck, `UPDATE payments SET state = 'CAPTURED' WHERE id = $1`, []any{waiting}},
			"money without being captured": {sqldb.IsCheck, `UPDATE payments SET transaction_id = $1 WHERE id = $2`, []any{posted, waiting}},
			"declined without a reason":    {sqldb.IsCheck, `UPDATE payments SET state = 'DECLINED' WHERE id = $1`, []any{waiting}},
			"a state that is none":         {sqldb.IsCheck, `UPDATE payments SET state = 'PAID' WHERE id = $1`, []any{waiting}},
		} {
			err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := tx.ExecContext(ctx, c.query, c.args...)
				return err
			})
			if !c.check(err) {
				t.Errorf("%s: got %v", name, err)
			}
		}
		// Past the largest number PostgreSQL fails and SQLite would turn to floating point, which a strict table refuses.
		err = db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE ledger_accounts SET posted_credits = posted_credits + $1 WHERE id = 'wallet/alice'`, int64(math.MaxInt64))
			return err
		})
		if err == nil {
			t.Error("a balance grew past the largest number")
		}
		f2, err := f.store.TrialBalance(t.Context())
		must(t, err)
		if !f2.Balanced() {
			t.Errorf("the books do not balance after all that was refused: %+v", f2)
		}
	})
}

func TestTheTrialBalanceFindsWhatTheDatabaseCannotSee(t *testing.T) {
	t.Parallel()
	const add = `INSERT INTO ledger_postings (transaction_id, line, debit_account, credit_account, amount, currency) VALUES ('x', 0, `
	for name, tamper := range map[string]string{
		"a balance without a posting":   `UPDATE ledger_accounts SET posted_credits = posted_credits + 1 WHERE id = 'wallet/alice'`,
		"a turnover that cancels out":   `UPDATE ledger_accounts SET posted_credits = posted_credits + 1, posted_debits = posted_debits + 1 WHERE id = 'wallet/alice'`,
		"a posting without its balance": `UPDATE ledger_postings SET amount = amount + 1`,
		"a posting that was deleted":    `DELETE FROM ledger_postings`,
		"a posting in another currency": add + `'wallet/alice', 'funding/CNY', 5, 'EUR')`,
		"a posting to nobody":           add + `'wallet/alice', 'wallet/nobody', 5, 'CNY')`,
		"a posting of no transaction":   add + `'funding/CNY', 'wallet/alice', 5, 'CNY')`,
	} {
		t.Run(name, func(t *testing.T) {
			schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
				f := newFixture(t, db)
				f.topUp(t, "alice", 1000)
				f.balanced(t)
				_, err := db.ExecContext(t.Context(), tamper)
				must(t, err)
				trial, err := f.store.TrialBalance(t.Context())
				must(t, err)
				if trial.Balanced() {
					t.Errorf("it was not noticed: %+v", trial)
				}
			})
		})
	}
}

func TestTheTrialBalanceAddsUp(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.topUp(t, "alice", 1000)
		_, err := f.confirm(t, f.pay(t, "alice", 300).ID)
		must(t, err)
		_, err = f.service.CreateAccount(t.Context(), request("CreateAccount"), "eve", "EUR", start)
		must(t, err)
		trial, err := f.store.TrialBalance(t.Context())
		must(t, err)
		lines := map[string][2]int64{}
		for _, l := range trial.Lines {
			lines[l.Account+" "+l.Currency] = [2]int64{l.Debits, l.Credits}
		}
		for line, want := range map[string][2]int64{
			"funding/CNY CNY": {1000, 0}, "wallet/alice CNY": {300, 1000}, "merchant/" + f.merchant.ID + " CNY": {0, 300},
			"wallet/eve EUR": {0, 0}, "funding/EUR EUR": {0, 0}, "fee/CNY CNY": {0, 0},
			"suspense/CNY CNY": {0, 0}, "suspense/EUR EUR": {0, 0},
		} {
			if got, ok := lines[line]; !ok || got != want {
				t.Errorf("%s: %v, want %v", line, got, want)
			}
		}
		if len(trial.Lines) != 8 || len(trial.Totals) != 2 || trial.Totals[0].Transactions != 2 || trial.Totals[1].Transactions != 0 {
			t.Errorf("got %+v", trial)
		}
	})
}

// Whatever is paid and topped up in whatever order, the database agrees with a model in memory to the cent.
func TestMoneyIsConserved(t *testing.T) {
	fewerChecks(t, "25")
	db := schema.Open(t, sqldb.SQLite)
	f := newFixture(t, db)
	model := map[string]int64{"alice": 0, "bob": 0}
	f.wallet(t, "bob", 0)
	var taken, paidIn int64
	rapid.Check(t, func(r *rapid.T) {
		for range rapid.IntRange(1, 6).Draw(r, "steps") {
			account := rapid.SampledFrom([]string{"alice", "bob"}).Draw(r, "account")
			amount := rapid.OneOf(rapid.Int64Range(1, 500), rapid.SampledFrom([]int64{math.MaxInt64, math.MaxInt64 - 1000})).Draw(r, "amount")
			if rapid.Bool().Draw(r, "top up") {
				_, err := f.service.TopUp(t.Context(), request("TopUp"), account, payment.Money{Minor: amount, Currency: "CNY"}, start)
				if fits := paidIn <= math.MaxInt64-amount; fits != (err == nil) {
					r.Fatalf("a top-up of %d after %d: %v", amount, paidIn, err)
				}
				if err == nil {
					model[account] += amount
					paidIn += amount
				} else if fault.ReasonOf(err) != "BALANCE_OVERFLOW" {
					r.Fatal(err)
				}
				continue
			}
			p, err := f.confirm(t, f.pay(t, account, amount).ID)
			if err != nil {
				r.Fatal(err)
			}
			if enough := model[account] >= amount; enough != (p.State == payment.Captured) {
				r.Fatalf("%d of %d: %s", amount, model[account], p.State)
			}
			if p.State == payment.Captured {
				model[account] -= amount
				taken += amount
			}
		}
		for account, want := range model {
			if got := f.balance(t, account); got != want || got < 0 {
				r.Fatalf("%s has %d, want %d", account, got, want)
			}
		}
		if paidIn != model["alice"]+model["bob"]+taken {
			r.Fatalf("%d came in, %d and %d are there and %d was taken", paidIn, model["alice"], model["bob"], taken)
		}
		f.balanced(t)
	})
}
