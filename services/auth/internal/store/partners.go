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
func (s *Store) CreatePartner(ctx context.Context, req request.ID, p partner.Partner, master keys.Row,
	effects func(partner.Partner) []any,
) (partner.Partner, error) {
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
		return p, s.publish(ctx, tx, p.CreatedAt, effects(p)...)
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

const partnerColumns = `SELECT id, display_name, partner_no, key_epoch, suspended, created_at FROM partners`

func readPartner(ctx context.Context, q sqldb.Queryer, id string) (partner.Partner, error) {
	return scanPartner(q.QueryRowContext(ctx, partnerColumns+` WHERE id = $1`, id))
}

func scanPartner(row scanner) (p partner.Partner, err error) {
	var created int64
	var state int
	err = row.Scan(&p.ID, &p.DisplayName, &p.No, &p.KeyEpoch, &state, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return p, partner.ErrNotFound
	}
	p.Suspended, p.Offboarded, p.CreatedAt = state == suspended, state == offboarded, timeOf(created)
	return p, err
}

// Partners lists at most limit partners behind the id after, by id.
func (s *Store) Partners(ctx context.Context, after string, limit int) ([]partner.Partner, error) {
	rows, err := s.db.QueryContext(ctx, partnerColumns+` WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []partner.Partner
	for rows.Next() {
		p, err := scanPartner(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, rows.Err()
}

// UpdatePartner implements partner.Store.
func (s *Store) UpdatePartner(ctx context.Context, req request.ID, id string, now time.Time,
	change func(partner.Partner) (partner.Partner, []any, error),
) (partner.Partner, error) {
	return once(ctx, s, req, now, func(ctx context.Context, tx *sqldb.Tx) (partner.Partner, error) {
		old, err := scanPartner(lock(ctx, tx, partnerColumns+` WHERE id = $1`, id))
		if err != nil {
			return old, err
		}
		next, effects, err := change(old)
		if err != nil {
			return next, err
		}
		_, err = tx.ExecContext(ctx, `UPDATE partners SET display_name = $1, key_epoch = $2, suspended = $3 WHERE id = $4`,
			next.DisplayName, next.KeyEpoch, stateOf(next), id)
		if err != nil {
			return next, err
		}
		return next, s.publish(ctx, tx, now, effects...)
	})
}

// What the column suspended says. The version before takes whatever is not 0 for suspended, so it serves no offboarded partner.
const (
	active     = 0
	suspended  = 1
	offboarded = 2
)

func stateOf(p partner.Partner) int {
	switch {
	case p.Offboarded:
		return offboarded
	case p.Suspended:
		return suspended
	}
	return active
}

// lockPartner fails with PARTNER_NOT_FOUND and PARTNER_OFFBOARDED. While the lock is held, the partner is not offboarded.
func lockPartner(ctx context.Context, tx *sqldb.Tx, id string) error {
	p, err := scanPartner(lock(ctx, tx, partnerColumns+` WHERE id = $1`, id))
	if err == nil && p.Offboarded {
		err = partner.ErrOffboarded
	}
	return err
}

// OffboardPartner implements partner.Store.
func (s *Store) OffboardPartner(ctx context.Context, req request.ID, id string, now time.Time,
	leave func(partner.Belongings) (partner.Belongings, []any),
) (partner.Partner, error) {
	return once(ctx, s, req, now, func(ctx context.Context, tx *sqldb.Tx) (partner.Partner, error) {
		all, err := belongings(ctx, tx, id)
		if err != nil {
			return all.Partner, err
		}
		next, effects := leave(all)
		_, err = tx.ExecContext(ctx, `UPDATE partners SET suspended = $1 WHERE id = $2`, stateOf(next.Partner), id)
		if err != nil {
			return next.Partner, err
		}
		for _, c := range next.Clients {
			if err := writeClient(ctx, tx, c); err != nil {
				return next.Partner, err
			}
		}
		for _, g := range next.Grants {
			if err := writeGrant(ctx, tx, g, now); err != nil {
				return next.Partner, err
			}
		}
		return next.Partner, s.publish(ctx, tx, now, effects...)
	})
}

// belongings locks a partner and its clients, and reads its grants, which the partner's lock is for too.
func belongings(ctx context.Context, tx *sqldb.Tx, id string) (all partner.Belongings, err error) {
	if all.Partner, err = scanPartner(lock(ctx, tx, partnerColumns+` WHERE id = $1`, id)); err != nil {
		return all, err
	}
	ids, err := clientsOf(ctx, tx, id)
	if err != nil {
		return all, err
	}
	for _, one := range ids {
		c, err := lockClient(ctx, tx, one)
		if err != nil {
			return all, err
		}
		all.Clients = append(all.Clients, c)
	}
	all.Grants, err = readGrants(ctx, tx, id)
	return all, err
}

// flag is how a bool is stored in both databases.
func flag(b bool) int {
	if b {
		return 1
	}
	return 0
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
