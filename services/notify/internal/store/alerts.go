package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

const alertColumns = `id, account, sequence, type, band_text, phone_text, vibration, device, partner, mode, created_at`

// AppendAlert puts an alert into its account's inbox in tx and publishes that. The row of the inbox gives the sequence
// and stays locked until the commit, so that a rolled-back alert leaves no gap.
func (s *Store) AppendAlert(ctx context.Context, tx *sqldb.Tx, d alert.Draft, now time.Time) (alert.Alert, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return alert.Alert{}, err
	}
	a := alert.Alert{Draft: d, ID: id.String(), CreatedAt: fromMicros(micros(now))}
	err = tx.QueryRowContext(ctx, `INSERT INTO inboxes (account, last_sequence, updated_at) VALUES ($1, 1, $2)
		ON CONFLICT (account) DO UPDATE SET last_sequence = inboxes.last_sequence + 1, updated_at = excluded.updated_at
		RETURNING last_sequence`, a.Account, micros(now)).Scan(&a.Sequence)
	if err != nil {
		return alert.Alert{}, fmt.Errorf("take a sequence: %w", err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO alerts (`+alertColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		a.ID, a.Account, a.Sequence, a.Type, a.Band, a.Phone, a.Vibration, a.Device, a.Partner, a.Mode, micros(a.CreatedAt))
	if err != nil {
		return alert.Alert{}, fmt.Errorf("store an alert: %w", err)
	}
	tx.OnCommit(func() { s.wake(a.Account) })
	return a, s.publish(ctx, tx, alert.Sent{Alert: a}, now)
}

// SendAlert implements alert.Store.
func (s *Store) SendAlert(ctx context.Context, req once.Request, device string, now time.Time,
	decide func(alert.Wearer) (alert.Draft, error),
) (alert.Alert, error) {
	return inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (alert.Alert, error) {
		w, err := wearer(ctx, tx, device)
		if err != nil {
			return alert.Alert{}, err
		}
		d, err := decide(w)
		if err != nil {
			return alert.Alert{}, err
		}
		return s.AppendAlert(ctx, tx, d, now)
	})
}

func wearer(ctx context.Context, tx *sqldb.Tx, device string) (alert.Wearer, error) {
	w := alert.Wearer{Device: device}
	err := tx.QueryRowContext(ctx, `SELECT partner, account, mode FROM wearers WHERE device = $1`, device).
		Scan(&w.Partner, &w.Account, &w.Mode)
	if errors.Is(err, sql.ErrNoRows) {
		return alert.Wearer{}, nil
	}
	if err != nil {
		return alert.Wearer{}, fmt.Errorf("look up a wearer: %w", err)
	}
	return w, nil
}

// SetWearer records in tx who wears a device since the given epoch. Events may overtake each other; an older one changes
// nothing.
func (s *Store) SetWearer(ctx context.Context, tx *sqldb.Tx, w alert.Wearer, epoch int64, now time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO wearers (device, partner, account, mode, auth_epoch, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (device) DO UPDATE SET partner = excluded.partner, account = excluded.account, mode = excluded.mode,
			auth_epoch = excluded.auth_epoch, updated_at = excluded.updated_at
		WHERE wearers.auth_epoch < excluded.auth_epoch`,
		w.Device, w.Partner, w.Account, w.Mode, epoch, micros(now))
	if err != nil {
		return fmt.Errorf("record a wearer: %w", err)
	}
	return nil
}

// LastSequence is the newest sequence of an account's inbox, 0 when it is empty.
func (s *Store) LastSequence(ctx context.Context, account string) (int64, error) {
	var last int64
	err := s.db.QueryRowContext(ctx, `SELECT last_sequence FROM inboxes WHERE account = $1`, account).Scan(&last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("read an inbox: %w", err)
	}
	return last, nil
}

// AlertsAfter are the oldest alerts of an account with a greater sequence, at most limit.
func (s *Store) AlertsAfter(ctx context.Context, account string, after int64, limit int) ([]alert.Alert, error) {
	return s.alerts(ctx, `SELECT `+alertColumns+` FROM alerts WHERE account = $1 AND sequence > $2
		ORDER BY sequence LIMIT $3`, account, after, limit)
}

// AlertsBefore are the newest alerts of an account with a smaller sequence, at most limit, newest first.
func (s *Store) AlertsBefore(ctx context.Context, account string, before int64, limit int) ([]alert.Alert, error) {
	return s.alerts(ctx, `SELECT `+alertColumns+` FROM alerts WHERE account = $1 AND sequence < $2
		ORDER BY sequence DESC LIMIT $3`, account, before, limit)
}

func (s *Store) alerts(ctx context.Context, query string, args ...any) ([]alert.Alert, error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all []alert.Alert
	for rows.Next() {
		var a alert.Alert
		var created int64
		if err := rows.Scan(&a.ID, &a.Account, &a.Sequence, &a.Type, &a.Band, &a.Phone, &a.Vibration, &a.Device, &a.Partner,
			&a.Mode, &created); err != nil {
			return nil, fmt.Errorf("read alerts: %w", err)
		}
		a.CreatedAt = fromMicros(created)
		all = append(all, a)
	}
	return all, rows.Err()
}

// AccountsUpdatedSince are the accounts whose inboxes have grown since then, by the clocks of the writers.
func (s *Store) AccountsUpdatedSince(ctx context.Context, since time.Time) ([]string, error) {
	return s.strings(ctx, `SELECT account FROM inboxes WHERE updated_at >= $1`, micros(since))
}

func (s *Store) strings(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []string
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
