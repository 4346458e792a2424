package sqldb

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"
)

// pipeline sends several statements to PostgreSQL at once and then reads their answers. The arrays are encoded here: what
// pgx does element by element through interfaces was a fifth of the time that a busy process spent on writing.
func pipeline(ctx context.Context, tx *Tx, all []*BulkRows) ([]int64, error) {
	counts := make([]int64, len(all))
	err := tx.conn.Raw(func(driverConn any) error {
		std, ok := driverConn.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("sqldb: unexpected driver %T", driverConn)
		}
		batch := &pgconn.Batch{}
		var sent []int
		for i, r := range all {
			if r.n == 0 {
				continue
			}
			if err := r.queue(ctx, std.Conn(), batch); err != nil {
				return err
			}
			sent = append(sent, i)
		}
		if len(sent) == 0 {
			return nil
		}
		results := std.Conn().PgConn().ExecBatch(ctx, batch)
		for n := 0; n < len(sent) && results.NextResult(); n++ {
			tag, err := results.ResultReader().Close()
			if err != nil {
				break // Close returns it
			}
			counts[sent[n]] = tag.RowsAffected()
		}
		return results.Close()
	})
	if err != nil {
		return nil, err
	}
	return counts, nil
}

// queue adds one execution to the batch; the statement is prepared at its first use on a connection.
func (r *BulkRows) queue(ctx context.Context, conn *pgx.Conn, batch *pgconn.Batch) error {
	text := r.bulk.text[Postgres]
	statement, err := conn.Prepare(ctx, text, text)
	if err != nil {
		return err
	}
	params := make([][]byte, 0, len(r.extra)+len(r.columns))
	for i, v := range r.extra {
		p, err := conn.TypeMap().Encode(statement.ParamOIDs[i], pgx.BinaryFormatCode, v, nil)
		if err != nil {
			return fmt.Errorf("parameter %d: %w", i+1, err)
		}
		params = append(params, p)
	}
	for i := range r.columns {
		params = append(params, r.columns[i].array(r.bulk.columns[i].kind, r.n))
	}
	batch.ExecPrepared(statement.Name, params, binaryFormat, nil)
	return nil
}

// binaryFormat is the format of all parameters.
var binaryFormat = []int16{pgx.BinaryFormatCode}

// array is the column as PostgreSQL's binary array: dimensions, whether there are NULLs, the elements' type, their number,
// the first index, and then each element after its length, which is -1 for NULL.
func (c *values) array(kind string, n int) []byte {
	be := binary.BigEndian
	oid, size := uint32(pgtype.TextOID), 20+4*n
	switch kind {
	case "text":
		for _, s := range c.texts {
			size += len(s)
		}
	case "bigint":
		oid, size = pgtype.Int8OID, size+8*n
	default:
		oid = pgtype.ByteaOID
		for _, s := range c.bytes {
			size += len(s)
		}
	}
	b := make([]byte, 0, size)
	b = be.AppendUint32(b, 1)
	b = be.AppendUint32(b, 1)
	b = be.AppendUint32(b, oid)
	b = be.AppendUint32(b, uint32(n))
	b = be.AppendUint32(b, 1)
	const null = ^uint32(0)
	for i := range n {
		switch {
		case c.isNull(i) || kind == "bytea" && c.bytes[i] == nil:
			b = be.AppendUint32(b, null)
		case kind == "text":
			b = be.AppendUint32(b, uint32(len(c.texts[i])))
			b = append(b, c.texts[i]...)
		case kind == "bigint":
			b = be.AppendUint32(b, 8)
			b = be.AppendUint64(b, uint64(c.ints[i]))
		default:
			b = be.AppendUint32(b, uint32(len(c.bytes[i])))
			b = append(b, c.bytes[i]...)
		}
	}
	return b
}
