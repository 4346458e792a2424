package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/group"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

// Decisions of many taps are committed together; how is in record.go, and why in ADR 49.
const (
	// recordLanes is how many transactions of decisions are under way: one waits for the disk while the next is made. SQLite has
	// one writer.
	recordLanes  = 2
	recordLinger = 300 * time.Microsecond
)

type settle = func(challenge.Decision, challenge.Mark) (challenge.Decision, challenge.Mark, []any, error)

// recording is what a caller has recorded.
type recording struct {
	decision challenge.Decision
	settle   settle
}

type recordCall = group.Call[recording, challenge.Decision]

func (s *Store) newRecords() *group.Group[recording, challenge.Decision] {
	cfg := group.Config{Shared: sqldb.IsUnavailable}
	if s.db.Dialect() == sqldb.Postgres {
		cfg.Lanes, cfg.Linger = recordLanes, recordLinger
	}
	return group.New(cfg, s.recordAll)
}

// Record implements challenge.Store. It may run again after its answer was lost, since it finds the decision then.
func (s *Store) Record(ctx context.Context, d challenge.Decision, settle settle) (challenge.Decision, error) {
	recorded, err := s.records.Do(ctx, recording{d, settle})
	if err != nil {
		return d, err
	}
	return recorded, nil
}

// recordAll takes the locks on the devices' marks first, in the order of the uids, so that of several callers with one challenge
// all but one find the decision, in this process and in others. Then it decides in memory, each on what those before it left.
func (s *Store) recordAll(ctx context.Context, calls []*recordCall) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		uids, nonces := make([]string, len(calls)), make([]string, len(calls))
		for i, c := range calls {
			uids[i], nonces[i] = c.In.decision.UID.String(), hex.EncodeToString(c.In.decision.Nonce[:])
		}
		marks, err := lockMarks(ctx, tx, uids)
		if err != nil {
			return err
		}
		decided, err := readDecisions(ctx, tx, tx.Dialect(), nonces)
		if err != nil {
			return err
		}
		r := records{decisions: insertDecisions.Rows(len(calls)), moved: map[wire.UID]movedMark{}}
		for _, c := range calls {
			c.Out, c.Err = decided[c.In.decision.Nonce], nil // another attempt may have been made
			if _, found := decided[c.In.decision.Nonce]; found {
				continue
			}
			if c.Out, c.Err = s.settle(c, marks, &r); c.Err == nil {
				decided[c.Out.Nonce] = c.Out
			}
		}
		return r.write(ctx, tx)
	})
}

// records are what is to be written of a group.
type records struct {
	decisions *sqldb.BulkRows
	grants    []challenge.Decision
	moved     map[wire.UID]movedMark
	events    []events.Event
}

type movedMark struct {
	challenge.Mark
	device string
}

// settle decides on one. A failure is the caller's own and leaves nothing behind.
func (s *Store) settle(c *recordCall, marks map[wire.UID]challenge.Mark, r *records) (challenge.Decision, error) {
	d := c.In.decision
	settled, moved, facts, err := c.In.settle(d, marks[d.UID])
	if err != nil {
		return d, err
	}
	evs := make([]events.Event, len(facts))
	for i, fact := range facts {
		if evs[i], err = s.encode(c.Context, fact, d.DecidedAt); err != nil {
			return d, fmt.Errorf("store: encode %T: %w", fact, err)
		}
	}
	marks[d.UID], r.moved[d.UID] = moved, movedMark{moved, d.Device}
	r.decisions.Add(decisionValues(settled)...)
	if settled.Grant != nil {
		r.grants = append(r.grants, settled)
	}
	r.events = append(r.events, evs...)
	return settled, nil
}

func (r *records) write(ctx context.Context, tx *sqldb.Tx) error {
	marks := updateMarks.Rows(len(r.moved))
	for uid, m := range r.moved {
		addMark(marks, uid, m.device, m.Mark)
	}
	outbox, err := events.Rows(tx, r.events...)
	if err != nil {
		return err
	}
	if _, err := sqldb.ExecAll(ctx, tx, r.decisions, marks, outbox); err != nil {
		return err
	}
	for _, d := range r.grants {
		if err := insertOfflineGrant(ctx, tx, d); err != nil {
			return err
		}
	}
	return nil
}

var (
	insertDecisions = sqldb.NewBulk("nonce text, owner text, device text, uid text, partner text, account text, purpose bigint, "+
		"response_hash bytea, reason text, jti text, assurance bigint, counter bigint, intent bytea, amount bigint, currency text, "+
		"merchant bytea, approved_frame bytea, declined_frame bytea, expires_at bigint, decided_at bigint, risk bigint, binding_id bytea",
		`INSERT INTO decisions ({columns}) SELECT {columns} FROM {rows} AS r`, 0)
)

// decisionValues is a row of insertDecisions.
func decisionValues(d challenge.Decision) []any {
	return []any{
		hex.EncodeToString(d.Nonce[:]), d.Owner, d.Device, d.UID.String(), d.Partner, d.Account, int64(d.Purpose), d.Digest[:], d.Reason,
		d.JTI, int64(d.Assurance), int64(d.Counter), d.Intent[:], int64(d.Amount), d.Currency, d.Merchant[:], bytesOf(d.Approved),
		bytesOf(d.Declined), d.ExpiresAt.UnixMicro(), d.DecidedAt.UnixMicro(), int64(d.Risk), d.BindingID[:],
	}
}
