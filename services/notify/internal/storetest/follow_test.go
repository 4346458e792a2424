package storetest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

// held makes a voucher of the campaign that is held for a payment.
func (b *box) held(c voucher.Campaign, payment string) voucher.Voucher {
	b.t.Helper()
	v, err := b.issue(c, payment, "alice")
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = b.take(v, payment, voucher.Reserved, 100, func(r *voucher.Redemption) { r.ID, r.Payment = payment, payment })
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// meet lets n of them go on together, or after a while those that came when others are held up.
type meet struct {
	came atomic.Int32
	all  chan struct{}
	n    int32
}

func newMeet(n int32) *meet { return &meet{all: make(chan struct{}), n: n} }

func (m *meet) wait() {
	if m.came.Add(1) == m.n {
		close(m.all)
	}
	select {
	case <-m.all:
	case <-time.After(200 * time.Millisecond):
	}
}

// Two replicas follow payments of the same two campaigns in opposite orders, each with its first step done before the other's
// second, and a terminal reserves beside them. A deadlock shows as a transaction that had to begin again.
func TestThoseWhoFollowPaymentsOfTheSameCampaignsDoNotWaitCrosswise(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		limited := func(c *voucher.Campaign) {
			c.Rules.Limits = []voucher.Limit{{Scope: voucher.ScopeMerchant, Metric: voucher.MetricRedemptions, Period: voucher.Lifetime, Value: 100}}
		}
		x, y := b.campaign(10, limited), b.campaign(10, limited)
		payments := [2][]string{{"p-1", "p-2"}, {"p-3", "p-4"}}
		b.held(x, "p-1")
		b.held(y, "p-2")
		b.held(y, "p-3")
		b.held(x, "p-4")
		extra, err := b.issue(x, "extra", "alice")
		if err != nil {
			t.Fatal(err)
		}
		var begun atomic.Int32
		first := newMeet(2)
		together(3, func(i int) {
			if i == 2 {
				if _, err := b.take(extra, "extra", voucher.Reserved, 100); err != nil {
					t.Error(err)
				}
				return
			}
			err := b.db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				begun.Add(1)
				found, err := b.Redeemed(ctx, tx, payments[i])
				if err != nil || len(found) != 2 {
					t.Errorf("found %v, %v", found, err)
				}
				for n, p := range payments[i] {
					if err := b.FollowPayment(ctx, tx, p, voucher.Outcome{Approved: true, Captured: 100}, now); err != nil {
						return err
					}
					if n == 0 {
						first.wait()
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		if begun.Load() != 2 {
			t.Errorf("two batches began %d times", begun.Load())
		}
		if n := b.count(`SELECT COUNT(*) FROM redemptions WHERE state = 'CONFIRMED'`); n != 4 {
			t.Errorf("%d are confirmed", n)
		}
		if n := b.count(`SELECT SUM(redeemed_count) FROM campaigns`); n != 4 {
			t.Errorf("%d are counted", n)
		}
	})
}
