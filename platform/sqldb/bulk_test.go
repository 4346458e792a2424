package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

var (
	insertThings = sqldb.NewBulk("id text, n bigint?, note text?, hash bytea?", `INSERT INTO things ({columns}) SELECT {columns} FROM {rows} AS r`, 0)
	raiseThings  = sqldb.NewBulk("id text", `UPDATE things AS t SET n = t.n + $1 FROM {rows} AS r WHERE t.id = r.id`, 1)
	findThings   = sqldb.NewBulk("id text", `SELECT t.id, t.n, t.note, t.hash FROM {rows} AS r JOIN things AS t ON t.id = r.id ORDER BY t.id`, 0)
)

type thing struct {
	ID   string
	N    sql.NullInt64
	Note sql.NullString
	Hash []byte
}

func things(t *testing.T, db *sqldb.DB, ids ...string) (out []thing) {
	t.Helper()
	wanted := findThings.Rows(len(ids))
	for _, id := range ids {
		wanted.Add(id)
	}
	rows, err := wanted.Query(t.Context(), db, db.Dialect())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var x thing
		if err := rows.Scan(&x.ID, &x.N, &x.Note, &x.Hash); err != nil {
			t.Fatal(err)
		}
		out = append(out, x)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// bulkDBs adds to testkit.DBs a PostgreSQL behind a pooler that cannot keep prepared statements.
func bulkDBs(t *testing.T, test func(t *testing.T, db *sqldb.DB)) {
	t.Helper()
	run := func(t *testing.T, db *sqldb.DB) {
		mustExec(t, db, `CREATE TABLE things (id TEXT PRIMARY KEY, n BIGINT, note TEXT, hash `+
			map[sqldb.Dialect]string{sqldb.SQLite: "BLOB", sqldb.Postgres: "BYTEA"}[db.Dialect()]+`)`)
		test(t, db)
	}
	testkit.DBs(t, run)
	t.Run("postgres without prepared statements", func(t *testing.T) {
		run(t, testkit.OpenDB(t, testkit.Postgres(t)+"&default_query_exec_mode=exec"))
	})
}

func TestBulkRowsComeBackAsTheyWere(t *testing.T) {
	bulkDBs(t, func(t *testing.T, db *sqldb.DB) {
		fresh, raised := insertThings.Rows(2), raiseThings.Rows(1).With(int64(5))
		fresh.Add("a", int64(math.MaxInt64), "it's \"quoted\" \\ and 付款", []byte{0, 1, 0xff})
		fresh.Add("b", int64(1), "", []byte{})
		fresh.Add("c", nil, nil, nil)
		fresh.Add("d", int64(math.MinInt64), "d", []byte(nil))
		raised.Add("b")
		raised.Add("nobody")
		var counts []int64
		err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) (err error) {
			counts, err = sqldb.ExecAll(ctx, tx, fresh, raiseThings.Rows(0), raised)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int64{4, 0, 1}, counts); diff != "" {
			t.Error("rows changed", diff)
		}
		want := []thing{
			{"a", sql.NullInt64{Int64: math.MaxInt64, Valid: true}, sql.NullString{String: "it's \"quoted\" \\ and 付款", Valid: true}, []byte{0, 1, 0xff}},
			{"b", sql.NullInt64{Int64: 6, Valid: true}, sql.NullString{Valid: true}, []byte{}},
			{ID: "c"},
			{"d", sql.NullInt64{Int64: math.MinInt64, Valid: true}, sql.NullString{String: "d", Valid: true}, nil},
		}
		if diff := cmp.Diff(want, things(t, db, "d", "c", "b", "a", "x"), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
		if n := count(t, db, `SELECT COUNT(*) FROM things WHERE hash IS NULL`); n != 2 {
			t.Errorf("%d hashes are NULL, want 2: no bytes are not NULL", n)
		}
	})
}

func TestAFailingBulkStatementUndoesThoseBeforeIt(t *testing.T) {
	bulkDBs(t, func(t *testing.T, db *sqldb.DB) {
		first, twice, last := insertThings.Rows(1), insertThings.Rows(2), insertThings.Rows(1)
		first.Add("a", nil, nil, nil)
		twice.Add("b", nil, nil, nil)
		twice.Add("b", nil, nil, nil)
		last.Add("c", nil, nil, nil)
		err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := sqldb.ExecAll(ctx, tx, first, twice, last)
			return err
		})
		if !sqldb.IsUnique(err) {
			t.Fatalf("got %v, want a unique violation", err)
		}
		// The connection is good for the next one.
		err = db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := last.Exec(ctx, tx)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := things(t, db, "a", "b", "c"); len(got) != 1 || got[0].ID != "c" {
			t.Errorf("got %v, want c alone", got)
		}
	})
}

func TestBulkRowsRefuseWhatTheyCannotHold(t *testing.T) {
	for name, add := range map[string]func(){
		"too few values":  func() { insertThings.Rows(1).Add("a") },
		"another type":    func() { insertThings.Rows(1).Add("a", 1, nil, nil) },
		"NULL for an id":  func() { insertThings.Rows(1).Add(nil, nil, nil, nil) },
		"an unknown type": func() { sqldb.NewBulk("at timestamp", "", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it did not panic")
				}
			}()
			add()
		})
	}
}

func TestInListsAnyNumberOfIDs(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		mustExec(t, db, `CREATE TABLE t (id TEXT)`)
		var ids []string
		for i := range 1000 {
			ids = append(ids, fmt.Sprintf("%d '\"", i))
		}
		mustExec(t, db, `INSERT INTO t VALUES ($1)`, ids[7])
		text, arg, err := sqldb.In(db.Dialect(), ids)
		if err != nil {
			t.Fatal(err)
		}
		if n := count(t, db, `SELECT COUNT(*) FROM t WHERE id `+text, arg); n != 1 {
			t.Errorf("found %d, want 1", n)
		}
	})
}
