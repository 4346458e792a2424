package testkit

import (
	"path/filepath"
	"testing"

	"github.com/armlet-pay/armlet/platform/sqldb"
)

// DBs runs test as two subtests, sqlite and postgres, each with an empty database of its own.
func DBs(t *testing.T, test func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(dialect), func(t *testing.T) {
			test(t, OpenDB(t, DBURL(t, dialect)))
		})
	}
}

// DBURL returns the URL of an empty database of the test's own.
func DBURL(t testing.TB, dialect sqldb.Dialect) string {
	t.Helper()
	if dialect == sqldb.Postgres {
		return Postgres(t)
	}
	return "sqlite:" + filepath.Join(t.TempDir(), "test.db")
}

// OpenDB opens a database and closes it when the test ends.
func OpenDB(t testing.TB, url string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), url)
	if err != nil {
		t.Fatalf("testkit: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("testkit: close the database: %v", err)
		}
	})
	return db
}
