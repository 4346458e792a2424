// Package device is the heart of the registry: what a band is, where it is in its life, what stops it from paying, and
// the record of everything that was done to it. Start reading here.
//
// # States
//
//	             release                  bind
//	REGISTERED ──────────▶ AVAILABLE ◀──────────▶ BOUND ⟲ bind (the same account, a new generation)
//	    │                      │       unbind       │
//	    └──────────────────────┴────────────────────┴──────▶ RETIRED   (orderly)
//	    └──────────────────────┴────────────────────┴──────▶ REVOKED   (for cause)
//
//	from \ to  | REGISTERED | AVAILABLE | BOUND | RETIRED | REVOKED
//	REGISTERED |            |     x     |       |    x    |    x
//	AVAILABLE  |            |           |   x   |    x    |    x
//	BOUND      |            |     x     |   x   |    x    |    x
//	RETIRED    |            |           |       |         |
//	REVOKED    |            |           |       |         |
//
// Devices registered one by one start as AVAILABLE. Those of a lot are REGISTERED while the lot is held and AVAILABLE once it
// is released: the lot's one row says so for all of them, and a release is one change however many they are.
//
// # What else stops a device
//
// A device cannot be bound or pay while its model is blocked or compromised, or once its lot was recalled. Here too one row
// speaks for all devices, and its epoch counts into theirs. Payments also pause while the owner hands the device on.
//
// # Suspensions
//
// Apart from its state a device has a set of suspensions, at most one for each reason. Any of them stops payments. Each
// carries the authority that is needed to lift it; see [Reason].
//
// # Epoch and record
//
// Every change that alters the answer to "may it pay?" raises the auth epoch by one, so that whoever remembered an
// older answer can tell. Every change adds one [Entry] to the device's hash-chained audit record.
package device

import (
	"fmt"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// UID is the identity of a device: the partner's number in 4 bytes, then 12 bytes that the partner chooses.
type UID [16]byte

// PartnerNo is the number of the partner that made the device.
func (u UID) PartnerNo() uint32 {
	return uint32(u[0])<<24 | uint32(u[1])<<16 | uint32(u[2])<<8 | uint32(u[3])
}

// State is where a device is in its life. The numbers are stored.
type State uint8

// The states.
const (
	Registered State = 1
	Available  State = 2
	Bound      State = 3
	Retired    State = 4
	Revoked    State = 5
)

var stateNames = [...]string{
	Registered: "REGISTERED", Available: "AVAILABLE", Bound: "BOUND", Retired: "RETIRED", Revoked: "REVOKED",
}

// String is the name of the state in the contract.
func (s State) String() string {
	if s == 0 || int(s) >= len(stateNames) {
		return "UNKNOWN"
	}
	return stateNames[s]
}

// transitions is the table of the package comment.
var transitions = map[State][]State{
	Registered: {Available, Retired, Revoked},
	Available:  {Bound, Retired, Revoked},
	Bound:      {Available, Bound, Retired, Revoked},
}

// CanBecome reports whether the table lets a device go from s to next.
func (s State) CanBecome(next State) bool { return slices.Contains(transitions[s], next) }

// Ended reports whether the device is out of use for good.
func (s State) Ended() bool { return s == Retired || s == Revoked }

// Suite is the cryptographic suite a device answers with, numbered as in the device protocol.
type Suite uint8

// The suites.
const (
	HMACSHA256 Suite = 1
	AESCMAC    Suite = 2
	ECDSAP256  Suite = 3
	Ed25519    Suite = 4
)

// Valid reports whether s is a suite of the protocol.
func (s Suite) Valid() bool { return s >= HMACSHA256 && s <= Ed25519 }

// Symmetric reports whether the device's key follows from the partner master key, so that no public key exists.
func (s Suite) Symmetric() bool { return s == HMACSHA256 || s == AESCMAC }

// BindingID names one (device, account, generation) for ever.
type BindingID [8]byte

// Device is one band.
type Device struct {
	UID      UID
	Partner  string
	ModelID  string
	LotNo    uint32 // 0 for a device that was registered by itself
	State    State
	Suite    Suite
	KeyEpoch uint16
	// Credentials are the public keys that are not retired, oldest first; suites 3 and 4 only.
	Credentials []Credential
	// CredentialCount is how many it ever had, which numbers the next.
	CredentialCount uint32
	Labels          map[string]string
	Transfer        *Transfer // nil unless one was begun
	ModelStatus     ModelStatus
	LotState        LotState // 0 without a lot
	// AuthEpoch is the device's own epoch with those of its model and lot, which are SharedEpoch together.
	AuthEpoch   int64
	SharedEpoch int64
	// Account it is bound to, without a prefix; empty unless the state is Bound.
	Account string
	// Generation counts the bindings that were ever active.
	Generation  int64
	Suspensions []Suspension // ordered by reason
	Head        Head
	CreatedAt   time.Time // zero for a device of a range lot that has no row yet
}

// Unseen reports whether the device is known from its lot alone.
func (d Device) Unseen() bool { return d.CreatedAt.IsZero() }

// FirstAuthEpoch is the auth epoch of a device that nothing has happened to.
const FirstAuthEpoch = 1

// Block says why a device cannot pay. The numbers are those of the contract.
type Block uint8

// The reasons why a device cannot pay; NotBlocked when it can.
const (
	NotBlocked Block = iota
	NotBound
	Suspended
	Ended
	ModelIsBlocked
	ModelIsCompromised
	LotIsRecalled
	TransferPending
	NoCredential
)

// Blocked says what stops a payment, the most lasting cause first.
func (d Device) Blocked(now time.Time) Block {
	switch {
	case d.State.Ended():
		return Ended
	case d.ModelStatus == ModelCompromised:
		return ModelIsCompromised
	case d.LotState == LotRecalled:
		return LotIsRecalled
	case d.ModelStatus == ModelBlocked:
		return ModelIsBlocked
	case len(d.Suspensions) > 0:
		return Suspended
	case d.State != Bound:
		return NotBound
	case d.Transfer.Pending(now):
		return TransferPending
	case !d.Suite.Symmetric() && len(d.Valid(now)) == 0:
		return NoCredential
	}
	return NotBlocked
}

// Recheck is when the answer of Blocked, or the keys that are valid, change without anything being done; zero for never.
func (d Device) Recheck(now time.Time) time.Time {
	var next time.Time
	note := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if d.Transfer != nil {
		note(d.Transfer.Until)
	}
	for _, c := range d.Credentials {
		note(c.From)
		note(c.Until)
	}
	return next
}

// Settle makes the state what the lot says as long as the device has not gone further than its lot.
func (d Device) Settle() Device {
	if d.LotNo == 0 || d.State > Available {
		return d
	}
	d.State = Available
	if d.LotState == LotHeld {
		d.State = Registered
	}
	return d
}

// The refusals of this package that have no detail of their own.
var (
	ErrNotFound  = fault.New(fault.NotFound, "DEVICE_NOT_FOUND", "there is no such device, or it is not yours; check the name")
	ErrSuspended = fault.New(fault.FailedPrecondition, "DEVICE_SUSPENDED",
		"the device is suspended and cannot be bound; have the suspension lifted first")
	ErrAlreadyBound = fault.New(fault.FailedPrecondition, "ALREADY_BOUND",
		"the device is bound to another account, whose owner has to release it first")
	ErrModelNotActive = fault.New(fault.FailedPrecondition, "MODEL_NOT_ACTIVE",
		"devices of this model are blocked at present; ask its maker")
	ErrLotRecalled = fault.New(fault.FailedPrecondition, "LOT_RECALLED",
		"the lot was recalled; its devices cannot be used any more")
	ErrTransferPending = fault.New(fault.FailedPrecondition, "TRANSFER_PENDING",
		"the device is being handed to another account; cancel that first, or complete it")
)

func illegal(from, to State) error {
	return fault.New(fault.FailedPrecondition, "ILLEGAL_TRANSITION", "a device that is %s cannot become %s", from, to)
}

// Bind makes the account the device's owner. Binding it again to the account that has it begins a new generation.
// It refuses with ALREADY_BOUND, MODEL_NOT_ACTIVE, LOT_RECALLED, DEVICE_SUSPENDED, TRANSFER_PENDING or ILLEGAL_TRANSITION.
func (d Device) Bind(account string, id BindingID, by Actor, now time.Time) (Device, Event, error) {
	if d.State == Bound && d.Account != account {
		return d, Event{}, ErrAlreadyBound
	}
	if err := d.bindable(); err != nil {
		return d, Event{}, err
	}
	if d.Transfer.Pending(now) {
		return d, Event{}, ErrTransferPending
	}
	if !d.State.CanBecome(Bound) {
		return d, Event{}, illegal(d.State, Bound)
	}
	d.State, d.Account, d.Transfer = Bound, account, nil
	d.Generation++
	d.AuthEpoch++
	note := fmt.Sprintf("generation %d", d.Generation)
	return d, Event{Kind: EventBound, Device: d, By: by, At: now, Binding: id, Note: note}, nil
}

// bindable is nil when nothing but its state and owner can keep the device from being bound.
func (d Device) bindable() error {
	switch {
	case d.ModelStatus == ModelBlocked || d.ModelStatus == ModelCompromised:
		return ErrModelNotActive
	case d.LotState == LotRecalled:
		return ErrLotRecalled
	case len(d.Suspensions) > 0:
		return ErrSuspended
	}
	return nil
}
