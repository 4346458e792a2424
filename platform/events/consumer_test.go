package events_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

// scene is a database, a NATS with the stream, and a connection to it.
type scene struct {
	db *sqldb.DB
	js jetstream.JetStream
}

// scenes runs a test on both databases.
func scenes(t *testing.T, test func(t *testing.T, s scene)) {
	t.Helper()
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		prepare(t, db)
		_, url := testkit.NATS(t)
		js := testkit.JetStream(t, url)
		makeStream(t, js)
		test(t, scene{db, js})
	})
}

// publish sends an event as the relay does, but without an id that the stream would know it by again.
func (s scene) publish(t *testing.T, ev events.Event) {
	t.Helper()
	msg := nats.NewMsg(ev.Subject)
	msg.Data = ev.Data
	for name, value := range map[string]string{
		"ce-specversion": "1.0", "ce-id": ev.ID, "ce-source": ev.Source, "ce-type": ev.Type, "ce-subject": ev.Key,
		"ce-time": ev.Time.Format(time.RFC3339Nano), "content-type": "application/protobuf", "traceparent": ev.TraceParent,
	} {
		if value != "" {
			msg.Header[name] = []string{value}
		}
	}
	if _, err := s.js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
}

func (s scene) publishMany(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		id := fmt.Sprint(i)
		s.publish(t, newEvent(t, t.Context(), subjectOf(id), id))
	}
}

func (s scene) effects(t *testing.T) int { return count(t, s.db, `SELECT COUNT(*) FROM effects`) }

func TestDuplicatesTakeEffectOnce(t *testing.T) {
	t.Parallel()
	scenes(t, func(t *testing.T, s scene) {
		for i := range 5 {
			ev := newEvent(t, t.Context(), subjectOf("1"), fmt.Sprint(i))
			for range 4 {
				s.publish(t, ev)
			}
		}
		start(t, events.NewConsumer(consumerConfig(s.db, s.js)).Run)
		eventually(t, "every message acknowledged", func() bool { return unhandled(t, s.js) == 0 })
		if n, inbox := s.effects(t), count(t, s.db, `SELECT COUNT(*) FROM inbox`); n != 5 || inbox != 5 {
			t.Fatalf("%d effects and %d inbox rows of 5 events in 20 messages", n, inbox)
		}
	})
}

func TestTwoConsumersOfOneDatabaseBothGetAnEvent(t *testing.T) {
	t.Parallel()
	db := newDB(t, sqldb.SQLite)
	_, url := testkit.NATS(t)
	s := scene{db, testkit.JetStream(t, url)}
	makeStream(t, s.js)
	s.publishMany(t, 3)
	for _, name := range []string{"one", "other"} {
		cfg := consumerConfig(db, s.js)
		cfg.Durable = name
		start(t, events.NewConsumer(cfg).Run)
	}
	eventually(t, "both effects of each event", func() bool { return s.effects(t) == 6 })
}

func TestReplicasShareTheWork(t *testing.T) {
	t.Parallel()
	scenes(t, func(t *testing.T, s scene) {
		var handled [2]atomic.Int64
		for i := range handled {
			cfg := consumerConfig(s.db, s.js)
			cfg.Concurrency = 2
			cfg.Handle = func(ctx context.Context, tx *sqldb.Tx, ev events.Event) error {
				handled[i].Add(1)
				time.Sleep(time.Millisecond)
				return effect(ctx, tx, ev)
			}
			start(t, events.NewConsumer(cfg).Run)
		}
		eventually(t, "the consumer", func() bool { return unhandled(t, s.js) == 0 })
		s.publishMany(t, 200)
		eventually(t, "every message acknowledged", func() bool { return unhandled(t, s.js) == 0 })
		if n := s.effects(t); n != 200 {
			t.Fatalf("%d effects of 200 events", n)
		}
		if handled[0].Load() == 0 || handled[1].Load() == 0 {
			t.Fatalf("one replica did all the work: %d and %d", handled[0].Load(), handled[1].Load())
		}
	})
}

// Both replicas get the same event at the same time, as happens when AckWait runs out under a slow handler.
func TestAnEventInTwoHandsTakesEffectOnce(t *testing.T) {
	t.Parallel()
	scenes(t, func(t *testing.T, s scene) {
		ev := newEvent(t, t.Context(), subjectOf("1"), "1")
		s.publish(t, ev)
		cfg := consumerConfig(s.db, s.js)
		cfg.AckWait = 300 * time.Millisecond
		var once sync.Once
		cfg.Handle = func(ctx context.Context, tx *sqldb.Tx, ev events.Event) error {
			once.Do(func() { time.Sleep(600 * time.Millisecond) })
			return effect(context.WithoutCancel(ctx), tx, ev)
		}
		for range 2 {
			start(t, events.NewConsumer(cfg).Run)
		}
		eventually(t, "the message acknowledged", func() bool { return unhandled(t, s.js) == 0 })
		if n := s.effects(t); n != 1 {
			t.Fatalf("%d effects, want 1", n)
		}
	})
}

func TestAPassingFailureIsTriedAgainUntilItPasses(t *testing.T) {
	t.Parallel()
	failures := map[string]error{
		"unavailable": fault.New(fault.Unavailable, "PEER_DOWN", "the peer is down"),
		"unknown":     errors.New("something broke"),
		"a panic":     nil,
	}
	scenes(t, func(t *testing.T, s scene) {
		var attempts sync.Map
		cfg := consumerConfig(s.db, s.js)
		cfg.Handle = func(ctx context.Context, tx *sqldb.Tx, ev events.Event) error {
			if err := effect(ctx, tx, ev); err != nil { // must be undone by the failure
				return err
			}
			n, _ := attempts.LoadOrStore(ev.Key, new(atomic.Int64))
			if n.(*atomic.Int64).Add(1) < 3 {
				name, _ := text(ev)
				if err := failures[name]; err != nil {
					return err
				}
				panic(name)
			}
			return nil
		}
		start(t, events.NewConsumer(cfg).Run)
		for name := range failures {
			s.publish(t, newEvent(t, t.Context(), subjectOf("1"), name))
		}
		eventually(t, "the effects", func() bool { return s.effects(t) == len(failures) })
		eventually(t, "every message acknowledged", func() bool { return unhandled(t, s.js) == 0 })
		attempts.Range(func(key, n any) bool {
			if n.(*atomic.Int64).Load() != 3 {
				t.Errorf("%v was tried %d times, want 3", key, n.(*atomic.Int64).Load())
			}
			return true
		})
		if n := messages(t, s.js, events.DeadLetterStream); n != 0 {
			t.Errorf("%d dead letters, want none", n)
		}
	})
}

func TestPoisonGoesToTheDeadLetters(t *testing.T) {
	t.Parallel()
	scenes(t, func(t *testing.T, s scene) {
		bad := newEvent(t, t.Context(), subjectOf("bad"), "bad")
		s.publish(t, bad)
		cfg := consumerConfig(s.db, s.js)
		cfg.Handle = func(ctx context.Context, tx *sqldb.Tx, ev events.Event) error {
			if err := effect(ctx, tx, ev); err != nil {
				return err
			}
			if ev.ID == bad.ID {
				return fault.New(fault.FailedPrecondition, "CANNOT_BE", "this cannot\nbe")
			}
			return nil
		}
		start(t, events.NewConsumer(cfg).Run)
		s.publishMany(t, 3)
		eventually(t, "a dead letter", func() bool { return messages(t, s.js, events.DeadLetterStream) == 1 })
		eventually(t, "the other events", func() bool { return s.effects(t) == 3 && unhandled(t, s.js) == 0 })

		letter := deadLetter(t, s.js)
		want := map[string]string{
			"ce-id": bad.ID, "ce-type": bad.Type, events.HeaderDeadReason: "CANNOT_BE", events.HeaderDeadSubject: bad.Subject,
			events.HeaderDeadStream: streamName, events.HeaderDeadSequence: "1", events.HeaderDeadDeliveries: "1",
			events.HeaderDeadError: "CANNOT_BE: this cannot be",
		}
		for name, value := range want {
			if got := letter.Header[name]; len(got) != 1 || got[0] != value {
				t.Errorf("%s is %q, want %q", name, got, value)
			}
		}
		if letter.Subject != "dlq.v1."+durable || string(letter.Data) != string(bad.Data) {
			t.Errorf("letter to %s with %q, want the event's data", letter.Subject, letter.Data)
		}
		if n := count(t, s.db, `SELECT COUNT(*) FROM inbox WHERE event_id = $1`, bad.ID); n != 0 {
			t.Error("the inbox says that the event took effect")
		}
	})
}

func deadLetter(t *testing.T, js jetstream.JetStream) *jetstream.RawStreamMsg {
	t.Helper()
	stream, err := js.Stream(t.Context(), events.DeadLetterStream)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func TestAFailureNobodyClassifiedIsGivenUpAfterMaxDeliver(t *testing.T) {
	t.Parallel()
	db := newDB(t, sqldb.SQLite)
	_, url := testkit.NATS(t)
	s := scene{db, testkit.JetStream(t, url)}
	makeStream(t, s.js)
	s.publishMany(t, 1)
	cfg := consumerConfig(db, s.js)
	cfg.MaxDeliver = 4
	var attempts atomic.Int64
	cfg.Handle = func(context.Context, *sqldb.Tx, events.Event) error { attempts.Add(1); return errors.New("a bug") }
	start(t, events.NewConsumer(cfg).Run)
	eventually(t, "a dead letter", func() bool { return messages(t, s.js, events.DeadLetterStream) == 1 })
	eventually(t, "the message settled", func() bool { return unhandled(t, s.js) == 0 })
	if n := attempts.Load(); n != 4 {
		t.Fatalf("%d attempts, want 4", n)
	}
}

func TestAMessageThatIsNoEventGoesToTheDeadLetters(t *testing.T) {
	t.Parallel()
	db := newDB(t, sqldb.SQLite)
	_, url := testkit.NATS(t)
	s := scene{db, testkit.JetStream(t, url)}
	makeStream(t, s.js)
	if _, err := s.js.Publish(t.Context(), subjectOf("1"), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	s.publishMany(t, 1)
	start(t, events.NewConsumer(consumerConfig(db, s.js)).Run)
	eventually(t, "a dead letter", func() bool { return messages(t, s.js, events.DeadLetterStream) == 1 })
	eventually(t, "the event behind it", func() bool { return s.effects(t) == 1 })
}

func TestConsumerWaitsForItsStreamAndItsFilters(t *testing.T) {
	t.Parallel()
	db := newDB(t, sqldb.SQLite)
	_, url := testkit.NATS(t)
	s := scene{db, testkit.JetStream(t, url)}
	cfg := consumerConfig(db, s.js)
	cfg.Filters = []string{"evt.v1.*.things.thing.made.>"}
	start(t, events.NewConsumer(cfg).Run)
	time.Sleep(300 * time.Millisecond)
	makeStream(t, s.js)
	s.publish(t, newEvent(t, t.Context(), "evt.v1.test.things.thing.broken._.1", "unwanted"))
	s.publishMany(t, 1)
	eventually(t, "the event wanted", func() bool { return s.effects(t) == 1 && unhandled(t, s.js) == 0 })
	if n := count(t, db, `SELECT COUNT(*) FROM effects WHERE n = 'unwanted'`); n != 0 {
		t.Fatal("an event outside the filters was handled")
	}
}

func TestConsumerOutlastsNATS(t *testing.T) {
	t.Parallel()
	db := newDB(t, sqldb.SQLite)
	dir := t.TempDir()
	server, url := testkit.NATSAt(t, dir, -1)
	s := scene{db, testkit.JetStream(t, url)}
	makeStream(t, s.js)
	start(t, events.NewConsumer(consumerConfig(db, s.js)).Run)
	s.publishMany(t, 3)
	eventually(t, "the events before", func() bool { return s.effects(t) == 3 })
	port := portOf(server)
	server.Shutdown()
	server.WaitForShutdown()
	testkit.NATSAt(t, dir, port)
	eventually(t, "the connection", s.js.Conn().IsConnected)
	s.publishMany(t, 3)
	eventually(t, "the events after", func() bool { return s.effects(t) == 6 })
}

func TestEventsOfOneKeyKeepTheirOrder(t *testing.T) {
	t.Parallel()
	scenes(t, func(t *testing.T, s scene) {
		const keys, each = 5, 20
		var mu sync.Mutex
		seen := map[string][]string{}
		cfg := consumerConfig(s.db, s.js)
		cfg.Handle = func(_ context.Context, tx *sqldb.Tx, ev events.Event) error {
			n, err := text(ev)
			tx.OnCommit(func() {
				mu.Lock()
				defer mu.Unlock()
				seen[ev.Key] = append(seen[ev.Key], n)
			})
			return err
		}
		for i := range keys * each {
			ev := newEvent(t, t.Context(), subjectOf("1"), fmt.Sprint(i/keys))
			ev.Key = fmt.Sprintf("things/%d", i%keys)
			s.publish(t, ev)
		}
		start(t, events.NewConsumer(cfg).Run)
		eventually(t, "every message acknowledged", func() bool { return unhandled(t, s.js) == 0 })
		mu.Lock()
		defer mu.Unlock()
		for key, got := range seen {
			for i, n := range got {
				if n != fmt.Sprint(i) {
					t.Fatalf("%s: %v, want 0 to %d in order", key, got, each-1)
				}
			}
		}
		if len(seen) != keys {
			t.Fatalf("%d keys, want %d", len(seen), keys)
		}
	})
}

func TestTheTraceGoesOnInTheHandler(t *testing.T) {
	t.Parallel()
	db := newDB(t, sqldb.SQLite)
	_, url := testkit.NATS(t)
	js := testkit.JetStream(t, url)
	spans := make(chan trace.SpanContext, 1)
	cfg := consumerConfig(db, js)
	cfg.Handle = func(ctx context.Context, _ *sqldb.Tx, _ events.Event) error {
		spans <- trace.SpanContextFromContext(ctx)
		return nil
	}
	start(t, events.NewRelay(relayConfig(db, js)).Run)
	start(t, events.NewConsumer(cfg).Run)
	ev := newEvent(t, traced(t), subjectOf("1"), "1")
	if err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error { return events.Append(ctx, tx, ev) }); err != nil {
		t.Fatal(err)
	}
	if got, want := (<-spans).TraceID(), trace.SpanContextFromContext(traced(t)).TraceID(); got != want {
		t.Fatalf("the handler is in the trace %v, want %v", got, want)
	}
}

// A replica that stops must not keep what it has not begun until AckWait has passed.
func TestAStoppingConsumerFinishesOneEventAndGivesTheRestBack(t *testing.T) {
	t.Parallel()
	scenes(t, func(t *testing.T, s scene) {
		s.publishMany(t, 40)
		begun, finish := make(chan struct{}), make(chan struct{})
		var handled atomic.Int64
		cfg := consumerConfig(s.db, s.js)
		cfg.Concurrency = 1
		cfg.Handle = func(ctx context.Context, tx *sqldb.Tx, ev events.Event) error {
			if handled.Add(1) == 1 {
				close(begun)
				<-finish
			}
			return effect(ctx, tx, ev)
		}
		stop := start(t, events.NewConsumer(cfg).Run)
		<-begun
		time.AfterFunc(100*time.Millisecond, func() { close(finish) })
		stop()
		if n := s.effects(t); n != 1 || handled.Load() != 1 {
			t.Fatalf("%d effects of %d events begun, want the one in hand", n, handled.Load())
		}
		cfg.Handle = effect
		started := time.Now()
		start(t, events.NewConsumer(cfg).Run)
		eventually(t, "the rest", func() bool { return s.effects(t) == 40 })
		if waited := time.Since(started); waited > 10*time.Second { // AckWait is 30 s
			t.Fatalf("the rest took %v", waited)
		}
	})
}

func TestTheInboxForgetsWhatTheStreamForgotLongAgo(t *testing.T) {
	t.Parallel()
	db := newDB(t, sqldb.SQLite)
	_, url := testkit.NATS(t)
	s := scene{db, testkit.JetStream(t, url)}
	cfg := streamConfig()
	cfg.MaxAge = time.Hour
	if _, err := s.js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for event, age := range map[string]time.Duration{"old": 3 * time.Hour, "recent": 90 * time.Minute} {
		mustExec(t, db, `INSERT INTO inbox (consumer, event_id, received_at) VALUES ($1, $2, $3)`,
			durable, event, time.Now().Add(-age).UnixMicro())
	}
	s.publishMany(t, 1)
	start(t, events.NewConsumer(consumerConfig(db, s.js)).Run)
	eventually(t, "the event", func() bool { return s.effects(t) == 1 })
	if n := count(t, db, `SELECT COUNT(*) FROM inbox WHERE event_id IN ('old', 'recent')`); n != 1 {
		t.Fatalf("%d of the two are left, want the recent one", n)
	}
}

func TestConsumerRefusesAHalfConfiguration(t *testing.T) {
	t.Parallel()
	db := newDB(t, sqldb.SQLite)
	_, url := testkit.NATS(t)
	for name, breakIt := range map[string]func(*events.ConsumerConfig){
		"no filter":              func(c *events.ConsumerConfig) { c.Filters = nil },
		"no durable":             func(c *events.ConsumerConfig) { c.Durable = "" },
		"no handler":             func(c *events.ConsumerConfig) { c.Handle = nil },
		"letters somewhere else": func(c *events.ConsumerConfig) { c.DeadLetterSubject = "evt.v1.dead" },
	} {
		cfg := consumerConfig(db, testkit.JetStream(t, url))
		breakIt(&cfg)
		if err := events.NewConsumer(cfg).Run(t.Context()); err == nil {
			t.Errorf("%s: Run returned nil", name)
		}
	}
}
