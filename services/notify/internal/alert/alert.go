// Package alert decides what a wearer is told. What happened, or what a partner has to say, goes through one pipeline
// (pipeline.go) that ends in the inbox of an account, waits, or ends nowhere, and remembers each of its decisions. Types
// (kind.go) say what an alert means and how it reads (template.go); built-in ones are in builtin.go.
package alert

import "time"

// An alert's delivery and what its wearer does with it are two axes, and both only move forward:
//
//	SCHEDULED ─┬─▶ HELD ─┬─▶ SENT ─▶ PHONE_RECEIVED ─▶ BAND_RECEIVED      NONE ─▶ DISPLAYED ─▶ DISMISSED ─▶ READ ─▶ ACTED
//	           └────┬────┘     │          any of these ─▶ REPLACED, REMOVED
//	                ▼          ▼
//	             DROPPED    EXPIRED

// Delivery is how far an alert has come.
type Delivery string

// The states of the delivery.
const (
	Scheduled     Delivery = "SCHEDULED"
	Held          Delivery = "HELD"
	SentOut       Delivery = "SENT"
	PhoneReceived Delivery = "PHONE_RECEIVED"
	BandReceived  Delivery = "BAND_RECEIVED"
	Expired       Delivery = "EXPIRED"
	Dropped       Delivery = "DROPPED"
	Replaced      Delivery = "REPLACED"
	Removed       Delivery = "REMOVED"
)

// InInbox reports whether the wearer has it in the inbox.
func (d Delivery) InInbox() bool { return d == SentOut || d == PhoneReceived || d == BandReceived }

// Waits reports whether it is still to be decided on.
func (d Delivery) Waits() bool { return d == Scheduled || d == Held }

// Engagement is what the wearer did with an alert.
type Engagement string

// The engagements, each further than the one before.
const (
	NotEngaged Engagement = "NONE"
	Displayed  Engagement = "DISPLAYED"
	Dismissed  Engagement = "DISMISSED"
	Read       Engagement = "READ"
	Acted      Engagement = "ACTED"
)

// Category is what kind of thing an alert is about.
type Category string

// The categories.
const (
	Payments Category = "PAYMENTS"
	Security Category = "SECURITY"
	Devices  Category = "DEVICES"
	Vouchers Category = "VOUCHERS"
	Partners Category = "PARTNERS"
)

// Priority is how pressing an alert is.
type Priority int

// The priorities. Zero is "as the type says".
const (
	Low Priority = iota + 1
	Normal
	High
	Critical
)

// Surface is where an alert is shown.
type Surface string

// The surfaces.
const (
	Band  Surface = "BAND"
	Phone Surface = "PHONE"
	Full  Surface = "FULL"
)

// Surfaces are all surfaces.
var Surfaces = []Surface{Band, Phone, Full}

// Vibration is a pattern of the device protocol's RESULT frame.
type Vibration uint32

// The patterns.
const (
	VibrateNone     Vibration = 0
	VibrateOneShort Vibration = 1
	VibrateTwoShort Vibration = 2
	VibrateOneLong  Vibration = 3
)

// Limits of what a sender may ask for.
const (
	MaxTTL        = 28 * 24 * time.Hour
	MaxActions    = 3
	MaxPayload    = 4096
	nowWindow     = 10 * time.Second
	resendsAtMost = 5
)

// Action is a button under an alert.
type Action struct {
	ID    string `json:"id"`
	Label string `json:"label"`
}

// Order is an alert that is wanted: what to tell whom.
type Order struct {
	// ID is a UUID.
	ID string `json:"-"`
	// Account is the recipient, without a prefix.
	Account string `json:"-"`
	// Mode is "live" or "test".
	Mode string `json:"-"`
	Kind Key    `json:"-"`
	// Payload is what the type's schema wants.
	Payload map[string]any `json:"payload,omitempty"`
	// Device is the full name of the device it is about or was sent to, or empty.
	Device string `json:"-"`
	// Partner is the device's partner, or the sender; empty for none.
	Partner string `json:"-"`
	// Sender is the partner that sent it, [Operator], or empty for what the platform itself says.
	Sender string `json:"-"`
	// Broadcast is the broadcast it is a part of, or empty.
	Broadcast string `json:"-"`
	// Asked is the priority the sender wants, or zero.
	Asked Priority `json:"asked,omitempty"`
	// NowOrNever is a ttl of zero: it never waits.
	NowOrNever  bool     `json:"now_or_never,omitempty"`
	CollapseKey string   `json:"-"`
	Actions     []Action `json:"-"`
	// ExpiresAt is the end of the ttl; zero is none.
	ExpiresAt time.Time `json:"-"`
	// DeliverAt is before when it is not delivered; zero is now.
	DeliverAt time.Time `json:"deliver_at,omitzero"`
	// ToDevice is true when it was sent to whoever wears Device.
	ToDevice bool `json:"to_device,omitempty"`
	// Counted is true when the throttle has counted it.
	Counted bool `json:"counted,omitempty"`
}

// Operator is the Sender of what the operator sends. It is no partner's id.
const Operator = "_operator"

// Alert is an order and what became of it.
type Alert struct {
	Order
	Text       Text
	Category   Category
	Priority   Priority
	Surfaces   []Surface
	Delivery   Delivery
	Engagement Engagement
	Decisions  []Decision
	// Sequence is that of the step that put it into the inbox; 0 when it never was there.
	Sequence int64
	// Attempt is how often it was put there.
	Attempt   int
	CreatedAt time.Time
	// ReleaseAt is when it is decided on again, while it waits.
	ReleaseAt time.Time
	// ResendAt is when it is put into the inbox again; zero is never.
	ResendAt time.Time
}

// Wearer is who wears a device at present.
type Wearer struct {
	Device  string
	Partner string
	// Account is empty when nobody wears it.
	Account string
	Mode    string
}

// Step is one change of an inbox.
type Step struct {
	Sequence int64
	Kind     StepKind
	// Alert is the alert as it is now; only its ID is set when it is gone.
	Alert Alert
}

// StepKind is what a step does.
type StepKind string

// The kinds of steps.
const (
	Upsert StepKind = "UPSERT"
	Remove StepKind = "REMOVE"
	State  StepKind = "STATE"
)

// Cursor is a place in an inbox.
type Cursor struct {
	Epoch    string
	Sequence int64
}

// Head is where an inbox is.
type Head struct {
	Cursor
	// TrimmedThrough is the last step that was forgotten.
	TrimmedThrough int64
}

// Continues reports whether a stream can go on from c: no step after it is missing.
func (h Head) Continues(c Cursor) bool {
	return c.Epoch == h.Epoch && h.Epoch != "" && c.Sequence >= h.TrimmedThrough && c.Sequence <= h.Sequence
}

// Sent is the fact that an alert entered an inbox.
type Sent struct{ Alert Alert }

// Moved is the fact that an alert's delivery or engagement moved.
type Moved struct {
	Alert Alert
	// ActionID is what the wearer chose just now, or empty.
	ActionID string
}
