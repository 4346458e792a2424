// Package offboarding takes away what is kept for a partner once auth has offboarded it.
//
//	NONE ──auth says so──▶ RUNNING ──nothing is left──▶ DONE
//
// From RUNNING on, no event is copied for the partner any more. Each step of the removal may be repeated and counts on none
// before it, so a removal that was cut off anywhere goes on from its beginning. What stays are others' things and books:
// alerts in wearers' inboxes, issued vouchers, redemptions, and who wears which band.
package offboarding

import (
	"context"
	"fmt"
	"time"
)

// Watch is how long a removal is repeated after its beginning: a request or an event that was under way when it began may have
// left something behind, and tokens that were issued before live for five minutes.
const Watch = 10 * time.Minute

// Offboarding is how far the removal of a partner's things has come. Without a StartedAt there is none.
type Offboarding struct {
	Partner   string
	StartedAt time.Time
	EndedAt   time.Time // zero while something is left
}

// Holdings counts what is kept for a partner.
type Holdings struct {
	Subscriptions, WebhookKeys, Deliveries       int64
	AlertTypes, EventTypes, Topics, TopicMembers int64
	WaitingAlerts, OpenCampaigns, PendingEvents  int64
	NATS
}

// NATS is what NATS has for a partner.
type NATS struct {
	Account, Stream         bool
	StreamEvents, Consumers int64
}

// None reports whether nothing is left.
func (h Holdings) None() bool { return h == Holdings{} }

// Store is what SQL keeps for partners. Everything may be repeated.
type Store interface {
	// Offboarding is the zero one when there is none.
	Offboarding(ctx context.Context, partner string) (Offboarding, error)
	// Holdings leaves NATS out.
	Holdings(ctx context.Context, partner string) (Holdings, error)
	// DropSubscriptions forgets subscriptions with their keys and deliveries.
	DropSubscriptions(ctx context.Context, partner string) error
	// DropWaiting drops the alerts that wait for their time, those to topics too.
	DropWaiting(ctx context.Context, partner string, now time.Time) error
	// DropTypes forgets types of alerts and events, and topics.
	DropTypes(ctx context.Context, partner string) error
	// EndCampaigns ends those that are not ended.
	EndCampaigns(ctx context.Context, partner string, now time.Time) error
	// DropPending forgets the events that were not published into the partner's stream yet.
	DropPending(ctx context.Context, partner string) error
	// EndOffboarding says that nothing is left.
	EndOffboarding(ctx context.Context, partner string, now time.Time) error
}

// Fabric is what NATS has for partners. Everything may be repeated.
type Fabric interface {
	// PartnerHoldings says what there is.
	PartnerHoldings(ctx context.Context, partner string) (NATS, error)
	// RemoveAccount ends the partner's account and with it its connections. It is made of the subscriptions, so they go first.
	RemoveAccount(ctx context.Context, partner string) error
	// RemoveStream deletes the partner's stream with its consumers.
	RemoveStream(ctx context.Context, partner string) error
}

// Service removes.
type Service struct {
	store  Store
	fabric Fabric
}

// NewService makes a Service.
func NewService(store Store, fabric Fabric) *Service {
	return &Service{store: store, fabric: fabric}
}

// Look is how far the offboarding of a partner has come, and what is there of it.
func (s *Service) Look(ctx context.Context, partner string) (Offboarding, Holdings, error) {
	o, err := s.store.Offboarding(ctx, partner)
	if err != nil {
		return o, Holdings{}, err
	}
	o.Partner = partner
	h, err := s.holdings(ctx, partner)
	return o, h, err
}

func (s *Service) holdings(ctx context.Context, partner string) (Holdings, error) {
	h, err := s.store.Holdings(ctx, partner)
	if err != nil {
		return h, err
	}
	h.NATS, err = s.fabric.PartnerHoldings(ctx, partner)
	return h, err
}

// Remove takes away all that is left of an offboarded partner and reports whether that was everything. What can reach outside
// goes first: deliveries, then connections, then the rest.
func (s *Service) Remove(ctx context.Context, partner string, now time.Time) (done bool, err error) {
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"subscriptions", func() error { return s.store.DropSubscriptions(ctx, partner) }},
		{"account", func() error { return s.fabric.RemoveAccount(ctx, partner) }},
		{"waiting alerts", func() error { return s.store.DropWaiting(ctx, partner, now) }},
		{"types", func() error { return s.store.DropTypes(ctx, partner) }},
		{"campaigns", func() error { return s.store.EndCampaigns(ctx, partner, now) }},
		{"pending events", func() error { return s.store.DropPending(ctx, partner) }},
		{"stream", func() error { return s.fabric.RemoveStream(ctx, partner) }},
	} {
		if err := step.do(); err != nil {
			return false, fmt.Errorf("remove the %s of the partner %s: %w", step.name, partner, err)
		}
	}
	left, err := s.holdings(ctx, partner)
	if err != nil || !left.None() {
		return false, err
	}
	return true, s.store.EndOffboarding(ctx, partner, now)
}
