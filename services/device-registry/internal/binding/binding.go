// Package binding ties a device to an account.
//
//	          confirm              a newer generation, or release
//	PENDING ──────────▶ ACTIVE ──────────────────────────────────▶ RELEASED
//	   │                                                              ▲
//	   └────── begun again by the same account for the same device ───┘
//
// A pending binding promises nothing: any number of accounts may have one for one device, and the device's active
// binding stays in force. Auth confirms it when the band has proved that it is in the account's hands; then, and not
// before, the registry tells whether the device is free. A device has at most one active binding.
package binding

import (
	"crypto/rand"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

// State is where a binding is in its life. The numbers are stored.
type State uint8

// The states.
const (
	Pending  State = 1
	Active   State = 2
	Released State = 3
)

// Binding ties a device to an account for one generation.
type Binding struct {
	ID      device.BindingID
	UID     device.UID
	Partner string
	Account string
	Nonce   [16]byte // the band mixes it into its keys
	State   State
	// Generation counts the device's active bindings from 1; 0 for a binding that was never active.
	Generation int64
	CreatedAt  time.Time
	BoundAt    time.Time // zero until active
}

// New is a pending binding with a fresh id and nonce.
func New(d device.Device, account string, now time.Time) Binding {
	b := Binding{UID: d.UID, Partner: d.Partner, Account: account, State: Pending, CreatedAt: now}
	// Reading never fails: crypto/rand stops the program instead.
	_, _ = rand.Read(b.ID[:])
	_, _ = rand.Read(b.Nonce[:])
	return b
}

// Standing is everything that a payment needs to know of a device.
type Standing struct {
	Device  device.Device
	Model   device.Model
	Binding *Binding // the active one, nil when there is none
}

// ErrNotFound is the refusal for a binding that was never begun.
var ErrNotFound = fault.New(fault.NotFound, "BINDING_NOT_FOUND", "there is no such binding; begin one")

var errSuperseded = fault.New(fault.FailedPrecondition, "BINDING_SUPERSEDED",
	"a later binding of the same device took the place of this one; use that, or begin again")

// Scene is everything that a confirmation depends on, read under a lock.
type Scene struct {
	Binding Binding  // the one to be confirmed
	Active  *Binding // the device's active one, nil when there is none
	Device  device.Device
	Held    int // how many devices the binding's account has
}

// Outcome is what a confirmation changes.
type Outcome struct {
	Binding Binding
	Ended   *Binding // the binding that this one takes the place of, nil when there is none
	Device  device.Device
	Events  []device.Event // none when it was confirmed before
}

// Complete decides on a confirmation with the code of a transfer: the account takes the device over from its owner. Completing
// an active binding changes nothing. It refuses with BINDING_SUPERSEDED, DEVICE_LIMIT_REACHED, and as Device.TakeOver does.
func (s Scene) Complete(code string, limit int, by device.Actor, now time.Time) (Outcome, error) {
	return s.take(limit, now, func() (device.Device, device.Event, error) {
		return s.Device.TakeOver(s.Binding.Account, code, s.Binding.ID, by, now)
	})
}

// Confirm decides on a confirmation. Confirming an active binding changes nothing. It refuses with BINDING_SUPERSEDED,
// ALREADY_BOUND, DEVICE_SUSPENDED, DEVICE_LIMIT_REACHED or ILLEGAL_TRANSITION.
func (s Scene) Confirm(limit int, by device.Actor, now time.Time) (Outcome, error) {
	return s.take(limit, now, func() (device.Device, device.Event, error) {
		return s.Device.Bind(s.Binding.Account, s.Binding.ID, by, now)
	})
}

func (s Scene) take(limit int, now time.Time, rule func() (device.Device, device.Event, error)) (Outcome, error) {
	b := s.Binding
	switch b.State {
	case Active:
		return Outcome{Binding: b, Device: s.Device}, nil
	case Released:
		return Outcome{}, errSuperseded
	case Pending:
	}
	has := s.Device.State == device.Bound && s.Device.Account == b.Account
	d, ev, err := rule()
	if err != nil {
		return Outcome{}, err
	}
	if !has && s.Held >= limit {
		return Outcome{}, fault.New(fault.ResourceExhausted, "DEVICE_LIMIT_REACHED",
			"the account has %d devices already, which is the limit; release one first", s.Held)
	}
	b.State, b.Generation, b.BoundAt = Active, d.Generation, now
	out := Outcome{Binding: b, Device: d, Events: []device.Event{ev}}
	if s.Active != nil {
		ended := *s.Active
		ended.State = Released
		out.Ended = &ended
	}
	return out, nil
}

// Release decides on ending the scene's binding for the account that proved to own it. It refuses with BINDING_NOT_FOUND,
// BINDING_SUPERSEDED, and as Device.Release does.
func (s Scene) Release(account, proof string, by device.Actor, now time.Time) (Outcome, error) {
	b := s.Binding
	switch {
	case b.Account != account:
		return Outcome{}, ErrNotFound
	case b.State != Active:
		return Outcome{}, errSuperseded
	}
	d, ev, err := s.Device.Release(b.ID, "proof "+proof, by, now)
	if err != nil {
		return Outcome{}, err
	}
	b.State = Released
	return Outcome{Binding: b, Device: d, Events: []device.Event{ev}}, nil
}
