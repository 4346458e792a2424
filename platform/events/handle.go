package events

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
)

// receive takes one message from delivery to acknowledgement.
func (c *Consumer) receive(ctx context.Context, msg jetstream.Msg) {
	work, done := c.grace(ctx)
	defer done()
	meta, err := msg.Metadata()
	if err != nil {
		c.cfg.Log.ErrorContext(work, "a message without JetStream metadata is dropped", "subject", msg.Subject(), "error", err)
		return
	}
	ev, err := Decode(msg.Subject(), func(name string) string { return first(msg.Headers(), name) }, msg.Data())
	if err != nil {
		c.bury(work, msg, meta, err)
		return
	}
	work, span := c.span(work, ev)
	defer span.End()

	begun := time.Now()
	err = c.handle(work, ev)
	c.gauge.processed(work, begun, err)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	c.conclude(work, msg, meta, ev, err)
}

// grace lets an event in hand be finished although the service stops.
func (c *Consumer) grace(ctx context.Context) (work context.Context, done func()) {
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.AckWait*9/10)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(shutdownGrace, cancel) })
	return work, func() {
		stop()
		cancel()
	}
}

func (c *Consumer) span(ctx context.Context, ev Event) (context.Context, trace.Span) {
	return c.tracer.Start(ev.WithTrace(ctx), "process "+ev.Type, trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(attribute.String("messaging.system", "nats"), attribute.String("messaging.message.id", ev.ID),
			attribute.String("messaging.consumer.group.name", c.cfg.Durable)))
}

// handle makes the effect and the inbox row in one transaction. A duplicate has its row already and makes no effect.
func (c *Consumer) handle(ctx context.Context, ev Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.cfg.Log.ErrorContext(ctx, "the handler of an event panicked", "event", ev.ID, "type", ev.Type,
				"panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return c.cfg.DB.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO inbox (consumer, event_id, received_at) VALUES ($1, $2, $3)
			ON CONFLICT (consumer, event_id) DO NOTHING`, c.cfg.Durable, ev.ID, c.now().UnixMicro())
		if err != nil {
			return fmt.Errorf("write the inbox: %w", err)
		}
		inserted, err := res.RowsAffected()
		if err != nil || inserted == 0 {
			return err
		}
		return c.cfg.Handle(ctx, tx, ev)
	})
}

// conclude acknowledges, asks for another delivery, or gives up, as the outcome demands.
func (c *Consumer) conclude(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata, ev Event, err error) {
	if err == nil {
		c.settle(ctx, "ack", msg.Ack())
		return
	}
	passing, permanent := judge(err)
	if permanent || !passing && meta.NumDelivered >= uint64(c.cfg.MaxDeliver) {
		c.bury(ctx, msg, meta, err)
		return
	}
	delay := c.retryDelay(meta.NumDelivered)
	c.cfg.Log.WarnContext(ctx, "an event is tried again later", "event", ev.ID, "type", ev.Type, "delivery", meta.NumDelivered,
		"retry_in", delay, "error", err)
	c.settle(ctx, "nak", msg.NakWithDelay(delay))
}

// judge tells failures that pass by themselves and failures that trying again cannot cure; most are neither.
func judge(err error) (passing, permanent bool) {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true, false
	}
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.FailedPrecondition:
		return false, true
	case fault.Unavailable, fault.Aborted, fault.DeadlineExceeded, fault.ResourceExhausted, fault.Canceled:
		return true, false
	default:
		return sqldb.IsUnavailable(err) || sqldb.IsConflict(err), false
	}
}

func (c *Consumer) retryDelay(deliveries uint64) time.Duration {
	delay := c.cfg.RetryMin
	for i := uint64(1); i < deliveries && delay < c.cfg.RetryMax; i++ {
		delay *= 2
	}
	return min(delay, c.cfg.RetryMax)
}

// settle logs an acknowledgement that did not get out. Nothing is lost: the event comes again and the inbox knows it.
func (c *Consumer) settle(ctx context.Context, what string, err error) {
	if err != nil {
		c.cfg.Log.DebugContext(ctx, "an acknowledgement was not sent", "kind", what, "error", err)
	}
}

// pruneInbox forgets events that the stream has forgotten long ago and so cannot deliver again. A stream without an age
// limit keeps the whole inbox.
func (c *Consumer) pruneInbox(ctx context.Context, maxAge time.Duration) {
	now := c.now()
	if maxAge <= 0 || now.Sub(c.pruned) < pruneInboxEvery {
		return
	}
	c.pruned = now
	before := now.Add(-2*maxAge - dedupeWindow)
	err := c.cfg.DB.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM inbox WHERE consumer = $1 AND received_at < $2`, c.cfg.Durable, before.UnixMicro())
		return err
	})
	if err != nil {
		c.cfg.Log.WarnContext(ctx, "the inbox was not pruned", "error", err)
	}
}

func first(h nats.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}
