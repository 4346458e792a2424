package storetest

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
	"github.com/armlet-pay/armlet/services/payments/internal/settlement"
)

const grantLimit = 2000

// tapped is a verdict on a tap of alice's band: good, under one grant, a second after the one before.
func tapped(t payment.TapSubmission) payment.TapVerdict {
	digest := sha256.Sum256(t.TapFrame)
	var n int64
	_, _ = fmt.Sscanf(string(t.TapFrame), "tap %d", &n)
	return payment.TapVerdict{
		Digest: digest[:], Device: device, Partner: "acme", Account: "alice", Mode: payment.Live, Grant: 7, FareCap: 500, GrantLimit: grantLimit,
		Currency: cny, TapTime: start.Add(-time.Hour + time.Duration(n)*time.Second), ValidUntil: start.Add(time.Hour), Missing: 1,
	}
}

func newClearing(t *testing.T, db *sqldb.DB) *fixture {
	t.Helper()
	f := newFixture(t, db)
	f.auth.judge = tapped
	return f
}

// tap is the nth tap of the fixture's terminal.
func (f *fixture) tap(n int, fare int64) payment.OfflineTap {
	return payment.OfflineTap{
		TerminalFrame: []byte("terminal"), TapFrame: fmt.Appendf(nil, "tap %d", n), Terminal: f.terminal.Terminal, Fare: payment.Money{Minor: fare, Currency: cny},
	}
}

func (f *fixture) clear(t testing.TB, taps ...payment.OfflineTap) []payment.Clearing {
	t.Helper()
	out, err := f.service.Clear(t.Context(), f.terminal, taps, start)
	must(t, err)
	return out
}

// process is the service of another process on the same database.
func (f *fixture) process() *payment.Service {
	other := newStoreOn(f.db)
	return payment.NewService(other, payment.Directory{Wallets: other, Merchants: other, Limits: other}, f.auth,
		payment.Config{Grace: grace, Issuer: issuer, NewID: newID})
}

// Two processes get the same taps from many callers, each in an order of its own: each tap is booked once, one caller is told
// so, and all others are told of the same payment.
func TestATapIsBookedOnceHoweverOftenItIsSubmitted(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newClearing(t, db)
		f.topUp(t, "alice", 100)
		const taps, callers = 12, 8
		processes := []*payment.Service{f.service, f.process()}
		var mu sync.Mutex
		accepted, payments := map[int]int{}, map[int]map[string]bool{}
		for _, err := range together(callers, func(i int) error {
			order := rand.Perm(taps)
			batch := make([]payment.OfflineTap, taps)
			for at, n := range order {
				batch[at] = f.tap(n, 50)
			}
			out, err := processes[i%2].Clear(t.Context(), f.terminal, batch, start)
			mu.Lock()
			defer mu.Unlock()
			for at, x := range out {
				if x.Status == payment.TapAccepted {
					accepted[order[at]]++
				} else if x.Status != payment.TapDuplicate {
					t.Errorf("tap %d: %+v", order[at], x)
				}
				if payments[order[at]] == nil {
					payments[order[at]] = map[string]bool{}
				}
				payments[order[at]][x.Payment] = true
			}
			return err
		}) {
			t.Error(err)
		}
		for n := range taps {
			if accepted[n] != 1 || len(payments[n]) != 1 {
				t.Errorf("tap %d was accepted %d times as %v", n, accepted[n], payments[n])
			}
		}
		if got := f.balance(t, "alice"); got != 100-taps*50 {
			t.Errorf("alice has %d", got)
		}
		if got := f.count(t, `SELECT COUNT(*) FROM outbox WHERE subject LIKE '%.payment.captured.%'`); got != taps {
			t.Errorf("%d events of %d taps", got, taps)
		}
		sound(t, f.store.Ledger)
	})
}

// Auth has given its verdict when payments fails to book: the next submission books, although auth calls it a duplicate.
func TestATapThatAuthHasSeenAndPaymentsHasNotIsBooked(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newClearing(t, db)
		f.topUp(t, "alice", 10_000)
		for n, step := range []struct{ table, event string }{
			{"ledger_transactions", "INSERT"}, {"ledger_postings", "INSERT"}, {"ledger_accounts", "UPDATE"},
			{"limit_counters", "UPDATE"}, {"payments", "INSERT"}, {"outbox", "INSERT"},
		} {
			before := snapshot(t, f)
			repair := sabotage(t, db, step.table, step.event)
			_, err := f.service.Clear(t.Context(), f.terminal, []payment.OfflineTap{f.tap(n, 100)}, start)
			if err == nil || !strings.Contains(err.Error(), "sabotage") {
				t.Fatalf("%s of %s was to fail, got %v", step.event, step.table, err)
			}
			if diff := cmp.Diff(before, snapshot(t, f)); diff != "" {
				t.Errorf("a failing %s of %s left something: %s", step.event, step.table, diff)
			}
			repair()
			first := f.clear(t, f.tap(n, 100))[0]
			again := f.clear(t, f.tap(n, 99))[0]
			if first.Status != payment.TapAccepted || again.Status != payment.TapDuplicate || again.Payment != first.Payment || again.Fare.Minor != 100 {
				t.Errorf("after %s: first %+v, again %+v", step.table, first, again)
			}
		}
		if got := f.balance(t, "alice"); got != 9400 {
			t.Errorf("alice has %d", got)
		}
		sound(t, f.store.Ledger)
	})
}

func TestAGrantBoundsWhatAWalletOwesAndTheNextTopUpCollectsIt(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newClearing(t, db)
		f.topUp(t, "alice", 500)
		var accepted, over int
		for _, err := range together(16, func(i int) error {
			out, err := f.service.Clear(t.Context(), f.terminal, []payment.OfflineTap{f.tap(i, 400)}, start)
			if err != nil {
				return err
			}
			f.auth.mu.Lock()
			defer f.auth.mu.Unlock()
			switch {
			case out[0].Status == payment.TapAccepted:
				accepted++
			case out[0].Status == payment.TapRejected && out[0].Reason == "OVER_CUMULATIVE":
				over++
			}
			return nil
		}) {
			t.Error(err)
		}
		if accepted != 5 || over != 11 || f.balance(t, "alice") != -1500 {
			t.Errorf("%d accepted, %d over the grant, alice has %d", accepted, over, f.balance(t, "alice"))
		}
		f.owesAndCannotSpend(t)
		f.collects(t)
		sound(t, f.store.Ledger)
	})
}

// owesAndCannotSpend checks that nothing else takes a wallet that owes further down.
func (f *fixture) owesAndCannotSpend(t *testing.T) {
	t.Helper()
	declined, err := f.confirm(t, f.pay(t, "alice", 1).ID)
	must(t, err)
	if declined.State != payment.Declined || declined.DeclineReason != "INSUFFICIENT_FUNDS" {
		t.Errorf("an online tap: %+v", declined)
	}
	_, err = f.service.Withdraw(t.Context(), request("Withdraw"), "alice", payment.Money{Minor: 1, Currency: cny}, start)
	wantReason(t, err, "INSUFFICIENT_FUNDS")
	_, err = f.service.CloseAccount(t.Context(), request("CloseAccount"), "alice", start)
	wantReason(t, err, "ACCOUNT_NOT_EMPTY")
	wantReason(t, pay(t.Context(), f.store.Ledger, "wallet/alice", "funding/CNY", 1), "INSUFFICIENT_FUNDS")
}

func (f *fixture) collects(t *testing.T) {
	t.Helper()
	req := request("TopUp")
	for range 2 { // a repeat is told the same
		moved, err := f.service.TopUp(t.Context(), req, "alice", payment.Money{Minor: 1000, Currency: cny}, start)
		must(t, err)
		if moved.Account.Balance.Minor != -500 || moved.Collected.Minor != 1000 {
			t.Errorf("the first top-up: %+v", moved)
		}
	}
	moved, err := f.service.TopUp(t.Context(), request("TopUp"), "alice", payment.Money{Minor: 700, Currency: cny}, start)
	must(t, err)
	if moved.Account.Balance.Minor != 200 || moved.Collected.Minor != 500 {
		t.Errorf("the second top-up: %+v", moved)
	}
	moved, err = f.service.TopUp(t.Context(), request("TopUp"), "alice", payment.Money{Minor: 1, Currency: cny}, start)
	must(t, err)
	if moved.Account.Balance.Minor != 201 || moved.Collected.Minor != 0 {
		t.Errorf("the third top-up: %+v", moved)
	}
	var got []string
	page, err := f.service.Statement(t.Context(), operator, f.store, "alice", payment.Period{}, nil, 100)
	must(t, err)
	for _, e := range page.Entries {
		got = append(got, fmt.Sprintf("%s %d %d", e.Purpose, e.Amount.Minor, e.Balance.Minor))
	}
	want := []string{
		"topup 500 500", "capture -400 100", "capture -400 -300", "capture -400 -700", "capture -400 -1100", "capture -400 -1500",
		"collection 1000 -500", "collection 500 0", "topup 200 200", "topup 1 201",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the statement: %s", diff)
	}
	for subject, want := range map[string]int{"overdrawn": 4, "debt_collected": 2, "topped_up": 4} {
		if got := f.count(t, `SELECT COUNT(*) FROM outbox WHERE subject LIKE $1`, "%.account."+subject+".%"); got != want {
			t.Errorf("%d events %s, want %d", got, subject, want)
		}
	}
}

func TestWhatIsWrongWithASubmissionChangesNothing(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newClearing(t, db)
		f.topUp(t, "alice", 1000)
		f.wallet(t, "gone", 0)
		_, err := f.service.CloseAccount(t.Context(), request("CloseAccount"), "gone", start)
		must(t, err)
		f.wallet(t, "cold", 50)
		_, err = f.service.FreezeAccount(t.Context(), request("FreezeAccount"), "cold", "odd taps", start)
		must(t, err)
		by := func(account string) func(payment.TapSubmission) payment.TapVerdict {
			return func(s payment.TapSubmission) payment.TapVerdict {
				v := tapped(s)
				v.Account = account
				return v
			}
		}
		euro, unknown, none := f.tap(1, 10), f.tap(1, 10), f.tap(1, 10)
		euro.Fare.Currency, unknown.Terminal, none.Terminal = "EUR", "ffffffffffffffff", ""
		suspend := func(s bool) {
			_, err := f.service.SuspendMerchant(t.Context(), request("SuspendMerchant"), f.merchant.ID, s, start)
			must(t, err)
		}
		for name, c := range map[string]struct {
			tap    payment.OfflineTap
			judge  func(payment.TapSubmission) payment.TapVerdict
			before func(bool)
			want   payment.Clearing
		}{
			"in another currency":      {euro, tapped, nil, payment.Clearing{Problem: "CURRENCY_MISMATCH"}},
			"of an unknown terminal":   {unknown, tapped, nil, payment.Clearing{Problem: "TERMINAL_NOT_FOUND"}},
			"of no terminal":           {none, tapped, nil, payment.Clearing{Status: payment.TapRejected, Reason: "BAD_MAC"}},
			"of nothing":               {f.tap(1, 0), tapped, nil, payment.Clearing{Problem: "AMOUNT_NOT_POSITIVE"}},
			"of less":                  {f.tap(1, -1), tapped, nil, payment.Clearing{Problem: "AMOUNT_NOT_POSITIVE"}},
			"of more than was signed":  {f.tap(1, 501), tapped, nil, payment.Clearing{Status: payment.TapRejected, Reason: "OVER_TAP", Missing: 1}},
			"at a suspended merchant":  {f.tap(1, 10), tapped, suspend, payment.Clearing{Problem: "MERCHANT_SUSPENDED"}},
			"from a closed account":    {f.tap(1, 10), by("gone"), nil, payment.Clearing{Problem: "ACCOUNT_CLOSED"}},
			"from a frozen account":    {f.tap(1, 10), by("cold"), nil, payment.Clearing{Problem: "ACCOUNT_FROZEN"}},
			"from an unknown account":  {f.tap(1, 10), by("nobody"), nil, payment.Clearing{Problem: "ACCOUNT_NOT_FOUND"}},
			"that the band never made": {f.tap(2, 10), func(payment.TapSubmission) payment.TapVerdict { return payment.TapVerdict{Reason: "BAD_MAC"} }, nil, payment.Clearing{Status: payment.TapRejected, Reason: "BAD_MAC"}},
		} {
			f.auth.judge = c.judge
			if c.before != nil {
				c.before(true)
			}
			before := snapshot(t, f)
			for range 2 {
				if got := f.clear(t, c.tap)[0]; got != c.want {
					t.Errorf("a tap %s: %+v, want %+v", name, got, c.want)
				}
			}
			if diff := cmp.Diff(before, snapshot(t, f)); diff != "" {
				t.Errorf("a tap %s left something: %s", name, diff)
			}
			if c.before != nil {
				c.before(false)
			}
		}
		// What was wrong with the submission alone is not held against the tap.
		f.auth.judge = tapped
		if got := f.clear(t, f.tap(1, 10))[0]; got.Status != payment.TapAccepted {
			t.Errorf("the tap itself: %+v", got)
		}
		f.balanced(t)
	})
}

func TestAnOfflineTapIsAPaymentLikeOthers(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		f := newClearing(t, db)
		f.topUp(t, "alice", 1000)
		id := f.clear(t, f.tap(3, 300))[0].Payment
		p, err := f.store.Payment(t.Context(), id)
		must(t, err)
		if !p.Offline || !p.TapTime.Equal(start.Add(-time.Hour+3*time.Second)) || p.State != payment.Captured || p.Terminal != f.terminal.Terminal || p.Transaction == "" {
			t.Errorf("read %+v", p)
		}
		_, err = f.confirm(t, id)
		wantReason(t, err, "PAYMENT_STATE")
		refunded, err := f.service.Refund(t.Context(), operator, request("Refund"), wish(id, 100), start)
		must(t, err)
		if refunded.Payment.State != payment.PartiallyRefunded {
			t.Errorf("refunded: %+v", refunded.Payment)
		}
		for device, want := range map[string]int{device: 0, "": 1} {
			list, err := f.service.List(t.Context(), f.terminal, payment.Filter{Device: device}, nil, 10, start)
			must(t, err)
			if len(list) != want {
				t.Errorf("a terminal that asks for the device %q finds %d", device, len(list))
			}
		}
		days := settlement.NewService(f.store, f.store, newID, time.Minute)
		made, err := days.SettleDue(t.Context(), 10, start.Add(48*time.Hour))
		must(t, err)
		list, err := f.store.Settlements(t.Context(), f.merchant.ID, nil, 10)
		must(t, err)
		if made != 1 || list[0].Captured != 300 || list[0].Refunded != 100 || list[0].PaidOut != 200 {
			t.Errorf("settled %d: %+v", made, list)
		}
		a, err := f.store.LedgerAccount(t.Context(), ledger.ID(ledger.Settlement, f.merchant.ID))
		must(t, err)
		if a.Balance() != 200 {
			t.Errorf("%d are on their way to the merchant", a.Balance())
		}
		sound(t, f.store.Ledger)
	})
}
