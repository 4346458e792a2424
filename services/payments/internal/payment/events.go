package payment

import (
	"time"

	"github.com/armlet-pay/armlet/services/payments/internal/limit"
)

// Event is a fact that others are told of. It is one of the types below.
type Event interface{ isEvent() }

// The life of a payment. Payment is as it is right after it; Amount is that of the capture, release or refund.
type (
	// CreatedEvent says that a payment waits for the tap.
	CreatedEvent struct{ Payment Payment }
	// AuthorizedEvent says that the money is held.
	AuthorizedEvent struct{ Payment Payment }
	// CapturedEvent says that money has moved, once for each capture.
	CapturedEvent struct {
		Payment     Payment
		Amount      Money
		Transaction string
	}
	// ReleasedEvent says that the rest of a hold was freed after a part was captured.
	ReleasedEvent struct {
		Payment Payment
		Amount  Money
	}
	// RefundedEvent says that money went back, once for each refund.
	RefundedEvent struct {
		Payment     Payment
		Amount      Money
		Transaction string
	}
	// DeclinedEvent says that a payment was refused for good.
	DeclinedEvent struct{ Payment Payment }
	// ExpiredEvent says that nobody tapped in time, or that a hold lapsed with nothing captured.
	ExpiredEvent struct{ Payment Payment }
	// VoidedEvent says that a payment was given up with nothing captured.
	VoidedEvent struct{ Payment Payment }
)

// What happens to wallets and merchants.
type (
	// OpenedEvent says that a wallet was opened.
	OpenedEvent struct{ Account Account }
	// ToppedUpEvent says that money was put into a wallet.
	ToppedUpEvent struct {
		Account string
		// Balance is what the wallet can spend after it.
		Amount, Balance Money
		Transaction     string
		Time            time.Time
	}
	// WithdrawnEvent says that money was paid out of a wallet.
	WithdrawnEvent struct {
		Account string
		// Balance is what the wallet can spend after it.
		Amount, Balance Money
		Transaction     string
		Time            time.Time
	}
	// OverdrawnEvent says that an offline tap took more than the wallet held.
	OverdrawnEvent struct {
		Account string
		Owed    Money
		// Payment is the tap's.
		Payment string
		Time    time.Time
	}
	// CollectedEvent says that a top-up paid what a wallet owed, or a part of it.
	CollectedEvent struct {
		Account      string
		Amount, Owed Money
		Transaction  string
		Time         time.Time
	}
	// FrozenEvent says that a wallet was frozen, or is frozen for another reason now.
	FrozenEvent struct {
		Account, Reason string
		Time            time.Time
	}
	// UnfrozenEvent says that a wallet may give money again.
	UnfrozenEvent struct {
		Account string
		Time    time.Time
	}
	// ClosedEvent says that a wallet was closed.
	ClosedEvent struct {
		Account string
		Time    time.Time
	}
	// TerminalEvent says that a terminal was registered when it is New, else that it was suspended or resumed.
	TerminalEvent struct {
		Terminal TerminalDevice
		New      bool
		Time     time.Time
	}
	// MerchantEvent says that a merchant was registered when it is New, else that it was updated, suspended or resumed.
	MerchantEvent struct {
		Merchant Merchant
		New      bool
		Time     time.Time
	}
	// PolicyEvent says that the limits of a currency were replaced, or that they ended when Deleted; then only the currency
	// counts.
	PolicyEvent struct {
		Policy  limit.Policy
		Deleted bool
		Time    time.Time
	}
)

func (CreatedEvent) isEvent()    {}
func (AuthorizedEvent) isEvent() {}
func (CapturedEvent) isEvent()   {}
func (ReleasedEvent) isEvent()   {}
func (RefundedEvent) isEvent()   {}
func (DeclinedEvent) isEvent()   {}
func (ExpiredEvent) isEvent()    {}
func (VoidedEvent) isEvent()     {}
func (OpenedEvent) isEvent()     {}
func (ToppedUpEvent) isEvent()   {}
func (WithdrawnEvent) isEvent()  {}
func (OverdrawnEvent) isEvent()  {}
func (CollectedEvent) isEvent()  {}
func (FrozenEvent) isEvent()     {}
func (UnfrozenEvent) isEvent()   {}
func (ClosedEvent) isEvent()     {}
func (TerminalEvent) isEvent()   {}
func (MerchantEvent) isEvent()   {}
func (PolicyEvent) isEvent()     {}
