package events_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

func TestRelayPublishesTheEnvelopeInOrder(t *testing.T) {
	t.Parallel()
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		prepare(t, db)
		_, url := testkit.NATS(t)
		js := testkit.JetStream(t, url)
		const n = 600 // more than two batches
		evs := make([]events.Event, n)
		for i := range evs {
			evs[i] = newEvent(t, traced(t), subjectOf("1"), "1")
		}
		err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error { return events.Append(ctx, tx, evs...) })
		if err != nil {
			t.Fatal(err)
		}
		start(t, events.NewRelay(relayConfig(db, js)).Run)
		eventually(t, "an empty outbox", func() bool { return pending(t, db) == 0 })

		stream, err := js.Stream(t.Context(), streamName)
		if err != nil {
			t.Fatal(err)
		}
		if got := stream.CachedInfo().State.Msgs; got != n {
			t.Fatalf("the stream has %d messages, want %d", got, n)
		}
		for i, want := range evs {
			msg, err := stream.GetMsg(t.Context(), uint64(i+1))
			if err != nil {
				t.Fatal(err)
			}
			header := func(name string) string {
				if v := msg.Header[name]; len(v) == 1 {
					return v[0]
				}
				return ""
			}
			got, err := events.Decode(msg.Subject, header, msg.Data)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Fatalf("message %d: %v\n%s", i+1, err, diff)
			}
			if header(jetstream.MsgIDHeader) != want.ID {
				t.Fatalf("headers %v lack the id", msg.Header)
			}
			if header("ce-specversion") != "1.0" || header("content-type") != "application/protobuf" || header("traceparent") != traceParent {
				t.Fatalf("headers %v are not a CloudEvent in a trace", msg.Header)
			}
		}
	})
}

func TestRelayStartsAtTheCommit(t *testing.T) {
	t.Parallel()
	db := newDB(t, sqldb.SQLite)
	_, url := testkit.NATS(t)
	js := testkit.JetStream(t, url)
	cfg := relayConfig(db, js)
	cfg.Every = time.Hour // polling cannot be what finds the second event
	start(t, events.NewRelay(cfg).Run)
	appendMany(t, db, 0, 1)
	eventually(t, "the first event", func() bool { return pending(t, db) == 0 })
	appendMany(t, db, 1, 2)
	eventually(t, "the second event", func() bool { return pending(t, db) == 0 })
}

func TestRelayFindsWhatAnotherProcessAppended(t *testing.T) {
	t.Parallel()
	url := testkit.DBURL(t, sqldb.SQLite)
	db, other := testkit.OpenDB(t, url), testkit.OpenDB(t, url)
	prepare(t, db)
	_, natsURL := testkit.NATS(t)
	js := testkit.JetStream(t, natsURL)
	start(t, events.NewRelay(relayConfig(db, js)).Run)
	appendMany(t, other, 0, 3)
	eventually(t, "events of another process", func() bool { return messages(t, js, streamName) == 3 })
}

func TestRelayOutlastsNATS(t *testing.T) {
	t.Parallel()
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		prepare(t, db)
		dir := t.TempDir()
		server, url := testkit.NATSAt(t, dir, -1)
		port := portOf(server)
		js := testkit.JetStream(t, url)
		start(t, events.NewRelay(relayConfig(db, js)).Run)
		appendMany(t, db, 0, 20)
		eventually(t, "the first events", func() bool { return messages(t, js, streamName) == 20 })

		server.Shutdown()
		server.WaitForShutdown()
		appendMany(t, db, 20, 60)
		time.Sleep(300 * time.Millisecond) // the relay meets the outage
		if n := pending(t, db); n != 40 {
			t.Fatalf("%d events wait while NATS is down, want 40", n)
		}
		testkit.NATSAt(t, dir, port)
		eventually(t, "an empty outbox", func() bool { return pending(t, db) == 0 })
		if n := messages(t, js, streamName); n != 60 {
			t.Fatalf("the stream has %d messages, want each of 60 once", n)
		}
	})
}

func TestRelayStartsWithoutNATS(t *testing.T) {
	t.Parallel()
	db := newDB(t, sqldb.SQLite)
	server, url := testkit.NATS(t)
	port := portOf(server)
	server.Shutdown()
	server.WaitForShutdown()
	js := testkit.JetStream(t, url)
	start(t, events.NewRelay(relayConfig(db, js)).Run)
	appendMany(t, db, 0, 5)
	testkit.NATSAt(t, t.TempDir(), port)
	eventually(t, "an empty outbox", func() bool { return pending(t, db) == 0 })
}

// The relay dies, as it were, after JetStream stored the events and before the rows are removed: removing is made to fail.
func TestEventsPublishedTwiceTakeEffectOnce(t *testing.T) {
	t.Parallel()
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		prepare(t, db)
		_, url := testkit.NATS(t)
		js := testkit.JetStream(t, url)
		allow := forbidRemoving(t, db)
		cfg := relayConfig(db, js)
		cfg.Stream.Duplicates = 100 * time.Millisecond // so that the stream really gets them twice
		stop := start(t, events.NewRelay(cfg).Run)
		appendMany(t, db, 0, 10)
		eventually(t, "copies in the stream", func() bool { return messages(t, js, streamName) >= 20 })
		stop()
		if n := pending(t, db); n != 10 {
			t.Fatalf("%d events are pending, want all 10", n)
		}

		allow()
		start(t, events.NewRelay(cfg).Run)
		consumer := newDB(t, db.Dialect())
		start(t, events.NewConsumer(consumerConfig(consumer, js)).Run)
		eventually(t, "an empty outbox", func() bool { return pending(t, db) == 0 })
		eventually(t, "every message handled", func() bool { return unhandled(t, js) == 0 })
		if n, distinct := count(t, consumer, `SELECT COUNT(*) FROM effects`), count(t, consumer, `SELECT COUNT(DISTINCT n) FROM effects`); n != 10 || distinct != 10 {
			t.Fatalf("%d effects of %d events, want 10 of 10", n, distinct)
		}
	})
}

// forbidRemoving makes every DELETE from the outbox fail until allow is called.
func forbidRemoving(t *testing.T, db *sqldb.DB) (allow func()) {
	t.Helper()
	if db.Dialect() == sqldb.Postgres {
		mustExec(t, db, `CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'`)
		mustExec(t, db, `CREATE TRIGGER no_removal BEFORE DELETE ON outbox FOR EACH ROW EXECUTE FUNCTION keep()`)
		return func() { mustExec(t, db, `DROP TRIGGER no_removal ON outbox`) }
	}
	mustExec(t, db, `CREATE TRIGGER no_removal BEFORE DELETE ON outbox BEGIN SELECT RAISE(ABORT, 'no'); END`)
	return func() { mustExec(t, db, `DROP TRIGGER no_removal`) }
}

// unhandled is how far the consumer is behind the last message of the stream, -1 while it does not exist.
func unhandled(t *testing.T, js jetstream.JetStream) int {
	t.Helper()
	stream, err := js.Stream(context.Background(), streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return -1
	}
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := stream.Consumer(context.Background(), durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return -1
	}
	if err != nil {
		t.Fatal(err)
	}
	return int(stream.CachedInfo().State.LastSeq) - int(consumer.CachedInfo().AckFloor.Stream)
}

func TestTwoRelaysOfOneOutboxPublishEachEventOnce(t *testing.T) {
	t.Parallel()
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		prepare(t, db)
		_, url := testkit.NATS(t)
		for range 2 {
			start(t, events.NewRelay(relayConfig(db, testkit.JetStream(t, url))).Run)
		}
		appendMany(t, db, 0, 200)
		eventually(t, "an empty outbox", func() bool { return pending(t, db) == 0 })
		if n := messages(t, testkit.JetStream(t, url), streamName); n != 200 {
			t.Fatalf("the stream has %d messages, want 200", n)
		}
	})
}

func TestAnEventThatItsStreamDoesNotTakeHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for name, stranger := range map[string]bool{"no stream takes it": false, "a stream of somebody else's would take it": true} {
		t.Run(name, func(t *testing.T) {
			db := newDB(t, sqldb.SQLite)
			_, url := testkit.NATS(t)
			js := testkit.JetStream(t, url)
			if stranger {
				if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "STRANGER", Subjects: []string{"odd.>"}}); err != nil {
					t.Fatal(err)
				}
			}
			start(t, events.NewRelay(relayConfig(db, js)).Run)
			odd := newEvent(t, t.Context(), "odd.subject", "odd")
			if err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error { return events.Append(ctx, tx, odd) }); err != nil {
				t.Fatal(err)
			}
			appendMany(t, db, 0, 3)
			eventually(t, "the other events", func() bool { return messages(t, js, streamName) == 3 && pending(t, db) == 1 })

			if stranger {
				if n := messages(t, js, "STRANGER"); n != 0 {
					t.Fatalf("the stranger's stream has %d messages, want none", n)
				}
				if err := js.DeleteStream(t.Context(), "STRANGER"); err != nil {
					t.Fatal(err)
				}
			}
			// A relay's own configuration would undo an UpdateStream at its next retry, so a second relay brings the subject.
			cfg := relayConfig(db, js)
			cfg.Stream.Subjects = append(cfg.Stream.Subjects, "odd.>")
			start(t, events.NewRelay(cfg).Run)
			eventually(t, "the event, once its stream takes it", func() bool { return pending(t, db) == 0 })
		})
	}
}

func TestRelayRoutesToAnotherJetStream(t *testing.T) {
	t.Parallel()
	db := newDB(t, sqldb.SQLite)
	_, url := testkit.NATS(t)
	_, edgeURL := testkit.NATS(t)
	js, edge := testkit.JetStream(t, url), testkit.JetStream(t, edgeURL)
	if _, err := edge.CreateStream(t.Context(), jetstream.StreamConfig{Name: "PE_acme", Subjects: []string{"pevt.v1.acme.>"}}); err != nil {
		t.Fatal(err)
	}
	cfg := relayConfig(db, js)
	cfg.Route = func(subject string) jetstream.JetStream {
		if subject == "pevt.v1.acme.test.things.thing.made" {
			return edge
		}
		return nil
	}
	start(t, events.NewRelay(cfg).Run)
	outside := newEvent(t, t.Context(), "pevt.v1.acme.test.things.thing.made", "x")
	if err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error { return events.Append(ctx, tx, outside) }); err != nil {
		t.Fatal(err)
	}
	appendMany(t, db, 0, 2)
	eventually(t, "an empty outbox", func() bool { return pending(t, db) == 0 })
	if in, out := messages(t, js, streamName), messages(t, edge, "PE_acme"); in != 2 || out != 1 {
		t.Fatalf("%d events inside and %d outside, want 2 and 1", in, out)
	}
}

func TestRelayMakesADeletedStreamAgain(t *testing.T) {
	t.Parallel()
	db := newDB(t, sqldb.SQLite)
	_, url := testkit.NATS(t)
	js := testkit.JetStream(t, url)
	start(t, events.NewRelay(relayConfig(db, js)).Run)
	appendMany(t, db, 0, 1)
	eventually(t, "the first event", func() bool { return pending(t, db) == 0 })
	if err := js.DeleteStream(t.Context(), streamName); err != nil {
		t.Fatal(err)
	}
	appendMany(t, db, 1, 2)
	eventually(t, "the second event", func() bool { return pending(t, db) == 0 })
	if n := messages(t, js, streamName); n != 1 {
		t.Fatalf("the new stream has %d messages, want 1", n)
	}
}

func TestPublishedRowsAreRemovedAndSoAreThoseThatAnEarlierVersionMarked(t *testing.T) {
	t.Parallel()
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		prepare(t, db)
		_, url := testkit.NATS(t)
		js := testkit.JetStream(t, url)
		appendMany(t, db, 0, 4)
		mustExec(t, db, `UPDATE outbox SET published_at = $1 WHERE seq <= 3`, time.Now().UnixMicro())
		start(t, events.NewRelay(relayConfig(db, js)).Run)
		eventually(t, "an empty table", func() bool { return count(t, db, `SELECT COUNT(*) FROM outbox`) == 0 })
		if n := messages(t, js, streamName); n != 1 {
			t.Fatalf("the stream has %d messages, want the one that was not marked", n)
		}
	})
}
