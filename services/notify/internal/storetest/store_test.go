package storetest

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/store"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

func TestASubscriptionExistsOnce(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		want := subscription.Subscription{Partner: "acme", ID: "main", Filters: []string{"live.>"}, Consumer: "main-secret", Sink: subscription.NATS,
			State: subscription.Active, CreatedAt: now, UpdatedAt: now}
		got, err := b.CreateSubscription(t.Context(), request("CreateSubscription", "s1", "a"), want)
		if err != nil || !cmp.Equal(got, want) {
			t.Fatalf("got %+v, %v", got, err)
		}
		repeated := want
		repeated.Consumer = "main-another"
		if got, err = b.CreateSubscription(t.Context(), request("CreateSubscription", "s1", "a"), repeated); err != nil || !cmp.Equal(got, want) {
			t.Errorf("repeated: %+v, %v", got, err)
		}
		if _, err = b.CreateSubscription(t.Context(), request("CreateSubscription", "s2", "a"), repeated); !errors.Is(err, subscription.ErrExists) {
			t.Errorf("again: %v", err)
		}
		other := subscription.Subscription{Partner: "bolt", ID: "main", Filters: []string{"live.>"}, Consumer: "bolt-secret", Sink: subscription.NATS,
			State: subscription.Active, CreatedAt: now, UpdatedAt: now}
		if _, err = b.CreateSubscription(t.Context(), request("CreateSubscription", "s3", "b"), other); err != nil {
			t.Errorf("another partner: %v", err)
		}
		if got, err = b.Subscription(t.Context(), "acme", "main"); err != nil || !cmp.Equal(got, want) {
			t.Errorf("read: %+v, %v", got, err)
		}
		all, err := b.Subscriptions(t.Context())
		if err != nil || len(all) != 2 || !cmp.Equal(all[0], want) || !cmp.Equal(all[1], other) {
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
