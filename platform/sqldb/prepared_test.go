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
