package voucher

import (
	"math/bits"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// RedemptionState is where a redemption is in its life.
//
//	Reserve ──▶ RESERVED ──confirm──▶ CONFIRMED ──all of it undone──▶ ROLLED_BACK
//	               │                      ▲
//	               ├──cancel──▶ CANCELLED │
//	               │                      │ a payment that was approved in time is heard of late
//	               └──15 min──▶ EXPIRED ──┘
//
// Redeem goes to CONFIRMED at once.
type RedemptionState string

// The states, as stored.
const (
	Reserved   RedemptionState = "RESERVED"
	Confirmed  RedemptionState = "CONFIRMED"
	Cancelled  RedemptionState = "CANCELLED"
	Expired    RedemptionState = "EXPIRED"
	RolledBack RedemptionState = "ROLLED_BACK"
)

const (
	// holdFor is how long a reservation may be confirmed.
	holdFor = 15 * time.Minute
	// paymentGrace is how much longer a hold is kept for a payment: money may have moved within the 15 minutes and the
	// news be on the way. payments tells the end of each, so that this is the last resort only.
	paymentGrace = 24 * time.Hour
)

// Redemption is the use of a voucher.
type Redemption struct {
	// ID is a UUID: the payment's, when it is for one.
	ID         string
	CampaignID string
	// Voucher is as it was after the last change of the redemption.
	Voucher Voucher
	State   RedemptionState
	Amount  Money
	// Undone is how much of the amount was rolled back. 0 ≤ Undone ≤ Amount always holds.
	Undone int64
	// Merchant is the UUID of the merchant, or empty; Payment that of the payment.
	Merchant, Payment string
	// Account and Device are who redeemed, as far as it is known.
	Account, Device string
	// Holder is the [Actor.Key] of who reserved it.
	Holder string
	// AssertionID is the id of the band's assertion, or empty.
	AssertionID string
	// HoldExpiresAt is until when it may be confirmed, ReleaseAt when the hold ends by itself.
	HoldExpiresAt, ReleaseAt time.Time
	CreatedAt, UpdatedAt     time.Time
}

// Holding is what a redemption takes of its voucher, budget and limits.
type Holding struct{ HeldUses, SpentUses, Held, Spent int64 }

// Holding follows from the state; a change moves the difference.
func (r Redemption) Holding() Holding {
	switch r.State {
	case Reserved:
		return Holding{HeldUses: 1, Held: r.Amount.MinorUnits}
	case Confirmed:
		return Holding{SpentUses: 1, Spent: r.Amount.MinorUnits - r.Undone}
	case Cancelled, Expired, RolledBack:
	}
	return Holding{}
}

// Minus is the difference.
func (h Holding) Minus(o Holding) Holding {
	return Holding{h.HeldUses - o.HeldUses, h.SpentUses - o.SpentUses, h.Held - o.Held, h.Spent - o.Spent}
}

// MovedRedemption is the fact that a redemption got another state, or a part of it was undone.
type MovedRedemption struct {
	Redemption Redemption
	Campaign   Campaign
	From       RedemptionState
}

// confirm is the step to CONFIRMED; to repeat it changes nothing.
func (r Redemption) confirm(now time.Time) (Redemption, error) {
	switch {
	case r.State == Confirmed:
		return r, nil
	case r.State == Reserved && now.Before(r.HoldExpiresAt):
		return r.move(Confirmed, now), nil
	}
	return r, r.stateFault()
}

// cancel is the step to CANCELLED; where nothing is held any more it changes nothing.
func (r Redemption) cancel(now time.Time) (Redemption, error) {
	switch r.State {
	case Cancelled, Expired:
		return r, nil
	case Reserved:
		return r.move(Cancelled, now), nil
	case Confirmed, RolledBack:
	}
	return r, r.stateFault()
}

// undo takes a part back; amount 0 is all that is left.
func (r Redemption) undo(amount int64, now time.Time) (Redemption, error) {
	if r.State != Confirmed {
		return r, r.stateFault()
	}
	left := r.Amount.MinorUnits - r.Undone
	if amount == 0 {
		amount = left
	}
	if amount > left {
		return r, ErrRollbackExceeds
	}
	r.Undone += amount
	r.UpdatedAt = now
	if r.Undone == r.Amount.MinorUnits {
		r = r.move(RolledBack, now)
	}
	return r, nil
}

func (r Redemption) move(to RedemptionState, now time.Time) Redemption {
	r.State, r.UpdatedAt = to, now
	return r
}

func (r Redemption) stateFault() error {
	state := r.State
	if state == Reserved {
		state = Expired // its time is over, the worker has not come by yet
	}
	return fault.New(fault.FailedPrecondition, "REDEMPTION_STATE", "the redemption is %s, which does not allow this", state).
		WithMeta("state", string(state))
}

// Outcome is what became of a payment.
type Outcome struct {
	// Approved says that the band agreed: the money is held or has moved.
	Approved bool
	// Over says that the payment ended with nothing captured.
	Over bool
	// Captured and Refunded are how much was taken and given back so far.
	Captured, Refunded int64
}

// Follow brings a redemption to where its payment is. Events come in any order and more than once, so it only ever goes
// forward: what a refund undoes is counted from the totals. It fails with REDEMPTION_STATE when the news cannot be true.
func (r Redemption) Follow(o Outcome, now time.Time) (Redemption, error) {
	switch {
	case o.Over && r.State == Confirmed:
		return r.undo(0, now)
	case o.Over && r.State == Reserved:
		return r.move(Cancelled, now), nil
	case o.Over || r.State == RolledBack:
		return r, nil
	case r.State == Cancelled && o.Captured == 0: // the end was heard of before the approval
		return r, nil
	case r.State == Cancelled:
		return r, r.stateFault()
	}
	if o.Approved && r.State != Confirmed { // reserved, or expired before the news came
		r = r.move(Confirmed, now)
	}
	if o.Refunded == 0 || r.State != Confirmed {
		return r, nil
	}
	if o.Refunded >= o.Captured {
		return r.undo(0, now)
	}
	if undone := proportion(r.Amount.MinorUnits, o.Refunded, o.Captured); undone > r.Undone {
		return r.undo(undone-r.Undone, now)
	}
	return r, nil
}

// proportion is amount × part ÷ whole, rounded down; part is less than whole.
func proportion(amount, part, whole int64) int64 {
	hi, lo := bits.Mul64(uint64(amount), uint64(part))
	quotient, _ := bits.Div64(hi, lo, uint64(whole)) // less than amount, because part is less than whole
	return int64(quotient)
}
