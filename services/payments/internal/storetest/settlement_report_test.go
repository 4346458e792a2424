package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
	"github.com/armlet-pay/armlet/services/payments/internal/settlement"
)

// counter is a shop with fees whose payments are real ones.
type counter struct {
	*shop
	at time.Time
}

func newCounter(t *testing.T, db *sqldb.DB) *counter {
	t.Helper()
	f := newFixture(t, db)
	f.topUp(t, "alice", 100_000)
	var err error
	f.merchant, err = f.service.CreateMerchant(t.Context(), request("CreateMerchant"), payment.Merchant{
		DisplayName: "Bao", CategoryCode: 5812, Currency: cny, Fees: payment.FeeSchedule{BasisPoints: 150, FixedMinor: 10, ReturnedOnRefund: true},
	}, start)
	must(t, err)
	till, err := f.service.CreateTerminal(t.Context(), request("CreateTerminal"), f.merchant.ID, "till 1")
	must(t, err)
	f.terminal = payment.Caller{Role: payment.Terminal, Merchant: f.merchant.ID, Terminal: till.ID, Mode: payment.Live}
	s := &shop{fixture: f, days: settlement.NewService(f.store, f.store, newID, time.Minute), account: ledger.ID(ledger.Merchant, f.merchant.ID)}
	return &counter{shop: s, at: start}
}

// tapped is a payment that the band approved.
func (c *counter) tapped(t *testing.T, minor int64, mode payment.CaptureMode) payment.Payment {
	t.Helper()
	order := c.order("alice", minor)
	order.CaptureMode = mode
	p, err := c.service.Create(t.Context(), c.terminal, request("CreatePayment"), order, c.at)
	must(t, err)
	p, err = c.service.Confirm(t.Context(), c.terminal, p.ID, []byte("response of "+p.ID), c.at)
	must(t, err)
	return p
}

func (c *counter) capture(t *testing.T, p payment.Payment, minor int64, final bool) {
	t.Helper()
	_, err := c.service.Capture(t.Context(), c.terminal, request("Capture"), payment.Wish{Payment: p.ID, Amount: &payment.Money{Minor: minor, Currency: cny}, Final: final}, c.at)
	must(t, err)
}

func (c *counter) refund(t *testing.T, p payment.Payment, minor int64) {
	t.Helper()
	_, err := c.service.Refund(t.Context(), c.terminal, request("Refund"), payment.Wish{Payment: p.ID, Amount: &payment.Money{Minor: minor, Currency: cny}}, c.at)
	must(t, err)
}

// The reports of two days of payments, added up, are what the ledger's accounts hold.
func TestTheReportsOfRealPaymentsAddUpToTheLedgersBalances(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		c := newCounter(t, db)
		whole := c.tapped(t, 1000, payment.Automatic)
		parts := c.tapped(t, 2000, payment.Manual)
		c.capture(t, parts, 700, false)
		c.capture(t, parts, 501, true) // and 799 are released
		returned := c.tapped(t, 400, payment.Automatic)
		c.refund(t, returned, 150)
		c.refund(t, returned, 250)
		given := c.tapped(t, 900, payment.Manual)
		_, err := c.service.Void(t.Context(), c.terminal, request("Void"), given.ID, c.at)
		must(t, err)
		held, late := c.tapped(t, 300, payment.Manual), c.tapped(t, 50, payment.Manual)

		midnight := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
		c.at = midnight.Add(time.Hour)
		c.settle(t, midnight.Add(2*time.Hour), 1)
		c.capture(t, held, 300, true)
		c.capture(t, late, 50, true)
		c.refund(t, whole, 300)
		c.settle(t, midnight.Add(25*time.Hour), 1)

		list := c.all(t)
		second, first := c.reported(t, list[0]), c.reported(t, list[1])
		// Fees: 1.5 % of each capture and 10 once a payment, rounded half up; a refund gives back its share.
		wantFirst := map[string]int64{
			"CAPTURE": 2601, "REFUND": -400, "FEE": -(25 + 21 + 8 + 16), "FEE_RETURNED": 6 + 10, "CARRIED_IN": 0, "TOTAL_CAPTURED": 2601,
			"TOTAL_REFUNDED": -400, "TOTAL_FEES": -54, "PAID_OUT": -2147, "CARRIED_OUT": 0,
		}
		wantSecond := map[string]int64{
			"CAPTURE": 350, "REFUND": -300, "FEE": -(15 + 11), "FEE_RETURNED": 8, "PAYOUT": -2147, "CARRIED_IN": 0, "TOTAL_CAPTURED": 350,
			"TOTAL_REFUNDED": -300, "TOTAL_FEES": -18, "PAID_OUT": -32, "CARRIED_OUT": 0,
		}
		if diff := cmp.Diff(wantFirst, first); diff != "" {
			t.Errorf("the first day: %s", diff)
		}
		if diff := cmp.Diff(wantSecond, second); diff != "" {
			t.Errorf("the second day: %s", diff)
		}
		c.addsUp(t, first, second)
		sound(t, c.store.Ledger)
	})
}

// addsUp holds the sums of all reports so far against the ledger's own balances.
func (c *counter) addsUp(t *testing.T, reports ...map[string]int64) {
	t.Helper()
	sums := map[string]int64{}
	for _, r := range reports {
		for line, amount := range r {
			sums[line] += amount
		}
	}
	for account, want := range map[string]int64{
		"wallet/alice": 100_000 - sums["TOTAL_CAPTURED"] - sums["TOTAL_REFUNDED"],
		"fee/CNY":      -sums["TOTAL_FEES"],
		ledger.ID(ledger.Settlement, c.merchant.ID): -sums["PAID_OUT"],
		c.account: reports[len(reports)-1]["CARRIED_OUT"],
	} {
		a, err := c.store.LedgerAccount(t.Context(), account)
		must(t, err)
		if a.Balance() != want || a.PendingDebits != 0 || a.PendingCredits != 0 {
			t.Errorf("%s holds %d, the reports say %d: %+v", account, a.Balance(), want, a)
		}
	}
}
