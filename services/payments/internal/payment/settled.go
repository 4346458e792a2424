package payment

import "time"

// SettledEvent says that a merchant's day was settled.
type SettledEvent struct {
	// ID is the settlement's.
	ID, Merchant  string
	PaidOut       Money
	EndTime, Time time.Time
}

func (SettledEvent) isEvent() {}
