package storetest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// steps are the writes of a capture. A trigger in the database makes each of them fail in turn.
var steps = []struct{ table, event string }{
	{"assertions", "INSERT"},
	{"ledger_transactions", "INSERT"},
	{"ledger_postings", "INSERT"},
	{"ledger_accounts", "UPDATE"},
	{"payments", "UPDATE"},
	{"outbox", "INSERT"},
}

func TestACaptureThatFailsAtAnyStepLeavesNothingAndCanBeRepeated(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.topUp(t, "alice", 10_000)
		for _, step := range steps {
			p := f.pay(t, "alice", 100)
			before := snapshot(t, f)
			repair := sabotage(t, db, step.table, step.event)
			if _, err := f.confirm(t, p.ID); err == nil || !strings.Contains(err.Error(), "sabotage") {
				t.Fatalf("%s of %s was to fail, got %v", step.event, step.table, err)
			}
			if diff := cmp.Diff(before, snapshot(t, f)); diff != "" {
				t.Errorf("a failing %s of %s left something: %s", step.event, step.table, diff)
			}
			repair()
			got, err := f.confirm(t, p.ID)
			must(t, err)
			if got.State != payment.Captured {
				t.Errorf("after %s: %s", step.table, got.State)
			}
		}
		if got := f.balance(t, "alice"); got != 10_000-int64(100*len(steps)) {
			t.Errorf("alice has %d", got)
		}
		f.balanced(t)
	})
}

func TestATopUpThatFailsAtAnyStepLeavesNothing(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		for _, step := range []struct{ table, event string }{
			{"requests", "INSERT"}, {"ledger_transactions", "INSERT"}, {"ledger_postings", "INSERT"},
			{"ledger_accounts", "UPDATE"}, {"outbox", "INSERT"},
		} {
			before, req := snapshot(t, f), request("TopUp")
			repair := sabotage(t, db, step.table, step.event)
			_, err := f.service.TopUp(t.Context(), req, "alice", payment.Money{Minor: 7, Currency: "CNY"}, start)
			if err == nil || !strings.Contains(err.Error(), "sabotage") {
				t.Fatalf("%s of %s was to fail, got %v", step.event, step.table, err)
			}
			if diff := cmp.Diff(before, snapshot(t, f)); diff != "" {
				t.Errorf("a failing %s of %s left something: %s", step.event, step.table, diff)
			}
			repair()
			_, err = f.service.TopUp(t.Context(), req, "alice", payment.Money{Minor: 7, Currency: "CNY"}, start)
			must(t, err)
		}
		if got := f.balance(t, "alice"); got != 5*7 {
			t.Errorf("alice has %d, want 35", got)
		}
	})
}

// sabotage makes a kind of write fail until the returned function is called.
func sabotage(t *testing.T, db *sqldb.DB, table, event string) (repair func()) {
	t.Helper()
	run := func(statements ...string) {
		t.Helper()
		must(t, db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			for _, s := range statements {
				if _, err := tx.ExecContext(ctx, s); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	if db.Dialect() == sqldb.Postgres {
		run(`CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''sabotage''; END'`,
			fmt.Sprintf(`CREATE TRIGGER sabotage BEFORE %s ON %s FOR EACH ROW EXECUTE FUNCTION sabotage()`, event, table))
		return func() { run(`DROP TRIGGER sabotage ON `+table, `DROP FUNCTION sabotage()`) }
	}
	run(fmt.Sprintf(`CREATE TRIGGER sabotage BEFORE %s ON %s BEGIN SELECT RAISE(ABORT, 'sabotage'); END`, event, table))
	return func() { run(`DROP TRIGGER sabotage`) }
}

// snapshot is every row of every table.
func snapshot(t testing.TB, f *fixture) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for table, key := range map[string]string{
		"ledger_accounts": "id", "ledger_transactions": "id", "ledger_postings": "transaction_id, line", "accounts": "id",
		"merchants": "id", "terminals": "id", "payments": "id", "assertions": "jti", "outbox": "id",
		"requests": "caller, method, request_id",
	} {
		out[table] = dump(t, f.db, `SELECT * FROM `+table+` ORDER BY `+key)
	}
	return out
}

func dump(t testing.TB, db *sqldb.DB, query string) (lines []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	must(t, err)
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	must(t, err)
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		must(t, rows.Scan(into...))
		lines = append(lines, fmt.Sprint(values...))
	}
	must(t, rows.Err())
	return lines
}
