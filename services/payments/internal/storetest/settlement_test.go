package storetest

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/settlement"
)

// shop is a merchant with money coming in and going out on its ledger account.
type shop struct {
	*fixture
	days    *settlement.Service
	account string
}

func newShop(t *testing.T, db *sqldb.DB) *shop {
	t.Helper()
	f := newFixture(t, db)
	f.topUp(t, "alice", 100_000)
	must(t, f.store.OpenAccounts(t.Context(), ledger.Open(ledger.Fee, cny, cny)))
	return &shop{fixture: f, days: settlement.NewService(f.store, f.store, newID, time.Minute), account: ledger.ID(ledger.Merchant, f.merchant.ID)}
}

// book posts a capture, or a refund when the amount is negative, and the fee.
func (s *shop) book(t *testing.T, amount, fee int64, at time.Time) {
	t.Helper()
	x := ledger.Transaction{ID: newID(), Purpose: ledger.Capture, Reference: newID(), Time: at}
	add := func(from, to string, amount int64) {
		x.Postings = append(x.Postings, ledger.Posting{Debit: from, Credit: to, Amount: amount, Currency: cny})
	}
	if amount > 0 {
		add("wallet/alice", s.account, amount)
	} else {
		x.Purpose = "refund"
		add(s.account, "wallet/alice", -amount)
	}
	switch {
	case fee > 0:
		add(s.account, "fee/CNY", fee)
	case fee < 0:
		add("fee/CNY", s.account, -fee)
	}
	_, err := s.store.Post(t.Context(), x)
	must(t, err)
}

func (s *shop) settle(t *testing.T, now time.Time, want int) {
	t.Helper()
	made, err := s.days.SettleDue(t.Context(), 2, now)
	must(t, err)
	if made != want {
		t.Fatalf("%d settlements were made, want %d", made, want)
	}
}

func (s *shop) all(t *testing.T) []settlement.Settlement {
	t.Helper()
	list, err := s.store.Settlements(t.Context(), s.merchant.ID, nil, 10)
	must(t, err)
	return list
}

// reported reads a report and adds it up: its lines lead from the balance before to the balance after, and its totals are
// what its lines come to.
func (s *shop) reported(t *testing.T, x settlement.Settlement) map[string]int64 {
	t.Helper()
	var file bytes.Buffer
	must(t, settlement.Report(t.Context(), s.store, x, func(b []byte) error { _, err := file.Write(b); return err }))
	records, err := csv.NewReader(&file).ReadAll()
	must(t, err)
	sums, balance := map[string]int64{}, x.After.Balance
	for _, r := range records[1:] {
		amount, err := strconv.ParseInt(r[6], 10, 64)
		must(t, err)
		sums[r[0]] += amount
		if r[1] == "" {
			continue
		}
		balance += amount
		if r[7] != strconv.FormatInt(balance, 10) {
			t.Errorf("after %v the balance should be %d", r, balance)
		}
	}
	at, err := s.store.BalanceAt(t.Context(), s.account, x.End.Add(-time.Microsecond))
	must(t, err)
	if balance != x.Last.Balance || balance != at.Posted {
		t.Errorf("the report ends with %d, the settlement with %d, the ledger with %d", balance, x.Last.Balance, at.Posted)
	}
	for total, lines := range map[string]int64{
		"TOTAL_CAPTURED": sums["CAPTURE"], "TOTAL_REFUNDED": sums["REFUND"], "TOTAL_FEES": sums["FEE"] + sums["FEE_RETURNED"],
		"CARRIED_OUT": sums["CARRIED_IN"] + sums["TOTAL_CAPTURED"] + sums["TOTAL_REFUNDED"] + sums["TOTAL_FEES"] + sums["PAID_OUT"],
	} {
		if sums[total] != lines {
			t.Errorf("%s is %d, and the lines come to %d", total, sums[total], lines)
		}
	}
	return sums
}

func TestAMerchantIsPaidWhatItEarnedDayByDay(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		s := newShop(t, db)
		midnight := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
		s.settle(t, midnight.Add(time.Hour), 0) // nothing happened
		s.book(t, 1000, 30, start)
		s.book(t, 500, 15, start.Add(time.Hour))
		s.book(t, -200, -6, start.Add(2*time.Hour))
		s.book(t, 70, 0, midnight) // at the cut-off is the next day
		s.settle(t, midnight.Add(30*time.Second), 0)
		s.settle(t, midnight.Add(2*time.Minute), 1)
		s.settle(t, midnight.Add(3*time.Minute), 0)
		first := s.all(t)[0]
		if first.Captured != 1500 || first.Refunded != 200 || first.Fees != 39 || first.PaidOut != 1261 || first.CarriedOut != 0 ||
			first.Count != 3 || !first.Start.Equal(start) || !first.End.Equal(midnight) || first.Transaction == "" {
			t.Errorf("the first day: %+v", first)
		}
		// Three days later: a refund since the cut-off has left less than was earned until then.
		s.book(t, 300, 9, midnight.Add(time.Hour))
		s.book(t, -350, 0, midnight.Add(25*time.Hour))
		s.settle(t, midnight.Add(72*time.Hour), 2)
		list := s.all(t)
		second, third := list[1], list[0]
		if second.Number != 2 {
			second, third = third, second
		}
		if second.PaidOut != 11 || second.CarriedOut != 350 || second.Captured != 370 || third.CarriedIn != 350 || third.PaidOut != 0 || third.CarriedOut != 0 ||
			third.Transaction != "" {
			t.Errorf("the second day %+v, the third %+v", second, third)
		}
		for _, x := range list {
			s.reported(t, x)
		}
		paid, err := s.store.LedgerAccount(t.Context(), ledger.ID(ledger.Settlement, s.merchant.ID))
		must(t, err)
		if paid.Balance() != 1261+11 {
			t.Errorf("the settlement account holds %d", paid.Balance())
		}
		if n := s.count(t, `SELECT COUNT(*) FROM outbox WHERE subject LIKE 'evt.v1.live.payments.settlement.created.%'`); n != 3 {
			t.Errorf("%d events for 3 settlements", n)
		}
		sound(t, s.store.Ledger)
	})
}

// crashing fails at one of the steps of a settlement, before or after it was done.
type crashing struct {
	settlement.Store
	settlement.Books
	at    string
	after bool
}

var errCrash = errors.New("crash")

func (c *crashing) crash(step string, do func() error) error {
	if c.at != step {
		return do()
	}
	c.at = ""
	if c.after {
		must := do()
		return errors.Join(errCrash, must)
	}
	return errCrash
}

func (c *crashing) OpenSettlement(ctx context.Context, x settlement.Settlement) (out settlement.Settlement, err error) {
	err = c.crash("open", func() error { out, err = c.Store.OpenSettlement(ctx, x); return err })
	return out, err
}

func (c *crashing) Post(ctx context.Context, x ...ledger.Transaction) (out []ledger.Posted, err error) {
	err = c.crash("post", func() error { out, err = c.Books.Post(ctx, x...); return err })
	return out, err
}

func (c *crashing) CloseSettlement(ctx context.Context, x settlement.Settlement) error {
	return c.crash("close", func() error { return c.Store.CloseSettlement(ctx, x) })
}

func TestASettlementThatIsCutOffAtAnyStepIsCompletedOnce(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"open", "post", "close"} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprint(step, after), func(t *testing.T) {
				t.Parallel()
				schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
					s := newShop(t, db)
					s.book(t, 1000, 30, start)
					c := &crashing{Store: s.store, Books: s.store, at: step, after: after}
					now := start.Add(48 * time.Hour)
					if _, err := settlement.NewService(c, c, newID, time.Minute).SettleDue(t.Context(), 10, now); !errors.Is(err, errCrash) {
						t.Fatalf("it was to crash, got %v", err)
					}
					// What is left has changed before it is tried again, also when all that was earned is paid out already.
					s.book(t, 150, 0, now)
					s.book(t, -100, 0, now)
					if errs := together(4, func(int) error { _, err := s.days.SettleDue(t.Context(), 10, now); return err }); len(errs) > 0 {
						t.Fatal(errs)
					}
					list := s.all(t)
					if len(list) != 1 {
						t.Fatalf("%d settlements", len(list))
					}
					paid, err := s.store.LedgerAccount(t.Context(), ledger.ID(ledger.Settlement, s.merchant.ID))
					must(t, err)
					if paid.Balance() != list[0].PaidOut || paid.Entries != 1 || list[0].PaidOut+list[0].CarriedOut != 970 {
						t.Errorf("%d was paid in %d parts, the settlement says %+v", paid.Balance(), paid.Entries, list[0])
					}
					if n := s.count(t, `SELECT COUNT(*) FROM outbox WHERE subject LIKE '%settlement.created%'`); n != 1 {
						t.Errorf("%d events", n)
					}
					s.reported(t, list[0])
					sound(t, s.store.Ledger)
				})
			})
		}
	}
}

func TestADayThatDoesNotAddUpIsNotPaidOut(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		s := newShop(t, db)
		s.book(t, 1000, 30, start)
		_, err := db.ExecContext(t.Context(), `UPDATE ledger_postings SET amount = amount + 1 WHERE credit_account = $1`, s.account)
		must(t, err)
		_, err = s.days.SettleDue(t.Context(), 10, start.Add(48*time.Hour))
		if err == nil || !strings.Contains(err.Error(), "nothing is paid out") || len(s.all(t)) != 0 {
			t.Errorf("got %v", err)
		}
	})
}
