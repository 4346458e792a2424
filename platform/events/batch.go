package events

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

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
		for _, ev := range evs {
			if !fresh[ev.ID] {
				continue
			}
			delete(fresh, ev.ID) // the same event may be in a batch twice
			if err := c.handleOne(ctx, tx, ev); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *Consumer) handleOne(ctx context.Context, tx *sqldb.Tx, ev Event) error {
	ctx, span := c.span(ctx, ev)
	defer span.End()
	return c.cfg.Handle(ctx, tx, ev)
}

// enter writes the inbox rows and says which events had none.
func (c *Consumer) enter(ctx context.Context, tx *sqldb.Tx, evs []Event) (map[string]bool, error) {
	args := make([]any, 0, 3*len(evs))
	var values strings.Builder
	entered := make(map[string]bool, len(evs))
	for _, ev := range evs {
		if entered[ev.ID] {
			continue
		}
		entered[ev.ID] = true
		if len(args) > 0 {
			values.WriteString(", ")
		}
		fmt.Fprintf(&values, "($%d, $%d, $%d)", len(args)+1, len(args)+2, len(args)+3)
		args = append(args, c.cfg.Durable, ev.ID, c.now().UnixMicro())
	}
	rows, err := tx.QueryContext(ctx, `INSERT INTO inbox (consumer, event_id, received_at) VALUES `+values.String()+`
		ON CONFLICT (consumer, event_id) DO NOTHING RETURNING event_id`, args...)
	if err != nil {
		return nil, fmt.Errorf("write the inbox: %w", err)
	}
	defer func() { _ = rows.Close() }()
	fresh := make(map[string]bool, len(evs))
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("write the inbox: %w", err)
		}
		fresh[id] = true
	}
	return fresh, rows.Err()
}
