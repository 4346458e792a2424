package payment

import (
	"time"

	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// Posted is a ledger transaction that is to be written.
type Posted = ledger.Posted

// Event is a fact that others are told of. It is one of the types below.
type Event interface{ isEvent() }

// CreatedEvent says that a payment waits for the tap.
type CreatedEvent struct{ Payment Payment }

// CapturedEvent says that the money has moved.
type CapturedEvent struct{ Payment Payment }

// DeclinedEvent says that a payment was refused for good.
type DeclinedEvent struct{ Payment Payment }

// ExpiredEvent says that nobody tapped in time.
type ExpiredEvent struct{ Payment Payment }

// ToppedUpEvent says that money was put into a wallet.
type ToppedUpEvent struct {
	Account     string
	Amount      Money
	Transaction string
	Time        time.Time
}

func (CreatedEvent) isEvent()  {}
func (CapturedEvent) isEvent() {}
func (DeclinedEvent) isEvent() {}
func (ExpiredEvent) isEvent()  {}
func (ToppedUpEvent) isEvent() {}
