package bus

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/store"
)

func newOrder(account, text string) alert.Alert {
	return alert.Alert{CreatedAt: noon, Order: alert.Order{
		ID: uuid.NewString(), Account: account, Mode: "live", Kind: alert.Key{ID: alert.PartnerMessage}, Payload: map[string]any{"band_text": text},
	}}
}

// Two replicas share a database; with a connection they share NATS too.
func TestAnAlertOfAnotherReplicaWakesTheStreamsHere(t *testing.T) {
	t.Parallel()
	for _, withNATS := range []bool{false, true} {
		t.Run(fmt.Sprint("NATS ", withNATS), func(t *testing.T) {
			db := testkit.OpenDB(t, "sqlite:"+filepath.Join(t.TempDir(), "notify.db"))
			if err := store.Migrate(t.Context(), db); err != nil {
				t.Fatal(err)
			}
			connect := func() *nats.Conn { return nil }
			now := time.Now
			if withNATS {
				_, url := testkit.NATS(t)
				connect = func() *nats.Conn { return testkit.JetStream(t, url).Conn() }
				now = func() time.Time { return time.Now().Add(time.Hour) } // the database would not be found to have changed
			}
			hubHere, hubThere := alert.NewHub(), alert.NewHub()
			here, there := NewWaker(hubHere, connect(), "here", now, discard), NewWaker(hubThere, connect(), "there", now, discard)
			st := store.New(db, Encode, there.Wake)
			mine, leave := hubHere.Join("alice", "phone PHONE")
			defer leave()
			other, leaveOther := hubHere.Join("bob", "phone PHONE")
			defer leaveOther()
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 2)
			go func() { done <- here.Run(ctx, st) }()
			go func() { done <- there.Run(ctx, st) }()
			deadline := time.After(20 * time.Second)
			for woken := false; !woken; {
				err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
					_, err := st.DeliverAll(ctx, tx, []alert.Alert{newOrder("alice", "hi")}, nil, time.Now())
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				select {
				case <-mine.Wake:
					woken = true
				case <-time.After(50 * time.Millisecond): // the subscription may not have been there yet
				case <-deadline:
					t.Fatal("nobody woke the stream")
				}
			}
			if len(other.Wake) != 0 {
				t.Error("bob's stream was woken too")
			}
			if withNATS {
				there.Joined("alice", "phone PHONE")
				select {
				case <-mine.Ended:
				case <-deadline:
					t.Error("the stream here goes on although its client has one there")
				}
			}
			cancel()
			for range 2 {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// agenda counts, and fails at first.
type agenda struct {
	mu     sync.Mutex
	calls  map[string]int
	failed bool
}

func (a *agenda) count(what string) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls[what]++
	if !a.failed {
		a.failed = true
		return 0, errors.New("the database is away")
	}
	return 0, nil
}

func (a *agenda) seen(what string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[what]
}

func (a *agenda) ReleaseDue(context.Context, time.Time, int) (int, error) { return a.count("release") }
func (a *agenda) ResendDue(context.Context, time.Time, int) (int, error)  { return a.count("resend") }
func (a *agenda) ExpireDue(context.Context, time.Time, int) (int, error)  { return a.count("expire") }
func (a *agenda) RedactDue(context.Context, time.Time, int) (int, error)  { return a.count("redact") }

func (a *agenda) AdvanceBroadcast(context.Context, time.Time, int) (bool, error) {
	_, err := a.count("broadcast")
	return false, err
}

func (a *agenda) Forget(context.Context, time.Time) error {
	_, err := a.count("forget")
	return err
}

func TestTheClerkGoesOnAfterAFailure(t *testing.T) {
	a := &agenda{calls: map[string]int{}}
	clerk := NewClerk(a, time.Now, discard)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{clerk.Broadcasts, clerk.Due, clerk.Retention} {
		wg.Go(func() { _ = run(ctx) })
	}
	deadline := time.Now().Add(20 * time.Second)
	for a.seen("release") < 2 || a.seen("resend") < 1 || a.seen("expire") < 2 || a.seen("broadcast") < 2 || a.seen("redact") < 1 {
		if time.Now().After(deadline) {
			t.Fatalf("it did %v", a.calls)
		}
		clerk.Hurry()
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	wg.Wait()
}
