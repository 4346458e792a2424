package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"modernc.org/sqlite"
	"modernc.org/sqlite/vtab"
)

// bulkTable is a virtual table on the connections of SQLite that write. bulk_rows($1) are the rows that [handOver] gave the
// number $1: SQLite takes the values out of Go's memory as it needs them, which costs a third of handing them over as JSON.
const bulkTable = "bulk_rows"

// maxBulkColumns is how many columns the virtual table has.
const maxBulkColumns = 64

var (
	registerBulkTable = sync.OnceValue(func() error { return vtab.RegisterModule(nil, bulkTable, bulkModule{}) })

	handedOver sync.Map // int64 to *BulkRows
	lastNumber atomic.Int64
)

// handOver makes rows visible to SQLite under a number, until they are taken back.
func handOver(r *BulkRows) (number int64, takeBack func()) {
	number = lastNumber.Add(1)
	handedOver.Store(number, r)
	return number, func() { handedOver.Delete(number) }
}

// writerConnector opens connections that have the virtual table. It is a temporary one: nothing of it is in the file.
type writerConnector struct{ driver.Connector }

func newWriterConnector(dsn string) (driver.Connector, error) {
	if err := registerBulkTable(); err != nil {
		return nil, err
	}
	c, err := sqlite.NewConnector(dsn)
	return writerConnector{c}, err
}

// Connect implements driver.Connector.
func (w writerConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := w.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	execer, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(fmt.Errorf("sqldb: unexpected driver %T", conn), conn.Close())
	}
	if _, err := execer.ExecContext(ctx, "CREATE VIRTUAL TABLE temp."+bulkTable+" USING "+bulkTable, nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

type bulkModule struct{}

// Create implements vtab.Module.
func (m bulkModule) Create(ctx vtab.Context, args []string) (vtab.Table, error) {
	return m.Connect(ctx, args)
}

// Connect implements vtab.Module.
func (bulkModule) Connect(ctx vtab.Context, _ []string) (vtab.Table, error) {
	var b strings.Builder
	b.WriteString("CREATE TABLE x (")
	for i := range maxBulkColumns {
		fmt.Fprintf(&b, "c%d, ", i)
	}
	b.WriteString("number HIDDEN)")
	return bulkRowsTable{}, ctx.Declare(b.String())
}

type bulkRowsTable struct{}

// BestIndex implements vtab.Table. There is one way to read the table: by the number, from the first row to the last.
func (bulkRowsTable) BestIndex(info *vtab.IndexInfo) error {
	info.EstimatedCost, info.EstimatedRows = 1e12, 1_000_000
	for i := range info.Constraints {
		c := &info.Constraints[i]
		if c.Column == maxBulkColumns && c.Op == vtab.OpEQ && c.Usable {
			c.ArgIndex, c.Omit = 0, true
			info.EstimatedCost, info.EstimatedRows = 1, 100
			break
		}
	}
	return nil
}

// Open implements vtab.Table.
func (bulkRowsTable) Open() (vtab.Cursor, error) { return &bulkCursor{}, nil }

// Disconnect implements vtab.Table.
func (bulkRowsTable) Disconnect() error { return nil }

// Destroy implements vtab.Table.
func (bulkRowsTable) Destroy() error { return nil }

type bulkCursor struct {
	rows *BulkRows
	row  int
}

// Filter implements vtab.Cursor.
func (c *bulkCursor) Filter(_ int, _ string, args []vtab.Value) error {
	if len(args) != 1 {
		return errors.New("bulk_rows needs a number")
	}
	rows, ok := handedOver.Load(args[0])
	if !ok {
		return errors.New("bulk_rows got a number that it does not know")
	}
	c.rows, c.row = rows.(*BulkRows), 0 //nolint:forcetypeassert,errcheck // handOver stores nothing else
	return nil
}

// Next implements vtab.Cursor.
func (c *bulkCursor) Next() error {
	c.row++
	return nil
}

// Eof implements vtab.Cursor.
func (c *bulkCursor) Eof() bool { return c.rows == nil || c.row >= c.rows.n }

// Column implements vtab.Cursor.
func (c *bulkCursor) Column(col int) (vtab.Value, error) {
	if c.Eof() || col >= len(c.rows.columns) {
		return nil, nil
	}
	v := &c.rows.columns[col]
	if v.isNull(c.row) {
		return nil, nil
	}
	switch c.rows.bulk.columns[col].kind {
	case "text":
		return v.texts[c.row], nil
	case "bigint":
		return v.ints[c.row], nil
	}
	if v.bytes[c.row] == nil {
		return nil, nil
	}
	return v.bytes[c.row], nil
}

// Rowid implements vtab.Cursor.
func (c *bulkCursor) Rowid() (int64, error) { return int64(c.row), nil }

// Close implements vtab.Cursor.
func (c *bulkCursor) Close() error {
	c.rows = nil
	return nil
}
