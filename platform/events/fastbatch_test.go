package events_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

// appendTogether writes n events in one transaction, so that they are sent in one batch; change may spoil them.
func appendTogether(t *testing.T, db *sqldb.DB, n int, change func(evs []events.Event)) {
	t.Helper()
	evs := make([]events.Event, n)
	for i := range evs {
		evs[i] = newEvent(t, t.Context(), subjectOf(fmt.Sprint(i)), fmt.Sprint(i))
	}
	change(evs)
	if err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error { return events.Append(ctx, tx, evs...) }); err != nil {
		t.Fatal(err)
	}
}

func TestARefusedEventInABatchHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	const n = 20
	for name, spoil := range map[string]func(*events.Event){
		"no stream takes it":                      func(ev *events.Event) { ev.Subject = "nobody.takes.this" },
		"a stream of somebody else's may take it": func(ev *events.Event) { ev.Subject = "odd.subject" },
		"it is too large":                         func(ev *events.Event) { ev.Data = bytes.Repeat([]byte{'x'}, 5000) },
	} {
		for _, at := range []int{0, 10, n - 1} {
			t.Run(fmt.Sprint(name, " and is event ", at), func(t *testing.T) {
				t.Parallel()
				db := newDB(t, sqldb.SQLite)
				_, url := testkit.NATS(t)
				js := testkit.JetStream(t, url)
				odd := jetstream.StreamConfig{Name: "STRANGER", Subjects: []string{"odd.>"}, AllowBatchPublish: true}
				if _, err := js.CreateStream(t.Context(), odd); err != nil {
					t.Fatal(err)
				}
				appendTogether(t, db, n, func(evs []events.Event) { spoil(&evs[at]) })
				cfg := relayConfig(db, js)
				cfg.Stream.MaxMsgSize = 4096
				start(t, events.NewRelay(cfg).Run)
				eventually(t, "the other events", func() bool { return messages(t, js, streamName) == n-1 && pending(t, db) == 1 })
				if got := messages(t, js, "STRANGER"); got != 0 {
					t.Errorf("the stranger's stream has %d messages, want none", got)
				}
			})
		}
	}
}

// A relay of an earlier version brings the stream up to date in its own way, without batches.
func TestEventsArriveWhereBatchesWereTurnedOff(t *testing.T) {
	t.Parallel()
	db := newDB(t, sqldb.SQLite)
	_, url := testkit.NATS(t)
	js := testkit.JetStream(t, url)
	start(t, events.NewRelay(relayConfig(db, js)).Run)
	allowed := func() bool {
		stream, err := js.Stream(t.Context(), streamName)
		return err == nil && stream.CachedInfo().Config.AllowBatchPublish
	}
	eventually(t, "a stream that takes batches", allowed)
	if _, err := js.UpdateStream(t.Context(), streamConfig()); err != nil || allowed() {
		t.Fatalf("batches were not turned off: %v", err)
	}
	appendTogether(t, db, 50, func([]events.Event) {})
	eventually(t, "every event, and batches again", func() bool {
		return messages(t, js, streamName) == 50 && pending(t, db) == 0 && allowed()
	})
}
