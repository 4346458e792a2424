package storetest

import (
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// What the operator moves by hand is settled too, and a payout that came back from the bank is paid out again.
func TestTransfersAreSettledLikeCapturesAndRefunds(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		s := newShop(t, db)
		midnight := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
		bank := ledger.ID(ledger.Settlement, s.merchant.ID)
		by := func(id, from, to string, minor int64, at time.Time) {
			done, err := s.service.Transfer(t.Context(), operator, s.store, []payment.Transfer{{ID: id, Debit: from, Credit: to, Amount: payment.Money{Minor: minor, Currency: cny}}}, false, at)
			must(t, err)
			if done[0].Refused != nil {
				t.Fatal(done[0].Refused)
			}
		}
		s.book(t, 1000, 30, start)
		by("bonus", "suspense/CNY", s.account, 200, start.Add(time.Hour))
		by("mistake", s.account, "suspense/CNY", 50, start.Add(2*time.Hour))
		s.settle(t, midnight.Add(2*time.Minute), 1)
		first := s.all(t)[0]
		if first.Captured != 1200 || first.Refunded != 50 || first.Fees != 30 || first.PaidOut != 1120 {
			t.Errorf("the first day: %+v", first)
		}
		s.reported(t, first)
		by("bounced", bank, s.account, 1120, midnight.Add(time.Hour))
		s.settle(t, midnight.Add(25*time.Hour), 1)
		second := s.all(t)[0]
		if second.Number != 2 || second.Captured != 1120 || second.PaidOut != 1120 || second.CarriedOut != 0 {
			t.Errorf("the second day: %+v", second)
		}
		s.reported(t, second)
		by("paid", bank, funding, 1120, midnight.Add(26*time.Hour))
		s.settle(t, midnight.Add(72*time.Hour), 0)
		sound(t, s.store.Ledger)
	})
}

// Two merchants with the same entries and different clocks are settled at different moments, each with what it had by then.
func TestEachMerchantHasItsOwnCutOff(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		s := newShop(t, db)
		far, err := s.service.CreateMerchant(t.Context(), request("CreateMerchant"), payment.Merchant{
			DisplayName: "Bagels", CategoryCode: 5812, Currency: cny, Settlement: payment.SettlementSchedule{CutOff: "22:00", TimeZone: "America/New_York"},
		}, start)
		must(t, err)
		near, err := s.service.CreateMerchant(t.Context(), request("CreateMerchant"), payment.Merchant{
			DisplayName: "Tea", CategoryCode: 5812, Currency: cny, Settlement: payment.SettlementSchedule{TimeZone: "Asia/Shanghai"},
		}, start)
		must(t, err)
		for n, at := range []time.Time{start, start.Add(5 * time.Hour)} { // noon and 17:00 in UTC; Shanghai's day ends at 16:00
			for _, m := range []payment.Merchant{far, near} {
				x := transfer("wallet/alice", ledger.ID(ledger.Merchant, m.ID), int64(100*(n+1)))
				x.Time = at
				_, err := s.store.Post(t.Context(), x)
				must(t, err)
			}
		}
		captured := func(m payment.Merchant) (sums []int64) {
			list, err := s.store.Settlements(t.Context(), m.ID, nil, 10)
			must(t, err)
			for _, x := range list {
				sums = append(sums, x.Captured)
			}
			return sums
		}
		s.settle(t, start.Add(5*time.Hour), 1) // 17:00: Shanghai's day is over, New York's is not
		if got := captured(near); len(got) != 1 || got[0] != 100 || len(captured(far)) != 0 {
			t.Errorf("Shanghai %v, New York %v", got, captured(far))
		}
		s.settle(t, start.Add(15*time.Hour+2*time.Minute), 1) // 22:02 in New York
		if got := captured(far); len(got) != 1 || got[0] != 300 {
			t.Errorf("New York %v", got)
		}
		sound(t, s.store.Ledger)
	})
}
