package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/custom"
	"github.com/armlet-pay/armlet/services/notify/internal/offboarding"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

// nats is what NATS has for partners.
type nats map[string]offboarding.NATS

func (n nats) PartnerHoldings(_ context.Context, partner string) (offboarding.NATS, error) {
	return n[partner], nil
}

func (n nats) RemoveAccount(_ context.Context, partner string) error {
	h := n[partner]
	h.Account = false
	n[partner] = h
	return nil
}

func (n nats) RemoveStream(_ context.Context, partner string) error {
	n[partner] = offboarding.NATS{Account: n[partner].Account}
	return nil
}

// furnish gives a partner one of everything, and returns how much that is.
func (b *box) furnish(partner string, on nats) offboarding.Holdings {
	b.t.Helper()
	ctx := b.t.Context()
	must := func(err error) {
		b.t.Helper()
		if err != nil {
			b.t.Fatal(err)
		}
	}
	sub, err := b.CreateSubscription(ctx, request("CreateSubscription", partner, partner), subscription.Subscription{
		Partner: partner, ID: "hook", Filters: []string{"live.>"}, Consumer: partner + "-secret", Sink: subscription.Webhook, State: subscription.Active,
		URL: "https://example.com/", Keys: []subscription.KeyRef{{Name: "webhook/" + partner + "/hook/1"}}, CreatedAt: now, UpdatedAt: now,
	})
	must(err)
	_, err = b.Key(ctx, make([]byte, 32), sub.Keys[0].Name, now)
	must(err)
	must(b.KeepDelivery(ctx, failed(sub, "late", now)))
	must(b.KeepDelivery(ctx, failed(sub, "dead", time.Time{})))
	for i := range 3 {
		_, err = b.ChangeEventType(ctx, request("CreateEventType", partner+fmt.Sprint(i), "x"), partner, fmt.Sprint(i), now,
			func(*custom.Type, int) (custom.Type, error) {
				return custom.Type{Partner: partner, ID: fmt.Sprint(i), DailyQuota: 9, Revision: 1, CreatedAt: now, UpdatedAt: now}, nil
			})
		must(err)
	}
	b.kind(alert.Key{Partner: partner, ID: "hello"}, alert.Content{})
	_, err = b.CreateTopic(ctx, request("CreateTopic", partner, partner), alert.Topic{Partner: partner, ID: "news", DisplayName: "News", CreatedAt: now})
	must(err)
	members := make([]string, 1200)
	for i := range members {
		members[i] = fmt.Sprintf("accounts/%04d", i)
	}
	_, err = b.ChangeMembers(ctx, request("ChangeTopicMembers", partner, partner), partner, "news", members, nil, now)
	must(err)
	_, err = b.Broadcast(ctx, request("SendAlert", "all"+partner, partner), alert.Broadcast{
		ID: uuid.NewString(), Partner: partner, Topic: "news", Sender: alert.Sender{Partner: partner}, State: alert.BroadcastScheduled, CreatedAt: now,
		Request: alert.Request{Kind: alert.Key{ID: alert.PartnerMessage}, DeliverAt: now.Add(time.Hour)},
	}, func(*alert.Published) error { return nil })
	must(err)
	later := order("alice", "later")
	later.Sender, later.Partner, later.DeliverAt = partner, partner, now.Add(time.Hour)
	if later = b.mustDeliver(later); later.Delivery != alert.Scheduled {
		b.t.Fatalf("the alert is %s", later.Delivery)
	}
	sent := order("alice", "sent")
	sent.Sender, sent.Partner = partner, partner
	b.mustDeliver(sent)
	c := b.campaign(10, func(c *voucher.Campaign) { c.Partner = partner })
	v, err := b.issue(c, partner, "alice")
	must(err)
	_, err = b.take(v, partner, voucher.Reserved, 500)
	must(err)
	b.campaign(10, func(c *voucher.Campaign) { c.Partner, c.State = partner, voucher.Ended })
	_, err = b.PublishEvents(ctx, partner, []custom.Published{{
		Type: custom.Type{Partner: partner, ID: "1", DailyQuota: 9}, Mode: "live", ID: uuid.NewString(),
		Event: custom.Event{ID: "e", Type: "1", Fingerprint: []byte{1}},
	}}, now)
	must(err)
	on[partner] = offboarding.NATS{Account: true, Stream: true, StreamEvents: 7, Consumers: 1}
	return offboarding.Holdings{
		Subscriptions: 1, WebhookKeys: 1, Deliveries: 2, AlertTypes: 1, EventTypes: 3, Topics: 1, TopicMembers: 1200, WaitingAlerts: 2, OpenCampaigns: 1,
		PendingEvents: 1, NATS: on[partner],
	}
}

func (b *box) holds(s *offboarding.Service, partner string) offboarding.Holdings {
	b.t.Helper()
	_, h, err := s.Look(b.t.Context(), partner)
	if err != nil {
		b.t.Fatal(err)
	}
	return h
}

func (b *box) offboard(partner string) {
	b.t.Helper()
	for range 2 { // the event may come twice
		err := b.db.InTx(b.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error { return b.StartOffboarding(ctx, tx, partner, now) })
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

// The books, which are what an offboarding must leave alone.
func (b *box) books() []int {
	return []int{
		b.count(`SELECT COUNT(*) FROM campaigns`), b.count(`SELECT COUNT(*) FROM vouchers`),
		b.count(`SELECT COUNT(*) FROM redemptions WHERE state = 'RESERVED'`), b.count(`SELECT COUNT(*) FROM alerts WHERE delivery = 'SENT'`),
		b.count(`SELECT COUNT(*) FROM inbox_steps`),
	}
}

func TestAnOffboardedPartnerLeavesNothingButTheBooks(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		on := nats{}
		s := offboarding.NewService(b.Store, on)
		acme, bolt := b.furnish("acme", on), b.furnish("bolt-2", on)
		for partner, want := range map[string]offboarding.Holdings{"acme": acme, "bolt-2": bolt, "nobody": {}} {
			if diff := cmp.Diff(want, b.holds(s, partner)); diff != "" {
				t.Errorf("%s: %s", partner, diff)
			}
		}
		books := b.books()
		b.offboard("acme")
		done, err := s.Remove(t.Context(), "acme", now.Add(time.Second))
		if err != nil || !done {
			t.Fatalf("removed: %t, %v", done, err)
		}
		o, left, err := s.Look(t.Context(), "acme")
		if err != nil || !left.None() || !o.StartedAt.Equal(now) || !o.EndedAt.Equal(now.Add(time.Second)) {
			t.Errorf("acme: %+v, %+v, %v", o, left, err)
		}
		if diff := cmp.Diff(bolt, b.holds(s, "bolt-2")); diff != "" {
			t.Errorf("the other partner lost something: %s", diff)
		}
		if diff := cmp.Diff(books, b.books()); diff != "" {
			t.Errorf("the books: %s", diff)
		}
		if n := b.count(`SELECT COUNT(*) FROM alerts WHERE sender = 'acme' AND delivery = 'DROPPED' AND decisions LIKE '%PARTNER_OFFBOARDED%'`); n != 1 {
			t.Errorf("%d alerts say that they were dropped because of it", n)
		}
		if n := b.count(`SELECT COUNT(*) FROM outbox WHERE subject LIKE 'evt.v1.live.vouchers.campaign.changed.acme.%'`); n != 3 {
			t.Errorf("%d events tell of acme's campaigns, want two of their making and one of an end", n)
		}
	})
}

// What came in just behind the removal goes with the next round, and the first end stays.
func TestWhatComesAfterAnOffboardingGoesToo(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		on := nats{}
		s := offboarding.NewService(b.Store, on)
		b.offboard("acme")
		if done, err := s.Remove(t.Context(), "acme", now); err != nil || !done {
			t.Fatalf("removed: %t, %v", done, err)
		}
		b.furnish("acme", on)
		due, err := b.OffboardingsDue(t.Context(), now.Add(-offboarding.Watch))
		if err != nil || len(due) != 1 || !due[0].EndedAt.Equal(now) {
			t.Fatalf("due: %+v, %v", due, err)
		}
		if done, err := s.Remove(t.Context(), "acme", now.Add(time.Minute)); err != nil || !done {
			t.Fatalf("removed again: %t, %v", done, err)
		}
		if o, left, err := s.Look(t.Context(), "acme"); err != nil || !left.None() || !o.EndedAt.Equal(now) {
			t.Errorf("%+v, %+v, %v", o, left, err)
		}
		if due, err = b.OffboardingsDue(t.Context(), now.Add(time.Second)); err != nil || len(due) != 0 {
			t.Errorf("due after the watch: %+v, %v", due, err)
		}
	})
}

var errCrash = errors.New("crash")

// crashing ends each removal behind its nth call.
type crashing struct {
	offboarding.Store
	offboarding.Fabric
	left int
}

func (c *crashing) then(err error) error {
	if c.left--; err == nil && c.left == 0 {
		return errCrash
	}
	return err
}

func (c *crashing) DropSubscriptions(ctx context.Context, p string) error {
	return c.then(c.Store.DropSubscriptions(ctx, p))
}

func (c *crashing) DropWaiting(ctx context.Context, p string, at time.Time) error {
	return c.then(c.Store.DropWaiting(ctx, p, at))
}

func (c *crashing) DropTypes(ctx context.Context, p string) error {
	return c.then(c.Store.DropTypes(ctx, p))
}

func (c *crashing) EndCampaigns(ctx context.Context, p string, at time.Time) error {
	return c.then(c.Store.EndCampaigns(ctx, p, at))
}

func (c *crashing) DropPending(ctx context.Context, p string) error {
	return c.then(c.Store.DropPending(ctx, p))
}

func (c *crashing) EndOffboarding(ctx context.Context, p string, at time.Time) error {
	return c.then(c.Store.EndOffboarding(ctx, p, at))
}

func (c *crashing) RemoveAccount(ctx context.Context, p string) error {
	return c.then(c.Fabric.RemoveAccount(ctx, p))
}

func (c *crashing) RemoveStream(ctx context.Context, p string) error {
	return c.then(c.Fabric.RemoveStream(ctx, p))
}

func TestAnOffboardingThatIsCutOffBehindAnyStepGoesOn(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		const steps = 8
		for step := 1; step <= steps; step++ {
			partner := fmt.Sprintf("p-%d", step)
			on := nats{}
			b.furnish(partner, on)
			books := b.books()
			b.offboard(partner)
			c := &crashing{Store: b.Store, Fabric: on, left: step}
			if done, err := offboarding.NewService(c, c).Remove(t.Context(), partner, now); !errors.Is(err, errCrash) {
				t.Fatalf("behind step %d: %t, %v", step, done, err)
			}
			s := offboarding.NewService(b.Store, on)
			if done, err := s.Remove(t.Context(), partner, now); err != nil || !done {
				t.Fatalf("the second time, after step %d: %t, %v", step, done, err)
			}
			if left := b.holds(s, partner); !left.None() {
				t.Errorf("after a crash behind step %d there are %+v", step, left)
			}
			if diff := cmp.Diff(books, b.books()); diff != "" {
				t.Errorf("the books after a crash behind step %d: %s", step, diff)
			}
		}
	})
}
