package binding

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

// Store remembers bindings.
type Store interface {
	// Device fails with DEVICE_NOT_FOUND; it finds devices of range lots that have no row.
	Device(ctx context.Context, uid device.UID) (device.Device, error)
	// Begin writes a pending binding and releases an earlier pending one of the same device and account.
	Begin(ctx context.Context, b Binding) error
	// Decide lets decide act on the scene under a lock and writes what it returns. It fails with BINDING_NOT_FOUND; an
	// error of decide leaves everything as it was.
	Decide(ctx context.Context, id device.BindingID, now time.Time, decide func(Scene) (Outcome, error)) (Binding, error)
}

// Service makes and confirms bindings.
type Service struct {
	store Store
	limit int
}

// NewService makes a Service on a store with a limit of devices per account.
func NewService(store Store, limit int) *Service { return &Service{store: store, limit: limit} }

// Begin makes a pending binding of any device that exists, whatever its state: whether it may be bound is told only
// when the band has proved that it is there.
func (s *Service) Begin(ctx context.Context, uid device.UID, account string, now time.Time) (Binding, error) {
	d, err := s.store.Device(ctx, uid)
	if err != nil {
		return Binding{}, err
	}
	b := New(d, account, now)
	return b, s.store.Begin(ctx, b)
}

// Confirm makes a pending binding the device's active one.
func (s *Service) Confirm(ctx context.Context, by device.Actor, id device.BindingID, now time.Time) (Binding, error) {
	return s.store.Decide(ctx, id, now, func(scene Scene) (Outcome, error) { return scene.Confirm(s.limit, by, now) })
}

// Complete makes a pending binding the active one in place of the owner's, given the code of the transfer.
func (s *Service) Complete(ctx context.Context, by device.Actor, id device.BindingID, code string, now time.Time) (Binding, error) {
	return s.store.Decide(ctx, id, now, func(scene Scene) (Outcome, error) { return scene.Complete(code, s.limit, by, now) })
}

// Release ends the account's active binding. The proof that its owner wants it is auth's; the record names it.
func (s *Service) Release(ctx context.Context, by device.Actor, id device.BindingID, account, proof string, now time.Time) (Binding, error) {
	return s.store.Decide(ctx, id, now, func(scene Scene) (Outcome, error) { return scene.Release(account, proof, by, now) })
}
