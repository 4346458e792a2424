package store

import (
	"context"
	"io/fs"

	"github.com/armlet-pay/armlet/platform/sqldb"
)

// What differs between SQLite and PostgreSQL: the folder of migrations, which sqldb picks, and the lock below.

// Migrations has the folders sqlite and postgres at its root.
func Migrations() (fs.FS, error) { return fs.Sub(migrations, "migrations") }

// lock runs a query for one row that the transaction is going to decide on.
func lock(ctx context.Context, tx *sqldb.Tx, query string, args ...any) scanner {
	return tx.QueryRowContext(ctx, query+tx.ForUpdate(), args...)
}
