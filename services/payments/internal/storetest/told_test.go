package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// told are the subjects of the events since the last call, without what all have in common, in the order of the outbox.
func (f *fixture) told(t testing.TB) []string {
	t.Helper()
	rows, err := f.db.QueryContext(t.Context(), `SELECT subject FROM outbox ORDER BY seq`)
	must(t, err)
	defer func() { must(t, rows.Close()) }()
	var out []string
	for rows.Next() {
		var subject string
		must(t, rows.Scan(&subject))
		out = append(out, subject[len("evt.v1.live.payments."):])
	}
	must(t, rows.Err())
	return out
}

func (f *fixture) forgetTold(t testing.TB) {
	t.Helper()
	_, err := f.db.ExecContext(t.Context(), `DELETE FROM outbox`)
	must(t, err)
}

// Whatever is registered or set is told once: not for a repeat, not for what changed nothing, not for what was refused.
func TestWhatIsRegisteredOrSetIsToldOnce(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f, ctx := newFixture(t, db), t.Context()
		shop, till := "merchant.%s._."+f.merchant.ID, "terminal.%s._."+f.terminal.Terminal
		if diff := cmp.Diff([]string{said(shop, "created"), said(till, "created"), "account.created._.alice"}, f.told(t)); diff != "" {
			t.Errorf("registering: %s", diff)
		}
		for what, c := range map[string]struct {
			do   func(req payment.Request) error
			want []string
		}{
			"opening a wallet": {func(req payment.Request) error {
				_, err := f.service.CreateAccount(ctx, req, "bob", "CNY", start)
				return err
			}, []string{"account.created._.bob"}},
			"opening one that is there": {func(req payment.Request) error {
				_, err := f.service.CreateAccount(ctx, req, "alice", "CNY", start)
				return expected(err, "ACCOUNT_EXISTS")
			}, nil},
			"suspending a merchant": {func(req payment.Request) error {
				_, err := f.service.SuspendMerchant(ctx, req, f.merchant.ID, true, start)
				return err
			}, []string{said(shop, "changed")}},
			"suspending a terminal": {func(req payment.Request) error {
				_, err := f.service.SuspendTerminal(ctx, req, f.terminal.Terminal, true)
				return err
			}, []string{said(till, "changed")}},
			"setting limits": {func(req payment.Request) error {
				_, err := f.service.SetPolicy(ctx, req, limit.China(), start)
				return err
			}, []string{"limit_policy.set._.CNY"}},
			"deleting limits that there are not": {func(req payment.Request) error {
				return f.store.DeletePolicy(ctx, req, "EUR")
			}, nil},
			"putting money in": {func(req payment.Request) error {
				_, err := f.service.TopUp(ctx, req, "alice", payment.Money{Minor: 5, Currency: "CNY"}, start)
				return err
			}, []string{"account.topped_up._.alice"}},
		} {
			f.forgetTold(t)
			req := request(what)
			for range 2 {
				must(t, c.do(req))
			}
			if diff := cmp.Diff(c.want, f.told(t)); diff != "" {
				t.Errorf("%s: %s", what, diff)
			}
		}
		f.forgetTold(t)
		must(t, f.store.DeletePolicy(ctx, request("DeletePolicy"), "CNY"))
		if diff := cmp.Diff([]string{"limit_policy.deleted._.CNY"}, f.told(t)); diff != "" {
			t.Errorf("deleting limits: %s", diff)
		}
	})
}

func said(subject, verb string) string { return strings.Replace(subject, "%s", verb, 1) }

// expected is no error when it is the one that is wanted.
func expected(err error, reason string) error {
	if fault.ReasonOf(err) == reason {
		return nil
	}
	return fmt.Errorf("want %s, got %w", reason, err)
}
