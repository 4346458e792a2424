// Package alert decides what a wearer is told: which events deserve an alert, its texts for band and phone, and who may
// send one of their own.
package alert

import "time"

// Type is what an alert is about; clients compare it.
type Type string

// The types of alerts.
const (
	PaymentCaptured Type = "payment.captured"
	PaymentDeclined Type = "payment.declined"
	DeviceSuspended Type = "device.suspended"
	DeviceBound     Type = "device.bound"
	VoucherRedeemed Type = "voucher.redeemed"
	AccountToppedUp Type = "account.topped_up"
	PartnerMessage  Type = "partner.message"
)

// Vibration is a pattern of the device protocol's RESULT frame.
type Vibration uint32

// The patterns.
const (
	VibrateNone     Vibration = 0
	VibrateOneShort Vibration = 1
	VibrateTwoShort Vibration = 2
	VibrateOneLong  Vibration = 3
)

// Draft is an alert before it has a place in an inbox.
type Draft struct {
	// Account is the recipient, without a prefix.
	Account string
	Type    Type
	// Band is at most [BandBytes] bytes of UTF-8.
	Band      string
	Phone     string
	Vibration Vibration
	// Device is the full name of the device it is about, or empty.
	Device string
	// Partner is the device's partner, or empty.
	Partner string
	// Mode is "live" or "test".
	Mode string
}

// Alert is an alert in an inbox.
type Alert struct {
	Draft
	// ID is a UUID.
	ID string
	// Sequence is its place in the account's inbox, from 1 without a gap.
	Sequence  int64
	CreatedAt time.Time
}

// Wearer is who wears a device at present.
type Wearer struct {
	Device  string
	Partner string
	Account string
	Mode    string
}

// Sent is the fact that an alert entered an inbox.
type Sent struct{ Alert Alert }
