package store

import (
	"context"
	"io/fs"
	"strings"
	"testing"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

func TestTheEventTablesAreThoseOfTheEventsPackage(t *testing.T) {
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		text, err := fs.ReadFile(migrations, "migrations/"+string(dialect)+"/0001_registry.sql")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(string(text), events.Schema(dialect)) {
			t.Errorf("%s: the migration does not end with the tables of events.Schema", dialect)
		}
	}
}

// The hot reads must go through indexes however large the tables grow.
func TestHotReadsNeverScanATable(t *testing.T) {
	queries := map[string]string{
		"by uid": standings(whereUID, ""), "by account": standings(whereAccount, ""),
		"page": standings(`partner = $1 AND uid > $1`, ` ORDER BY uid LIMIT 10`),
	}
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		if err := Migrate(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		explain, scan := "EXPLAIN QUERY PLAN ", "SCAN "
		if db.Dialect() == sqldb.Postgres {
			explain, scan = "EXPLAIN ", "Seq Scan"
		}
		list := map[sqldb.Dialect]string{sqldb.SQLite: `'["x"]'`, sqldb.Postgres: `'{x}'`}[db.Dialect()]
		queries["by uids"] = strings.ReplaceAll(standings(whereUIDs[db.Dialect()], ""), "$1", list)
		for name, query := range queries {
			plan := planOf(t, db, explain+strings.ReplaceAll(query, "$1", "'x'"))
			for line := range strings.SplitSeq(plan, "\n") {
				// SQLite also calls it a scan to read the page that a subquery has produced, or a list, which are no tables.
				if strings.Contains(line, scan) && !strings.HasSuffix(line, "SCAN d") && !strings.Contains(line, "json_each") {
					t.Errorf("%s: %s\nin\n%s", name, line, plan)
				}
			}
		}
	})
}

func planOf(t *testing.T, db *sqldb.DB, query string) string {
	t.Helper()
	var plan strings.Builder
	err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		if tx.Dialect() == sqldb.Postgres { // an empty table would be scanned otherwise
			if _, err := tx.ExecContext(ctx, `SET LOCAL enable_seqscan = off`); err != nil {
				return err
			}
		}
		rows, err := tx.QueryContext(ctx, query)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				return err
			}
			text, _ := (*values[len(values)-1].(*any)).(string)
			plan.WriteString(text + "\n")
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan.String()
}
