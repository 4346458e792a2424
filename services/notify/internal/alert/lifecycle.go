package alert

import (
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Faults about alerts.
var (
	ErrNotFound  = fault.New(fault.NotFound, "ALERT_NOT_FOUND", "there is no such alert, or it is not yours")
	errAction    = fault.New(fault.NotFound, "ACTION_NOT_FOUND", "the alert has no such action").WithField("acks.action_id")
	errRecipient = fault.New(fault.NotFound, "RECIPIENT_NOT_FOUND",
		"no wearer has this device at present, or it is not yours").WithField("device")
)

// AckKind is what a surface says about an alert.
type AckKind string

// The kinds of acknowledgements. Those after the first are engagements.
const (
	AckReceived  AckKind = "RECEIVED"
	AckDisplayed AckKind = "DISPLAYED"
	AckDismissed AckKind = "DISMISSED"
	AckRead      AckKind = "READ"
	AckActed     AckKind = "ACTED"
)

// Ack is what one surface says about one alert.
type Ack struct {
	AlertID  string
	Surface  Surface
	Kind     AckKind
	ActionID string
	ClientID string
	At       time.Time
}

var (
	deliveries  = []Delivery{SentOut, PhoneReceived, BandReceived}
	engagements = []Engagement{NotEngaged, Displayed, Dismissed, Read, Acted}
)

// Acknowledge moves an alert as far as an acknowledgement says; it never moves back. An alert that has left the inbox
// stays where it is.
func (a Alert) Acknowledge(ack Ack) (next Alert, moved bool, err error) {
	if ack.Kind == AckActed && !slices.ContainsFunc(a.Actions, func(x Action) bool { return x.ID == ack.ActionID }) {
		return a, false, errAction
	}
	if !a.Delivery.InInbox() {
		return a, false, nil
	}
	next = a
	received := PhoneReceived
	if ack.Surface == Band {
		received = BandReceived
	}
	if slices.Index(deliveries, received) > slices.Index(deliveries, a.Delivery) {
		next.Delivery = received
	}
	if e := Engagement(ack.Kind); slices.Index(engagements, e) > slices.Index(engagements, a.Engagement) {
		next.Engagement = e
	}
	next.ResendAt = time.Time{}
	return next, next.Delivery != a.Delivery || next.Engagement != a.Engagement, nil
}

// Resend puts an alert that nobody acknowledged into the inbox once more, so that every surface gets it again.
func (a Alert) Resend(now time.Time, after time.Duration) Alert {
	a.Attempt++
	a.note(now, StepResend, Passed, "UNACKNOWLEDGED", "")
	a.ResendAt = time.Time{}
	if a.Attempt <= resendsAtMost {
		a.ResendAt = now.Add(after)
	}
	return a
}

// Leave takes an alert out of the inbox, or off the waiting list, for good.
func (a Alert) Leave(now time.Time, as Delivery, step, reason string) Alert {
	a.note(now, step, Stopped, reason, "")
	a.Delivery, a.ReleaseAt, a.ResendAt = as, time.Time{}, time.Time{}
	return a
}

// Redact takes away what an alert says; what was decided about it stays.
func (a Alert) Redact() Alert {
	a.Text, a.Payload, a.Actions = Text{}, nil, nil
	return a
}

// Terms are how long things take and are kept.
type Terms struct {
	// ResendAfter is how long a CRITICAL alert waits for an acknowledgement before it is sent again.
	ResendAfter time.Duration
	// KeepAlerts is how long an alert stays in the inbox and keeps its texts.
	KeepAlerts time.Duration
	// KeepRecords is how long it is remembered what was decided and acknowledged.
	KeepRecords time.Duration
	// KeepSteps is how long a stream can be continued; after that it starts over.
	KeepSteps time.Duration
}

// DefaultTerms are those of the contract.
func DefaultTerms() Terms {
	const day = 24 * time.Hour
	return Terms{ResendAfter: 20 * time.Second, KeepAlerts: 90 * day, KeepRecords: 400 * day, KeepSteps: 30 * day}
}
