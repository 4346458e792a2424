package storetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
	"github.com/armlet-pay/armlet/services/notify/internal/store"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

func TestTheSequenceOfAnInboxHasNoGap(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		const good, bad = 50, 20
		rollback := errors.New("rolled back")
		var failures atomic.Int32
		together(good+bad, func(i int) {
			err := b.db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if _, err := b.AppendAlert(ctx, tx, draft("alice", fmt.Sprint(i)), now); err != nil {
					return err
				}
				if i >= good {
					return rollback
				}
				return nil
			})
			if i < good && err != nil || i >= good && !errors.Is(err, rollback) {
				failures.Add(1)
				t.Errorf("alert %d: %v", i, err)
			}
		})
		if err := b.append("bob", "other"); err != nil {
			t.Fatal(err)
		}
		alerts, err := b.AlertsAfter(t.Context(), "alice", 0, 1000)
		if err != nil || len(alerts) != good {
			t.Fatalf("%d alerts, %v", len(alerts), err)
		}
		for i, a := range alerts {
			if a.Sequence != int64(i+1) {
				t.Fatalf("alert %d has the sequence %d", i, a.Sequence)
			}
		}
		last, err := b.LastSequence(t.Context(), "alice")
		if err != nil || last != good {
			t.Errorf("the last sequence is %d, %v", last, err)
		}
		if n := b.count(`SELECT COUNT(*) FROM outbox WHERE type = 'armlet.notify.v1.AlertSent'`); n != good+1 {
			t.Errorf("%d events for %d alerts", n, good+1)
		}
		if b.woke["alice"] != good || b.woke["bob"] != 1 {
			t.Errorf("woken %v", b.woke)
		}
	})
}

func TestAlertsAreReadBothWaysAndAsTheyWereWritten(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		for i := range 5 {
			if err := b.append("alice", fmt.Sprint("¥", i)); err != nil {
				t.Fatal(err)
			}
		}
		forward, err := b.AlertsAfter(t.Context(), "alice", 2, 2)
		if err != nil || len(forward) != 2 || forward[0].Sequence != 3 || forward[1].Sequence != 4 {
			t.Fatalf("after 2: %+v, %v", forward, err)
		}
		want := alert.Alert{Draft: draft("alice", "¥2"), ID: forward[0].ID, Sequence: 3, CreatedAt: now}
		if forward[0] != want {
			t.Errorf("got %+v, want %+v", forward[0], want)
		}
		back, err := b.AlertsBefore(t.Context(), "alice", 3, 5)
		if err != nil || len(back) != 2 || back[0].Sequence != 2 || back[1].Sequence != 1 {
			t.Fatalf("before 3: %+v, %v", back, err)
		}
		if last, err := b.LastSequence(t.Context(), "nobody"); err != nil || last != 0 {
			t.Errorf("an empty inbox ends at %d, %v", last, err)
		}
		grown, err := b.AccountsUpdatedSince(t.Context(), now)
		if err != nil || len(grown) != 1 || grown[0] != "alice" {
			t.Errorf("grown: %v, %v", grown, err)
		}
		if grown, err = b.AccountsUpdatedSince(t.Context(), now.Add(time.Microsecond)); err != nil || len(grown) != 0 {
			t.Errorf("grown later: %v, %v", grown, err)
		}
	})
}

func TestAnOlderBindingDoesNotReplaceANewerOne(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		const device = "partners/acme/devices/x"
		for _, step := range []struct {
			account string
			epoch   int64
			want    string
		}{{"alice", 2, "alice"}, {"bob", 5, "bob"}, {"alice", 2, "bob"}, {"carol", 5, "bob"}, {"dave", 6, "dave"}} {
			err := b.db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				return b.SetWearer(ctx, tx, alert.Wearer{Device: device, Partner: "acme", Account: step.account, Mode: "live"}, step.epoch, now)
			})
			if err != nil {
				t.Fatal(err)
			}
			var got alert.Wearer
			stop := errors.New("stop")
			_, err = b.SendAlert(t.Context(), request("SendAlert", "x", "x"), device, now, func(w alert.Wearer) (alert.Draft, error) {
				got = w
				return alert.Draft{}, stop
			})
			if !errors.Is(err, stop) || got.Account != step.want || got.Partner != "acme" || got.Mode != "live" {
				t.Errorf("epoch %d: worn by %+v, want %s (%v)", step.epoch, got, step.want, err)
			}
		}
		_, err := b.SendAlert(t.Context(), request("SendAlert", "x", "x"), "partners/acme/devices/unknown", now, func(w alert.Wearer) (alert.Draft, error) {
			if w != (alert.Wearer{}) {
				t.Errorf("an unknown device is worn by %+v", w)
			}
			return draft("alice", "hi"), nil
		})
		if err != nil {
			t.Errorf("a request that failed before cannot be repeated: %v", err)
		}
	})
}

func TestOneRequestSixtyFourTimesSendsOneAlert(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		answers := make([]alert.Alert, 64)
		together(len(answers), func(i int) {
			var err error
			answers[i], err = b.SendAlert(t.Context(), request("SendAlert", "r1", "hi"), "d", now, func(alert.Wearer) (alert.Draft, error) {
				return draft("alice", "hi"), nil
			})
			if err != nil {
				t.Errorf("call %d: %v", i, err)
			}
		})
		for i, a := range answers {
			if a != answers[0] || a.Sequence != 1 {
				t.Fatalf("answer %d is %+v, the first %+v", i, a, answers[0])
			}
		}
		if n := b.count(`SELECT COUNT(*) FROM alerts`); n != 1 {
			t.Errorf("%d alerts", n)
		}
		_, err := b.SendAlert(t.Context(), request("SendAlert", "r1", "other"), "d", now, func(alert.Wearer) (alert.Draft, error) {
			t.Error("a reused request id is decided on")
			return alert.Draft{}, nil
		})
		if !errors.Is(err, once.ErrReused) {
			t.Errorf("reused: %v", err)
		}
	})
}

func TestASubscriptionExistsOnce(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		want := subscription.Subscription{Partner: "acme", ID: "main", Filter: "live.>", Consumer: "main-secret", CreatedAt: now}
		got, err := b.CreateSubscription(t.Context(), request("CreateSubscription", "s1", "a"), want)
		if err != nil || got != want {
			t.Fatalf("got %+v, %v", got, err)
		}
		repeated := want
		repeated.Consumer = "main-another"
		if got, err = b.CreateSubscription(t.Context(), request("CreateSubscription", "s1", "a"), repeated); err != nil || got != want {
			t.Errorf("repeated: %+v, %v", got, err)
		}
		if _, err = b.CreateSubscription(t.Context(), request("CreateSubscription", "s2", "a"), repeated); !errors.Is(err, subscription.ErrExists) {
			t.Errorf("again: %v", err)
		}
		other := subscription.Subscription{Partner: "bolt", ID: "main", Filter: "live.>", Consumer: "bolt-secret", CreatedAt: now}
		if _, err = b.CreateSubscription(t.Context(), request("CreateSubscription", "s3", "b"), other); err != nil {
			t.Errorf("another partner: %v", err)
		}
		if got, err = b.Subscription(t.Context(), "acme", "main"); err != nil || got != want {
			t.Errorf("read: %+v, %v", got, err)
		}
		all, err := b.Subscriptions(t.Context())
		if err != nil || len(all) != 2 || all[0] != want || all[1] != other {
			t.Errorf("all: %+v, %v", all, err)
		}
		partners, err := b.SubscribedPartners(t.Context())
		if err != nil || strings.Join(partners, ",") != "acme,bolt" {
			t.Errorf("partners: %v, %v", partners, err)
		}
	})
}

func TestKeysAreTheSameForAllAndNeverStoredInTheClear(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		wrapping := hash("wrapping")
		keys := make([]string, 8)
		together(len(keys), func(i int) {
			key, err := b.Key(t.Context(), wrapping, "codes", now)
			if err != nil || len(key) != store.KeyBytes {
				t.Errorf("call %d: %d bytes, %v", i, len(key), err)
			}
			keys[i] = string(key)
		})
		for _, k := range keys {
			if k != keys[0] {
				t.Fatal("two replicas have different keys")
			}
		}
		if other, err := b.Key(t.Context(), wrapping, "pages", now); err != nil || string(other) == keys[0] {
			t.Errorf("another name has the same key (%v)", err)
		}
		var wrapped []byte
		if err := b.db.QueryRowContext(t.Context(), `SELECT wrapped FROM keys WHERE name = 'codes'`).Scan(&wrapped); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(wrapped), keys[0]) {
			t.Error("the key is stored in the clear")
		}
		if _, err := b.Key(t.Context(), hash("another file"), "codes", now); !errors.Is(err, store.ErrWrongKey) {
			t.Errorf("another wrapping key: %v", err)
		}
	})
}

func TestTheMigrationHasTheTablesOfEvents(t *testing.T) {
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		text, err := os.ReadFile("../store/migrations/" + string(dialect) + "/0001_notify.sql")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), events.Schema(dialect)) {
			t.Errorf("the migration for %s differs from events.Schema", dialect)
		}
	}
}
