// Package payment is what payments is about: wallets, merchants, terminals, and payments that a band approves. It holds
// every rule of them and nothing else: it knows neither gRPC nor SQL, reads no clock and writes no log.
//
// Start with the states below, then create.go, confirm.go, match.go and expire.go.
package payment

import (
	"crypto/subtle"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// State is where a payment is in its life.
//
//	CreatePayment
//	     │
//	     ▼
//	AWAITING_TAP ──the band approved and the money is there──▶ CAPTURED
//	     │  │
//	     │  └──the band, auth or the ledger refused for good──▶ DECLINED
//	     │
//	     └──nobody tapped until the tap's expiry + grace──────▶ EXPIRED
//
// CAPTURED, DECLINED and EXPIRED are final.
type State string

// The states, as stored.
const (
	AwaitingTap State = "AWAITING_TAP"
	Captured    State = "CAPTURED"
	Declined    State = "DECLINED"
	Expired     State = "EXPIRED"
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
	// Creator is the [Caller.Key] of who made it; nobody else may confirm it.
	Creator string
	// Tap is what the band is to be asked. Its secret is wiped when the payment is final.
	Tap Tap
	// DeclineReason is a stable reason, set when Declined.
	DeclineReason string
	// Transaction is the ledger transaction, set when Captured.
	Transaction string
	// ResponseDigest is the SHA-256 of the response that decided, ResultFrame the answer for the band; both serve repeats.
	ResponseDigest []byte
	ResultFrame    []byte
	CreateTime     time.Time
	// UpdateTime is when it reached its present state.
	UpdateTime time.Time
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

// Change is what one step makes of a payment; the store writes it whole or not at all.
type Change struct {
	Payment Payment
	// Assertion is the id of the assertion that the step uses up, or empty. An id is used once, ever.
	Assertion string
	// Posted is what the step writes to the ledger, or nil.
	Posted *Posted
	// Events are published when the change is committed.
	Events []Event
}

// decided says whether a final payment was decided by the very response with this digest.
func (p Payment) decided(digest []byte) bool {
	return (p.State == Captured || p.State == Declined) && subtle.ConstantTimeCompare(p.ResponseDigest, digest) == 1
}

// finish moves a payment that waits for the tap to a final state.
func (p Payment) finish(to State, now time.Time) Payment {
	p.State, p.UpdateTime = to, now
	p.Tap.PongKey = nil
	p.Tap.Requirements = slices.Clone(p.Tap.Requirements)
	return p
}

// decline is the step to Declined.
func (p Payment) decline(reason string, digest, frame []byte, now time.Time) Change {
	p = p.finish(Declined, now)
	p.DeclineReason, p.ResponseDigest, p.ResultFrame = reason, digest, frame
	return Change{Payment: p, Events: []Event{DeclinedEvent{Payment: p}}}
}

// stateFault refuses a step that the payment's state forbids. A payment that expired is answered like its challenge,
// whichever of the two a confirmation meets first.
func (p Payment) stateFault() error {
	if p.State == Expired {
		return fault.New(fault.FailedPrecondition, "CHALLENGE_EXPIRED",
			"the payment expired before the band answered; create a new one").WithMeta("state", string(p.State))
	}
	return fault.New(fault.FailedPrecondition, "PAYMENT_STATE",
		"the payment is %s and takes no other response; read it with GetPayment", p.State).WithMeta("state", string(p.State))
}

func notFound() error {
	return fault.New(fault.NotFound, "PAYMENT_NOT_FOUND", "there is no such payment, or the caller may not see it")
}
