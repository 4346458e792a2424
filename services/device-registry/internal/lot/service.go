package lot

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

// Store remembers lots.
type Store interface {
	// Model fails with MODEL_NOT_FOUND.
	Model(ctx context.Context, partner, id string) (device.Model, error)
	// CreateLot fails with LOT_EXISTS or QUOTA_EXCEEDED.
	CreateLot(ctx context.Context, l Lot, ev Event) error
	// UpdateLot lets change decide on the lot under a lock and writes what it returns together with the events. It fails with
	// LOT_NOT_FOUND; an error of change leaves everything as it was.
	UpdateLot(ctx context.Context, partner string, no uint32, change func(old Lot) (Lot, []Event, error)) (Lot, error)
}

// Service registers lots.
type Service struct{ store Store }

// NewService makes a Service on a store.
func NewService(store Store) *Service { return &Service{store: store} }

// Create registers a lot, held or released as its State says. The partner's number comes from the actor's credentials, never from the request.
func (s *Service) Create(ctx context.Context, by device.Actor, l Lot, now time.Time) (Lot, error) {
	if err := by.Provisions(l.Partner); err != nil {
		return Lot{}, err
	}
	l.PartnerNo, l.CreatedAt = by.PartnerNo, now
	if err := l.Validate(); err != nil {
		return Lot{}, err
	}
	model, err := s.store.Model(ctx, l.Partner, l.ModelID)
	if err != nil {
		return Lot{}, err
	}
	if err := model.Supports(l.Suite); err != nil {
		return Lot{}, err
	}
	return l, s.store.CreateLot(ctx, l, Event{Action: Created, Lot: l, By: by, At: now})
}

// Change lets a rule decide on the lot, which the actor has to see.
func (s *Service) Change(ctx context.Context, by device.Actor, partner string, no uint32,
	rule func(old Lot) (Lot, []Event, error),
) (Lot, error) {
	if !by.SeesPartner(partner) {
		return Lot{}, ErrNotFound
	}
	return s.store.UpdateLot(ctx, partner, no, rule)
}
