package storetest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

func (b *box) webhook(id string) subscription.Subscription {
	b.t.Helper()
	sub, err := b.CreateSubscription(b.t.Context(), request("CreateSubscription", id, id), subscription.Subscription{
		Partner: "acme", ID: id, Filters: []string{"live.payments.>", "live.devices.>"}, Consumer: id + "-secret", Sink: subscription.Webhook,
		State: subscription.Active, URL: "https://example.com/", Signature: subscription.Ed25519,
		Keys: []subscription.KeyRef{{Name: "webhook/acme/" + id}}, CreatedAt: now, UpdatedAt: now,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return sub
}

func failed(sub subscription.Subscription, event string, next time.Time) subscription.Delivery {
	return subscription.Delivery{
		Partner: sub.Partner, Subscription: sub.ID, EventID: event, EventType: "t", Subject: "s", Resource: "r", EventTime: now,
		Data: []byte{1}, Attempts: 1, LastError: "answered 500", NextAt: next, UpdatedAt: now,
	}
}

func TestADueDeliveryIsTakenByOne(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		sub := b.webhook("hook")
		for _, d := range []subscription.Delivery{failed(sub, "e1", now), failed(sub, "e2", now.Add(time.Hour)), failed(sub, "e1", now.Add(time.Hour))} {
			if err := b.KeepDelivery(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		var taken atomic.Int32
		together(16, func(int) {
			due, err := b.DueDeliveries(t.Context(), "acme", "hook", 8, now, time.Minute)
			if err != nil && !sqldb.IsConflict(err) {
				t.Error(err)
			}
			for _, d := range due {
				if d.EventID != "e1" || d.LastError != "answered 500" {
					t.Errorf("%+v", d)
				}
				taken.Add(1)
			}
		})
		if taken.Load() != 1 {
			t.Errorf("taken %d times", taken.Load())
		}
		due, err := b.DueDeliveries(t.Context(), "acme", "hook", 8, now.Add(time.Minute), time.Minute)
		if err != nil || len(due) != 1 {
			t.Errorf("after the lease: %v, %v", due, err)
		}
	})
}

func TestDeadLettersAreListedRedrivenAndDiscarded(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		sub, other := b.webhook("hook"), b.webhook("other")
		for _, id := range []string{"e1", "e2", "e3"} {
			d := failed(sub, id, now)
			if err := b.KeepDelivery(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			d.NextAt = time.Time{}
			if err := b.SettleDelivery(t.Context(), d, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.KeepDelivery(t.Context(), failed(other, "e1", time.Time{})); err != nil {
			t.Fatal(err)
		}
		dead, err := b.DeadLetters(t.Context(), "acme", "hook", "e1", 10)
		if err != nil || len(dead) != 2 || dead[0].EventID != "e2" || !dead[0].Dead() {
			t.Fatalf("%+v, %v", dead, err)
		}
		if n, err := b.RedriveDeadLetters(t.Context(), "acme", "hook", []string{"e1", "none"}, now); err != nil || n != 1 {
			t.Errorf("redriven %d, %v", n, err)
		}
		due, err := b.DueDeliveries(t.Context(), "acme", "hook", 8, now, time.Minute)
		if err != nil || len(due) != 1 || due[0].Attempts != 0 {
			t.Fatalf("due %+v, %v", due, err)
		}
		if err := b.SettleDelivery(t.Context(), due[0], true); err != nil {
			t.Fatal(err)
		}
		if n, err := b.DiscardDeadLetters(t.Context(), "acme", "hook", nil); err != nil || n != 2 {
			t.Errorf("discarded %d, %v", n, err)
		}
		if n := b.count(`SELECT COUNT(*) FROM deliveries`); n != 1 {
			t.Errorf("%d deliveries are left, want that of the other subscription", n)
		}
	})
}

func TestADisabledWebhookIsToldOfOnce(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		b.webhook("hook")
		together(8, func(int) {
			err := b.NoteWebhook(t.Context(), "acme", "hook", now, func(s subscription.Subscription) subscription.Subscription {
				return s.Disable(subscription.ReasonGone, now)
			})
			if err != nil {
				t.Error(err)
			}
		})
		if n := b.count(`SELECT COUNT(*) FROM outbox WHERE type = 'armlet.notify.v1.SubscriptionDisabled'`); n != 1 {
			t.Errorf("%d events", n)
		}
		if hooks, err := b.Webhooks(t.Context()); err != nil || len(hooks) != 0 {
			t.Errorf("active: %v, %v", hooks, err)
		}
	})
}

func TestADeletedSubscriptionLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		sub := b.webhook("hook")
		if _, err := b.Key(t.Context(), hash("wrapping"), sub.Keys[0].Name, now); err != nil {
			t.Fatal(err)
		}
		if err := b.KeepDelivery(t.Context(), failed(sub, "e1", now)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.DeleteSubscription(t.Context(), "acme", "hook"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.DeleteSubscription(t.Context(), "acme", "hook"); !errors.Is(err, subscription.ErrNotFound) {
			t.Errorf("again: %v", err)
		}
		// An event that was under way when its subscription went is not kept for nobody.
		if err := b.KeepDelivery(t.Context(), failed(sub, "e2", now)); err != nil {
			t.Error(err)
		}
		for _, table := range []string{"subscriptions", "deliveries", "keys"} {
			if n := b.count(`SELECT COUNT(*) FROM ` + table); n != 0 {
				t.Errorf("%d rows of %s are left", n, table)
			}
		}
	})
}
