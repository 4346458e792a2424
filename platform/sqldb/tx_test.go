package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

func mustExec(t *testing.T, q sqldb.Queryer, query string, args ...any) {
	t.Helper()
	if _, err := q.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func count(t *testing.T, q sqldb.Queryer, query string, args ...any) (n int64) {
	t.Helper()
	if err := q.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func TestInTxCommitsAndThenRunsOnCommit(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		mustExec(t, db, `CREATE TABLE t (n BIGINT)`)
		var seen []int64
		err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			tx.OnCommit(func() { seen = append(seen, count(t, db, `SELECT COUNT(*) FROM t`)) })
			tx.OnCommit(func() { seen = append(seen, -1) })
			_, err := tx.ExecContext(ctx, `INSERT INTO t VALUES ($1)`, 1)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(seen) != 2 || seen[0] != 1 || seen[1] != -1 {
			t.Fatalf("OnCommit saw %v, want the committed row first and the functions in order", seen)
		}
	})
}

func TestInTxRollsBack(t *testing.T) {
	failure := errors.New("no")
	leave := map[string]func() error{
		"on an error": func() error { return failure },
		"on a panic":  func() error { panic(failure) },
	}
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		mustExec(t, db, `CREATE TABLE t (n BIGINT)`)
		for name, how := range leave {
			t.Run(name, func(t *testing.T) {
				got := outcome(func() error {
					return db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
						tx.OnCommit(func() { t.Error("OnCommit ran although nothing was committed") })
						mustExec(t, tx, `INSERT INTO t VALUES (1)`)
						return how()
					})
				})
				if !errors.Is(got, failure) {
					t.Fatalf("got %v, want the function's own failure", got)
				}
				if n := count(t, db, `SELECT COUNT(*) FROM t`); n != 0 {
					t.Fatalf("%d rows are left of a transaction that failed", n)
				}
				// The connection must be usable: SQLite has only one.
				mustExec(t, db, `DELETE FROM t`)
			})
		}
	})
}

// outcome is the error f returns or panics with.
func outcome(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %w", p.(error))
		}
	}()
	return f()
}

func TestACommitThatFailsLeavesTheDatabaseUsable(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		mustExec(t, db, `CREATE TABLE parent (id BIGINT PRIMARY KEY)`)
		mustExec(t, db, `CREATE TABLE child (parent BIGINT REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)`)
		err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO child VALUES (1)`)
			return err
		})
		if !sqldb.IsForeignKey(err) {
			t.Fatalf("commit: %v, want a violated foreign key", err)
		}
		mustExec(t, db, `INSERT INTO parent VALUES (1)`)
		if n := count(t, db, `SELECT COUNT(*) FROM child`); n != 0 {
			t.Fatalf("%d rows of the failed transaction are there", n)
		}
	})
}

func TestInTxRefusesWhatWouldWaitForItself(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		mustExec(t, db, `CREATE TABLE t (n BIGINT)`)
		err := db.InTx(t.Context(), func(ctx context.Context, _ *sqldb.Tx) error {
			if err := db.InTx(ctx, func(context.Context, *sqldb.Tx) error { return nil }); err == nil {
				t.Error("a transaction inside a transaction was begun")
			}
			if _, err := db.ExecContext(ctx, `INSERT INTO t VALUES (1)`); err == nil {
				t.Error("a statement went around the transaction")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestReadsOutsideATransactionCannotWrite(t *testing.T) {
	db := testkit.OpenDB(t, testkit.DBURL(t, sqldb.SQLite))
	mustExec(t, db, `CREATE TABLE t (n BIGINT)`)
	var n int64
	if err := db.QueryRowContext(t.Context(), `INSERT INTO t VALUES (1) RETURNING n`).Scan(&n); err == nil {
		t.Fatal("a read wrote")
	}
}

func TestInTxRetriesALostRace(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		conflict := error(&pgconn.PgError{Code: "40001"})
		attempts := 0
		err := db.InTx(t.Context(), func(context.Context, *sqldb.Tx) error {
			if attempts++; attempts < 3 {
				return fmt.Errorf("wrapped: %w", conflict)
			}
			return nil
		})
		if err != nil || attempts != 3 {
			t.Fatalf("error %v after %d attempts, want success at the third", err, attempts)
		}

		attempts = 0
		err = db.InTx(t.Context(), func(context.Context, *sqldb.Tx) error { attempts++; return conflict })
		if fault.KindOf(err) != fault.Aborted || fault.ReasonOf(err) != sqldb.ReasonContention || !errors.Is(err, conflict) {
			t.Fatalf("a race that is always lost: %v, want an aborted fault with its cause", err)
		}
		if attempts < 5 || attempts > 20 {
			t.Fatalf("%d attempts, want a bounded number", attempts)
		}
	})
}

func TestInTxStopsRetryingWithItsContext(t *testing.T) {
	db := testkit.OpenDB(t, testkit.DBURL(t, sqldb.SQLite))
	ctx, cancel := context.WithCancel(t.Context())
	attempts := 0
	err := db.InTx(ctx, func(context.Context, *sqldb.Tx) error {
		if attempts++; attempts == 2 {
			cancel()
		}
		return &pgconn.PgError{Code: "40P01"}
	})
	if !errors.Is(err, context.Canceled) || attempts != 2 {
		t.Fatalf("error %v after %d attempts, want canceled after 2", err, attempts)
	}
}

// Real conflicts, made by PostgreSQL itself.
func TestPostgresConflictsAreRetried(t *testing.T) {
	db := testkit.OpenDB(t, testkit.Postgres(t))
	mustExec(t, db, `CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)`)

	t.Run("deadlock", func(t *testing.T) {
		mustExec(t, db, `INSERT INTO t VALUES (1, 0), (2, 0)`)
		var both sync.WaitGroup
		both.Add(2)
		var attempts atomic.Int64
		run := func(first, second int) error {
			var once sync.Once
			return db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				attempts.Add(1)
				if _, err := tx.ExecContext(ctx, `UPDATE t SET n = n + 1 WHERE id = $1`, first); err != nil {
					return err
				}
				once.Do(func() { both.Done(); both.Wait() }) // each holds its first row before either asks for its second
				_, err := tx.ExecContext(ctx, `UPDATE t SET n = n + 1 WHERE id = $1`, second)
				return err
			})
		}
		errs := make(chan error, 2)
		go func() { errs <- run(1, 2) }()
		go func() { errs <- run(2, 1) }()
		if err := errors.Join(<-errs, <-errs); err != nil {
			t.Fatal(err)
		}
		if sum := count(t, db, `SELECT SUM(n) FROM t`); sum != 4 || attempts.Load() < 3 {
			t.Fatalf("sum %d after %d attempts, want 4 and a retry", sum, attempts.Load())
		}
	})

	t.Run("serialization failure", func(t *testing.T) {
		mustExec(t, db, `INSERT INTO t VALUES (3, 0)`)
		attempts := 0
		err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			attempts++
			mustExec(t, tx, `SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`)
			n := count(t, tx, `SELECT n FROM t WHERE id = 3`)
			if attempts == 1 {
				mustExec(t, db, `UPDATE t SET n = 10 WHERE id = 3`)
			}
			_, err := tx.ExecContext(ctx, `UPDATE t SET n = $1 WHERE id = 3`, n+1)
			return err
		})
		if n := count(t, db, `SELECT n FROM t WHERE id = 3`); err != nil || n != 11 || attempts != 2 {
			t.Fatalf("n = %d, error %v after %d attempts, want 11 after 2", n, err, attempts)
		}
	})
}

// Another process, for which another DB stands, may hold the file longer than the busy timeout of one attempt.
func TestSQLiteWaitsForAnotherProcess(t *testing.T) {
	t.Parallel()
	url := testkit.DBURL(t, sqldb.SQLite)
	one, other := testkit.OpenDB(t, url), testkit.OpenDB(t, url)
	mustExec(t, one, `CREATE TABLE t (n BIGINT)`)
	held, release := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- one.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			close(held)
			<-release
			_, err := tx.ExecContext(ctx, `INSERT INTO t VALUES (1)`)
			return err
		})
	}()
	<-held
	time.AfterFunc(5500*time.Millisecond, func() { close(release) })
	err := other.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO t SELECT COUNT(*) + 1 FROM t`)
		return err
	})
	if err := errors.Join(err, <-ended); err != nil {
		t.Fatal(err)
	}
	if n := count(t, one, `SELECT MAX(n) FROM t`); n != 2 {
		t.Fatalf("the second writer wrote %d, want 2: it did not see the first", n)
	}
}

// Every increment reads before it writes; a lost update would show in the sum.
func TestWritersInParallelLoseNoUpdate(t *testing.T) {
	const writers, each = 8, 25
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		mustExec(t, db, `CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)`)
		mustExec(t, db, `INSERT INTO t VALUES (1, 0)`)
		errs := make(chan error, writers*each)
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range each {
					errs <- db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
						var n int64
						if err := tx.QueryRowContext(ctx, `SELECT n FROM t WHERE id = $1`+tx.ForUpdate(), 1).Scan(&n); err != nil {
							return err
						}
						_, err := tx.ExecContext(ctx, `UPDATE t SET n = $1 WHERE id = $2`, n+1, 1)
						return err
					})
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
		if n := count(t, db, `SELECT n FROM t`); n != writers*each {
			t.Fatalf("n = %d, want %d", n, writers*each)
		}
	})
}

func TestAStoppedDatabaseIsUnavailable(t *testing.T) {
	db := testkit.OpenDB(t, testkit.Postgres(t))
	err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `SELECT pg_terminate_backend(pg_backend_pid())`)
		return err
	})
	if fault.KindOf(err) != fault.Unavailable || fault.ReasonOf(err) != sqldb.ReasonUnavailable {
		t.Fatalf("a connection that the server ended: %v, want an unavailable fault", err)
	}
	if err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `SELECT 1`)
		return err
	}); err != nil {
		t.Fatalf("after that: %v, want a new connection", err)
	}
}

// What comes after a broken connection finds it closed, whether or not its end was noticed.
func TestAConnectionThatBrokeBeforeIsUnavailable(t *testing.T) {
	db := testkit.OpenDB(t, testkit.Postgres(t))
	for name, next := range map[string]func(context.Context, *sqldb.Tx) error{
		"commit": func(context.Context, *sqldb.Tx) error { return nil },
		"statement": func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.ExecContext(ctx, `SELECT 1`)
			return err
		},
	} {
		err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			_, _ = tx.ExecContext(ctx, `SELECT pg_terminate_backend(pg_backend_pid())`)
			return next(ctx, tx)
		})
		if fault.ReasonOf(err) != sqldb.ReasonUnavailable {
			t.Errorf("%s: %v, want an unavailable fault", name, err)
		}
	}
}

func TestCopyBringsAllRowsOrFailsTheTransaction(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		mustExec(t, db, `CREATE TABLE t (n BIGINT PRIMARY KEY, s TEXT)`)
		copyRows := func(first int) error {
			return db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
				if _, err := tx.ExecContext(ctx, `INSERT INTO t VALUES ($1, 'before')`, 1000+first); err != nil {
					return err
				}
				err := tx.Copy(ctx, "t", []string{"s", "n"}, 10, func(i int) ([]any, error) { return []any{nil, int64(first + i)}, nil })
				if err != nil {
					return err
				}
				_, err = tx.ExecContext(ctx, `UPDATE t SET s = 'copied' WHERE s IS NULL`)
				return err
			})
		}
		err := copyRows(0)
		if db.Dialect() == sqldb.SQLite {
			if err == nil || count(t, db, `SELECT COUNT(*) FROM t`) != 0 {
				t.Fatalf("SQLite: %v", err)
			}
			return
		}
		if err != nil || count(t, db, `SELECT COUNT(*) FROM t WHERE s = 'copied'`) != 10 {
			t.Fatalf("not all rows arrived: %v", err)
		}
		if err := copyRows(5); !sqldb.IsUnique(err) || count(t, db, `SELECT COUNT(*) FROM t`) != 11 {
			t.Fatalf("the rows of a failed transaction are there, or it did not fail: %v", err)
		}
		failure := errors.New("no")
		err = db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.Copy(ctx, "t", []string{"n"}, 1, func(int) ([]any, error) { return nil, failure })
		})
		if !errors.Is(err, failure) {
			t.Fatalf("the error of a row became %v", err)
		}
	})
}
