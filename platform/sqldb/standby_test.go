package sqldb_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

// both is the URL of a primary and its standby.
func both(t *testing.T, primary, standby *testkit.OwnPostgres) string {
	t.Helper()
	other, err := url.Parse(standby.URL())
	if err != nil {
		t.Fatal(err)
	}
	at, query, _ := strings.Cut(primary.URL(), "?")
	host, name := at[:strings.LastIndex(at, "/")], at[strings.LastIndex(at, "/"):]
	return host + "," + other.Host + name + "?target_session_attrs=read-write&" + query
}

func TestNobodySeesACommitThatNoStandbyHas(t *testing.T) {
	t.Parallel()
	primary := testkit.NewPostgres(t)
	standby := primary.NewStandby()
	db := testkit.OpenDB(t, both(t, primary, standby))
	if _, err := db.ExecContext(t.Context(), `CREATE TABLE notes (n INTEGER NOT NULL)`); err != nil {
		t.Fatal(err)
	}
	notes := func() (n int) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM notes`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	standby.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO notes VALUES (1)`)
			return err
		})
	}()
	<-ctx.Done()
	select {
	case err := <-done:
		t.Fatalf("a commit that no standby has came to an end: %v", err)
	case <-time.After(300 * time.Millisecond): // long enough for a cancelled commit to be seen
	}
	if n := notes(); n != 0 {
		t.Fatalf("%d rows are seen that no standby has", n)
	}
	standby.Start()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := notes(); n != 1 {
		t.Fatalf("%d rows, want the one that was committed", n)
	}
}

func TestATransactionWhoseCallerIsGoneIsNotCommitted(t *testing.T) {
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(dialect), func(t *testing.T) {
			db := testkit.OpenDB(t, testkit.DBURL(t, dialect))
			if _, err := db.ExecContext(t.Context(), `CREATE TABLE notes (n INTEGER NOT NULL)`); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			err := db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
				_, err := tx.ExecContext(ctx, `INSERT INTO notes VALUES (1)`)
				cancel()
				return err
			})
			var n int
			if scan := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM notes`).Scan(&n); scan != nil {
				t.Fatal(scan)
			}
			if err == nil || n != 0 {
				t.Errorf("error %v and %d rows, want an error and none", err, n)
			}
		})
	}
}

func TestConnectionsGoToTheStandbyThatWasPromoted(t *testing.T) {
	t.Parallel()
	primary := testkit.NewPostgres(t)
	standby := primary.NewStandby()
	db := testkit.OpenDB(t, both(t, primary, standby))
	insert := func(n int) error {
		return db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO notes VALUES ($1)`, n)
			return err
		})
	}
	if _, err := db.ExecContext(t.Context(), `CREATE TABLE notes (n INTEGER NOT NULL)`); err != nil {
		t.Fatal(err)
	}
	if err := insert(1); err != nil {
		t.Fatal(err)
	}
	primary.Kill()
	if err := insert(2); err == nil {
		t.Fatal("a standby that was not promoted took a write")
	}
	promoter := testkit.OpenDB(t, standby.URL())
	if _, err := promoter.ExecContext(t.Context(), `SELECT pg_promote()`); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := insert(3)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	var n int
	if err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM notes WHERE n IN (1, 3)`).Scan(&n); err != nil || n != 2 {
		t.Fatalf("%d rows, %v: want the one from before and the one from after the promotion", n, err)
	}
}
