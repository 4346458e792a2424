package device

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Store remembers models and devices.
type Store interface {
	// CreateModel fails with MODEL_EXISTS or QUOTA_EXCEEDED.
	CreateModel(ctx context.Context, m Model, ev ModelEvent) error
	// UpdateModel lets change decide on the model under a lock and writes what it returns together with the events. It fails
	// with MODEL_NOT_FOUND; an error of change leaves everything as it was.
	UpdateModel(ctx context.Context, partner, id string, change func(old Model) (Model, []ModelEvent, error)) (Model, error)
	// Model fails with MODEL_NOT_FOUND.
	Model(ctx context.Context, partner, id string) (Model, error)
	// CreateDevice fails with DEVICE_EXISTS when the uid has a row or lies in a range lot, or with QUOTA_EXCEEDED.
	CreateDevice(ctx context.Context, d Device, ev Event) error
	// Update lets change decide on the device under a lock and writes what it returns together with the events. A device
	// of a range lot gets its row here. It fails with DEVICE_NOT_FOUND; an error of change leaves everything as it was.
	Update(ctx context.Context, uid UID, now time.Time, change func(old Device) (Device, []Event, error)) (Device, error)
}

// Service makes the changes to models and devices that callers ask for.
type Service struct{ store Store }

// NewService makes a Service on a store.
func NewService(store Store) *Service { return &Service{store: store} }

// CreateModel registers a kind of band.
func (s *Service) CreateModel(ctx context.Context, by Actor, m Model, now time.Time) (Model, error) {
	if err := by.Provisions(m.Partner); err != nil {
		return Model{}, err
	}
	if err := m.Validate(); err != nil {
		return Model{}, err
	}
	m.CreatedAt, m.Status = now, ModelActive
	return m, s.store.CreateModel(ctx, m, ModelEvent{Action: ModelCreated, Model: m, By: by, At: now})
}

// ChangeModel lets a rule decide on the model of the partner, which the actor has to see.
func (s *Service) ChangeModel(ctx context.Context, by Actor, partner, id string,
	rule func(old Model) (Model, []ModelEvent, error),
) (Model, error) {
	if !by.SeesPartner(partner) {
		return Model{}, ErrModelNotFound
	}
	return s.store.UpdateModel(ctx, partner, id, rule)
}

// Wants is nil when a device of the suite comes with this public key, or without one, and CREDENTIAL_REQUIRED or
// CREDENTIAL_INVALID otherwise.
func (s Suite) Wants(key []byte) error {
	switch {
	case !s.Symmetric() && len(key) == 0:
		return fault.New(fault.Invalid, "CREDENTIAL_REQUIRED", "suite %d needs the device's public key", s).WithField("public_key")
	case s.Symmetric() && len(key) > 0:
		return fault.New(fault.Invalid, "CREDENTIAL_INVALID", "suite %d has no public key; leave it empty", s).WithField("public_key")
	}
	return nil
}

// CreateDevice registers one device outside any lot. Of d it takes UID, Partner, ModelID, Suite and KeyEpoch. The form of
// the key has been checked.
func (s *Service) CreateDevice(ctx context.Context, by Actor, d Device, key []byte, now time.Time) (Device, error) {
	if err := by.Provisions(d.Partner); err != nil {
		return Device{}, err
	}
	if d.UID.PartnerNo() != by.PartnerNo {
		return Device{}, fault.New(fault.PermissionDenied, "UID_OUTSIDE_PARTNER",
			"the uid begins with another partner's number; yours is %d", by.PartnerNo)
	}
	if err := d.Suite.Wants(key); err != nil {
		return Device{}, err
	}
	model, err := s.store.Model(ctx, d.Partner, d.ModelID)
	if err != nil {
		return Device{}, err
	}
	if err := model.Supports(d.Suite); err != nil {
		return Device{}, err
	}
	d.State, d.AuthEpoch, d.CreatedAt = Available, model.Epoch+FirstAuthEpoch, now
	d.SharedEpoch, d.ModelStatus = model.Epoch, model.Status
	d = d.FirstCredential(key)
	return d, s.store.CreateDevice(ctx, d, Event{Kind: EventCreated, Device: d, By: by, At: now})
}

// Change lets a rule decide on the device that the actor knows under the partner. Every call that changes one device that
// is there goes through here.
func (s *Service) Change(ctx context.Context, by Actor, partner string, uid UID, now time.Time,
	rule func(old Device) (Device, []Event, error),
) (Device, error) {
	return s.store.Update(ctx, uid, now, func(old Device) (Device, []Event, error) {
		if err := by.Check(old, partner); err != nil {
			return old, nil, err
		}
		return rule(old)
	})
}

// Suspend adds a suspension.
func (s *Service) Suspend(ctx context.Context, by Actor, partner string, uid UID, r Reason, note string, now time.Time) (Device, error) {
	return s.Change(ctx, by, partner, uid, now, func(old Device) (Device, []Event, error) { return old.Suspend(r, note, by, now) })
}

// Lift removes a suspension.
func (s *Service) Lift(ctx context.Context, by Actor, partner string, uid UID, r Reason, now time.Time) (Device, error) {
	return s.Change(ctx, by, partner, uid, now, func(old Device) (Device, []Event, error) { return old.Lift(r, "", by, now) })
}
