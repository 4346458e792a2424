package events_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

const (
	benchEvents  = 20_000
	benchPayload = 300 // bytes, about what a captured payment has
)

// BenchmarkRelay empties a full outbox into the stream of a nats-server process. Beside it the same client publishes messages
// of the same size on the same subjects, bare: no id, no headers, no database, as many in flight as the client allows, each
// acknowledged; and the same messages with the id and the headers that events have, still without a database.
func BenchmarkRelay(b *testing.B) {
	config, addr := testkit.PlainNATSConfig(b)
	js := testkit.JetStream(b, testkit.NewNATSProcess(b, config, addr).URL())
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		b.Run(string(dialect), func(b *testing.B) {
			db := testkit.OpenDB(b, testkit.DBURL(b, dialect))
			benchExec(b, db, events.Schema(dialect))
			var bare, headed, relayed time.Duration
			n := 0
			for b.Loop() {
				n += benchEvents
				benchFill(b, db)
				bare += benchPublish(b, js, bareMessage)
				headed += benchPublish(b, js, headedMessage)
				relayed += benchDrain(b, db, js)
			}
			rate := func(d time.Duration) float64 { return float64(n) / d.Seconds() }
			b.ReportMetric(rate(relayed), "events/s")
			b.ReportMetric(rate(relayed)/rate(bare), "x-bare")
			b.ReportMetric(rate(relayed)/rate(headed), "x-with-headers")
			testkit.Record(b, testkit.Figure{
				Measure:   testkit.Measure{Name: "events/relay/" + string(dialect), Value: rate(relayed), Unit: "events/s"},
				Reference: &testkit.Measure{Name: "bare acknowledged messages of the same size", Value: rate(bare), Unit: "messages/s"},
			})
			testkit.Record(b, testkit.Figure{
				Measure:   testkit.Measure{Name: "events/relay-headers/" + string(dialect), Value: rate(relayed), Unit: "events/s"},
				Reference: &testkit.Measure{Name: "the same messages with ids and headers, without a database", Value: rate(headed), Unit: "messages/s"},
			})
		})
	}
}

func benchExec(b *testing.B, db *sqldb.DB, query string) {
	b.Helper()
	if _, err := db.ExecContext(b.Context(), query); err != nil {
		b.Fatal(err)
	}
}

// benchFill writes events.
func benchFill(b *testing.B, db *sqldb.DB) {
	b.Helper()
	now := time.Now()
	const rows = 500
	for at := 0; at < benchEvents; at += rows {
		evs := make([]events.Event, rows)
		for i := range evs {
			evs[i] = benchEvent(now, at+i)
		}
		err := db.InTx(b.Context(), func(ctx context.Context, tx *sqldb.Tx) error { return events.Append(ctx, tx, evs...) })
		if err != nil {
			b.Fatal(err)
		}
	}
}

func benchEvent(now time.Time, i int) events.Event {
	id := fmt.Sprintf("%016x-7000-8000-%011d", now.UnixNano(), i) // as long as a UUID
	return events.Event{
		ID: id, Type: "armlet.payments.v1.PaymentCaptured", Source: "/services/payments", Time: now, Key: "payments/" + id,
		Subject: subjectOf(id), Data: make([]byte, benchPayload), TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

// headedMessage is an event as the relay publishes it.
func headedMessage(now time.Time, i int) *nats.Msg {
	ev := benchEvent(now, i)
	return &nats.Msg{Data: ev.Data, Header: nats.Header{
		"ce-specversion": {"1.0"}, "ce-id": {ev.ID}, "ce-source": {ev.Source}, "ce-type": {ev.Type}, "traceparent": {ev.TraceParent},
		"ce-time": {now.UTC().Format(time.RFC3339Nano)}, "ce-subject": {ev.Key}, "content-type": {"application/protobuf"},
		jetstream.MsgIDHeader: {ev.ID},
	}}
}

// bareMessage has as many bytes as headedMessage.
func bareMessage(now time.Time, i int) *nats.Msg {
	return &nats.Msg{Data: make([]byte, headedMessage(now, i).Size())}
}

func benchPublish(b *testing.B, js jetstream.JetStream, message func(now time.Time, i int) *nats.Msg) time.Duration {
	b.Helper()
	config := jetstream.StreamConfig{Name: "BARE", Subjects: []string{"bare.>"}, Duplicates: 5 * time.Minute}
	if _, err := js.CreateOrUpdateStream(b.Context(), config); err != nil {
		b.Fatal(err)
	}
	msgs, now := make([]*nats.Msg, benchEvents), time.Now()
	for i := range msgs {
		msgs[i] = message(now, i)
		msgs[i].Subject = "bare." + benchEvent(now, i).Subject
	}
	begin := time.Now()
	for _, msg := range msgs {
		if _, err := js.PublishMsgAsync(msg, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	took := time.Since(begin)
	if err := js.DeleteStream(b.Context(), "BARE"); err != nil {
		b.Fatal(err)
	}
	return took
}

func benchDrain(b *testing.B, db *sqldb.DB, js jetstream.JetStream) time.Duration {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	begin := time.Now()
	go func() { ended <- events.NewRelay(relayConfig(db, js)).Run(ctx) }()
	for left := 1; left > 0; time.Sleep(5 * time.Millisecond) {
		err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE published_at IS NULL LIMIT 1) AS waiting`).Scan(&left)
		if err != nil {
			b.Fatal(err)
		}
	}
	took := time.Since(begin)
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	return took
}
