package sqldb_test

import (
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

// files makes a folder of migrations with the same text for both dialects.
func files(nameAndText ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(nameAndText); i += 2 {
		for _, dialect := range []string{"sqlite", "postgres"} {
			fsys[dialect+"/"+nameAndText[i]] = &fstest.MapFile{Data: []byte(nameAndText[i+1])}
		}
	}
	return fsys
}

const (
	createAB = "CREATE TABLE a (n BIGINT);\nCREATE TABLE b (n BIGINT);\n"
	insertA  = "INSERT INTO a VALUES (1);\nINSERT INTO a VALUES (2);\n"
)

func TestMigrationsRunOnce(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		first := files("0001_tables.sql", createAB)
		both := files("0001_tables.sql", createAB, "0002_rows.sql", insertA)
		for _, fsys := range []fstest.MapFS{first, both, both} {
			if err := db.Migrate(t.Context(), fsys); err != nil {
				t.Fatal(err)
			}
		}
		if n := count(t, db, `SELECT COUNT(*) FROM a`); n != 2 {
			t.Fatalf("%d rows, want the two of one run", n)
		}
		if n := count(t, db, `SELECT COUNT(*) FROM schema_migrations WHERE name = 'rows' AND version = 2 AND applied_at > 0`); n != 1 {
			t.Fatal("the second migration is not recorded")
		}
	})
}

func TestMigrateRefuses(t *testing.T) {
	applied := files("0001_tables.sql", createAB, "0002_rows.sql", insertA)
	tests := map[string]struct {
		files fstest.MapFS
		says  string
	}{
		"a changed file": {files("0001_tables.sql", createAB+"-- more", "0002_rows.sql", insertA), "0001_tables changed"},
		"a gap":          {files("0001_tables.sql", createAB, "0003_more.sql", insertA), "should be version 0002"},
		"a double":       {files("0001_a.sql", createAB, "0001_b.sql", insertA), "should be version 0002"},
		"a bad name":     {files("1.sql", createAB), "NNNN_name.sql"},
		"no file":        {fstest.MapFS{"sqlite": {Mode: fs.ModeDir}, "postgres": {Mode: fs.ModeDir}}, "has none"},
	}
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		if err := db.Migrate(t.Context(), applied); err != nil {
			t.Fatal(err)
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				err := db.Migrate(t.Context(), tt.files)
				if !errors.Is(err, sqldb.ErrMigration) || !strings.Contains(err.Error(), tt.says) {
					t.Fatalf("error %v, want ErrMigration saying %q", err, tt.says)
				}
			})
		}
		crlf := files("0001_tables.sql", strings.ReplaceAll(createAB, "\n", "\r\n"), "0002_rows.sql", insertA)
		if err := db.Migrate(t.Context(), crlf); err != nil {
			t.Fatalf("line ends alone: %v, want no difference", err)
		}
	})
}

func TestTheProgramBeforeGoesOnWhenANewerOneHasMigrated(t *testing.T) {
	before := files("0001_tables.sql", createAB)
	after := files("0001_tables.sql", createAB, "0002_rows.sql", insertA)
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		for _, step := range []struct {
			migrate, look fstest.MapFS
			want          sqldb.Schema
		}{
			{nil, before, sqldb.Schema{Known: 1}},
			{before, after, sqldb.Schema{Applied: 1, Known: 2}},
			{after, after, sqldb.Schema{Applied: 2, Known: 2}},
			{before, before, sqldb.Schema{Applied: 2, Known: 1}},
		} {
			if step.migrate != nil {
				if err := db.Migrate(t.Context(), step.migrate); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := db.Schema(t.Context(), step.look); err != nil || got != step.want {
				t.Errorf("got %+v, %v, want %+v", got, err, step.want)
			}
		}
		if n := count(t, db, `SELECT COUNT(*) FROM a`); n != 2 {
			t.Errorf("%d rows, want 2", n)
		}
		_, err := db.Schema(t.Context(), files("0001_tables.sql", createAB+"-- more"))
		if !errors.Is(err, sqldb.ErrMigration) {
			t.Errorf("a changed file: got %v", err)
		}
	})
}

func TestAFailedMigrationLeavesNothing(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		err := db.Migrate(t.Context(), files("0001_tables.sql", createAB, "0002_bad.sql", "INSERT INTO a VALUES (1); INSERT INTO nowhere VALUES (1);"))
		if err == nil || !strings.Contains(err.Error(), "0002_bad") {
			t.Fatalf("error %v, want one that names the file", err)
		}
		if n := count(t, db, `SELECT (SELECT COUNT(*) FROM a) + (SELECT COUNT(*) FROM schema_migrations)`); n != 1 {
			t.Fatal("something is left of the failed migration, or the one before it is gone")
		}
		if err := db.Migrate(t.Context(), files("0001_tables.sql", createAB, "0002_good.sql", insertA)); err != nil {
			t.Fatalf("after the file was mended: %v", err)
		}
	})
}

// Each DB stands for a process of its own.
func TestProcessesThatMigrateAtOnceApplyEachFileOnce(t *testing.T) {
	fsys := files("0001_tables.sql", createAB, "0002_rows.sql", insertA, "0003_c.sql", "CREATE TABLE c (n BIGINT);")
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(dialect), func(t *testing.T) {
			url := testkit.DBURL(t, dialect)
			const processes = 4
			errs := make([]error, processes)
			var wg sync.WaitGroup
			for i := range processes {
				wg.Go(func() {
					db, err := sqldb.Open(t.Context(), url)
					if err != nil {
						errs[i] = err
						return
					}
					errs[i] = errors.Join(db.Migrate(t.Context(), fsys), db.Close())
				})
			}
			wg.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			if n := count(t, testkit.OpenDB(t, url), `SELECT COUNT(*) FROM a`); n != 2 {
				t.Fatalf("%d rows, want 2", n)
			}
		})
	}
}
