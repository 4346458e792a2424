package events

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"

	"github.com/armlet-pay/armlet/platform/sqldb"
)

// receiveAll handles messages in one transaction and acknowledges them. When it is false nothing has happened, and each is
// to be handled on its own, where it is found out what became of which.
func (c *Consumer) receiveAll(ctx context.Context, msgs []jetstream.Msg) bool {
	work, done := c.grace(ctx)
	defer done()
	evs := make([]Event, len(msgs))
	for i, msg := range msgs {
		var err error
		if evs[i], err = Decode(msg.Subject(), func(name string) string { return first(msg.Headers(), name) }, msg.Data()); err != nil {
			return false
		}
	}
	begun := time.Now()
	if err := c.handleAll(work, evs); err != nil {
		c.cfg.Log.DebugContext(work, "a batch of events failed and is taken apart", "events", len(evs), "error", err)
		return false
	}
	c.gauge.processedAll(work, begun, len(evs))
	for _, msg := range msgs {
		c.settle(work, "ack", msg.Ack())
	}
	return true
}

// handleAll makes the effects of the events and their inbox rows in one transaction, in their order.
func (c *Consumer) handleAll(ctx context.Context, evs []Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c.cfg.DB.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		fresh, err := c.enter(ctx, tx, evs)
		if err != nil {
			return err
		}
		first := make([]Event, 0, len(fresh))
		for _, ev := range evs {
			if fresh[ev.ID] {
				delete(fresh, ev.ID) // the same event may be in a batch twice
				first = append(first, ev)
			}
		}
		if c.cfg.HandleAll != nil {
			return c.handleTogether(ctx, tx, first)
		}
		for _, ev := range first {
			if err := c.handleOne(ctx, tx, ev); err != nil {
				return err
			}
		}
		return nil
	})
}

// handleTogether has each event in a span of its own trace, as long as all of them take.
func (c *Consumer) handleTogether(ctx context.Context, tx *sqldb.Tx, evs []Event) error {
	if len(evs) == 0 {
		return nil
	}
	spans := make([]trace.Span, len(evs))
	for i, ev := range evs {
		_, spans[i] = c.span(ctx, ev)
	}
	defer func() {
		for _, span := range spans {
			span.End()
		}
	}()
	return c.cfg.HandleAll(ctx, tx, evs)
}

func (c *Consumer) handleOne(ctx context.Context, tx *sqldb.Tx, ev Event) error {
	ctx, span := c.span(ctx, ev)
	defer span.End()
	return c.cfg.Handle(ctx, tx, ev)
}

var insertInbox = sqldb.NewBulk("consumer text, event_id text, received_at bigint", `INSERT INTO inbox ({columns})
	SELECT {columns} FROM {rows} AS r WHERE true ON CONFLICT (consumer, event_id) DO NOTHING RETURNING event_id`, 0)

// enter writes the inbox rows and says which events had none. The rows are in the order of their ids, so that two replicas
// that got the same events again do not wait for each other crosswise.
func (c *Consumer) enter(ctx context.Context, tx *sqldb.Tx, evs []Event) (map[string]bool, error) {
	ids := make([]string, len(evs))
	for i, ev := range evs {
		ids[i] = ev.ID
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	rows := insertInbox.Rows(len(ids))
	now := c.now().UnixMicro()
	for _, id := range ids {
		rows.Add(c.cfg.Durable, id, now)
	}
	found, err := rows.Query(ctx, tx, tx.Dialect())
	if err != nil {
		return nil, fmt.Errorf("write the inbox: %w", err)
	}
	defer func() { _ = found.Close() }()
	fresh := make(map[string]bool, len(ids))
	for found.Next() {
		var id string
		if err := found.Scan(&id); err != nil {
			return nil, fmt.Errorf("write the inbox: %w", err)
		}
		fresh[id] = true
	}
	return fresh, found.Err()
}
