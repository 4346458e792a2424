package events_test

import (
	"context"
	"fmt"
	"strings"
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
	benchHeaders = `{"ce-specversion":"1.0","ce-id":"%s","ce-source":"/services/payments","ce-type":"armlet.payments.v1.PaymentCaptured",` +
		`"ce-time":"2026-03-01T12:00:00.000000000Z","ce-subject":"payments/%s","content-type":"application/protobuf"}`
)

// BenchmarkRelay empties a full outbox into the stream of a nats-server process. Beside it the same client publishes messages
// of the same size, bare: no id, no headers, no database, as many in flight as the client allows, all acknowledged; and
// the same messages with the id and the headers that events have, still without a database.
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
				size := benchFill(b, db)
				bare += benchPublish(b, js, func(string) *nats.Msg { return &nats.Msg{Data: make([]byte, size)} })
				headed += benchPublish(b, js, benchMessage)
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

func benchExec(b *testing.B, db *sqldb.DB, query string, args ...any) {
	b.Helper()
	if _, err := db.ExecContext(b.Context(), query, args...); err != nil {
		b.Fatal(err)
	}
}

// benchFill writes events and returns the size of one as a message.
func benchFill(b *testing.B, db *sqldb.DB) (size int) {
	b.Helper()
	subject := subjectOf("0198c0de-0000-7000-8000-000000000001")
	data := make([]byte, benchPayload)
	stamp := time.Now().UnixNano()
	const rows = 500
	for at := 0; at < benchEvents; at += rows {
		var values []string
		var args []any
		for i := range rows {
			id := fmt.Sprintf("%d-%d", stamp, at+i)
			h := fmt.Sprintf(benchHeaders, id, id)
			size = len(subject) + len(h) + len(data)
			k := len(args)
			values = append(values, fmt.Sprintf("($%d, $%d, $%d, $%d, $%d, $%d)", k+1, k+2, k+3, k+4, k+5, k+6))
			args = append(args, id, subject, "t", h, data, stamp/1000)
		}
		benchExec(b, db, `INSERT INTO outbox (id, subject, type, headers, data, created_at) VALUES `+strings.Join(values, ", "), args...)
	}
	return size - len(subject)
}

// benchMessage is an event as the relay publishes it.
func benchMessage(id string) *nats.Msg {
	return &nats.Msg{Data: make([]byte, benchPayload), Header: nats.Header{
		"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"/services/payments"}, "ce-type": {"armlet.payments.v1.PaymentCaptured"},
		"ce-time": {"2026-03-01T12:00:00.000000000Z"}, "ce-subject": {"payments/" + id}, "content-type": {"application/protobuf"},
		jetstream.MsgIDHeader: {id}, jetstream.ExpectedStreamHeader: {"BARE"},
	}}
}

func benchPublish(b *testing.B, js jetstream.JetStream, message func(id string) *nats.Msg) time.Duration {
	b.Helper()
	config := jetstream.StreamConfig{Name: "BARE", Subjects: []string{"bare.>"}, Duplicates: 5 * time.Minute}
	if _, err := js.CreateOrUpdateStream(b.Context(), config); err != nil {
		b.Fatal(err)
	}
	stamp := time.Now().UnixNano()
	begin := time.Now()
	for i := range benchEvents {
		msg := message(fmt.Sprintf("%d-%d", stamp, i))
		msg.Subject = "bare.x"
		if _, err := js.PublishMsgAsync(msg); err != nil {
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
