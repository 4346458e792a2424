package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

const deliveryColumns = `partner, subscription, event_id, event_type, subject, resource, event_time, data, traceparent, attempts,
	last_error, next_at, updated_at`

// KeepDelivery remembers an event that its webhook did not take; one that is remembered already stays as it is. When the
// subscription is gone there is nothing to remember.
func (s *Store) KeepDelivery(ctx context.Context, d subscription.Delivery) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := loadSubscription(ctx, tx, d.Partner, d.Subscription, tx.ForUpdate())
		if errors.Is(err, subscription.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO deliveries (`+deliveryColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
			ON CONFLICT (partner, subscription, event_id) DO NOTHING`,
			d.Partner, d.Subscription, d.EventID, d.EventType, d.Subject, d.Resource, micros(d.EventTime), d.Data, d.TraceParent,
			int64(d.Attempts), d.LastError, nextAt(d), micros(d.UpdatedAt))
		if err != nil {
			return fmt.Errorf("keep a delivery: %w", err)
		}
		return nil
	})
}

// DueDeliveries are up to limit deliveries of a subscription that are to be tried now. Nobody else gets them before the lease
// is over.
func (s *Store) DueDeliveries(ctx context.Context, partner, id string, limit int, now time.Time, lease time.Duration) ([]subscription.Delivery, error) {
	var due []subscription.Delivery
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		due, err = readDeliveries(ctx, tx, `WHERE partner = $1 AND subscription = $2 AND next_at IS NOT NULL AND next_at <= $3
			ORDER BY next_at, event_id LIMIT $4`+tx.ForUpdate(), partner, id, micros(now), int64(limit))
		if err != nil || len(due) == 0 {
			return err
		}
		ids := make([]string, len(due))
		for i, d := range due {
			ids[i] = d.EventID
		}
		in, args := inList(3, ids)
		_, err = tx.ExecContext(ctx, `UPDATE deliveries SET next_at = $1 WHERE partner = $2 AND subscription = $3 AND event_id IN (`+in+`)`,
			append([]any{micros(now.Add(lease)), partner, id}, args...)...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("take due deliveries: %w", err)
	}
	return due, nil
}

// inList is `$4, $5 …` for ids that follow n other arguments.
func inList(n int, ids []string) (string, []any) {
	marks, args := make([]string, len(ids)), make([]any, len(ids))
	for i, id := range ids {
		marks[i], args[i] = "$"+strconv.Itoa(n+i+1), id
	}
	return strings.Join(marks, ", "), args
}

// SettleDelivery writes what came of a try: the row goes when the event was taken.
func (s *Store) SettleDelivery(ctx context.Context, d subscription.Delivery, taken bool) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var err error
		if taken {
			_, err = tx.ExecContext(ctx, `DELETE FROM deliveries WHERE partner = $1 AND subscription = $2 AND event_id = $3`,
				d.Partner, d.Subscription, d.EventID)
		} else {
			_, err = tx.ExecContext(ctx, `UPDATE deliveries SET attempts = $4, last_error = $5, next_at = $6, updated_at = $7
				WHERE partner = $1 AND subscription = $2 AND event_id = $3`,
				d.Partner, d.Subscription, d.EventID, int64(d.Attempts), d.LastError, nextAt(d), micros(d.UpdatedAt))
		}
		if err != nil {
			return fmt.Errorf("settle a delivery: %w", err)
		}
		return nil
	})
}

// DeadLetters are the events of a subscription that were given up, by event id and after one.
func (s *Store) DeadLetters(ctx context.Context, partner, id, after string, limit int) ([]subscription.Delivery, error) {
	return readDeliveries(ctx, s.db, `WHERE partner = $1 AND subscription = $2 AND next_at IS NULL AND event_id > $3
		ORDER BY event_id LIMIT $4`, partner, id, after, int64(limit))
}

// RedriveDeadLetters makes dead letters due now, those named or all, and counts them.
func (s *Store) RedriveDeadLetters(ctx context.Context, partner, id string, events []string, now time.Time) (int64, error) {
	return s.deadLetters(ctx, `UPDATE deliveries SET attempts = 0, next_at = $3`, partner, id, events, micros(now))
}

// DiscardDeadLetters drops dead letters, those named or all, and counts them.
func (s *Store) DiscardDeadLetters(ctx context.Context, partner, id string, events []string) (int64, error) {
	return s.deadLetters(ctx, `DELETE FROM deliveries`, partner, id, events)
}

func (s *Store) deadLetters(ctx context.Context, statement, partner, id string, events []string, more ...any) (n int64, err error) {
	args := append([]any{partner, id}, more...)
	query := statement + ` WHERE partner = $1 AND subscription = $2 AND next_at IS NULL`
	if len(events) > 0 {
		in, ids := inList(len(args), events)
		query, args = query+` AND event_id IN (`+in+`)`, append(args, ids...)
	}
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		res, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return fmt.Errorf("change dead letters: %w", err)
		}
		n, err = res.RowsAffected()
		return err
	})
	return n, err
}

func nextAt(d subscription.Delivery) any {
	if d.Dead() {
		return nil
	}
	return micros(d.NextAt)
}

func readDeliveries(ctx context.Context, q sqldb.Queryer, where string, args ...any) ([]subscription.Delivery, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+deliveryColumns+` FROM deliveries `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all []subscription.Delivery
	for rows.Next() {
		var d subscription.Delivery
		var at, updated int64
		var next sql.NullInt64
		err := rows.Scan(&d.Partner, &d.Subscription, &d.EventID, &d.EventType, &d.Subject, &d.Resource, &at, &d.Data, &d.TraceParent,
			&d.Attempts, &d.LastError, &next, &updated)
		if err != nil {
			return nil, fmt.Errorf("read a delivery: %w", err)
		}
		d.EventTime, d.UpdatedAt = fromMicros(at), fromMicros(updated)
		if next.Valid {
			d.NextAt = fromMicros(next.Int64)
		}
		all = append(all, d)
	}
	return all, rows.Err()
}

// NoteWebhook changes what is known of how a webhook does. It publishes that the subscription was disabled when that is new; a
// subscription that is gone needs no note.
func (s *Store) NoteWebhook(ctx context.Context, partner, id string, now time.Time,
	change func(subscription.Subscription) subscription.Subscription,
) error {
	_, err := s.UpdateSubscription(ctx, nil, partner, id, now, func(old subscription.Subscription) (subscription.Subscription, []any, error) {
		sub := change(old)
		if sub.State == subscription.Disabled && old.State != subscription.Disabled {
			return sub, []any{subscription.DisabledEvent{Subscription: sub}}, nil
		}
		return sub, nil, nil
	})
	if errors.Is(err, subscription.ErrNotFound) {
		return nil
	}
	return err
}
