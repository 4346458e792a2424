package events_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

const traceParent = "00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01"

// traced is a context inside the span of traceParent.
func traced(t *testing.T) context.Context {
	t.Helper()
	return trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		SpanID:  trace.SpanID{17, 18, 19, 20, 21, 22, 23, 24}, TraceFlags: trace.FlagsSampled,
	}))
}

func TestNewDescribesTheMessage(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 89, time.FixedZone("", 3600))
	ev, err := events.New("/services/test", subjectOf("1"), "things/1", now, wrapperspb.String("x"), traced(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(ev.ID) != 36 || ev.ID[14] != '7' {
		t.Errorf("id %q, want a UUIDv7", ev.ID)
	}
	want := events.Event{
		ID: ev.ID, Type: "google.protobuf.StringValue", Source: "/services/test", Subject: "evt.v1.test.things.thing.made._.1",
		Time: now.UTC(), Data: []byte("\n\x01x"), TraceParent: traceParent, Key: "things/1",
	}
	if diff := cmp.Diff(want, ev); diff != "" {
		t.Error(diff)
	}
}

func TestNewRefuses(t *testing.T) {
	now := time.Now()
	tests := map[string]struct {
		source, subject, key string
		now                  time.Time
	}{
		"no source":          {"", subjectOf("1"), "", now},
		"no time":            {"/s", subjectOf("1"), "", time.Time{}},
		"no subject":         {"/s", "", "", now},
		"a wildcard":         {"/s", "evt.v1.test.things.thing.made._.*", "", now},
		"a header injection": {"/s", subjectOf("1"), "k\r\nNats-Msg-Id: x", now},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if ev, err := events.New(tt.source, tt.subject, tt.key, tt.now, &emptypb.Empty{}, t.Context()); err == nil {
				t.Fatalf("New made %+v", ev)
			}
		})
	}
}

func TestAppendCommitsWithTheBusinessRowOrNotAtAll(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		prepare(t, db)
		change := func(n string, end error) error {
			ev := newEvent(t, t.Context(), subjectOf(n), n)
			return db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				mustExec(t, tx, `INSERT INTO effects (n) VALUES ($1)`, n)
				if err := events.Append(ctx, tx, ev); err != nil {
					return err
				}
				return end
			})
		}
		if err := change("1", nil); err != nil {
			t.Fatal(err)
		}
		failure := errors.New("no")
		if err := change("2", failure); !errors.Is(err, failure) {
			t.Fatal(err)
		}
		if effects, out := count(t, db, `SELECT COUNT(*) FROM effects`), pending(t, db); effects != 1 || out != 1 {
			t.Fatalf("%d rows and %d events, want one of each", effects, out)
		}
	})
}

func TestAppendRefusesTheSameEventTwiceAndHalfEvents(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		prepare(t, db)
		ev := newEvent(t, t.Context(), subjectOf("1"), "1")
		add := func(evs ...events.Event) error {
			return db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error { return events.NewOutbox(db).Append(ctx, tx, evs...) })
		}
		if err := add(ev, ev); !sqldb.IsUnique(err) {
			t.Errorf("twice: %v, want a unique violation", err)
		}
		for _, broken := range []func(*events.Event){
			func(e *events.Event) { e.ID = "" }, func(e *events.Event) { e.Type = "" }, func(e *events.Event) { e.Subject = "a..b" },
		} {
			half := ev
			broken(&half)
			if err := add(half); err == nil {
				t.Errorf("%+v was appended", half)
			}
		}
		empty := ev
		empty.Data = nil // the encoding of a message without fields
		if err := add(empty); err != nil {
			t.Errorf("an empty message: %v", err)
		}
	})
}

func TestPendingTellsHowManyAndSinceWhen(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		prepare(t, db)
		out := events.NewOutbox(db)
		if n, oldest, err := out.Pending(t.Context()); n != 0 || !oldest.IsZero() || err != nil {
			t.Fatalf("empty: %d, %v, %v", n, oldest, err)
		}
		before := time.Now().Truncate(time.Microsecond)
		appendMany(t, db, 0, 3)
		n, oldest, err := out.Pending(t.Context())
		if n != 3 || err != nil || oldest.Before(before) || oldest.After(time.Now()) {
			t.Fatalf("%d since %v, %v, want 3 since just now", n, oldest, err)
		}
	})
}

// A damaged row may stay for long; looking for pending ones must not sort.
func TestPendingRowsAreFoundByIndex(t *testing.T) {
	db := newDB(t, sqldb.SQLite)
	rows, err := db.QueryContext(t.Context(), `EXPLAIN QUERY PLAN SELECT seq, id, subject, headers, data FROM outbox
		WHERE published_at IS NULL AND seq > $1 ORDER BY seq LIMIT $2`, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if got := strings.Join(plan, "; "); rows.Err() != nil || !strings.Contains(got, "outbox_pending") || strings.Contains(got, "TEMP B-TREE") {
		t.Fatalf("plan %q, want the index outbox_pending and no sorting", got)
	}
}
