package partner

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
)

// Store remembers partners, clients and grants. Each method commits its change, its events and the request together.
type Store interface {
	// CreatePartner gives the partner its number. It fails with PARTNER_EXISTS and REQUEST_ID_REUSED.
	CreatePartner(ctx context.Context, req request.ID, p Partner, master keys.Row) (Partner, error)
	// Partner fails with PARTNER_NOT_FOUND.
	Partner(ctx context.Context, id string) (Partner, error)
	// CreateClient fails with PARTNER_NOT_FOUND, CLIENT_EXISTS and REQUEST_ID_REUSED.
	CreateClient(ctx context.Context, req request.ID, c Client) (Client, error)
	// UpdateGrant lets change make the next grant from the present one, the zero Grant when there is none, and returns
	// what is then stored. It fails with PARTNER_NOT_FOUND and REQUEST_ID_REUSED.
	UpdateGrant(ctx context.Context, req request.ID, partner, scope string, now time.Time,
		change func(old Grant) (next Grant, events []any, err error)) (Grant, error)
	// EnsureClient adds the client or gives the one that is there the new key.
	EnsureClient(ctx context.Context, c Client) error
}

// MasterMaker makes master keys.
type MasterMaker interface {
	NewMaster(partner string, epoch int, now time.Time) (keys.Row, error)
}

// Service registers partners and what they may do.
type Service struct {
	store   Store
	masters MasterMaker
}

// NewService makes a Service.
func NewService(store Store, masters MasterMaker) *Service {
	return &Service{store: store, masters: masters}
}

// Create registers a partner together with its first master key.
func (s *Service) Create(ctx context.Context, req request.ID, id, displayName string, now time.Time) (Partner, error) {
	const firstEpoch = 1
	master, err := s.masters.NewMaster(id, firstEpoch, now)
	if err != nil {
		return Partner{}, err
	}
	p := Partner{ID: id, DisplayName: displayName, KeyEpoch: firstEpoch, CreatedAt: now}
	return s.store.CreatePartner(ctx, req, p, master)
}

// CreateClient registers a program by its public key.
func (s *Service) CreateClient(ctx context.Context, req request.ID, c Client, now time.Time) (Client, error) {
	switch {
	case c.Role == RolePartner && c.Partner == "":
		return Client{}, fault.InvalidField("partner", "a partner's client needs its partner")
	case c.Role == RoleOperator && c.Partner != "":
		return Client{}, fault.InvalidField("partner", "an operator's client has no partner; leave it empty")
	}
	public, err := keys.CanonicalPublic(c.PublicJWK)
	if err != nil {
		return Client{}, err
	}
	c.PublicJWK, c.CreatedAt = public, now
	return s.store.CreateClient(ctx, req, c)
}

// EnsureOperator registers the operator's first client, or follows a change of its key.
func (s *Service) EnsureOperator(ctx context.Context, id, publicJWK string, now time.Time) error {
	public, err := keys.CanonicalPublic(publicJWK)
	if err != nil {
		return err
	}
	return s.store.EnsureClient(ctx, Client{ID: id, Role: RoleOperator, PublicJWK: public, Mode: Live, CreatedAt: now})
}

// Grant allows a partner one scope.
func (s *Service) Grant(ctx context.Context, req request.ID, g Grant, now time.Time) (Grant, error) {
	if !g.ExpiresAt.IsZero() && !now.Before(g.ExpiresAt) {
		return Grant{}, fault.InvalidField("expire_time", "the grant would have ended already; give a later time")
	}
	return s.store.UpdateGrant(ctx, req, g.Partner, g.Scope, now, func(old Grant) (Grant, []any, error) {
		next, err := approve(old, g, now)
		return next, []any{GrantChanged{next}}, err
	})
}

// Revoke takes a scope back.
func (s *Service) Revoke(ctx context.Context, req request.ID, partner, scope string, now time.Time) (Grant, error) {
	return s.store.UpdateGrant(ctx, req, partner, scope, now, func(old Grant) (Grant, []any, error) {
		if old.Revision == 0 {
			return Grant{}, nil, ErrGrantNotFound
		}
		next, changed := revoke(old)
		if !changed {
			return next, nil, nil
		}
		return next, []any{GrantChanged{next}}, nil
	})
}
