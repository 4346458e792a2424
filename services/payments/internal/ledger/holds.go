package ledger

import (
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// HoldState is where a hold is in its life.
//
//	PENDING ──the last of it was captured, or freed after something was captured──▶ POSTED
//	   │  │
//	   │  └──freed because somebody said so──▶ VOIDED
//	   │
//	   └──freed because its time was over──▶ EXPIRED
type HoldState string

// The states, as stored.
const (
	HoldPending HoldState = "pending"
	HoldPosted  HoldState = "posted"
	HoldVoided  HoldState = "voided"
	HoldExpired HoldState = "expired"
)

// Hold is money set aside by a pending posting. It may be captured in parts until nothing is left.
type Hold struct {
	ID            string
	Debit, Credit string
	Currency      string
	// Amount is what was set aside, Captured what was moved of it and Released what was freed, in minor units.
	Amount, Captured, Released int64
	State                      HoldState
	// ExpireTime is until when it is good; zero is for ever.
	ExpireTime time.Time
}

// Remaining is what is still set aside.
func (h Hold) Remaining() int64 { return h.Amount - h.Captured - h.Released }

// NewHold is the hold that a pending posting makes.
func NewHold(p Posting) Hold {
	return Hold{
		ID: p.Hold, Debit: p.Debit, Credit: p.Credit, Currency: p.Currency, Amount: p.Amount,
		State: HoldPending, ExpireTime: p.ExpireTime,
	}
}

// Capture is the posting that moves a part of the hold. The part may go to another account than the one it was set aside
// for only by a posting of its own.
func (h Hold) Capture(amount int64) Posting { return h.posting(CaptureHold, amount) }

// Void and Expire are the postings that free all that is left.
func (h Hold) Void() Posting { return h.posting(VoidHold, h.Remaining()) }

// Expire is like Void, because the hold's time is over.
func (h Hold) Expire() Posting { return h.posting(ExpireHold, h.Remaining()) }

func (h Hold) posting(step Step, amount int64) Posting {
	return Posting{Debit: h.Debit, Credit: h.Credit, Amount: amount, Currency: h.Currency, Step: step, Hold: h.ID}
}

// Apply is the hold after a posting that captures or frees it. It returns HOLD_STATE when the hold is over or less is
// left, and POSTING_INVALID when the posting is not this hold's. at is when it is posted: past its time a hold is not
// captured any more.
func (h Hold) Apply(p Posting, at time.Time) (Hold, error) {
	if p.Hold != h.ID || p.Debit != h.Debit || p.Credit != h.Credit || p.Currency != h.Currency {
		return Hold{}, fault.New(fault.Invalid, "POSTING_INVALID", "the posting has other accounts than its hold")
	}
	if h.State != HoldPending {
		return Hold{}, holdState("it is %s", h.State)
	}
	if p.Amount > h.Remaining() {
		return Hold{}, holdState("%d of it are left, less than %d", h.Remaining(), p.Amount)
	}
	if p.Step == CaptureHold {
		if !h.ExpireTime.IsZero() && at.After(h.ExpireTime) {
			return Hold{}, holdState("its time is over")
		}
		h.Captured += p.Amount
	} else {
		h.Released += p.Amount
	}
	if h.Remaining() == 0 {
		h.State = h.end(p.Step)
	}
	return h, nil
}

// end is the state of a hold of which nothing is left.
func (h Hold) end(last Step) HoldState {
	switch {
	case h.Captured > 0:
		return HoldPosted
	case last == ExpireHold:
		return HoldExpired
	}
	return HoldVoided
}

func holdState(format string, a ...any) error {
	return fault.New(fault.FailedPrecondition, "HOLD_STATE", "the hold does not allow it: "+format, a...)
}

// HoldNotFound is the error for a hold that does not exist.
func HoldNotFound() error {
	return fault.New(fault.NotFound, "HOLD_NOT_FOUND", "there is no such hold")
}
