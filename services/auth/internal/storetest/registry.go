package storetest

import (
	"context"
	"crypto/rand"
	"sync"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

// Registry is a device registry in memory. It keeps the real one's rules of binding: a device that is bound is not bound
// to another account, and a request repeated gets the same binding.
type Registry struct {
	mu       sync.Mutex
	devices  map[wire.UID]challenge.Device
	bindings map[wire.BindingID]*binding
	requests map[string]wire.BindingID
	down     bool
	// Suspensions counts the calls of SuspendClone that took effect.
	Suspensions int
}

type binding struct {
	challenge.Binding
	uid     wire.UID
	account string
}

var _ challenge.Devices = (*Registry)(nil)

// NewRegistry makes an empty registry.
func NewRegistry() *Registry {
	return &Registry{devices: map[wire.UID]challenge.Device{}, bindings: map[wire.BindingID]*binding{}, requests: map[string]wire.BindingID{}}
}

var errDown = fault.New(fault.Unavailable, "UNAVAILABLE", "a service cannot be reached at present; try again")

// SetDown has every call fail, or work again.
func (r *Registry) SetDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// Put adds a device or changes it.
func (r *Registry) Put(d challenge.Device) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.devices[d.UID] = d
}

// Remove drops a device.
func (r *Registry) Remove(uid wire.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.devices, uid)
}

// Get is a device as it is now.
func (r *Registry) Get(uid wire.UID) challenge.Device {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.devices[uid]
}

// ByUID implements challenge.Devices.
func (r *Registry) ByUID(_ context.Context, uid wire.UID) (challenge.Device, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return challenge.Device{}, errDown
	}
	d, ok := r.devices[uid]
	if !ok {
		return d, challenge.ErrDeviceNotFound
	}
	return d, nil
}

// Fresh implements challenge.Devices.
func (r *Registry) Fresh(ctx context.Context, uid wire.UID) (challenge.Device, error) {
	return r.ByUID(ctx, uid)
}

// ByAccount implements challenge.Devices.
func (r *Registry) ByAccount(_ context.Context, account string) (challenge.Device, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return challenge.Device{}, errDown
	}
	for _, d := range r.devices {
		if d.Account == account {
			return d, nil
		}
	}
	return challenge.Device{}, challenge.ErrDeviceNotFound
}

// BeginBinding implements challenge.Devices.
func (r *Registry) BeginBinding(_ context.Context, uid wire.UID, account, requestID string) (challenge.Binding, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return challenge.Binding{}, errDown
	}
	if _, ok := r.devices[uid]; !ok {
		return challenge.Binding{}, challenge.ErrDeviceNotFound
	}
	if id, ok := r.requests[requestID]; ok {
		return r.bindings[id].Binding, nil
	}
	b := &binding{uid: uid, account: account}
	rand.Read(b.ID[:])
	rand.Read(b.Nonce[:])
	r.bindings[b.ID], r.requests[requestID] = b, b.ID
	return b.Binding, nil
}

// ConfirmBinding implements challenge.Devices.
func (r *Registry) ConfirmBinding(_ context.Context, id wire.BindingID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return errDown
	}
	b, ok := r.bindings[id]
	if !ok {
		return fault.New(fault.NotFound, "BINDING_NOT_FOUND", "there is no such binding")
	}
	d := r.devices[b.uid]
	switch {
	case d.Block == challenge.Suspended:
		return challenge.ErrSuspended
	case d.Account != "" && d.Account != b.account:
		return challenge.ErrAlreadyBound
	}
	d.Account, d.BindingID, d.BindNonce, d.Block = b.account, b.ID, b.Nonce, challenge.NotBlocked
	r.devices[b.uid] = d
	return nil
}

// CompleteTransfer implements challenge.Devices; the code of every transfer is TransferCode.
func (r *Registry) CompleteTransfer(ctx context.Context, id wire.BindingID, code string) error {
	if code != TransferCode {
		return challenge.ErrTransferCode
	}
	r.mu.Lock()
	if b, ok := r.bindings[id]; ok {
		d := r.devices[b.uid]
		d.Account = ""
		r.devices[b.uid] = d
	}
	r.mu.Unlock()
	return r.ConfirmBinding(ctx, id)
}

// ReleaseBinding implements challenge.Devices.
func (r *Registry) ReleaseBinding(_ context.Context, id wire.BindingID, account, _ string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return errDown
	}
	b, ok := r.bindings[id]
	if !ok {
		return nil
	}
	d := r.devices[b.uid]
	switch {
	case d.BindingID != id || d.Account != account:
		return nil
	case d.Block == challenge.Suspended:
		return challenge.ErrSuspended
	}
	d.Account, d.BindingID, d.BindNonce, d.Block = "", wire.BindingID{}, wire.Nonce{}, challenge.NotBound
	d.AuthEpoch++
	r.devices[b.uid] = d
	return nil
}

// TransferCode is the code of every transfer in this registry.
const TransferCode = "0123456789abcdefghjkmnpqrs"

// SuspendClone implements challenge.Devices.
func (r *Registry) SuspendClone(_ context.Context, device, _, _ string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return errDown
	}
	for uid, d := range r.devices {
		if d.Name == device && d.Block != challenge.Suspended {
			d.Block = challenge.Suspended
			r.devices[uid] = d
			r.Suspensions++
		}
	}
	return nil
}
