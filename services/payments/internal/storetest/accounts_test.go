package storetest

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

func TestTheTablesOfEventsAreThoseOfThePlatform(t *testing.T) {
	t.Parallel()
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		text, err := os.ReadFile("../store/migrations/" + string(dialect) + "/0001_payments.sql")
		must(t, err)
		if !strings.HasSuffix(string(text), events.Schema(dialect)) {
			t.Errorf("the %s migration does not end with the tables that platform/events asks for", dialect)
		}
	}
}

func TestARepeatedRequestGetsTheFirstAnswer(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f, ctx := newFixture(t, db), t.Context()
		account, topUp, shop, till := request("CreateAccount"), request("TopUp"), request("CreateMerchant"), request("CreateTerminal")
		fen := payment.Money{Minor: 500, Currency: "CNY"}
		round := func() []any {
			a, err := f.service.CreateAccount(ctx, account, "bob", "CNY", start)
			must(t, err)
			u, err := f.service.TopUp(ctx, topUp, "bob", fen, start)
			must(t, err)
			m, err := f.service.CreateMerchant(ctx, shop, payment.Merchant{DisplayName: "Tea", CategoryCode: 5812, Currency: "CNY"}, start)
			must(t, err)
			r, err := f.service.CreateTerminal(ctx, till, m.ID, "till")
			must(t, err)
			return []any{a, u, m, r}
		}
		first := round()
		f.topUp(t, "bob", 1) // what happens in between does not change the answer
		if diff := cmp.Diff(first, round()); diff != "" {
			t.Errorf("the second answer differs: %s", diff)
		}
		if got := f.balance(t, "bob"); got != 501 {
			t.Errorf("bob has %d, want 501", got)
		}
		topUp.Fingerprint = []byte("other content")
		_, err := f.service.TopUp(ctx, topUp, "bob", fen, start)
		wantReason(t, err, "REQUEST_ID_REUSED")
		topUp.Caller = "somebody else"
		_, err = f.service.TopUp(ctx, topUp, "bob", fen, start)
		must(t, err)
	})
}

func TestSixtyFourCallersWithOneRequestDoItOnce(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		topUp, pay := request("TopUp"), request("CreatePayment")
		ids := make([]string, 64)
		for _, err := range together(64, func(i int) error {
			if _, err := f.service.TopUp(t.Context(), topUp, "alice", payment.Money{Minor: 700, Currency: "CNY"}, start); err != nil {
				return err
			}
			p, err := f.service.Create(t.Context(), f.terminal, pay, f.order("alice", 100), start)
			ids[i] = p.ID
			return err
		}) {
			t.Error(err)
		}
		for _, id := range ids {
			if id != ids[0] || id == "" {
				t.Fatalf("two payments: %q and %q", ids[0], id)
			}
		}
		if got := f.balance(t, "alice"); got != 700 {
			t.Errorf("alice has %d, want 700", got)
		}
		if got := f.count(t, `SELECT COUNT(*) FROM payments`); got != 1 {
			t.Errorf("%d payments", got)
		}
		if got := f.count(t, `SELECT COUNT(*) FROM outbox WHERE subject NOT LIKE '%.created._.%'`); got != 2 {
			t.Errorf("%d events, want one top-up and one payment", got)
		}
		f.balanced(t)
	})
}

func TestAFailedRequestIsNotRemembered(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f, req, fen := newFixture(t, db), request("TopUp"), payment.Money{Minor: 5, Currency: "CNY"}
		_, err := f.service.TopUp(t.Context(), req, "bob", fen, start)
		wantReason(t, err, "ACCOUNT_NOT_FOUND")
		f.wallet(t, "bob", 0)
		_, err = f.service.TopUp(t.Context(), req, "bob", fen, start)
		must(t, err)
		_, err = f.service.CreateAccount(t.Context(), request("CreateAccount"), "bob", "EUR", start)
		wantReason(t, err, "ACCOUNT_EXISTS")
	})
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f, ctx := newFixture(t, db), t.Context()
		_, err := f.store.Account(ctx, "nobody")
		wantReason(t, err, "ACCOUNT_NOT_FOUND")
		_, err = f.store.Merchant(ctx, newID())
		wantReason(t, err, "MERCHANT_NOT_FOUND")
		_, err = f.store.Terminal(ctx, "0123456789abcdef")
		wantReason(t, err, "TERMINAL_NOT_FOUND")
		_, err = f.store.Payment(ctx, newID())
		wantReason(t, err, "PAYMENT_NOT_FOUND")
		_, err = f.store.Step(ctx, payment.Step{Payment: newID()}, func(f payment.Facts) (payment.Change, error) { return payment.Change{Payment: f.Payment}, nil })
		wantReason(t, err, "PAYMENT_NOT_FOUND")
		_, err = f.service.CreateTerminal(ctx, request("CreateTerminal"), newID(), "till")
		wantReason(t, err, "MERCHANT_NOT_FOUND")
	})
}

func TestBalancesStopAtTheLargestNumber(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f, ctx := newFixture(t, db), t.Context()
		most := payment.Money{Minor: math.MaxInt64, Currency: "CNY"}
		up, err := f.service.TopUp(ctx, request("TopUp"), "alice", most, start)
		must(t, err)
		if up.Account.Balance != most {
			t.Errorf("the balance is %+v", up.Account.Balance)
		}
		_, err = f.service.TopUp(ctx, request("TopUp"), "alice", payment.Money{Minor: 1, Currency: "CNY"}, start)
		wantReason(t, err, "BALANCE_OVERFLOW")
		p, err := f.confirm(t, f.pay(t, "alice", math.MaxInt64).ID)
		must(t, err)
		if p.State != payment.Captured || f.balance(t, "alice") != 0 {
			t.Errorf("paying everything: %+v", p)
		}
		if n := f.balanced(t); n != 2 {
			t.Errorf("%d transactions, want 2", n)
		}
	})
}

func TestEveryProcessGetsTheSameKey(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		keys := make([][]byte, 8)
		for _, err := range together(len(keys), func(i int) (err error) {
			keys[i], err = f.store.Key(t.Context(), "page-tokens")
			return err
		}) {
			t.Error(err)
		}
		other, err := f.store.Key(t.Context(), "another")
		must(t, err)
		for _, k := range keys {
			if len(k) != 32 || !cmp.Equal(k, keys[0]) || cmp.Equal(k, other) {
				t.Fatal("keys differ, are short, or two names share one")
			}
		}
	})
}
