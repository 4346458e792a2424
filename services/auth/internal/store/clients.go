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

const clientColumns = `SELECT id, role, partner, mode, state, tls, operator_role, merchant, terminal, revision, created_at FROM clients`

// CreateClient implements partner.Store.
func (s *Store) CreateClient(ctx context.Context, req request.ID, c partner.Client, effects []any) (partner.Client, error) {
	return once(ctx, s, req, c.CreatedAt, func(ctx context.Context, tx *sqldb.Tx) (partner.Client, error) {
		if c.Partner != "" {
			if err := lockPartner(ctx, tx, c.Partner); err != nil {
				return c, err
			}
		}
		if err := insertClient(ctx, tx, c); err != nil {
			return c, err
		}
		return c, s.publish(ctx, tx, c.CreatedAt, effects...)
	})
}

// insertClient fails with CLIENT_EXISTS.
func insertClient(ctx context.Context, tx *sqldb.Tx, c partner.Client) error {
	res, err := tx.ExecContext(ctx, `INSERT INTO clients (id, role, partner, mode, state, tls, operator_role, merchant, terminal, revision, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING`,
		c.ID, string(c.Role), sql.NullString{String: c.Partner, Valid: c.Partner != ""}, string(c.Mode), string(c.State), flag(c.TLS),
		string(c.OperatorRole), c.Merchant, c.Terminal, c.Revision, c.CreatedAt.UnixMicro())
	if err := inserted(res, err, partner.ErrClientExists); err != nil {
		return err
	}
	return replaceKeys(ctx, tx, c)
}

func replaceKeys(ctx context.Context, tx *sqldb.Tx, c partner.Client) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM client_keys WHERE client_id = $1`, c.ID); err != nil {
		return err
	}
	for _, k := range c.Keys {
		_, err := tx.ExecContext(ctx, `INSERT INTO client_keys (client_id, key_id, public_jwk, added_at) VALUES ($1, $2, $3, $4)`,
			c.ID, k.ID, k.JWK, k.AddedAt.UnixMicro())
		if err != nil {
			return err
		}
	}
	return nil
}

// EnsureClient implements partner.Store. A client of another role is never taken over, one that has the key is left alone,
// and one that was suspended or revoked stays so.
func (s *Store) EnsureClient(ctx context.Context, c partner.Client) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		old, err := lockClient(ctx, tx, c.ID)
		switch {
		case errors.Is(err, partner.ErrClientNotFound):
			if err = insertClient(ctx, tx, c); !errors.Is(err, partner.ErrClientExists) {
				return err
			}
			if old, err = lockClient(ctx, tx, c.ID); err != nil { // another process was faster
				return err
			}
		case err != nil:
			return err
		}
		if old.Role != c.Role {
			return partner.ErrClientExists
		}
		if len(old.Keys) == 1 && old.Keys[0].ID == c.Keys[0].ID {
			return nil
		}
		old.Keys = c.Keys
		old.Revision++
		return writeClient(ctx, tx, old)
	})
}

func lockClient(ctx context.Context, tx *sqldb.Tx, id string) (partner.Client, error) {
	c, err := scanClient(lock(ctx, tx, clientColumns+` WHERE id = $1`, id))
	if err != nil {
		return c, err
	}
	c.Keys, err = readKeys(ctx, tx, id)
	return c, err
}

func writeClient(ctx context.Context, tx *sqldb.Tx, c partner.Client) error {
	if _, err := tx.ExecContext(ctx, `UPDATE clients SET state = $1, revision = $2 WHERE id = $3`, string(c.State), c.Revision, c.ID); err != nil {
		return err
	}
	return replaceKeys(ctx, tx, c)
}

// UpdateClient implements partner.Store.
func (s *Store) UpdateClient(ctx context.Context, req request.ID, id string, now time.Time,
	change func(partner.Client) (partner.Client, []any, error),
) (partner.Client, error) {
	return once(ctx, s, req, now, func(ctx context.Context, tx *sqldb.Tx) (partner.Client, error) {
		old, err := lockClient(ctx, tx, id)
		if err != nil {
			return old, err
		}
		next, effects, err := change(old)
		if err != nil {
			return next, err
		}
		if err := writeClient(ctx, tx, next); err != nil {
			return next, err
		}
		return next, s.publish(ctx, tx, now, effects...)
	})
}

// Client implements token.Clients.
func (s *Store) Client(ctx context.Context, id string) (partner.Client, error) {
	c, err := scanClient(s.db.QueryRowContext(ctx, clientColumns+` WHERE id = $1`, id))
	if err != nil {
		return c, err
	}
	c.Keys, err = readKeys(ctx, s.db, id)
	return c, err
}

// Clients lists at most limit clients behind the id after, of the partner unless that is empty, by id.
func (s *Store) Clients(ctx context.Context, owner, after string, limit int) ([]partner.Client, error) {
	all, err := s.clients(ctx, owner, after, limit)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Keys, err = readKeys(ctx, s.db, all[i].ID); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (s *Store) clients(ctx context.Context, owner, after string, limit int) ([]partner.Client, error) {
	rows, err := s.db.QueryContext(ctx, clientColumns+` WHERE id > $1 AND (partner = $2 OR $2 = '') ORDER BY id LIMIT $3`, after, owner, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []partner.Client
	for rows.Next() {
		c, err := scanClient(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

// clientsOf are the ids of a partner's clients, in order.
func clientsOf(ctx context.Context, tx *sqldb.Tx, owner string) ([]string, error) {
	rows, err := tx.QueryContext(ctx, `SELECT id FROM clients WHERE partner = $1 ORDER BY id`, owner)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		all = append(all, id)
	}
	return all, rows.Err()
}

func scanClient(row scanner) (c partner.Client, err error) {
	var owner sql.NullString
	var created int64
	var tls int
	err = row.Scan(&c.ID, &c.Role, &owner, &c.Mode, &c.State, &tls, &c.OperatorRole, &c.Merchant, &c.Terminal, &c.Revision, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return c, partner.ErrClientNotFound
	}
	c.Partner, c.TLS, c.CreatedAt = owner.String, tls != 0, timeOf(created)
	return c, err
}

func readKeys(ctx context.Context, q sqldb.Queryer, client string) ([]partner.Key, error) {
	rows, err := q.QueryContext(ctx, `SELECT key_id, public_jwk, added_at FROM client_keys WHERE client_id = $1 ORDER BY added_at, key_id`, client)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []partner.Key
	for rows.Next() {
		var k partner.Key
		var added int64
		if err := rows.Scan(&k.ID, &k.JWK, &added); err != nil {
			return nil, err
		}
		if k.ID == "" { // from before keys had names
			if k.ID, err = keys.Thumbprint(k.JWK); err != nil {
				return nil, err
			}
		}
		k.AddedAt = timeOf(added)
		all = append(all, k)
	}
	return all, rows.Err()
}
