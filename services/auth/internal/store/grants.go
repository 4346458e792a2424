package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
)

const grantColumns = `SELECT scope, state, expires_at, revision, calls_per_minute, max_amounts FROM grants`

// UpdateGrant implements partner.Store.
func (s *Store) UpdateGrant(ctx context.Context, req request.ID, owner, scope string, now time.Time,
	change func(partner.Grant) (partner.Grant, []any, error),
) (partner.Grant, error) {
	return once(ctx, s, req, now, func(ctx context.Context, tx *sqldb.Tx) (partner.Grant, error) {
		// The partner's row is the lock: a grant that does not exist yet has none of its own.
		if err := lockPartner(ctx, tx, owner); err != nil {
			return partner.Grant{}, err
		}
		old, err := readGrant(ctx, tx, owner, scope)
		if err != nil && !errors.Is(err, partner.ErrGrantNotFound) {
			return old, err
		}
		next, effects, err := change(old)
		if err != nil {
			return next, err
		}
		next.Partner, next.Scope = owner, scope
		if err := writeGrant(ctx, tx, next, now); err != nil {
			return next, err
		}
		return next, s.publish(ctx, tx, now, effects...)
	})
}

func writeGrant(ctx context.Context, tx *sqldb.Tx, g partner.Grant, now time.Time) error {
	amounts, err := json.Marshal(g.Limits.MaxAmounts)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO grants (partner, scope, state, expires_at, revision, calls_per_minute, max_amounts, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (partner, scope) DO UPDATE SET state = excluded.state, expires_at = excluded.expires_at,
		revision = excluded.revision, calls_per_minute = excluded.calls_per_minute, max_amounts = excluded.max_amounts, updated_at = excluded.updated_at`,
		g.Partner, g.Scope, string(g.State), optional(g.ExpiresAt), g.Revision, g.Limits.CallsPerMinute, string(amounts), now.UnixMicro())
	return err
}

// Grant fails with GRANT_NOT_FOUND.
func (s *Store) Grant(ctx context.Context, owner, scope string) (partner.Grant, error) {
	return readGrant(ctx, s.db, owner, scope)
}

func readGrant(ctx context.Context, q sqldb.Queryer, owner, scope string) (partner.Grant, error) {
	g, err := scanGrant(q.QueryRowContext(ctx, grantColumns+` WHERE partner = $1 AND scope = $2`, owner, scope), owner)
	if errors.Is(err, sql.ErrNoRows) {
		return partner.Grant{}, partner.ErrGrantNotFound
	}
	return g, err
}

func scanGrant(row scanner, owner string) (partner.Grant, error) {
	var g partner.Grant
	var expires sql.NullInt64
	var amounts string
	if err := row.Scan(&g.Scope, &g.State, &expires, &g.Revision, &g.Limits.CallsPerMinute, &amounts); err != nil {
		return partner.Grant{}, err
	}
	if err := json.Unmarshal([]byte(amounts), &g.Limits.MaxAmounts); err != nil {
		return partner.Grant{}, fmt.Errorf("store: amounts of grant %s of %s: %w", g.Scope, owner, err)
	}
	g.Partner, g.ExpiresAt = owner, optionalTime(expires)
	return g, nil
}

// Grants implements token.Clients.
func (s *Store) Grants(ctx context.Context, owner string) ([]partner.Grant, error) {
	return readGrants(ctx, s.db, owner)
}

func readGrants(ctx context.Context, q sqldb.Queryer, owner string) ([]partner.Grant, error) {
	rows, err := q.QueryContext(ctx, grantColumns+` WHERE partner = $1 ORDER BY scope`, owner)
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
