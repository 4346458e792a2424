package sqldb

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// Copy brings n rows into a table by PostgreSQL's COPY, which is the fastest there is and knows no ON CONFLICT: a row that
// violates a constraint fails the transaction. row gives the values of row i, in the order of the columns; they must have the
// columns' own types, such as int32 for INTEGER. SQLite has nothing like it.
func (tx *Tx) Copy(ctx context.Context, table string, columns []string, n int, row func(i int) ([]any, error)) error {
	if tx.db.dialect != Postgres {
		return errors.New("sqldb: only PostgreSQL knows COPY")
	}
	var failed error
	rows := pgx.CopyFromSlice(n, func(i int) (values []any, err error) {
		if values, err = row(i); err != nil {
			failed = err // pgx would keep its text alone
		}
		return values, err
	})
	c := copying{into: pgx.Identifier{table}, columns: columns, rows: rows}
	// database/sql does not let go of a transaction's connection; pgx hands it to whoever rewrites a statement, here to an empty one.
	if _, err := tx.tx.ExecContext(ctx, "", c); failed == nil {
		return err
	}
	return failed
}

type copying struct {
	into    pgx.Identifier
	columns []string
	rows    pgx.CopyFromSource
}

// RewriteQuery implements pgx.QueryRewriter.
func (c copying) RewriteQuery(ctx context.Context, conn *pgx.Conn, query string, _ []any) (string, []any, error) {
	_, err := conn.CopyFrom(ctx, c.into, c.columns, c.rows)
	return query, nil, err
}
