package store

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"strings"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

// The two dialects differ in their migrations and in how many rows reach a table at once: PostgreSQL takes them as arrays,
// SQLite as values. sqldb.Tx.ForUpdate covers row locks, and every other statement is the same text for both.

// Migrations has the folders sqlite and postgres at its root.
func Migrations() (fs.FS, error) { return fs.Sub(migrations, "migrations") }

const insertDevicesColumns = `INSERT INTO devices (partner, model_id, lot_no, created_at, state, auth_epoch, generation, audit_seq,
	uid, suite, key_epoch, public_key, audit_hash, labels) `

// insertDevicesArrays takes all rows as arrays of columns.
const insertDevicesArrays = insertDevicesColumns + `
	SELECT $1, $2, $3, $4, 1, 1, 0, 0, * FROM unnest($5::text[], $6::integer[], $7::integer[], $8::bytea[], $9::bytea[], $10::text[])
	ON CONFLICT (uid) DO NOTHING RETURNING uid`

// valuesAtOnce is how many rows one statement brings to SQLite: more gain nothing and would make it large.
const valuesAtOnce = 250

const valueColumns = 6

// insertDevicesValues takes n rows as values.
func insertDevicesValues(n int) string {
	var b strings.Builder
	b.WriteString(insertDevicesColumns + `VALUES `)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		p := 5 + i*valueColumns
		fmt.Fprintf(&b, `($1,$2,$3,$4,1,1,0,0,$%d,$%d,$%d,$%d,$%d,$%d)`, p, p+1, p+2, p+3, p+4, p+5)
	}
	b.WriteString(` ON CONFLICT (uid) DO NOTHING RETURNING uid`)
	return b.String()
}

var insertDevicesFull = insertDevicesValues(valuesAtOnce)

// insertDevices adds the rows of one lot that are not there, and notes in created which these are.
func insertDevices(ctx context.Context, tx *sqldb.Tx, rows []device.Device, created map[device.UID]bool) error {
	atOnce := len(rows)
	if tx.Dialect() == sqldb.SQLite {
		atOnce = valuesAtOnce
	}
	for len(rows) > 0 {
		batch := rows[:min(atOnce, len(rows))]
		rows = rows[len(batch):]
		query, args, err := insertStatement(tx.Dialect(), batch)
		if err != nil {
			return err
		}
		found, err := tx.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		if err := noteCreated(found, created); err != nil {
			return err
		}
	}
	return nil
}

// writePlaces writes the entries' places in the log.
func writePlaces(ctx context.Context, tx *sqldb.Tx, entries []device.Entry) error {
	if tx.Dialect() == sqldb.SQLite {
		for i := range entries {
			e := &entries[i]
			_, err := tx.ExecContext(ctx, `UPDATE audit_entries SET position = $3, log_hash = $4 WHERE subject = $1 AND seq = $2`,
				subjectText(*e), e.Sequence, e.Position, e.LogHash[:])
			if err != nil {
				return err
			}
		}
		return nil
	}
	n := len(entries)
	subjects, hashes := make([]string, n), make([][]byte, n)
	sequences, positions := make([]int64, n), make([]int64, n)
	for i := range entries {
		e := &entries[i]
		subjects[i], sequences[i], positions[i], hashes[i] = subjectText(*e), e.Sequence, e.Position, e.LogHash[:]
	}
	_, err := tx.ExecContext(ctx, `UPDATE audit_entries e SET position = v.position, log_hash = v.log_hash
		FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[]) AS v (subject, seq, position, log_hash)
		WHERE e.subject = v.subject AND e.seq = v.seq`, subjects, sequences, positions, hashes)
	return err
}

func insertStatement(dialect sqldb.Dialect, batch []device.Device) (string, []any, error) {
	d := batch[0]
	args := make([]any, 4, 4+valueColumns*len(batch))
	args[0], args[1], args[2], args[3] = d.Partner, d.ModelID, int64(d.LotNo), micros(d.CreatedAt)
	n := len(batch)
	uids, suites, epochs := make([]string, n), make([]int32, n), make([]int32, n)
	keys, heads, labels := make([][]byte, n), make([][]byte, n), make([]*string, n)
	for i := range batch {
		d := &batch[i]
		uids[i], suites[i], epochs[i], heads[i] = uidText(d.UID), int32(d.Suite), int32(d.KeyEpoch), d.Head.Hash[:]
		if len(d.Credentials) > 0 {
			keys[i] = d.Credentials[0].Key
		}
		text, err := labelColumn(d.Labels)
		if err != nil {
			return "", nil, err
		}
		if text, ok := text.(string); ok {
			labels[i] = &text
		}
	}
	if dialect == sqldb.Postgres {
		return insertDevicesArrays, append(args, uids, suites, epochs, keys, heads, labels), nil
	}
	for i := range batch {
		var key, label any
		if keys[i] != nil {
			key = keys[i]
		}
		if labels[i] != nil {
			label = *labels[i]
		}
		args = append(args, uids[i], suites[i], epochs[i], key, heads[i], label)
	}
	if n == valuesAtOnce {
		return insertDevicesFull, args, nil
	}
	return insertDevicesValues(n), args, nil
}

func noteCreated(rows *sql.Rows, created map[device.UID]bool) error {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		uid, err := parseUID(text)
		if err != nil {
			return err
		}
		created[uid] = true
	}
	return rows.Err()
}

// insertLabels makes the labels of created rows findable.
func insertLabels(ctx context.Context, tx *sqldb.Tx, rows []device.Device, created map[device.UID]bool) error {
	var args []any
	flush := func() error {
		if len(args) == 0 {
			return nil
		}
		var values strings.Builder
		for i := 0; i < len(args); i += 3 {
			if i > 0 {
				values.WriteByte(',')
			}
			fmt.Fprintf(&values, `($%d,$%d,$%d)`, i+1, i+2, i+3)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO device_labels (uid, key, value) VALUES `+values.String(), args...)
		args = args[:0]
		return err
	}
	for i := range rows {
		if !created[rows[i].UID] {
			continue
		}
		for key, value := range rows[i].Labels {
			if args = append(args, uidText(rows[i].UID), key, value); len(args) >= 3*valuesAtOnce {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}
