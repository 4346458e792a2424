// Package payment is what payments is about: wallets, merchants, terminals, and payments that a band approves. It holds
// every rule of them and nothing else: it knows neither gRPC nor SQL, reads no clock and writes no log.
//
// Start with the states below, then create.go, confirm.go, capture.go, refund.go and expire.go.
package payment

import (
	"crypto/subtle"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
)

// State is where a payment is in its life.
//
//	CreatePayment
//	     │
//	     ▼         refused for good by the band, auth, a limit or the ledger
//	AWAITING_TAP ──────────────────────────────────────────────────────────▶ DECLINED
//	 │ │ │ └─nobody tapped until the tap's expiry + grace──────────────────▶ EXPIRED ◀──┐
//	 │ │ └─VoidPayment─────────────────────────────────────────────────────▶ VOIDED ◀─┐ │
//	 │ │                                                                              │ │
//	 │ └─approved, capture_mode manual──▶ AUTHORIZED ──VoidPayment────────────────────┘ │
//	 │                                     │ │ └─nothing captured until the hold lapsed─┘
//	 │                                     │ └─CapturePayment of a part──▶ PARTIALLY_CAPTURED ◀─┐
//	 │                                     │                                │           │ another
//	 │                        of the rest, │       final, of the rest, void,│           └─part──┘
//	 │                          or final   ▼                   or it lapsed ▼
//	 └─approved, capture_mode automatic──▶ CAPTURED ◀───────────────────────┘
//	                                       │   │
//	                RefundPayment of a part│   │of the rest
//	                                       ▼   ▼
//	              PARTIALLY_REFUNDED ──of the rest──▶ REFUNDED
//
// DECLINED, EXPIRED, VOIDED and REFUNDED are final. A payment is refunded when nothing of it is held any more.
type State string

// The states, as stored.
const (
	AwaitingTap       State = "AWAITING_TAP"
	Authorized        State = "AUTHORIZED"
	PartiallyCaptured State = "PARTIALLY_CAPTURED"
	Captured          State = "CAPTURED"
	PartiallyRefunded State = "PARTIALLY_REFUNDED"
	Refunded          State = "REFUNDED"
	Declined          State = "DECLINED"
	Expired           State = "EXPIRED"
	Voided            State = "VOIDED"
)

// Final says whether nothing can follow.
func (s State) Final() bool { return s == Declined || s == Expired || s == Voided || s == Refunded }

// holds says whether money is held in the state.
func (s State) holds() bool { return s == Authorized || s == PartiallyCaptured }

// CaptureMode says when the money of an approved payment moves.
type CaptureMode string

// The modes of capture.
const (
	Automatic CaptureMode = "AUTOMATIC"
	Manual    CaptureMode = "MANUAL"
)

// Mode keeps partners' trials and live money apart.
type Mode string

// The modes.
const (
	Live Mode = "live"
	Test Mode = "test"
)

// Money is an amount in minor units of an ISO 4217 currency.
type Money struct {
	Minor    int64
	Currency string
}

// Payment is one purchase.
type Payment struct {
	// ID is a UUIDv7, so that ids sort by time.
	ID     string
	State  State
	Amount Money
	// Merchant is the merchant's id, MerchantDisplayName what the band showed.
	Merchant            string
	MerchantDisplayName string
	// Terminal is the id of the terminal that made it, or empty.
	Terminal string
	// Device is the band's resource name, Partner the maker it belongs to.
	Device  string
	Partner string
	// Account is the wallet that pays.
	Account string
	Mode    Mode
	// CategoryCode is the merchant's when the payment was made.
	CategoryCode uint32
	CaptureMode  CaptureMode
	// Creator is the [Caller.Key] of who made it; nobody else may confirm it.
	Creator string
	// Tap is what the band is to be asked. Its secret is wiped when the payment is final.
	Tap Tap
	// DeclineReason is a stable reason, set when Declined.
	DeclineReason string
	// Transaction is the ledger transaction of the first capture, or empty.
	Transaction string
	// CapturedMinor is what moved to the merchant so far, ReleasedMinor what of a hold was freed, RefundedMinor what was given
	// back. FeeMinor is what the operator kept of the captures, FeeBackMinor what it returned of that.
	CapturedMinor, ReleasedMinor, RefundedMinor int64
	FeeMinor, FeeBackMinor                      int64
	// Captures and Refunds count them.
	Captures, Refunds int
	// AuthorizationExpireTime is when what is held lapses; zero while nothing is held.
	AuthorizationExpireTime time.Time
	// Offline says that a terminal took the tap without a connection, TapTime when, by its clock.
	Offline bool
	TapTime time.Time
	// Assurance is how strongly the wearer was authenticated, 0 until the band approved; Need is what the tap had to show.
	Assurance int
	Need      limit.Need
	// Discount is what a voucher took off the price. Amount is without it.
	Discount Discount
	// Reserved is what it holds of the limits.
	Reserved limit.Reservation
	// ResponseDigest is the SHA-256 of the response that decided, ResultFrame the answer for the band; both serve repeats. Of an
	// offline tap the digest is what names it.
	ResponseDigest []byte
	ResultFrame    []byte
	CreateTime     time.Time
	// UpdateTime is when it changed last, Revision grows with every change from 1.
	UpdateTime time.Time
	Revision   int64
}

// Tap is a challenge for the band.
type Tap struct {
	// Challenge is auth's name for it.
	Challenge string
	// Frame is the CHALLENGE frame with its tag.
	Frame []byte
	// ExpireTime is until when the band's answer counts.
	ExpireTime time.Time
	// Requirements is what the band will ask of its wearer, such as "GESTURE".
	Requirements []string
	// PongKey answers distance rounds. Secret.
	PongKey []byte
}

// held is what of the amount is held and may still be captured. It means something in the states that hold.
func (p Payment) held() int64 { return p.Amount.Minor - p.CapturedMinor - p.ReleasedMinor }

// money is an amount in the payment's currency.
func (p Payment) money(minor int64) Money { return Money{Minor: minor, Currency: p.Amount.Currency} }

// CapturedAmount is what was captured so far.
func (p Payment) CapturedAmount() Money { return p.money(p.CapturedMinor) }

// RefundedAmount is what of it was given back.
func (p Payment) RefundedAmount() Money { return p.money(p.RefundedMinor) }

// decided says whether the payment was decided by the very response or assertion with this digest.
func (p Payment) decided(digest []byte) bool {
	return p.State != AwaitingTap && len(p.ResponseDigest) > 0 && subtle.ConstantTimeCompare(p.ResponseDigest, digest) == 1
}

// move is the payment after a step to a state, which may be the one it is in.
func (p Payment) move(to State, now time.Time) Payment {
	if p.State == AwaitingTap {
		p.Tap.PongKey = nil
		p.Tap.Requirements = slices.Clone(p.Tap.Requirements)
	}
	p.State, p.UpdateTime = to, now
	p.Revision++
	if !to.holds() {
		p.AuthorizationExpireTime = time.Time{}
	}
	return p
}

// decline is the step to Declined.
func (p Payment) decline(reason string, digest, frame []byte, now time.Time) Change {
	p = p.move(Declined, now)
	p.DeclineReason, p.ResponseDigest, p.ResultFrame = reason, digest, frame
	return Change{Payment: p, Events: []Event{DeclinedEvent{Payment: p}}}
}

// stateFault refuses a step that the payment's state forbids.
func (p Payment) stateFault(step string) error {
	return fault.New(fault.FailedPrecondition, "PAYMENT_STATE",
		"the payment is %s and cannot be %s; read it with GetPayment", p.State, step).WithMeta("state", string(p.State))
}

// tapFault refuses a response. A payment that nobody tapped in time is answered like its challenge, whichever of the two a
// confirmation meets first.
func (p Payment) tapFault() error {
	if p.State == Expired && len(p.ResponseDigest) == 0 {
		return fault.New(fault.FailedPrecondition, "CHALLENGE_EXPIRED",
			"the payment expired before the band answered; create a new one").WithMeta("state", string(p.State))
	}
	return fault.New(fault.FailedPrecondition, "PAYMENT_STATE",
		"the payment is %s and takes no other response; read it with GetPayment", p.State).WithMeta("state", string(p.State))
}

func notFound() error {
	return fault.New(fault.NotFound, "PAYMENT_NOT_FOUND", "there is no such payment, or the caller may not see it")
}
