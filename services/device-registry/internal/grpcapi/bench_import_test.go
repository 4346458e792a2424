package grpcapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
)

// BenchmarkImportDevices brings rows through the whole service, client included, and the same rows into a table of the same
// shape in the same database by the shortest way there is: COPY in PostgreSQL, inserts of many rows in one transaction in
// SQLite. ARMLET_BENCH_IMPORT_ROWS=1000000 is a whole lot.
func BenchmarkImportDevices(b *testing.B) {
	n := size(b, "ARMLET_BENCH_IMPORT_ROWS", 50_000)
	for _, dialect := range []sqldb.Dialect{sqldb.Postgres, sqldb.SQLite} {
		b.Run(string(dialect), func(b *testing.B) {
			var bare, whole time.Duration
			var memory float64
			for b.Loop() {
				w := newWorldOn(b, dialect, quota.Amounts{})
				w.keepLog()
				w.listedLot(false)
				began := time.Now()
				w.bareInsert(n)
				bare += time.Since(began)
				stop := peakMemory()
				began = time.Now()
				w.importMany(n)
				whole += time.Since(began)
				memory = max(memory, stop())
			}
			rows := float64(n * b.N)
			reference := map[sqldb.Dialect]string{sqldb.Postgres: "bare COPY", sqldb.SQLite: "bare multi-row INSERT"}[dialect]
			record(b, "import/"+string(dialect), rows/whole.Seconds(), "rows/s", reference, rows/bare.Seconds())
			record(b, "import/"+string(dialect)+"/memory", memory, "MiB", "target", 200)
		})
	}
}

// benchUID is that of row i of a lot that leaves out serial numbers.
func benchUID(i int) string { return wire.NewRangeUID(7, 500, uint64(i)*3).String() }

// importMany sends n rows as fast as they are taken.
func (w *world) importMany(n int) {
	w.t.Helper()
	const atOnce = 2000
	sum := sha256.New()
	for i := range n {
		sum.Write(append(append([]byte{wire.UIDTextLen}, benchUID(i)...), 0, 0, 0, 0, 0))
	}
	h := &devicesv1.ImportHeader{
		ImportId: "many", Lot: listedLot, ExpectedRows: uint64(n), Digest: sum.Sum(nil), Mode: devicesv1.ImportMode_IMPORT_MODE_CREATE_ONLY,
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	in := w.open(ctx, h)
	in.recv()
	go func() {
		for first, sequence := 0, uint64(1); first < n; first, sequence = first+atOnce, sequence+1 {
			rows := make([]*devicesv1.ImportRow, min(atOnce, n-first))
			for i := range rows {
				rows[i] = &devicesv1.ImportRow{Uid: benchUID(first + i)}
			}
			in.chunk(sequence, rows)
		}
		in.finish()
	}()
	for {
		answer, err := in.stream.Recv()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if s := answer.GetSummary(); s != nil && s.GetImport().GetCreated() != uint64(n) {
			w.t.Fatalf("%v", s)
		}
	}
}

const bareColumns = "uid, partner, model_id, lot_no, state, suite, key_epoch, auth_epoch, generation, audit_seq, audit_hash, created_at"

func bareRow(i int) []any {
	hash := make([]byte, 32)
	binary.BigEndian.PutUint64(hash, uint64(i))
	return []any{benchUID(i), "acme", "w1", int64(9), int32(1), int32(1), int32(4), int64(1), int64(0), int64(0), hash, int64(1_772_366_400_123_456)}
}

func (w *world) bareInsert(n int) {
	w.t.Helper()
	insert := w.insertBare
	if w.db.Dialect() == sqldb.Postgres {
		insert = w.copyBare
	}
	if err := insert(w.t.Context(), n); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) copyBare(ctx context.Context, n int) error {
	if _, err := w.db.ExecContext(ctx, `CREATE TABLE bare (LIKE devices INCLUDING ALL)`); err != nil {
		return err
	}
	return w.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Copy(ctx, "bare", strings.Split(bareColumns, ", "), n, func(i int) ([]any, error) { return bareRow(i), nil })
	})
}

func (w *world) insertBare(ctx context.Context, n int) error {
	var ddl []string
	rows, err := w.db.QueryContext(ctx, `SELECT sql FROM sqlite_master WHERE tbl_name = 'devices' AND sql IS NOT NULL ORDER BY type DESC`)
	if err != nil {
		return err
	}
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		ddl = append(ddl, strings.ReplaceAll(strings.ReplaceAll(text, `"devices"`, "bare"), "devices", "bare"))
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, text := range ddl {
		if _, err := w.db.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return w.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return insertBareRows(ctx, tx, n) })
}

func insertBareRows(ctx context.Context, tx *sqldb.Tx, n int) error {
	const atOnce, columns = 250, 12
	query := func(rows int) string {
		row := "(" + strings.Repeat("?,", columns-1) + "?)"
		return `INSERT INTO bare (` + bareColumns + `) VALUES ` + strings.Repeat(row+",", rows-1) + row
	}
	full := query(atOnce)
	args := make([]any, 0, atOnce*columns)
	for first := 0; first < n; first += atOnce {
		rows, text := min(atOnce, n-first), full
		if rows < atOnce {
			text = query(rows)
		}
		args = args[:0]
		for i := range rows {
			args = append(args, bareRow(first+i)...)
		}
		if _, err := tx.ExecContext(ctx, text, args...); err != nil {
			return err
		}
	}
	return nil
}
