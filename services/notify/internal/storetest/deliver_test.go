package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
)

func TestTheSequenceOfAnInboxHasNoGap(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		const good, bad = 50, 20
		rollback := errors.New("rolled back")
		together(good+bad, func(i int) {
			err := b.db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if _, err := b.DeliverAll(ctx, tx, []alert.Alert{order("alice", fmt.Sprint(i))}, nil, now); err != nil {
					return err
				}
				if i >= good {
					return rollback
				}
				return nil
			})
			if i < good && err != nil || i >= good && !errors.Is(err, rollback) {
				t.Errorf("alert %d: %v", i, err)
			}
		})
		b.mustDeliver(order("bob", "other"))
		if n := len(b.steps("alice")); n != good {
			t.Errorf("%d steps of %d alerts", n, good)
		}
		if n := b.count(`SELECT COUNT(*) FROM outbox WHERE type = 'armlet.notify.v1.AlertSent'`); n != good+1 {
			t.Errorf("%d events for %d alerts", n, good+1)
		}
		if b.woke["alice"] != good || b.woke["bob"] != 1 {
			t.Errorf("woken %v", b.woke)
		}
	})
}

// Two replicas with batches for the same accounts, in opposite orders, with throttles and collapse keys: none waits for the
// other crosswise, which the database would end by failing one, and every inbox has all its steps in the order of the batch.
func TestDeliveriesToTheSameAccountsDoNotDeadlock(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		const replicas, rounds, accounts = 4, 10, 12
		content, _ := alert.BuiltIn(alert.PartnerMessage)
		content.Throttle = alert.Throttle{Max: replicas * rounds * accounts, Period: time.Minute}
		busy := alert.Key{Partner: "acme", ID: "busy"}
		b.kind(busy, content)
		var attempts atomic.Int32
		together(replicas, func(r int) {
			for round := range rounds {
				var all []alert.Alert
				for i := range accounts {
					n := i
					if r%2 == 1 {
						n = accounts - 1 - i
					}
					for half := range 2 {
						a := order(fmt.Sprint("account-", n), fmt.Sprintf("%d-%d-%d", r, round, half))
						if half == 0 {
							a.Kind, a.CollapseKey = busy, fmt.Sprintf("only-%d-%d", r, round)
						}
						all = append(all, a)
					}
				}
				err := b.db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
					attempts.Add(1)
					_, err := b.DeliverAll(ctx, tx, all, make([]string, len(all)), now)
					return err
				})
				if err != nil {
					t.Errorf("replica %d, round %d: %v", r, round, err)
				}
			}
		})
		if n := attempts.Load(); n != replicas*rounds {
			t.Errorf("%d attempts at %d transactions", n, replicas*rounds)
		}
		for i := range accounts {
			steps := b.steps(fmt.Sprint("account-", i))
			if len(steps) != 2*replicas*rounds {
				t.Errorf("account %d has %d steps, want %d", i, len(steps), 2*replicas*rounds)
			}
			for j := 1; j < len(steps); j += 2 {
				first, second := steps[j-1].Alert, steps[j].Alert
				if steps[j].Sequence != int64(j+1) || first.CollapseKey == "" || second.CollapseKey != "" {
					t.Fatalf("account %d: the steps %d and %d are not those of one batch in its order", i, j, j+1)
				}
			}
		}
		if n := b.count(`SELECT SUM(count) FROM alert_throttles WHERE kind_id = 'busy'`); n != replicas*rounds*accounts {
			t.Errorf("the throttle counted %d", n)
		}
	})
}
