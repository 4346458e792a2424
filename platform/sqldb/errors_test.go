package sqldb_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

func TestViolatedConstraintsAreRecognised(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		mustExec(t, db, `CREATE TABLE t (
			id BIGINT PRIMARY KEY, a TEXT, b TEXT, n BIGINT CONSTRAINT t_n_positive CHECK (n > 0),
			parent BIGINT REFERENCES t (id), UNIQUE (a, b))`)
		mustExec(t, db, `INSERT INTO t VALUES (1, 'a', 'b', 1, NULL)`)
		pg := db.Dialect() == sqldb.Postgres
		tests := map[string]struct {
			insert             string
			unique, check, key bool
			uniqueName         string
			checkName          string
		}{
			"primary key":  {insert: `(1, 'x', 'x', 1, NULL)`, unique: true, uniqueName: either(pg, "t_pkey", "t.id")},
			"unique":       {insert: `(2, 'a', 'b', 1, NULL)`, unique: true, uniqueName: either(pg, "t_a_b_key", "t.a, t.b")},
			"check":        {insert: `(2, 'x', 'x', 0, NULL)`, check: true, checkName: "t_n_positive"},
			"foreign key":  {insert: `(2, 'x', 'x', 1, 7)`, key: true},
			"syntax error": {insert: `(`},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				_, err := db.ExecContext(t.Context(), `INSERT INTO t VALUES `+tt.insert)
				if err == nil {
					t.Fatal("the statement succeeded")
				}
				if sqldb.IsUnique(err) != tt.unique || sqldb.IsCheck(err) != tt.check || sqldb.IsForeignKey(err) != tt.key {
					t.Errorf("unique %v, check %v, foreign key %v of %v", sqldb.IsUnique(err), sqldb.IsCheck(err), sqldb.IsForeignKey(err), err)
				}
				if got := sqldb.UniqueName(err); got != tt.uniqueName {
					t.Errorf("unique name %q, want %q", got, tt.uniqueName)
				}
				if got := sqldb.CheckName(err); got != tt.checkName {
					t.Errorf("check name %q, want %q", got, tt.checkName)
				}
				if sqldb.IsConflict(err) || sqldb.IsUnavailable(err) {
					t.Errorf("%v counts as a conflict or an outage", err)
				}
			})
		}
	})
}

func either(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

func TestOtherErrorsAreNotTheDatabases(t *testing.T) {
	for _, err := range []error{nil, errors.New("something else")} {
		if sqldb.IsUnique(err) || sqldb.IsCheck(err) || sqldb.IsForeignKey(err) || sqldb.IsConflict(err) || sqldb.IsUnavailable(err) {
			t.Errorf("%v is recognised as an error of the database", err)
		}
		if sqldb.UniqueName(err) != "" || sqldb.CheckName(err) != "" {
			t.Errorf("%v names a constraint", err)
		}
	}
}

func TestOpenRefusesURLsWithoutShowingThem(t *testing.T) {
	for _, url := range []string{
		"", "s3cret", "mysql://user:s3cret@host/db", "sqlite:", "sqlite::memory:", "sqlite:/tmp/x.db?s3cret=1",
		"sqlite:/tmp/x.db?pool_max_conns=0", "postgres://user:s3cret@host:port/db", "postgres://u:s3cret@127.0.0.1:1/db?connect_timeout=1",
		"postgres://u:s3cret@127.0.0.1/db?pool_max_conns=many",
	} {
		db, err := sqldb.Open(t.Context(), url)
		if err == nil {
			_ = db.Close()
			t.Errorf("%q was opened", url)
			continue
		}
		if strings.Contains(err.Error(), "s3cret") && strings.Contains(url, ":s3cret@") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}
