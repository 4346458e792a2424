package store

import (
	"context"
	"encoding/json"
	"io/fs"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

// The two dialects differ in their migrations and in how many rows reach a table at once: PostgreSQL takes them as a COPY or
// as arrays, SQLite as values. sqldb.Tx.ForUpdate covers row locks, and every other statement is the same text for both.

// Migrations has the folders sqlite and postgres at its root.
func Migrations() (fs.FS, error) { return fs.Sub(migrations, "migrations") }

// whereUIDs chooses the devices that listOf lists. A parameter for each would cost SQLite the square of their number.
var whereUIDs = map[sqldb.Dialect]string{
	sqldb.Postgres: `uid = ANY($1::text[])`,
	sqldb.SQLite:   `uid IN (SELECT value FROM json_each($1))`,
}

// listOf makes one parameter of many texts.
func listOf(dialect sqldb.Dialect, texts []string) (any, error) {
	if dialect == sqldb.Postgres {
		return texts, nil
	}
	raw, err := json.Marshal(texts)
	return string(raw), err
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
