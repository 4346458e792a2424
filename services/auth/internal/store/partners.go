package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
)

// CreatePartner implements partner.Store.
func (s *Store) CreatePartner(ctx context.Context, req request.ID, p partner.Partner, master keys.Row) (partner.Partner, error) {
	return once(ctx, s, req, p.CreatedAt, func(ctx context.Context, tx *sqldb.Tx) (partner.Partner, error) {
		// The row of the sequence is locked until the commit, so numbers are given out one after the other.
		err := tx.QueryRowContext(ctx, `UPDATE sequences SET value = value + 1 WHERE name = 'partner_no' RETURNING value`).Scan(&p.No)
		if err != nil {
			return p, err
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO partners (id, display_name, partner_no, key_epoch, created_at)
			VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING`, p.ID, p.DisplayName, p.No, p.KeyEpoch, p.CreatedAt.UnixMicro())
		if err := inserted(res, err, partner.ErrExists); err != nil {
			return p, err
		}
		if err := insertKey(ctx, tx, master); err != nil {
			return p, err
		}
		return p, s.publish(ctx, tx, p.CreatedAt, partner.Created{Partner: p})
	})
}

// inserted is conflict when an INSERT … ON CONFLICT DO NOTHING did nothing.
func inserted(res sql.Result, err, conflict error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		return conflict
	}
	return err
}

// Partner implements partner.Store and token.Clients.
func (s *Store) Partner(ctx context.Context, id string) (partner.Partner, error) {
	return readPartner(ctx, s.db, id)
}

func readPartner(ctx context.Context, q sqldb.Queryer, id string) (partner.Partner, error) {
	p := partner.Partner{ID: id}
	var created int64
	err := q.QueryRowContext(ctx, `SELECT display_name, partner_no, key_epoch, created_at FROM partners WHERE id = $1`, id).
		Scan(&p.DisplayName, &p.No, &p.KeyEpoch, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return p, partner.ErrNotFound
	}
	p.CreatedAt = timeOf(created)
	return p, err
}

// CreateClient implements partner.Store.
func (s *Store) CreateClient(ctx context.Context, req request.ID, c partner.Client) (partner.Client, error) {
	return once(ctx, s, req, c.CreatedAt, func(ctx context.Context, tx *sqldb.Tx) (partner.Client, error) {
		if c.Partner != "" {
			if _, err := readPartner(ctx, tx, c.Partner); err != nil {
				return c, err
			}
		}
		res, err := insertClient(ctx, tx, c)
		return c, inserted(res, err, partner.ErrClientExists)
	})
}

func insertClient(ctx context.Context, q sqldb.Queryer, c partner.Client) (sql.Result, error) {
	return q.ExecContext(ctx, `INSERT INTO clients (id, role, partner, public_jwk, mode, created_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING`,
		c.ID, string(c.Role), sql.NullString{String: c.Partner, Valid: c.Partner != ""}, c.PublicJWK, string(c.Mode), c.CreatedAt.UnixMicro())
}

// EnsureClient implements partner.Store. A client of another role is never taken over.
func (s *Store) EnsureClient(ctx context.Context, c partner.Client) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		res, err := insertClient(ctx, tx, c)
		if err := inserted(res, err, partner.ErrClientExists); !errors.Is(err, partner.ErrClientExists) {
			return err
		}
		res, err = tx.ExecContext(ctx, `UPDATE clients SET public_jwk = $1 WHERE id = $2 AND role = $3`, c.PublicJWK, c.ID, string(c.Role))
		return inserted(res, err, partner.ErrClientExists)
	})
}

// Client implements token.Clients.
func (s *Store) Client(ctx context.Context, id string) (partner.Client, error) {
	c := partner.Client{ID: id}
	var owner sql.NullString
	var created int64
	err := s.db.QueryRowContext(ctx, `SELECT role, partner, public_jwk, mode, created_at FROM clients WHERE id = $1`, id).
		Scan(&c.Role, &owner, &c.PublicJWK, &c.Mode, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return c, partner.ErrClientNotFound
	}
	c.Partner, c.CreatedAt = owner.String, timeOf(created)
	return c, err
}

// UseAssertion implements token.Clients.
func (s *Store) UseAssertion(ctx context.Context, client, jti string, expiresAt, now time.Time) (used bool, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM client_assertions WHERE expires_at < $1`, now.UnixMicro())
		if err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO client_assertions (client_id, jti, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			client, jti, expiresAt.UnixMicro())
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		used = n == 0
		return err
	})
	return used, err
}

const grantColumns = `scope, state, expires_at, revision`

// UpdateGrant implements partner.Store.
func (s *Store) UpdateGrant(ctx context.Context, req request.ID, owner, scope string, now time.Time,
	change func(partner.Grant) (partner.Grant, []any, error),
) (partner.Grant, error) {
	return once(ctx, s, req, now, func(ctx context.Context, tx *sqldb.Tx) (partner.Grant, error) {
		// The partner's row is the lock: a grant that does not exist yet has none of its own.
		var id string
		err := lock(ctx, tx, `SELECT id FROM partners WHERE id = $1`, owner).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return partner.Grant{}, partner.ErrNotFound
		}
		if err != nil {
			return partner.Grant{}, err
		}
		old, err := scanGrant(tx.QueryRowContext(ctx, `SELECT `+grantColumns+` FROM grants WHERE partner = $1 AND scope = $2`, owner, scope), owner)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return old, err
		}
		next, evs, err := change(old)
		if err != nil {
			return next, err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO grants (partner, scope, state, expires_at, revision, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (partner, scope) DO UPDATE SET state = excluded.state, expires_at = excluded.expires_at,
			revision = excluded.revision, updated_at = excluded.updated_at`,
			owner, scope, string(next.State), optional(next.ExpiresAt), next.Revision, now.UnixMicro())
		if err != nil {
			return next, err
		}
		return next, s.publish(ctx, tx, now, evs...)
	})
}

func scanGrant(row scanner, owner string) (partner.Grant, error) {
	var g partner.Grant
	var expires sql.NullInt64
	if err := row.Scan(&g.Scope, &g.State, &expires, &g.Revision); err != nil {
		return partner.Grant{}, err
	}
	g.Partner, g.ExpiresAt = owner, optionalTime(expires)
	return g, nil
}

// Grants implements token.Clients.
func (s *Store) Grants(ctx context.Context, owner string) ([]partner.Grant, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+grantColumns+` FROM grants WHERE partner = $1 ORDER BY scope`, owner)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var grants []partner.Grant
	for rows.Next() {
		g, err := scanGrant(rows, owner)
		if err != nil {
			return nil, err
		}
		grants = append(grants, g)
	}
	return grants, rows.Err()
}
