package subscription

import (
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// The reasons why a subscription is disabled.
const (
	ReasonGone    = "WEBHOOK_GONE"
	ReasonFailing = "WEBHOOK_FAILING"
)

const (
	// keyOverlap is how long the key before the newest still signs.
	keyOverlap = 24 * time.Hour
	// failingLimit is how long a webhook may take nothing before its subscription is disabled.
	failingLimit = 5 * 24 * time.Hour
)

// DisabledEvent is the fact that the platform disabled a subscription.
type DisabledEvent struct{ Subscription Subscription }

// TestEvent is the fact that a partner asked for a test event, and the id that the event will have.
type TestEvent struct {
	Subscription Subscription
	EventID      string
}

// Pause stops deliveries. A disabled subscription is not paused: its owner should learn why it is disabled.
func (s Subscription) Pause(now time.Time) (Subscription, error) {
	switch s.State {
	case Disabled:
		return s, fault.New(fault.FailedPrecondition, "SUBSCRIPTION_STATE",
			"the subscription is disabled (%s); resume it or delete it", s.DisableReason).WithMeta("state", string(s.State))
	case Paused:
		return s, nil
	}
	s.State, s.UpdatedAt = Paused, now
	return s, nil
}

// Resume starts deliveries again, at another URL when one is given.
func (s Subscription) Resume(url string, now time.Time) (Subscription, error) {
	if url != "" {
		if s.Sink != Webhook {
			return s, fault.InvalidField("webhook_url", "the subscription is no webhook")
		}
		s.URL = url
	}
	s.State, s.DisableReason, s.FailingSince, s.UpdatedAt = Active, "", time.Time{}, now
	return s, nil
}

// Replay begins anew at a time.
func (s Subscription) Replay(from, now time.Time) (Subscription, error) {
	if from.After(now) {
		return s, fault.InvalidField("from_time", "lies in the future")
	}
	s.Start, s.Round, s.UpdatedAt = from, s.Round+1, now
	return s, nil
}

// Disable pauses for a reason that lies with the webhook.
func (s Subscription) Disable(reason string, now time.Time) Subscription {
	s.State, s.DisableReason, s.UpdatedAt = Disabled, reason, now
	return s
}

// Failed notes that the webhook took nothing just now, and disables the subscription when it has not for long.
func (s Subscription) Failed(now time.Time) Subscription {
	if s.FailingSince.IsZero() {
		s.FailingSince = now
	}
	if s.State == Active && now.Sub(s.FailingSince) >= failingLimit {
		return s.Disable(ReasonFailing, now)
	}
	return s
}

// Succeeded notes that the webhook takes events.
func (s Subscription) Succeeded() Subscription {
	s.FailingSince = time.Time{}
	return s
}

// Rotate puts a new key first. Those before it sign for a day longer; those that have stopped are dropped.
func (s Subscription) Rotate(name string, now time.Time) (Subscription, error) {
	if s.Sink != Webhook {
		return s, errNoWebhook
	}
	keys := []KeyRef{{Name: name}}
	for _, k := range s.SigningKeys(now) {
		if k.Until.IsZero() {
			k.Until = now.Add(keyOverlap)
		}
		keys = append(keys, k)
	}
	s.Keys, s.UpdatedAt = keys[:min(len(keys), maxKeys)], now
	return s, nil
}

// maxKeys bounds the signatures of a delivery when somebody rotates again and again.
const maxKeys = 3

// SigningKeys are those that sign now, newest first.
func (s Subscription) SigningKeys(now time.Time) []KeyRef {
	return slices.DeleteFunc(slices.Clone(s.Keys), func(k KeyRef) bool { return !k.Until.IsZero() && !now.Before(k.Until) })
}

var errNoWebhook = fault.New(fault.FailedPrecondition, "SUBSCRIPTION_SINK", "the subscription is no webhook")

// HasSecret is nil when the subscription is a webhook that is signed with a shared secret.
func (s Subscription) HasSecret() error {
	if s.Sink != Webhook || s.Signature != HMAC {
		return fault.New(fault.FailedPrecondition, "SUBSCRIPTION_SINK", "only a webhook that is signed with HMAC has a shared secret")
	}
	return nil
}

// Streams is nil when the subscription is read with StreamEvents.
func (s Subscription) Streams() error {
	if s.Sink != GRPC {
		return fault.New(fault.FailedPrecondition, "SUBSCRIPTION_SINK", "the events of this subscription go to %s; create one with SINK_GRPC", s.Sink)
	}
	return nil
}
