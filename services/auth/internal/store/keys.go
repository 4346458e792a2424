package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
)

const keyColumns = `id, purpose, partner, epoch, state, public_key, sealed, created_at`

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

// insertKey leaves a key alone that has the purpose, partner and epoch already.
func insertKey(ctx context.Context, q sqldb.Queryer, row keys.Row) error {
	_, err := q.ExecContext(ctx, `INSERT INTO keys (`+keyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (purpose, partner, epoch) DO NOTHING`,
		row.ID, string(row.Purpose), row.Partner, row.Epoch, string(row.State), row.Public, row.Sealed, row.CreatedAt.UnixMicro())
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
	var created int64
	err = row.Scan(&k.ID, &k.Purpose, &k.Partner, &k.Epoch, &k.State, &k.Public, &k.Sealed, &created)
	k.CreatedAt = timeOf(created)
	return k, err
}

// Keys implements keys.Store.
func (s *Store) Keys(ctx context.Context, purpose keys.Purpose) ([]keys.Row, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+keyColumns+` FROM keys WHERE purpose = $1 AND partner = '' ORDER BY epoch`, string(purpose))
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
