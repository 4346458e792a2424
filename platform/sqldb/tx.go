package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Queryer runs statements; [DB] and [Tx] implement it. QueryContext and QueryRowContext are for reading: outside a
// transaction SQLite answers them from connections that refuse to write.
type Queryer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

var (
	_ Queryer = (*DB)(nil)
	_ Queryer = (*Tx)(nil)
)

const (
	maxAttempts  = 12
	firstBackoff = 2 * time.Millisecond
	maxBackoff   = 250 * time.Millisecond
)

// Tx is one attempt at a transaction. It is valid only inside the function given to [DB.InTx] and, like [sql.Tx], must not
// be used by several goroutines at once.
type Tx struct {
	db       *DB
	conn     *sql.Conn
	tx       *sql.Tx
	onCommit []func()
}

type txKey struct{ db *DB }

// InTx runs fn in a transaction and commits it when fn returns nil. On an error or a panic everything is rolled back and
// the error is returned, or the panic goes on.
//
// fn runs again from the start, up to 12 times with growing random pauses, when the database reports a lost race
// (SQLITE_BUSY, serialization failure, deadlock); it stops early when ctx ends. fn gets a context that marks the
// transaction: beginning another one on the same database with it, or writing around it, is an error instead of a deadlock.
//
// A commit that is under way is waited for also when ctx ends: PostgreSQL answers the cancelling of a commit that waits for a
// standby by showing everybody what no standby has.
//
// When Commit fails because the connection broke, the transaction may or may not have been committed; a caller that repeats
// needs a key that makes the repetition harmless.
func (db *DB) InTx(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) (err error) {
	if err := db.refuseNested(ctx); err != nil {
		return err
	}
	ctx, end := db.observer.inTx(ctx)
	defer func() { end(err) }()
	backoff := firstBackoff
	for attempt := 1; ; attempt++ {
		err := db.attempt(ctx, fn)
		if err == nil || !IsConflict(err) || attempt == maxAttempts {
			return Classify(err)
		}
		pause := time.NewTimer(backoff/2 + rand.N(backoff)) //nolint:gosec // jitter needs no secrecy
		select {
		case <-ctx.Done():
			pause.Stop()
			return errors.Join(ctx.Err(), err)
		case <-pause.C:
		}
		backoff = min(backoff*2, maxBackoff)
	}
}

func (db *DB) attempt(ctx context.Context, fn func(context.Context, *Tx) error) (err error) {
	// The transaction ends with ctx, up to its commit.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	detach := context.AfterFunc(ctx, end)
	defer func() {
		detach()
		if cause := ctx.Err(); err != nil && cause != nil && !errors.Is(err, cause) {
			err = errors.Join(cause, err) // life knows of no deadline
		}
	}()
	tx, err := db.begin(life)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	sqlTx := tx.tx
	defer func() { _ = tx.conn.Close() }() // gives it back to the pool, if that was not done
	finished := false
	defer func() {
		if finished {
			return
		}
		// fn failed, panicked or called runtime.Goexit. A failing rollback means that the connection is gone, and the
		// transaction with it.
		if rbErr := sqlTx.Rollback(); rbErr != nil && err != nil && !errors.Is(rbErr, sql.ErrTxDone) {
			err = errors.Join(err, fmt.Errorf("rollback: %w", rbErr))
		}
	}()
	if err := fn(context.WithValue(ctx, txKey{db}, true), tx); err != nil {
		return err
	}
	if !detach() {
		return fmt.Errorf("commit: %w", ctx.Err())
	}
	finished = true
	if err := sqlTx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	_ = tx.conn.Close()
	for _, f := range tx.onCommit {
		f()
	}
	return nil
}

// begin opens a transaction on a connection of its own. Connections that broke while they were idle are replaced.
func (db *DB) begin(ctx context.Context) (*Tx, error) {
	var opts *sql.TxOptions
	if db.dialect == Postgres {
		opts = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	} else {
		db.prepared.prepare(ctx, db.writer)
	}
	for {
		conn, err := db.writer.Conn(ctx)
		if err != nil {
			return nil, err
		}
		tx, err := conn.BeginTx(ctx, opts)
		if err == nil {
			return &Tx{db: db, conn: conn, tx: tx}, nil
		}
		_ = conn.Close()
		if !errors.Is(err, driver.ErrBadConn) {
			return nil, err
		}
	}
}

func (db *DB) refuseNested(ctx context.Context) error {
	if ctx.Value(txKey{db}) != nil {
		return errors.New("sqldb: a transaction on this database is already open: use its Tx")
	}
	return nil
}

// ExecContext runs one writing statement on its own, committed when it returns. Unlike [DB.InTx] it is not tried again.
func (db *DB) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := db.refuseNested(ctx); err != nil {
		return nil, err
	}
	defer db.observer.statement(ctx, query)()
	return db.writer.ExecContext(ctx, query, args...)
}

// QueryContext reads rows outside any transaction.
func (db *DB) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	defer db.observer.statement(ctx, query)()
	if stmt := db.reading(ctx, query); stmt != nil {
		return stmt.QueryContext(ctx, args...)
	}
	return db.reader.QueryContext(ctx, query, args...)
}

// QueryRowContext reads at most one row outside any transaction.
func (db *DB) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	defer db.observer.statement(ctx, query)()
	if stmt := db.reading(ctx, query); stmt != nil {
		return stmt.QueryRowContext(ctx, args...)
	}
	return db.reader.QueryRowContext(ctx, query, args...)
}

// DB returns the database the transaction runs on.
func (tx *Tx) DB() *DB { return tx.db }

// Dialect tells which kind of database the transaction runs on.
func (tx *Tx) Dialect() Dialect { return tx.db.dialect }

// ForUpdate is the suffix of a SELECT whose rows the transaction is going to decide on: " FOR UPDATE" in PostgreSQL, and
// nothing in SQLite, where a transaction has the whole database for itself.
func (tx *Tx) ForUpdate() string {
	if tx.db.dialect == Postgres {
		return " FOR UPDATE"
	}
	return ""
}

// OnCommit has f run once after the transaction was committed, in the goroutine of InTx, and never when it was not.
// Functions run in the order they were added; they must be quick and cannot fail.
func (tx *Tx) OnCommit(f func()) { tx.onCommit = append(tx.onCommit, f) }

// ExecContext runs a statement in the transaction.
func (tx *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	defer tx.db.observer.statement(ctx, query)()
	if stmt := tx.prepared(ctx, query); stmt != nil {
		return stmt.ExecContext(ctx, args...)
	}
	return tx.tx.ExecContext(ctx, query, args...)
}

// QueryContext reads rows in the transaction. Close them before the next statement: PostgreSQL runs one at a time.
func (tx *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	defer tx.db.observer.statement(ctx, query)()
	if stmt := tx.prepared(ctx, query); stmt != nil {
		return stmt.QueryContext(ctx, args...)
	}
	return tx.tx.QueryContext(ctx, query, args...)
}

// QueryRowContext reads at most one row in the transaction.
func (tx *Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	defer tx.db.observer.statement(ctx, query)()
	if stmt := tx.prepared(ctx, query); stmt != nil {
		return stmt.QueryRowContext(ctx, args...)
	}
	return tx.tx.QueryRowContext(ctx, query, args...)
}
