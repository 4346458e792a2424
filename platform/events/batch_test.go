package events_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
)

// Events share transactions; each takes effect once, also when there are duplicates in a batch, and a poison takes none of
// the others along.
func TestABatchTakesEffectOnceAndAPoisonInItAlone(t *testing.T) {
	t.Parallel()
	scenes(t, func(t *testing.T, s scene) {
		const n = 40
		bad := newEvent(t, t.Context(), subjectOf("bad"), "bad")
		for i := range n {
			ev := newEvent(t, t.Context(), subjectOf(fmt.Sprint(i)), fmt.Sprint(i))
			s.publish(t, ev)
			if i%5 == 0 {
				s.publish(t, ev)
			}
			if i == n-1 {
				s.publish(t, bad)
			}
		}
		transactions := map[*sqldb.Tx]bool{}
		var broken atomic.Int32
		cfg := consumerConfig(s.db, s.js)
		cfg.Batch = 16
		cfg.Handle = func(ctx context.Context, tx *sqldb.Tx, ev events.Event) error {
			transactions[tx] = true
			if err := effect(ctx, tx, ev); err != nil {
				return err
			}
			switch {
			case ev.ID == bad.ID:
				return fault.New(fault.FailedPrecondition, "CANNOT_BE", "this cannot be")
			case broken.Add(1) == 7: // once, in the middle of the first batch
				return fault.New(fault.Unavailable, "NOT_NOW", "not now")
			case broken.Load() == 23:
				panic("once")
			}
			return nil
		}
		stop := start(t, events.NewConsumer(cfg).Run)
		eventually(t, "a dead letter", func() bool { return messages(t, s.js, events.DeadLetterStream) == 1 })
		eventually(t, "the other events", func() bool { return s.effects(t) == n && unhandled(t, s.js) == 0 })
		stop()
		if distinct := count(t, s.db, `SELECT COUNT(DISTINCT n) FROM effects`); distinct != n {
			t.Errorf("%d different effects, want %d", distinct, n)
		}
		if rows := count(t, s.db, `SELECT COUNT(*) FROM inbox`); rows != n {
			t.Errorf("%d inbox rows, want %d", rows, n)
		}
		t.Logf("%d events in %d transactions", n, len(transactions))
	})
}

// A batch that is handled as a whole takes effect once, in the order of the stream; when it cannot, each of its events is
// handled on its own, and only the poison is buried.
func TestABatchHandledTogetherIsTakenApartForAPoison(t *testing.T) {
	t.Parallel()
	scenes(t, func(t *testing.T, s scene) {
		const n = 40
		bad := newEvent(t, t.Context(), subjectOf("bad"), "bad")
		for i := range n {
			ev := newEvent(t, t.Context(), subjectOf(fmt.Sprint(i)), fmt.Sprint(i))
			s.publish(t, ev)
			if i%5 == 0 {
				s.publish(t, ev)
			}
			if i == n/2 {
				s.publish(t, bad)
			}
		}
		var whole, single atomic.Int32
		cfg := consumerConfig(s.db, s.js)
		cfg.Batch = 16
		cfg.HandleAll = func(ctx context.Context, tx *sqldb.Tx, evs []events.Event) error {
			for _, ev := range evs {
				if err := effect(ctx, tx, ev); err != nil {
					return err
				}
				if ev.ID == bad.ID {
					return fault.New(fault.FailedPrecondition, "CANNOT_BE", "this cannot be")
				}
			}
			whole.Add(1)
			return nil
		}
		cfg.Handle = func(ctx context.Context, tx *sqldb.Tx, ev events.Event) error {
			single.Add(1)
			if ev.ID == bad.ID {
				return fault.New(fault.FailedPrecondition, "CANNOT_BE", "this cannot be")
			}
			return effect(ctx, tx, ev)
		}
		stop := start(t, events.NewConsumer(cfg).Run)
		eventually(t, "a dead letter", func() bool { return messages(t, s.js, events.DeadLetterStream) == 1 })
		eventually(t, "the other events", func() bool { return s.effects(t) == n && unhandled(t, s.js) == 0 })
		stop()
		if distinct := count(t, s.db, `SELECT COUNT(DISTINCT n) FROM effects`); distinct != n {
			t.Errorf("%d different effects, want %d", distinct, n)
		}
		if single.Load() == 0 {
			t.Error("the batch of the poison was not taken apart")
		}
		t.Logf("%d batches, %d events alone", whole.Load(), single.Load())
	})
}
