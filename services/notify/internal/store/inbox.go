package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
)

// lockInbox makes sure that an inbox is there and that nobody else changes it before the commit. Everything that touches
// the alerts of an account does this first, so that two never wait for each other.
func (s *Store) lockInbox(ctx context.Context, tx *sqldb.Tx, account string, now time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO inboxes (account, epoch, last_sequence, updated_at) VALUES ($1, $2, 0, $3)
		ON CONFLICT (account) DO UPDATE SET account = excluded.account`, account, rand.Text(), micros(now))
	if err != nil {
		return fmt.Errorf("lock an inbox: %w", err)
	}
	return nil
}

// growth is by how many steps an inbox is to grow, which may be none.
type growth struct {
	account string
	steps   int64
}

var growInboxes = sqldb.NewBulk("account text, epoch text, last_sequence bigint, updated_at bigint", `INSERT INTO inboxes ({columns})
	SELECT {columns} FROM {rows} AS r WHERE true
	ON CONFLICT (account) DO UPDATE SET last_sequence = inboxes.last_sequence + excluded.last_sequence, updated_at = excluded.updated_at
	RETURNING account, last_sequence`, 0)

var insertSteps = sqldb.NewBulk("account text, sequence bigint, kind text, alert_id text, created_at bigint",
	`INSERT INTO inbox_steps ({columns}) SELECT {columns} FROM {rows} AS r`, 0)

// grow locks inboxes and makes room in them, and returns their last sequences by account. The accounts are in their order, so
// that two transactions never wait for each other's inboxes.
func (s *Store) grow(ctx context.Context, tx *sqldb.Tx, inboxes []growth, now time.Time) (map[string]int64, error) {
	if len(inboxes) == 0 {
		return nil, nil
	}
	rows := growInboxes.Rows(len(inboxes))
	for _, g := range inboxes {
		rows.Add(g.account, rand.Text(), g.steps, micros(now))
		if g.steps > 0 {
			tx.OnCommit(func() { s.wake(g.account) })
		}
	}
	found, err := rows.Query(ctx, tx, tx.Dialect())
	if err != nil {
		return nil, fmt.Errorf("take sequences: %w", err)
	}
	sequences, err := scanSequences(found)
	if err != nil {
		return nil, fmt.Errorf("take sequences: %w", err)
	}
	return sequences, nil
}

func scanSequences(rows *sql.Rows) (map[string]int64, error) {
	defer func() { _ = rows.Close() }()
	all := map[string]int64{}
	for rows.Next() {
		var account string
		var sequence int64
		if err := rows.Scan(&account, &sequence); err != nil {
			return nil, err
		}
		all[account] = sequence
	}
	return all, rows.Err()
}

// newStep adds one step to one inbox.
func (s *Store) newStep(ctx context.Context, tx *sqldb.Tx, kind alert.StepKind, a alert.Alert, now time.Time) (int64, error) {
	sequences, err := s.grow(ctx, tx, []growth{{a.Account, 1}}, now)
	if err != nil {
		return 0, err
	}
	steps := insertSteps.Rows(1)
	steps.Add(a.Account, sequences[a.Account], string(kind), a.ID, micros(now))
	if _, err := steps.Exec(ctx, tx); err != nil {
		return 0, fmt.Errorf("store a step: %w", err)
	}
	return sequences[a.Account], nil
}

// moved stores an alert that changed and tells its inbox, and its sender when it is a partner. The inbox is locked.
func (s *Store) moved(ctx context.Context, tx *sqldb.Tx, kind alert.StepKind, a alert.Alert, actionID string, now time.Time) error {
	if err := updateAlert(ctx, tx, a); err != nil {
		return err
	}
	if a.Sequence > 0 {
		if _, err := s.newStep(ctx, tx, kind, a, now); err != nil {
			return err
		}
	}
	if a.Sender == "" || a.Sender == alert.Operator {
		return nil
	}
	return s.publish(ctx, tx, now, alert.Moved{Alert: a, ActionID: actionID})
}

// Head is where an account's inbox is; the zero Head when it has none yet.
func (s *Store) Head(ctx context.Context, account string) (alert.Head, error) {
	var h alert.Head
	err := s.db.QueryRowContext(ctx, `SELECT epoch, last_sequence, trimmed_through FROM inboxes WHERE account = $1`, account).
		Scan(&h.Epoch, &h.Sequence, &h.TrimmedThrough)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return h, fmt.Errorf("read an inbox: %w", err)
	}
	return h, nil
}

// OpenInbox is Head, of an inbox that is made when there is none, so that a stream has an epoch to continue in.
func (s *Store) OpenInbox(ctx context.Context, account string, now time.Time) (alert.Head, error) {
	h, err := s.Head(ctx, account)
	if err != nil || h.Epoch != "" {
		return h, err
	}
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return s.lockInbox(ctx, tx, account, now) })
	if err != nil {
		return h, err
	}
	return s.Head(ctx, account)
}

// InboxAlerts are the alerts in an inbox with a greater sequence, oldest first, at most limit.
func (s *Store) InboxAlerts(ctx context.Context, account string, after int64, limit int) ([]alert.Alert, error) {
	return alerts(ctx, s.db, `SELECT `+alertColumns+` FROM alerts WHERE account = $1 AND sequence > $2 AND `+inInbox+`
		ORDER BY sequence LIMIT $3`, account, after, limit)
}

// InboxesUpdatedSince are the last sequences, by account, of the inboxes that have changed since then by the clocks of the
// writers.
func (s *Store) InboxesUpdatedSince(ctx context.Context, since time.Time) (map[string]int64, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT account, last_sequence FROM inboxes WHERE updated_at >= $1`, micros(since))
	if err != nil {
		return nil, fmt.Errorf("look for changed inboxes: %w", err)
	}
	return scanSequences(rows)
}
