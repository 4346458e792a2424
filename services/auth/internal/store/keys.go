package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
)

const keyColumns = `id, purpose, partner, epoch, state, public_key, sealed, imported, created_at, changed_at`

// InsertKey implements keys.Store.
func (s *Store) InsertKey(ctx context.Context, row keys.Row) (keys.Row, error) {
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := insertKey(ctx, tx, row); err != nil {
			return err
		}
		var err error
		row, err = readKey(ctx, tx, row.Purpose, row.Partner, row.Epoch)
		return err
	})
	return row, err
}

// insertKey leaves a key alone that has the purpose, partner and epoch already. Two processes that start at once meet at the
// index of active keys as well, so no one index is named.
func insertKey(ctx context.Context, q sqldb.Queryer, row keys.Row) error {
	_, err := q.ExecContext(ctx, `INSERT INTO keys (`+keyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT DO NOTHING`,
		row.ID, string(row.Purpose), row.Partner, row.Epoch, string(row.State), row.Public, row.Sealed,
		flag(row.Imported), row.CreatedAt.UnixMicro(), row.ChangedAt.UnixMicro())
	return err
}

// Key implements keys.Store.
func (s *Store) Key(ctx context.Context, purpose keys.Purpose, partner string, epoch int) (keys.Row, error) {
	return readKey(ctx, s.db, purpose, partner, epoch)
}

func readKey(ctx context.Context, q sqldb.Queryer, purpose keys.Purpose, partner string, epoch int) (keys.Row, error) {
	row, err := scanKey(q.QueryRowContext(ctx, `SELECT `+keyColumns+` FROM keys WHERE purpose = $1 AND partner = $2 AND epoch = $3`,
		string(purpose), partner, epoch))
	if errors.Is(err, sql.ErrNoRows) {
		return row, keys.ErrNotFound
	}
	return row, err
}

func scanKey(row scanner) (k keys.Row, err error) {
	var created, changed int64
	var imported int
	err = row.Scan(&k.ID, &k.Purpose, &k.Partner, &k.Epoch, &k.State, &k.Public, &k.Sealed, &imported, &created, &changed)
	k.Imported, k.CreatedAt, k.ChangedAt = imported != 0, timeOf(created), timeOf(changed)
	return k, err
}

// KeyState implements keys.Store.
func (s *Store) KeyState(ctx context.Context, purpose keys.Purpose, partner string, epoch int) (state keys.State, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT state FROM keys WHERE purpose = $1 AND partner = $2 AND epoch = $3`,
		string(purpose), partner, epoch).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		return state, keys.ErrNotFound
	}
	return state, err
}

// Keys implements keys.Store.
func (s *Store) Keys(ctx context.Context, purpose keys.Purpose, partner string) ([]keys.Row, error) {
	return listKeys(ctx, s.db, purpose, partner)
}

func listKeys(ctx context.Context, q sqldb.Queryer, purpose keys.Purpose, partner string) ([]keys.Row, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+keyColumns+` FROM keys WHERE purpose = $1 AND partner = $2 ORDER BY epoch`, string(purpose), partner)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []keys.Row
	for rows.Next() {
		k, err := scanKey(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, rows.Err()
}

// UpdateKeys implements keys.Changes.
func (s *Store) UpdateKeys(ctx context.Context, req request.ID, purpose keys.Purpose, owner string, now time.Time,
	change func([]keys.Row) ([]keys.Row, keys.Info, []any, error),
) (keys.Info, error) {
	return once(ctx, s, req, now, func(ctx context.Context, tx *sqldb.Tx) (keys.Info, error) {
		if owner != "" {
			if _, err := readPartner(ctx, tx, owner); err != nil {
				return keys.Info{}, err
			}
		}
		var info keys.Info
		err := s.changeKeys(ctx, tx, purpose, owner, now, func(rows []keys.Row) (changed []keys.Row, effects []any, err error) {
			changed, info, effects, err = change(rows)
			return changed, effects, err
		})
		return info, err
	})
}

// MaintainKeys implements keys.Changes.
func (s *Store) MaintainKeys(ctx context.Context, purpose keys.Purpose, now time.Time, change func([]keys.Row) ([]keys.Row, []any, error)) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return s.changeKeys(ctx, tx, purpose, "", now, change)
	})
}

// changeKeys holds a lock on all keys, which change rarely.
func (s *Store) changeKeys(ctx context.Context, tx *sqldb.Tx, purpose keys.Purpose, owner string, now time.Time,
	change func([]keys.Row) ([]keys.Row, []any, error),
) error {
	var n int64
	if err := lock(ctx, tx, `SELECT value FROM sequences WHERE name = 'keys'`).Scan(&n); err != nil {
		return err
	}
	rows, err := listKeys(ctx, tx, purpose, owner)
	if err != nil {
		return err
	}
	changed, effects, err := change(rows)
	if err != nil {
		return err
	}
	for _, k := range changed {
		if err := writeKey(ctx, tx, k); err != nil {
			return err
		}
	}
	return s.publish(ctx, tx, now, effects...)
}

func writeKey(ctx context.Context, tx *sqldb.Tx, k keys.Row) error {
	res, err := tx.ExecContext(ctx, `UPDATE keys SET state = $1, sealed = $2, changed_at = $3 WHERE id = $4`,
		string(k.State), k.Sealed, k.ChangedAt.UnixMicro(), k.ID)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return insertKey(ctx, tx, k)
}
