package sqldb_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

// TestBulkStatementsOutliveAChangeOfTheSchemaAndEndWithTheDatabase: SQLite keeps bulk statements prepared.
func TestBulkStatementsOutliveAChangeOfTheSchemaAndEndWithTheDatabase(t *testing.T) {
	url := testkit.DBURL(t, sqldb.SQLite)
	db := testkit.OpenDB(t, url)
	mustExec(t, db, `CREATE TABLE things (id TEXT PRIMARY KEY, n BIGINT, note TEXT, hash BLOB)`)
	add := func(ids ...string) error {
		return db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			rows := insertThings.Rows(len(ids))
			for _, id := range ids {
				rows.Add(id, nil, nil, nil)
			}
			_, err := rows.Exec(ctx, tx)
			return err
		})
	}
	for _, id := range []string{"a", "b", "c"} { // the first run notes it, the second is prepared
		if err := add(id); err != nil {
			t.Fatal(err)
		}
	}
	mustExec(t, db, `ALTER TABLE things ADD COLUMN more TEXT`)
	mustExec(t, db, `CREATE INDEX things_more ON things (more, id)`)
	if err := add("d", "e"); err != nil {
		t.Fatal(err)
	}
	if err := add("f", "a"); !sqldb.IsUnique(err) {
		t.Fatalf("got %v, want a unique violation", err)
	}
	if got := things(t, db, "a", "b", "c", "d", "e", "f"); len(got) != 5 {
		t.Errorf("got %v, want a to e", got)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	// The last connection to close folds the log into the file; one statement left over would keep it open.
	if _, err := os.Stat(strings.TrimPrefix(url, "sqlite:") + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the write-ahead log is still there: %v", err)
	}
}

// Statements that read are kept prepared too, on as many connections as read at one time.
func TestPreparedReadsOutliveAChangeOfTheSchema(t *testing.T) {
	db := testkit.OpenDB(t, testkit.DBURL(t, sqldb.SQLite))
	mustExec(t, db, `CREATE TABLE words (id TEXT PRIMARY KEY)`)
	mustExec(t, db, `INSERT INTO words VALUES ('a'), ('b')`)
	const all = `SELECT id FROM words ORDER BY id`
	for range 3 {
		if seen := wordsWithinWords(t, db, all); seen != "aaab" {
			t.Fatalf("read %q", seen)
		}
		err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			var n int
			return tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM words WHERE id <> $1`, "a").Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	mustExec(t, db, `ALTER TABLE words RENAME TO terms`)
	mustExec(t, db, `CREATE TABLE words (n BIGINT, id TEXT)`)
	mustExec(t, db, `INSERT INTO words VALUES (1, 'c')`)
	var id string
	if err := db.QueryRowContext(t.Context(), all).Scan(&id); err != nil || id != "c" {
		t.Errorf("read %q, %v", id, err)
	}
	mustExec(t, db, `DROP TABLE words`)
	if err := db.QueryRowContext(t.Context(), all).Scan(&id); err == nil {
		t.Error("read from a table that is gone")
	}
}

// wordsWithinWords runs a statement once for every row of itself, and returns the first of the inner and each of the outer.
func wordsWithinWords(t *testing.T, db *sqldb.DB, all string) string {
	t.Helper()
	outer, err := db.QueryContext(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	defer outer.Close()
	seen := ""
	for outer.Next() {
		var id, first string
		if err := errors.Join(outer.Scan(&id), db.QueryRowContext(t.Context(), all).Scan(&first)); err != nil {
			t.Fatal(err)
		}
		seen += first + id
	}
	if err := outer.Err(); err != nil {
		t.Fatal(err)
	}
	return seen
}
