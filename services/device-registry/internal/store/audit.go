package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

// insertEntry adds an entry without a place in the log, and has Place woken once it is committed.
func (s *Store) insertEntry(ctx context.Context, tx *sqldb.Tx, e device.Entry) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO audit_entries
		(subject, seq, actor, action, state, auth_epoch, note, created_at, hash, content_hash, first_previous)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		subjectText(e), e.Sequence, e.Actor, e.Action, int(e.State), e.AuthEpoch, e.Note, micros(e.At), e.Hash[:], e.Content[:],
		firstPrevious(e))
	tx.OnCommit(s.wake)
	return err
}

// firstPrevious is where the chain began, kept with its first entry; null for one that began with nothing. The hash before any
// other entry is that of the entry before.
func firstPrevious(e device.Entry) any {
	if e.Sequence != 1 || e.Previous == (device.Head{}).Hash {
		return nil
	}
	return e.Previous[:]
}

func subjectText(e device.Entry) string {
	if e.Subject != "" {
		return e.Subject
	}
	return uidText(e.UID)
}

const entryColumns = `e.subject, e.seq, e.actor, e.action, e.state, e.auth_epoch, e.note, e.created_at, e.hash, e.content_hash,
	coalesce(e.position, 0), e.log_hash, coalesce(p.hash, e.first_previous)`

// Entries lists at most limit audit entries of a device whose numbers are above after, oldest first.
func (s *Store) Entries(ctx context.Context, uid device.UID, after int64, limit int) ([]device.Entry, error) {
	return s.EntriesOf(ctx, uidText(uid), after, limit)
}

// EntriesOf is Entries of a device, by its uid, a lot or a model.
func (s *Store) EntriesOf(ctx context.Context, subject string, after int64, limit int) ([]device.Entry, error) {
	return s.entries(ctx, `e.subject = $1 AND e.seq > $2 ORDER BY e.seq LIMIT $3`, subject, after, limit)
}

// Log lists at most limit entries of the log whose positions are above after.
func (s *Store) Log(ctx context.Context, after int64, limit int) ([]device.Entry, error) {
	return s.entries(ctx, `e.position > $1 ORDER BY e.position LIMIT $2`, after, limit)
}

func (s *Store) entries(ctx context.Context, where string, args ...any) ([]device.Entry, error) {
	rows, err := s.read(ctx).QueryContext(ctx, `SELECT `+entryColumns+` FROM audit_entries e
		LEFT JOIN audit_entries p ON p.subject = e.subject AND p.seq = e.seq - 1 WHERE `+where, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var entries []device.Entry
	for rows.Next() {
		e, err := scanEntry(rows)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

func scanEntry(rows *sql.Rows) (device.Entry, error) {
	var e device.Entry
	var subject string
	var at int64
	var hash, content, logged, previous []byte
	err := rows.Scan(&subject, &e.Sequence, &e.Actor, &e.Action, &e.State, &e.AuthEpoch, &e.Note, &at, &hash, &content, &e.Position, &logged,
		&previous)
	if err != nil {
		return e, err
	}
	if copy(e.Hash[:], hash) != len(e.Hash) {
		return e, fmt.Errorf("store: stored audit hash has %d bytes", len(hash))
	}
	copy(e.Content[:], content) // null in old entries
	copy(e.LogHash[:], logged)  // null until it has a place
	copy(e.Previous[:], previous)
	e.At = fromMicros(at)
	e.UID, e.Subject, err = parseSubject(subject)
	return e, err
}

// parseSubject is the opposite of subjectText.
func parseSubject(text string) (uid device.UID, subject string, err error) {
	if len(text) == wire.UIDTextLen && !strings.Contains(text, "/") {
		uid, err = parseUID(text)
		return uid, "", err
	}
	return uid, text, nil
}

// LogHead is the end of the log: how many entries have a place in it, and its hash.
func (s *Store) LogHead(ctx context.Context) (device.Head, error) {
	return logHead(ctx, s.read(ctx), "")
}

func logHead(ctx context.Context, q sqldb.Queryer, lock string) (device.Head, error) {
	var head device.Head
	var hash []byte
	err := q.QueryRowContext(ctx, `SELECT position, hash FROM audit_head WHERE id = 1`+lock).Scan(&head.Sequence, &hash)
	copy(head.Hash[:], hash)
	return head, err
}
