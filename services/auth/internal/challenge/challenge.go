// Package challenge makes what a band signs and decides on what it answers.
//
// A challenge lives in the live store, which may lose it; losing it refuses the tap. What was decided stands in the
// database, in the same transaction that moves the band's counter.
//
//	           Create
//	(nothing) ────────▶ LIVE ──── first valid answer ──▶ USED ──▶ a Decision: approved, or refused with a reason
//	                     │ ├───── three refused answers ▶ SPENT
//	                     │ └───── a newer challenge ────▶ SUPERSEDED
//	                     └─────── its time is over ─────▶ gone
//
// Exactly once: the live store hands a challenge to one answer only (Take), and the database has one decision for each
// nonce. Were the live store emptied or set back, the second guard would still hold.
package challenge

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/proto/wire"
)

// MaxTries is how many refused answers a challenge stands.
const MaxTries = 3

// Challenge is a frame that waits for a band's signature. It holds no secret.
type Challenge struct {
	Nonce     wire.Nonce     `json:"nonce"`
	Owner     string         `json:"owner"`  // who may present the answer; see Caller.Key
	Device    string         `json:"device"` // resource name
	Partner   string         `json:"partner"`
	UID       wire.UID       `json:"uid"`
	Account   string         `json:"account"` // resource name
	BindNonce wire.Nonce     `json:"bind_nonce"`
	Body      []byte         `json:"body"` // C of the protocol: the signed bytes
	Frame     []byte         `json:"frame"`
	IssuedAt  time.Time      `json:"issued_at"` // to the microsecond; orders the challenges of a device
	Refill    *Refill        `json:"refill,omitempty"`
	Content   wire.Challenge `json:"-"` // Body, parsed
	PongKey   []byte         `json:"-"` // secret; filled by Create where distance rounds are asked for
}

// ExpiresAt is the first moment at which an answer comes too late, as signed.
func (c Challenge) ExpiresAt() time.Time { return c.Content.Expires() }

// Parse fills Content from Body.
func (c *Challenge) Parse() (err error) {
	c.Content, err = wire.ParseChallengeBody(c.Body)
	return err
}

// Reservation is a challenge kept under the request that made it.
type Reservation struct {
	Fingerprint [32]byte  `json:"fingerprint"`
	Challenge   Challenge `json:"challenge"`
}

// State is where a live challenge is in its life. The values are stored.
type State string

// The states of the live store. Gone stands for expired, lost and never made.
const (
	Live       State = "live"
	Used       State = "used"
	Superseded State = "superseded"
	Spent      State = "spent"
	Gone       State = ""
)

// Taken says how an answer fared that wanted to use a challenge up.
type Taken int

// The fates. TakenSame means that the same bytes took it before: the decision may or may not have been recorded yet.
const (
	TakenGone Taken = iota
	TakenWon
	TakenSame
	TakenOther
	TakenSuperseded
	TakenSpent
)

// LiveStore keeps live challenges. Everything in it may be lost at any time. Each method acts atomically at the moment
// now, so that clocks of stores do not matter. When the store does not answer, methods fail with
// CHALLENGE_STORE_UNAVAILABLE, and what they were to do may or may not have happened.
type LiveStore interface {
	// Reserve keeps r under key until the challenge expires, unless there is one, and returns the one that is then there.
	Reserve(ctx context.Context, key string, r Reservation, now time.Time) (Reservation, error)
	// Recall finds a reservation.
	Recall(ctx context.Context, key string, now time.Time) (r Reservation, found bool, err error)
	// Release drops a reservation.
	Release(ctx context.Context, key string) error
	// Issue makes c the device's live challenge and supersedes one of the same purpose. It fails with CHALLENGE_BUSY when
	// one of another purpose is live. A challenge that was issued before is left as it is.
	Issue(ctx context.Context, c Challenge, now time.Time) error
	// Load finds a challenge whatever its state, or says Gone.
	Load(ctx context.Context, nonce wire.Nonce, now time.Time) (Challenge, State, error)
	// Miss counts a refused answer; the last one allowed makes a live challenge Spent.
	Miss(ctx context.Context, nonce wire.Nonce, now time.Time) error
	// Take uses a live challenge up for the answer with this digest. Of any number of callers one wins.
	Take(ctx context.Context, nonce wire.Nonce, digest [32]byte, now time.Time) (Taken, error)
}

// The refusals.
var (
	ErrRejected = fault.New(fault.Invalid, "RESPONSE_REJECTED",
		"the response is not a valid answer of the band to this challenge; have the band answer again, three refused answers use the challenge up")
	ErrExpired = fault.New(fault.FailedPrecondition, "CHALLENGE_EXPIRED",
		"the challenge is too old or not known; create a new one")
	ErrUsed = fault.New(fault.FailedPrecondition, "CHALLENGE_USED",
		"the challenge was used up by another answer or by three refused ones; create a new one")
	ErrSuperseded = fault.New(fault.FailedPrecondition, "CHALLENGE_SUPERSEDED",
		"a newer challenge of the same device took the place of this one; answer that, or create a new one")
	ErrDeclined = fault.New(fault.FailedPrecondition, "TAP_DECLINED",
		"the band answered that its wearer did not approve")
	ErrRequirement = fault.New(fault.FailedPrecondition, "REQUIREMENT_MISSING",
		"the band answered without something the challenge requires")
	ErrClone = fault.New(fault.FailedPrecondition, "CLONE_SUSPECTED",
		"the band's counter went back, so a copy of it may exist; the device is suspended, have the operator look at it")
	ErrBusy = fault.New(fault.FailedPrecondition, "CHALLENGE_BUSY",
		"the device has a live challenge of another purpose; wait until it is answered or has expired")
	ErrUnavailable = fault.New(fault.Unavailable, "CHALLENGE_STORE_UNAVAILABLE",
		"challenges cannot be kept or looked up at present; nothing was approved, try again with the same request")
	ErrChanged = fault.New(fault.Aborted, "DEVICE_CHANGED",
		"the device changed while its answer was decided on; nothing was approved, send the same response again")
	ErrDeviceNotFound = fault.New(fault.NotFound, "DEVICE_NOT_FOUND", "there is no such device")
	ErrNotBound       = fault.New(fault.FailedPrecondition, "DEVICE_NOT_BOUND", "the device is not bound to this account; claim it first")
	ErrSuspended      = fault.New(fault.FailedPrecondition, "DEVICE_SUSPENDED", "the device is suspended or was taken out of use; it cannot be used")
	ErrPurpose        = fault.New(fault.PermissionDenied, "PURPOSE_NOT_ALLOWED",
		"this caller may not make a challenge of this purpose").WithField("purpose")
	ErrNotOwner = fault.New(fault.PermissionDenied, "CALLER_NOT_ALLOWED",
		"the challenge was made for another caller")
)

// refusals finds the fault of a reason that was recorded.
var refusals = byReason(ErrDeclined, ErrRequirement, ErrClone, ErrSuperseded, ErrExpired, ErrSuspended, ErrAlreadyBound, ErrDeviceLimit, ErrTransferCode)

func byReason(faults ...*fault.Error) map[string]*fault.Error {
	m := make(map[string]*fault.Error, len(faults))
	for _, f := range faults {
		m[f.Reason] = f
	}
	return m
}
