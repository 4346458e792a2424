package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// A frozen wallet gives nothing but what was held before, and receives as ever.
func TestAFrozenWalletReceivesButGivesNothing(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f, ctx := newFixture(t, db), t.Context()
		f.topUp(t, "alice", 1000)
		captured, err := f.confirm(t, f.pay(t, "alice", 100).ID)
		must(t, err)
		held, waiting := f.hold(t, "alice", 200), f.pay(t, "alice", 50)
		f.forgetTold(t)
		for _, reason := range []string{"odd taps", "odd taps", "a court says so"} {
			a, err := f.service.FreezeAccount(ctx, request("FreezeAccount"), "alice", reason, start)
			must(t, err)
			if !a.Frozen || a.FreezeReason != reason || a.Balance.Minor != 700 || a.Held.Minor != 200 {
				t.Errorf("frozen: %+v", a)
			}
		}
		if diff := cmp.Diff([]string{"account.frozen._.alice", "account.frozen._.alice"}, f.told(t)); diff != "" {
			t.Errorf("freezing: %s", diff)
		}
		one := payment.Money{Minor: 1, Currency: "CNY"}
		_, err = f.service.Create(ctx, f.terminal, request("CreatePayment"), f.order("alice", 1), start)
		wantReason(t, err, "ACCOUNT_FROZEN")
		_, err = f.service.Withdraw(ctx, request("Withdraw"), "alice", one, start)
		wantReason(t, err, "ACCOUNT_FROZEN")
		declined, err := f.confirm(t, waiting.ID)
		must(t, err)
		if declined.State != payment.Declined || declined.DeclineReason != "ACCOUNT_FROZEN" {
			t.Errorf("a tap that came later: %s %s", declined.State, declined.DeclineReason)
		}
		f.topUp(t, "alice", 10)
		_, err = f.service.Refund(ctx, operator, request("Refund"), payment.Wish{Payment: captured.ID, Amount: &payment.Money{Minor: 40, Currency: "CNY"}}, start)
		must(t, err)
		_, err = f.service.Capture(ctx, operator, request("Capture"), payment.Wish{Payment: held.ID, Amount: &payment.Money{Minor: 150, Currency: "CNY"}, Final: true}, start)
		must(t, err)
		if got := f.balance(t, "alice"); got != 700+10+40+50 {
			t.Errorf("alice has %d", got)
		}
		f.forgetTold(t)
		for range 2 {
			a, err := f.service.UnfreezeAccount(ctx, request("UnfreezeAccount"), "alice", start)
			must(t, err)
			if a.Frozen || a.FreezeReason != "" {
				t.Errorf("not frozen: %+v", a)
			}
		}
		if diff := cmp.Diff([]string{"account.unfrozen._.alice"}, f.told(t)); diff != "" {
			t.Errorf("unfreezing: %s", diff)
		}
		_, err = f.confirm(t, f.pay(t, "alice", 800).ID)
		must(t, err)
		if got := f.balance(t, "alice"); got != 0 {
			t.Errorf("alice has %d, want nothing", got)
		}
		f.balanced(t)
		sound(t, f.store.Ledger)
	})
}

// A freeze and taps at once, through two processes: whoever is second loses, and nothing is taken after the freeze.
func TestAFreezeAndTapsHaveOneOrder(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newFixture(t, db)
		f.topUp(t, "alice", 1000)
		payments := make([]payment.Payment, 16)
		for i := range payments {
			payments[i] = f.pay(t, "alice", 10)
		}
		other := f.serviceOn(newStoreOn(db), f.auth)
		for _, err := range together(len(payments)+1, func(i int) error {
			if i == len(payments) {
				_, err := other.FreezeAccount(t.Context(), request("FreezeAccount"), "alice", "race", start)
				return err
			}
			_, err := f.confirm(t, payments[i].ID)
			return err
		}) {
			t.Error(err)
		}
		taken := int64(0)
		for _, p := range payments {
			p, err := f.store.Payment(t.Context(), p.ID)
			must(t, err)
			switch {
			case p.State == payment.Captured:
				taken += 10
			case p.State != payment.Declined || p.DeclineReason != "ACCOUNT_FROZEN":
				t.Errorf("%s %s", p.State, p.DeclineReason)
			}
		}
		if got := f.balance(t, "alice"); got != 1000-taken {
			t.Errorf("alice has %d, %d were taken", got, taken)
		}
		_, err := f.service.Create(t.Context(), f.terminal, request("CreatePayment"), f.order("alice", 1), start)
		wantReason(t, err, "ACCOUNT_FROZEN")
		f.balanced(t)
	})
}

func TestOnlyAnAccountThatIsThereAndOpenIsFrozen(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f, ctx := newFixture(t, db), t.Context()
		_, err := f.service.FreezeAccount(ctx, request("FreezeAccount"), "nobody", "why not", start)
		wantReason(t, err, "ACCOUNT_NOT_FOUND")
		_, err = f.service.FreezeAccount(ctx, request("FreezeAccount"), "alice", "first", start)
		must(t, err)
		a, err := f.service.CloseAccount(ctx, request("CloseAccount"), "alice", start) // it is empty
		must(t, err)
		if !a.Closed || a.Frozen {
			t.Errorf("closed: %+v", a)
		}
		f.forgetTold(t)
		_, err = f.service.FreezeAccount(ctx, request("FreezeAccount"), "alice", "again", start)
		wantReason(t, err, "ACCOUNT_CLOSED")
		_, err = f.service.UnfreezeAccount(ctx, request("UnfreezeAccount"), "alice", start)
		wantReason(t, err, "ACCOUNT_CLOSED")
		if told := f.told(t); told != nil {
			t.Errorf("told %v", told)
		}
	})
}

// What an account held at a moment stays what it was, whatever comes later.
func TestABalanceIsReadAtAnyMoment(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f, ctx := newFixture(t, db), t.Context()
		minute := func(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }
		fen := func(n int64) payment.Money { return payment.Money{Minor: n, Currency: "CNY"} }
		_, err := f.service.TopUp(ctx, request("TopUp"), "alice", fen(500), minute(1))
		must(t, err)
		_, err = f.service.Withdraw(ctx, request("Withdraw"), "alice", fen(120), minute(2))
		must(t, err)
		_, err = f.service.TopUp(ctx, request("TopUp"), "alice", fen(7), minute(3))
		must(t, err)
		for n, want := range []int64{0, 500, 380, 387, 387} {
			b, err := f.service.BalanceAt(ctx, operator, f.store, "wallet/alice", minute(n))
			must(t, err)
			outside, err := f.service.BalanceAt(ctx, operator, f.store, "funding/CNY", minute(n))
			must(t, err)
			if b.Posted != want || b.Currency != "CNY" || outside.Posted != -want {
				t.Errorf("after %d minutes: %+v, %+v outside", n, b, outside)
			}
		}
		b, err := f.service.BalanceAt(ctx, payment.Caller{Role: payment.Wearer, Account: "alice"}, f.store, "wallet/alice", time.Time{})
		must(t, err)
		if b.Posted != 387 || b.Entries != 3 {
			t.Errorf("now: %+v", b)
		}
	})
}
