package events_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

const (
	streamName = "EVT_TEST"
	filter     = "evt.v1.*.things.>"
	durable    = "tester"
)

var quiet = slog.New(slog.DiscardHandler)

// eventually fails the test when done does not come true within 20 seconds.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// start runs f until stop is called or the test ends.
func start(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	stopped := false
	stop = func() {
		cancel()
		if !stopped {
			stopped = true
			if err := <-ended; err != nil {
				t.Errorf("Run returned %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

// newDB has the tables of events and a table of effects.
func newDB(t *testing.T, dialect sqldb.Dialect) *sqldb.DB {
	t.Helper()
	db := testkit.OpenDB(t, testkit.DBURL(t, dialect))
	prepare(t, db)
	return db
}

func prepare(t *testing.T, db *sqldb.DB) {
	t.Helper()
	mustExec(t, db, events.Schema(db.Dialect()))
	mustExec(t, db, `CREATE TABLE effects (n TEXT NOT NULL)`)
}

func mustExec(t *testing.T, q sqldb.Queryer, query string, args ...any) {
	t.Helper()
	if _, err := q.ExecContext(context.Background(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func count(t *testing.T, q sqldb.Queryer, query string, args ...any) (n int) {
	t.Helper()
	if err := q.QueryRowContext(context.Background(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func newEvent(t *testing.T, ctx context.Context, subject, text string) events.Event { //nolint:revive // t comes first in a helper
	t.Helper()
	ev, err := events.New("/services/test", subject, "things/"+text, time.Now(), wrapperspb.String(text), ctx)
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

// text is what newEvent was given.
func text(ev events.Event) (string, error) {
	var msg wrapperspb.StringValue
	if err := proto.Unmarshal(ev.Data, &msg); err != nil {
		return "", err
	}
	return msg.Value, nil
}

func subjectOf(id string) string {
	return events.Subject{Mode: "test", Domain: "things", Entity: "thing", Verb: "made", ID: id}.String()
}

// appendMany writes events numbered from..to-1, one transaction each.
func appendMany(t *testing.T, db *sqldb.DB, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		id := fmt.Sprint(i)
		ev := newEvent(t, t.Context(), subjectOf(id), id)
		if err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error { return events.Append(ctx, tx, ev) }); err != nil {
			t.Fatal(err)
		}
	}
}

func streamConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: streamName, Subjects: []string{filter}}
}

func relayConfig(db *sqldb.DB, js jetstream.JetStream) events.RelayConfig {
	return events.RelayConfig{
		Outbox: events.NewOutbox(db), JetStream: js, Stream: streamConfig(), Log: quiet, Every: 50 * time.Millisecond,
	}
}

// consumerConfig inserts the text of each event into the table effects.
func consumerConfig(db *sqldb.DB, js jetstream.JetStream) events.ConsumerConfig {
	return events.ConsumerConfig{
		JetStream: js, DB: db, Stream: streamName, Durable: durable, Filters: []string{filter}, Log: quiet,
		RetryMin: 20 * time.Millisecond, RetryMax: 100 * time.Millisecond, Handle: effect,
	}
}

func effect(ctx context.Context, tx *sqldb.Tx, ev events.Event) error {
	n, err := text(ev)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO effects (n) VALUES ($1)`, n)
	return err
}

func pending(t *testing.T, db *sqldb.DB) int {
	t.Helper()
	n, _, err := events.NewOutbox(db).Pending(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// messages is how many messages a stream has, 0 when there is none.
func messages(t *testing.T, js jetstream.JetStream, name string) uint64 {
	t.Helper()
	stream, err := js.Stream(context.Background(), name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

func makeStream(t *testing.T, js jetstream.JetStream) jetstream.Stream {
	t.Helper()
	stream, err := js.CreateStream(t.Context(), streamConfig())
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func portOf(srv *server.Server) int { return srv.Addr().(*net.TCPAddr).Port }
