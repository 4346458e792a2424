package store

import (
	"context"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/auth/internal/audit"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
	"github.com/armlet-pay/armlet/services/auth/internal/revocation"
)

// publish writes the effects of a change: what was decided to the audit, what was taken back to the revocations, and
// everything else, events of the domain, to the outbox.
func (s *Store) publish(ctx context.Context, tx *sqldb.Tx, now time.Time, effects ...any) error {
	for _, effect := range effects {
		var err error
		switch effect := effect.(type) {
		case audit.Entry:
			err = record(ctx, tx, now, effect)
		case revocation.Entry:
			err = takeBack(ctx, tx, now, effect)
		case keys.Activated:
			_, err = tx.ExecContext(ctx, `UPDATE partners SET key_epoch = $1 WHERE id = $2`, effect.Epoch, effect.Partner)
		case keys.Withdrawn:
			err = denyEpoch(ctx, tx, effect, now)
		default:
			err = s.appendEvent(ctx, tx, now, effect)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) appendEvent(ctx context.Context, tx *sqldb.Tx, now time.Time, ev any) error {
	out, err := s.encode(ctx, ev, now)
	if err != nil {
		return fmt.Errorf("store: encode %T: %w", ev, err)
	}
	return events.Append(ctx, tx, out)
}

// takeBack numbers the entry. The row of the sequence is locked until the commit, so whoever reads a number reads all
// entries below it too.
func takeBack(ctx context.Context, tx *sqldb.Tx, now time.Time, e revocation.Entry) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM revocations WHERE until_at < $1`, now.Add(-revocationSlack).UnixMicro()); err != nil {
		return err
	}
	err := tx.QueryRowContext(ctx, `UPDATE sequences SET value = value + 1 WHERE name = 'revocation' RETURNING value`).Scan(&e.Sequence)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO revocations (sequence, kind, subject, until_at) VALUES ($1, $2, $3, $4)`,
		e.Sequence, string(e.Kind), e.ID, e.Until.UnixMicro())
	return err
}

// revocationSlack is how much longer entries are kept than the tokens they void, for clocks that differ.
const revocationSlack = time.Minute

// RevocationSequence is the number of the newest revocation.
func (s *Store) RevocationSequence(ctx context.Context) (n int64, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT value FROM sequences WHERE name = 'revocation'`).Scan(&n)
	return n, err
}

// Revocations implements revocation.Store. The number is read first: an entry that comes in between is told twice at most.
func (s *Store) Revocations(ctx context.Context, after int64, now time.Time) (sequence int64, entries []revocation.Entry, err error) {
	if sequence, err = s.RevocationSequence(ctx); err != nil || sequence <= after {
		return sequence, nil, err
	}
	rows, err := s.db.QueryContext(ctx, `SELECT sequence, kind, subject, until_at FROM revocations
		WHERE sequence > $1 AND sequence <= $2 AND until_at >= $3 ORDER BY sequence`, after, sequence, now.Add(-revocationSlack).UnixMicro())
	if err != nil {
		return 0, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var e revocation.Entry
		var until int64
		if err := rows.Scan(&e.Sequence, &e.Kind, &e.ID, &until); err != nil {
			return 0, nil, err
		}
		e.Until = timeOf(until)
		entries = append(entries, e)
	}
	return sequence, entries, rows.Err()
}

// RevokeOnce implements grpcapi.Sessions.
func (s *Store) RevokeOnce(ctx context.Context, req request.ID, e revocation.Entry, why audit.Entry, now time.Time) (time.Time, error) {
	return once(ctx, s, req, now, func(ctx context.Context, tx *sqldb.Tx) (time.Time, error) {
		return now, s.publish(ctx, tx, now, e, why)
	})
}

// RecordAudit puts entries at the end of the audit that no change comes with.
func (s *Store) RecordAudit(ctx context.Context, now time.Time, entries ...audit.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		for _, e := range entries {
			if err := record(ctx, tx, now, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// record puts the entry at the end of the audit. The head's row is locked until the commit.
func record(ctx context.Context, tx *sqldb.Tx, now time.Time, e audit.Entry) error {
	var prev []byte
	err := lock(ctx, tx, `SELECT sequence, hash FROM audit_head WHERE id = 1`).Scan(&e.Sequence, &prev)
	if err != nil {
		return err
	}
	if len(prev) != len(e.Hash) {
		return fmt.Errorf("store: the hash of audit entry %d has %d bytes", e.Sequence, len(prev))
	}
	e.Sequence++
	e.At = now.UTC().Truncate(time.Microsecond)
	e = e.Sealed([32]byte(prev))
	if _, err := tx.ExecContext(ctx, `UPDATE audit_head SET sequence = $1, hash = $2 WHERE id = 1`, e.Sequence, e.Hash[:]); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO audit_entries (sequence, created_at, actor, action, subject, detail, hash)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`, e.Sequence, e.At.UnixMicro(), e.Actor, e.Action, e.Subject, e.Detail, e.Hash[:])
	return err
}

// Audit lists at most limit entries behind the number after, about subject unless that is empty, oldest first.
func (s *Store) Audit(ctx context.Context, subject string, after int64, limit int) ([]audit.Entry, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT sequence, created_at, actor, action, subject, detail, hash FROM audit_entries
		WHERE sequence > $1 AND (subject = $2 OR $2 = '') ORDER BY sequence LIMIT $3`, after, subject, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var entries []audit.Entry
	for rows.Next() {
		var e audit.Entry
		var at int64
		var hash []byte
		if err := rows.Scan(&e.Sequence, &at, &e.Actor, &e.Action, &e.Subject, &e.Detail, &hash); err != nil {
			return nil, err
		}
		e.At = timeOf(at)
		copy(e.Hash[:], hash)
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

// AuditHead is the number and the hash of the last entry, as the head has them.
func (s *Store) AuditHead(ctx context.Context) (e audit.Entry, err error) {
	var hash []byte
	err = s.db.QueryRowContext(ctx, `SELECT sequence, hash FROM audit_head WHERE id = 1`).Scan(&e.Sequence, &hash)
	copy(e.Hash[:], hash)
	return e, err
}
