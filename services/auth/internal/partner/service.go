package partner

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/auth/internal/audit"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
	"github.com/armlet-pay/armlet/services/auth/internal/revocation"
)

// Store remembers partners, clients and grants. Each method commits its change, its effects (events, [audit.Entry] and
// [revocation.Entry]) and the request together.
type Store interface {
	// CreatePartner gives the partner its number. It fails with PARTNER_EXISTS and REQUEST_ID_REUSED.
	CreatePartner(ctx context.Context, req request.ID, p Partner, master keys.Row, effects func(Partner) []any) (Partner, error)
	// UpdatePartner fails with PARTNER_NOT_FOUND and REQUEST_ID_REUSED.
	UpdatePartner(ctx context.Context, req request.ID, id string, now time.Time, change func(old Partner) (Partner, []any, error)) (Partner, error)
	// OffboardPartner lets leave decide on the partner and all its clients and grants under a lock that CreateClient and
	// UpdateGrant take too. It fails with PARTNER_NOT_FOUND and REQUEST_ID_REUSED.
	OffboardPartner(ctx context.Context, req request.ID, id string, now time.Time, leave func(Belongings) (Belongings, []any)) (Partner, error)
	// CreateClient fails with PARTNER_NOT_FOUND, PARTNER_OFFBOARDED, CLIENT_EXISTS and REQUEST_ID_REUSED.
	CreateClient(ctx context.Context, req request.ID, c Client, effects []any) (Client, error)
	// UpdateClient fails with CLIENT_NOT_FOUND and REQUEST_ID_REUSED.
	UpdateClient(ctx context.Context, req request.ID, id string, now time.Time, change func(old Client) (Client, []any, error)) (Client, error)
	// UpdateGrant lets change make the next grant from the present one, the zero Grant when there is none, and returns
	// what is then stored. It fails with PARTNER_NOT_FOUND, PARTNER_OFFBOARDED and REQUEST_ID_REUSED.
	UpdateGrant(ctx context.Context, req request.ID, partner, scope string, now time.Time, change func(old Grant) (Grant, []any, error)) (Grant, error)
	// EnsureClient adds the client or gives the one that is there the new key alone.
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

func decided(req request.ID, action, subject, detail string) audit.Entry {
	return audit.Entry{Actor: req.Caller, Action: action, Subject: subject, Detail: detail}
}

// Create registers a partner together with its first master key.
func (s *Service) Create(ctx context.Context, req request.ID, id, displayName string, now time.Time) (Partner, error) {
	const firstEpoch = 1
	master, err := s.masters.NewMaster(id, firstEpoch, now)
	if err != nil {
		return Partner{}, err
	}
	p := Partner{ID: id, DisplayName: displayName, KeyEpoch: firstEpoch, CreatedAt: now}
	return s.store.CreatePartner(ctx, req, p, master, func(p Partner) []any {
		return []any{Created{p}, decided(req, "partner.created", p.Name(), "")}
	})
}

// Suspend stops a partner's clients.
func (s *Service) Suspend(ctx context.Context, req request.ID, id, note string, now time.Time) (Partner, error) {
	return s.store.UpdatePartner(ctx, req, id, now, func(p Partner) (Partner, []any, error) {
		if p.Offboarded {
			return p, nil, ErrOffboarded
		}
		if p.Suspended {
			return p, nil, nil
		}
		p.Suspended = true
		return p, []any{Changed{p}, void(revocation.Partner, id, now), decided(req, "partner.suspended", p.Name(), note)}, nil
	})
}

// Resume lets a partner's clients get tokens again.
func (s *Service) Resume(ctx context.Context, req request.ID, id string, now time.Time) (Partner, error) {
	return s.store.UpdatePartner(ctx, req, id, now, func(p Partner) (Partner, []any, error) {
		if p.Offboarded {
			return p, nil, ErrOffboarded
		}
		if !p.Suspended {
			return p, nil, nil
		}
		p.Suspended = false
		return p, []any{Changed{p}, decided(req, "partner.resumed", p.Name(), "")}, nil
	})
}

// Belongings are a partner with all that it may act with.
type Belongings struct {
	Partner Partner
	Clients []Client
	Grants  []Grant
}

// Offboard ends a partner for good: its clients and grants are revoked with it. Its bands are their wearers', and its master
// keys are what those bands are verified with; neither is touched.
func (s *Service) Offboard(ctx context.Context, req request.ID, id, note string, now time.Time) (Partner, error) {
	return s.store.OffboardPartner(ctx, req, id, now, func(all Belongings) (Belongings, []any) {
		if all.Partner.Offboarded {
			return Belongings{Partner: all.Partner}, nil
		}
		return leave(all, req, note, now)
	})
}

// leave is what changes when a partner is offboarded. One entry voids the tokens of all its clients.
func leave(all Belongings, req request.ID, note string, now time.Time) (next Belongings, effects []any) {
	next.Partner = all.Partner
	next.Partner.Offboarded = true
	effects = []any{void(revocation.Partner, all.Partner.ID, now), decided(req, "partner.offboarded", all.Partner.Name(), note)}
	for _, c := range all.Clients {
		if c, changed, err := c.become(ClientRevoked); err == nil && changed {
			next.Clients = append(next.Clients, c)
			effects = append(effects, ClientChanged{c}, decided(req, "client.revoked", c.Name(), "with its partner"))
		}
	}
	for _, g := range all.Grants {
		if g, changed, err := revoke(g); err == nil && changed {
			next.Grants = append(next.Grants, g)
			effects = append(effects, GrantChanged{g}, decided(req, "grant.revoked", g.Name(), "with its partner"))
		}
	}
	return next, append(effects, Offboarded{next.Partner}) // last, so that nothing about the partner follows it
}

// CreateClient registers a program by its public key, or by the name in its certificate.
func (s *Service) CreateClient(ctx context.Context, req request.ID, c Client, publicJWK string, now time.Time) (Client, error) {
	if c.Role == RoleOperator && c.OperatorRole == "" {
		c.OperatorRole = Admin
	}
	if err := c.check(); err != nil {
		return Client{}, err
	}
	if publicJWK != "" || !c.TLS {
		key, err := parseKey(publicJWK, now)
		if err != nil {
			return Client{}, err
		}
		c.Keys = []Key{key}
	}
	c.State, c.Revision, c.CreatedAt = ClientActive, 1, now
	return s.store.CreateClient(ctx, req, c, []any{
		ClientChanged{c}, decided(req, "client.created", c.Name(), "role "+string(c.Role)+" "+string(c.OperatorRole)+c.Partner+c.Terminal),
	})
}

// EnsureOperator registers the operator's first client, or follows a change of its key.
func (s *Service) EnsureOperator(ctx context.Context, id, publicJWK string, now time.Time) error {
	key, err := parseKey(publicJWK, now)
	if err != nil {
		return err
	}
	return s.store.EnsureClient(ctx, Client{
		ID: id, Role: RoleOperator, OperatorRole: Admin, Mode: Live, State: ClientActive, Revision: 1, Keys: []Key{key}, CreatedAt: now,
	})
}

// client changes a client that belongs to owner, or to anybody when owner is empty. Others see none.
func (s *Service) client(ctx context.Context, req request.ID, owner, id string, now time.Time,
	change func(c Client) (next Client, effects []any, err error),
) (Client, error) {
	return s.store.UpdateClient(ctx, req, id, now, func(old Client) (Client, []any, error) {
		if owner != "" && old.Partner != owner {
			return old, nil, ErrClientNotFound
		}
		next, effects, err := change(old)
		if err == nil && next.Revision != old.Revision {
			effects = append(effects, ClientChanged{next})
		}
		return next, effects, err
	})
}

// AddKey gives a client one more key.
func (s *Service) AddKey(ctx context.Context, req request.ID, owner, id, publicJWK string, now time.Time) (Client, error) {
	key, err := parseKey(publicJWK, now)
	if err != nil {
		return Client{}, err
	}
	return s.client(ctx, req, owner, id, now, func(c Client) (Client, []any, error) {
		next, err := c.addKey(key)
		return next, []any{decided(req, "client.key_added", c.Name(), key.ID)}, err
	})
}

// RemoveKey takes a key from a client, and voids its tokens: which of them that key asked for is not known.
func (s *Service) RemoveKey(ctx context.Context, req request.ID, owner, id, keyID string, now time.Time) (Client, error) {
	return s.client(ctx, req, owner, id, now, func(c Client) (Client, []any, error) {
		next, err := c.removeKey(keyID)
		return next, []any{void(revocation.Client, id, now), decided(req, "client.key_removed", c.Name(), keyID)}, err
	})
}

// SetClientState suspends, resumes or revokes a client.
func (s *Service) SetClientState(ctx context.Context, req request.ID, owner, id string, to ClientState, note string, now time.Time) (Client, error) {
	return s.client(ctx, req, owner, id, now, func(c Client) (Client, []any, error) {
		next, changed, err := c.become(to)
		if err != nil || !changed {
			return next, nil, err
		}
		effects := []any{decided(req, "client."+clientVerb[to], c.Name(), note)}
		if to != ClientActive {
			effects = append(effects, void(revocation.Client, id, now))
		}
		return next, effects, nil
	})
}

var clientVerb = map[ClientState]string{ClientActive: "resumed", ClientSuspended: "suspended", ClientRevoked: "revoked"}

// Grant allows a partner one scope, or records that it asks for it, as g.State says; empty is Approved.
func (s *Service) Grant(ctx context.Context, req request.ID, g Grant, now time.Time) (Grant, error) {
	if g.ended(now) {
		return Grant{}, errEnded
	}
	if err := g.Limits.fits(g.Scope); err != nil {
		return Grant{}, err
	}
	if g.State == "" {
		g.State = Approved
	}
	return s.grant(ctx, req, g.Partner, g.Scope, "", now, func(old Grant) (Grant, bool, error) {
		next, err := begin(old, g, now)
		return next, err == nil, err
	})
}

var errEnded = fault.InvalidField("expire_time", "the grant would have ended already; give a later time")

// Approve lets a grant come into force as to; nil limits and a zero expiry leave what is there.
func (s *Service) Approve(ctx context.Context, req request.ID, partner, scope string, to State, limits *Limits, expiresAt, now time.Time) (Grant, error) {
	return s.grant(ctx, req, partner, scope, "", now, func(old Grant) (Grant, bool, error) {
		next, err := approve(old, to, limits, expiresAt)
		if err == nil && next.ended(now) {
			err = errEnded
		}
		return next, err == nil, err
	})
}

// SuspendGrant takes a grant out of force for now.
func (s *Service) SuspendGrant(ctx context.Context, req request.ID, partner, scope, note string, now time.Time) (Grant, error) {
	return s.grant(ctx, req, partner, scope, note, now, suspend)
}

// Revoke takes a scope back.
func (s *Service) Revoke(ctx context.Context, req request.ID, partner, scope string, now time.Time) (Grant, error) {
	return s.grant(ctx, req, partner, scope, "", now, revoke)
}

// grant changes a grant. Tokens that rest on one in force are void, whatever the change: the next one says what is so now.
func (s *Service) grant(ctx context.Context, req request.ID, partner, scope, note string, now time.Time,
	change func(old Grant) (next Grant, changed bool, err error),
) (Grant, error) {
	return s.store.UpdateGrant(ctx, req, partner, scope, now, func(old Grant) (Grant, []any, error) {
		next, changed, err := change(old)
		if err != nil || !changed {
			return next, nil, err
		}
		effects := []any{GrantChanged{next}, decided(req, "grant."+grantVerb[next.State], next.Name(), note)}
		if old.InForce(Test, now) {
			effects = append(effects, void(revocation.Grant, partner+"/"+scope, now))
		}
		return next, effects, nil
	})
}

var grantVerb = map[State]string{
	Requested: "requested", Sandbox: "sandboxed", Approved: "approved", Suspended: "suspended", Revoked: "revoked",
}
