package events

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/telemetry"
)

// meters are the instruments of one database's events. The database brings the meter, so nobody has to hand one down.
type meters struct {
	committed metric.Int64Counter
	sent      metric.Int64Counter
	consumed  metric.Int64Counter
	buried    metric.Int64Counter
	process   metric.Float64Histogram
	pending   metric.Int64ObservableGauge
	err       error
}

type metersKey struct{}

func metersOf(db *sqldb.DB) *meters {
	m, _ := db.Attach(metersKey{}, func() any { return newMeters(db.Meter()) }).(*meters) // the key is ours alone
	return m
}

func newMeters(meter metric.Meter) *meters {
	m := &meters{}
	counter := func(name, unit, what string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(what))
		m.err = errors.Join(m.err, err)
		return c
	}
	m.committed = counter(telemetry.EventsCommitted, "{event}", "What happened, counted when its transaction commits.")
	m.sent = counter(telemetry.MessagesSent, "{message}", "Events that JetStream stored.")
	m.consumed = counter(telemetry.MessagesConsumed, "{message}", "Events delivered to a consumer, repeats included.")
	m.buried = counter(telemetry.DeadLetters, "{message}", "Events that a consumer gave up on.")
	var err error
	m.process, err = meter.Float64Histogram(telemetry.ProcessDuration, metric.WithUnit("s"),
		metric.WithDescription("How long a consumer took to make an event's effect."),
		metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10))
	m.err = errors.Join(m.err, err)
	m.pending, err = meter.Int64ObservableGauge(telemetry.ConsumerPending, metric.WithUnit("{message}"),
		metric.WithDescription("Events that wait in the stream for a consumer."))
	m.err = errors.Join(m.err, err)
	return m
}

var natsSystem = attribute.String(telemetry.AttrMessaging, "nats")

func (m *meters) count(evs []Event) {
	for _, ev := range evs {
		m.committed.Add(context.Background(), 1, metric.WithAttributes(attribute.String(telemetry.AttrEventType, ev.Type)))
	}
}

// watch reports how much of the outbox is not published yet and for how long, until the function it returns is called.
func (r *Relay) watch() (stop func(), err error) {
	meter := r.db.Meter()
	pending, err1 := meter.Int64ObservableGauge(telemetry.OutboxPending, metric.WithUnit("{event}"),
		metric.WithDescription("Events that are committed and not yet in JetStream."))
	age, err2 := meter.Float64ObservableGauge(telemetry.OutboxAge, metric.WithUnit("s"),
		metric.WithDescription("For how long the oldest of them has been waiting."))
	reg, err3 := meter.RegisterCallback(func(ctx context.Context, out metric.Observer) error {
		n, oldest, err := r.cfg.Outbox.Pending(ctx)
		if err != nil {
			return err
		}
		waiting := 0.0
		if n > 0 {
			waiting = max(0, time.Since(oldest).Seconds())
		}
		out.ObserveInt64(pending, int64(n))
		out.ObserveFloat64(age, waiting)
		return nil
	}, pending, age)
	if err := errors.Join(err1, err2, err3, metersOf(r.db).err); err != nil {
		return nil, fmt.Errorf("events: instruments: %w", err)
	}
	return func() { _ = reg.Unregister() }, nil
}

// lookTimeout is how long a collection waits for what the server says of one consumer.
const lookTimeout = 500 * time.Millisecond

// gauge reports what waits for a consumer.
type gauge struct {
	group   metric.MeasurementOption
	meters  *meters
	current atomic.Pointer[jetstream.Consumer]
}

func newGauge(db *sqldb.DB, durable string) *gauge {
	return &gauge{
		group:  metric.WithAttributes(attribute.String(telemetry.AttrGroup, durable), natsSystem),
		meters: metersOf(db),
	}
}

// watch begins the count of dead letters at zero, so that the first one is seen as a rise; and it asks the server
// at each collection, until the function it returns is called.
func (g *gauge) watch(db *sqldb.DB, conn *nats.Conn) (stop func(), err error) {
	if g.meters.err == nil {
		g.meters.buried.Add(context.Background(), 0, g.group)
	}
	reg, err := db.Meter().RegisterCallback(func(ctx context.Context, out metric.Observer) error {
		consumer := g.current.Load()
		if consumer == nil || !conn.IsConnected() {
			return nil // an outage says so elsewhere, and must not hold up the other instruments
		}
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		info, err := (*consumer).Info(ctx)
		if err != nil {
			return nil // as above: the next collection looks again
		}
		out.ObserveInt64(g.meters.pending, int64(info.NumPending)+int64(info.NumAckPending), g.group)
		return nil
	}, g.meters.pending)
	if err := errors.Join(err, g.meters.err); err != nil {
		return nil, fmt.Errorf("events: instruments: %w", err)
	}
	return func() { _ = reg.Unregister() }, nil
}

// processed records one delivery and how long its effect took.
func (g *gauge) processed(ctx context.Context, begun time.Time, err error) {
	g.meters.consumed.Add(ctx, 1, g.group)
	took := time.Since(begun).Seconds()
	if err == nil {
		g.meters.process.Record(ctx, took, g.group)
		return
	}
	g.meters.process.Record(ctx, took, g.group, metric.WithAttributes(attribute.String(telemetry.AttrErrorType, errorType(err))))
}

// processedAll records deliveries whose effects were made together; each counts as its share of the time.
func (g *gauge) processedAll(ctx context.Context, begun time.Time, n int) {
	g.meters.consumed.Add(ctx, int64(n), g.group)
	share := time.Since(begun).Seconds() / float64(n)
	for range n {
		g.meters.process.Record(ctx, share, g.group)
	}
}

// errorType is the kind of a fault: of few values, unlike its reason, which a handler may take from elsewhere.
func errorType(err error) string {
	if _, ok := fault.As(err); ok {
		return fault.KindOf(err).String()
	}
	return "other"
}
