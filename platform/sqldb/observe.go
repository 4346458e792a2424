package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/armlet-pay/armlet/platform/telemetry"
)

const scope = "github.com/armlet-pay/armlet/platform/sqldb"

// transaction is the operation that stands for a whole transaction.
const transaction = "TRANSACTION"

// otherOperation is whatever is none of the usual ones.
const otherOperation = "OTHER"

// observer measures statements and transactions. Its zero value is of no use; see unobserved.
type observer struct {
	meter    metric.Meter
	tracer   trace.Tracer
	on       bool
	system   attribute.KeyValue
	duration metric.Float64Histogram
	ops      map[string]metric.MeasurementOption
}

func unobserved() *observer {
	return &observer{
		meter:    metricnoop.NewMeterProvider().Meter(scope),
		tracer:   tracenoop.NewTracerProvider().Tracer(scope),
		duration: metricnoop.Float64Histogram{},
	}
}

// Observe has the database measure how long statements and transactions take and how many connections are open, and make a
// span of each transaction that runs in a sampled trace. Call it once, before the database is used; nil providers are none.
func (db *DB) Observe(tp trace.TracerProvider, mp metric.MeterProvider) error {
	if tp == nil {
		tp = tracenoop.NewTracerProvider()
	}
	if mp == nil {
		mp = metricnoop.NewMeterProvider()
	}
	system := "sqlite"
	if db.dialect == Postgres {
		system = "postgresql"
	}
	o := &observer{meter: mp.Meter(scope), tracer: tp.Tracer(scope), on: true, system: attribute.String(telemetry.AttrSystem, system)}
	o.ops = map[string]metric.MeasurementOption{}
	for _, op := range []string{transaction, "SELECT", "INSERT", "UPDATE", "DELETE", otherOperation} {
		o.ops[op] = metric.WithAttributeSet(attribute.NewSet(o.system, attribute.String(telemetry.AttrOperation, op)))
	}
	var err error
	o.duration, err = o.meter.Float64Histogram(telemetry.DBOperationDuration, metric.WithUnit("s"),
		metric.WithDescription("How long statements and whole transactions take."),
		metric.WithExplicitBucketBoundaries(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10))
	if err == nil {
		err = o.watchPools(db)
	}
	db.observer = o
	return err
}

func (o *observer) watchPools(db *DB) error {
	count, err1 := o.meter.Int64ObservableUpDownCounter(telemetry.DBConnectionCount, metric.WithUnit("{connection}"),
		metric.WithDescription("Open connections, idle and used."))
	most, err2 := o.meter.Int64ObservableUpDownCounter(telemetry.DBConnectionMax, metric.WithUnit("{connection}"),
		metric.WithDescription("How many connections there may be."))
	waits, err3 := o.meter.Int64ObservableCounter(telemetry.DBConnectionWaits, metric.WithUnit("{wait}"),
		metric.WithDescription("Callers that had to wait for a connection."))
	_, err4 := o.meter.RegisterCallback(func(_ context.Context, out metric.Observer) error {
		s := db.stats()
		idle := attribute.String(telemetry.AttrConnState, "idle")
		used := attribute.String(telemetry.AttrConnState, "used")
		out.ObserveInt64(count, int64(s.Idle), metric.WithAttributes(o.system, idle))
		out.ObserveInt64(count, int64(s.InUse), metric.WithAttributes(o.system, used))
		out.ObserveInt64(most, int64(s.MaxOpenConnections), metric.WithAttributes(o.system))
		out.ObserveInt64(waits, s.WaitCount, metric.WithAttributes(o.system))
		return nil
	}, count, most, waits)
	return errors.Join(err1, err2, err3, err4)
}

// stats are those of all pools together.
func (db *DB) stats() sql.DBStats {
	s := db.writer.Stats()
	if db.reader != db.writer {
		r := db.reader.Stats()
		s.Idle += r.Idle
		s.InUse += r.InUse
		s.MaxOpenConnections += r.MaxOpenConnections
		s.WaitCount += r.WaitCount
	}
	return s
}

// Meter makes instruments of packages that are built on this one, such as events: theirs need no wiring of their own.
func (db *DB) Meter() metric.Meter { return db.observer.meter }

// statement measures from now until the function it returns is called.
func (o *observer) statement(ctx context.Context, query string) func() {
	if !o.on {
		return func() {}
	}
	begun := time.Now()
	return func() { o.record(ctx, begun, operation(query)) }
}

func (o *observer) record(ctx context.Context, begun time.Time, op string) {
	o.duration.Record(ctx, time.Since(begun).Seconds(), o.ops[op])
}

// inTx begins the span of a transaction; the function it returns ends it.
func (o *observer) inTx(ctx context.Context) (context.Context, func(error)) {
	if !o.on {
		return ctx, func(error) {}
	}
	begun := time.Now()
	if !trace.SpanFromContext(ctx).IsRecording() { // no span for work that nobody follows, such as a poll
		return ctx, func(error) { o.record(ctx, begun, transaction) }
	}
	ctx, span := o.tracer.Start(ctx, "transaction", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(o.system))
	return ctx, func(err error) {
		o.record(ctx, begun, transaction)
		if err != nil && (IsUnavailable(err) || IsConflict(err)) { // a refusal by a rule is no failure of the database
			span.SetStatus(codes.Error, "the transaction failed")
		}
		span.End()
	}
}

// operation is the first word of a statement, one of few.
func operation(query string) string {
	word, _, _ := strings.Cut(strings.TrimLeft(query, " \t\n("), " ")
	switch word {
	case "SELECT", "INSERT", "UPDATE", "DELETE":
		return word
	case "WITH":
		return "SELECT"
	}
	return otherOperation
}
