package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

const subscriptionColumns = `partner, id, filters, consumer, sink, thin, state, start_at, round, url, signature, signing_keys,
	failing_since, disable_reason, created_at, updated_at`

// CreateSubscription implements subscription.Store.
func (s *Store) CreateSubscription(ctx context.Context, req once.Request, sub subscription.Subscription) (subscription.Subscription, error) {
	return inTxOnce(ctx, s.db, req, sub.CreatedAt, func(ctx context.Context, tx *sqldb.Tx) (subscription.Subscription, error) {
		filters, keys, err := subscriptionTexts(sub)
		if err != nil {
			return sub, err
		}
		// filter is what the version before reads.
		stored, err := changed(ctx, tx, `INSERT INTO subscriptions (filter, `+subscriptionColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
			ON CONFLICT (partner, id) DO NOTHING`, sub.Filters[0], sub.Partner, sub.ID, filters, sub.Consumer, string(sub.Sink), flag(sub.Thin),
			string(sub.State), microsOrZero(sub.Start), sub.Round, sub.URL, string(sub.Signature), keys,
			microsOrZero(sub.FailingSince), sub.DisableReason, micros(sub.CreatedAt), micros(sub.UpdatedAt))
		if err != nil {
			return sub, fmt.Errorf("store a subscription: %w", err)
		}
		if !stored {
			return sub, subscription.ErrExists
		}
		var all int
		err = tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM subscriptions WHERE partner = $1`, sub.Partner).Scan(&all)
		if err == nil && all > subscription.MaxPerPartner {
			err = subscription.ErrLimit
		}
		return sub, err
	})
}

func subscriptionTexts(sub subscription.Subscription) (filters, keys string, err error) {
	f, err := json.Marshal(sub.Filters)
	if err != nil {
		return "", "", err
	}
	k, err := json.Marshal(sub.Keys)
	return string(f), string(k), err
}

// Subscription implements subscription.Store.
func (s *Store) Subscription(ctx context.Context, partner, id string) (subscription.Subscription, error) {
	return loadSubscription(ctx, s.db, partner, id, "")
}

func loadSubscription(ctx context.Context, q sqldb.Queryer, partner, id, lock string) (subscription.Subscription, error) {
	row := q.QueryRowContext(ctx, `SELECT `+subscriptionColumns+` FROM subscriptions WHERE partner = $1 AND id = $2`+lock, partner, id)
	sub, err := scanSubscription(row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return sub, subscription.ErrNotFound
	}
	return sub, err
}

// UpdateSubscription implements subscription.Store.
func (s *Store) UpdateSubscription(ctx context.Context, req *once.Request, partner, id string, now time.Time,
	change func(subscription.Subscription) (subscription.Subscription, []any, error),
) (subscription.Subscription, error) {
	do := func(ctx context.Context, tx *sqldb.Tx) (subscription.Subscription, error) {
		old, err := loadSubscription(ctx, tx, partner, id, tx.ForUpdate())
		if err != nil {
			return old, err
		}
		sub, facts, err := change(old)
		if err != nil {
			return sub, err
		}
		if err := s.publish(ctx, tx, now, facts...); err != nil {
			return sub, err
		}
		return sub, writeSubscription(ctx, tx, sub)
	}
	if req != nil {
		return inTxOnce(ctx, s.db, *req, now, do)
	}
	var sub subscription.Subscription
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		sub, err = do(ctx, tx)
		return err
	})
	return sub, err
}

func writeSubscription(ctx context.Context, tx *sqldb.Tx, sub subscription.Subscription) error {
	_, keys, err := subscriptionTexts(sub)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE subscriptions SET state = $3, start_at = $4, round = $5, url = $6, signing_keys = $7,
			failing_since = $8, disable_reason = $9, updated_at = $10 WHERE partner = $1 AND id = $2`,
		sub.Partner, sub.ID, string(sub.State), microsOrZero(sub.Start), sub.Round, sub.URL, keys,
		microsOrZero(sub.FailingSince), sub.DisableReason, micros(sub.UpdatedAt))
	if err != nil {
		return fmt.Errorf("change a subscription: %w", err)
	}
	return nil
}

// DeleteSubscription implements subscription.Store.
func (s *Store) DeleteSubscription(ctx context.Context, partner, id string) (sub subscription.Subscription, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if sub, err = loadSubscription(ctx, tx, partner, id, tx.ForUpdate()); err != nil {
			return err
		}
		for _, q := range []string{
			`DELETE FROM deliveries WHERE partner = $1 AND subscription = $2`,
			`DELETE FROM subscriptions WHERE partner = $1 AND id = $2`,
		} {
			if _, err := tx.ExecContext(ctx, q, partner, id); err != nil {
				return fmt.Errorf("delete a subscription: %w", err)
			}
		}
		for _, key := range sub.Keys {
			if _, err := tx.ExecContext(ctx, `DELETE FROM keys WHERE name = $1`, key.Name); err != nil {
				return fmt.Errorf("delete a signing key: %w", err)
			}
		}
		return nil
	})
	return sub, err
}

// Subscriptions are all subscriptions of all partners.
func (s *Store) Subscriptions(ctx context.Context) ([]subscription.Subscription, error) {
	return s.subscriptions(ctx, `ORDER BY partner, id`)
}

// SubscriptionsOf are those of one partner.
func (s *Store) SubscriptionsOf(ctx context.Context, partner string) ([]subscription.Subscription, error) {
	return s.subscriptions(ctx, `WHERE partner = $1 ORDER BY id`, partner)
}

// Webhooks are all active subscriptions that post to a URL.
func (s *Store) Webhooks(ctx context.Context) ([]subscription.Subscription, error) {
	return s.subscriptions(ctx, `WHERE sink = 'webhook' AND state = 'active' ORDER BY partner, id`)
}

func (s *Store) subscriptions(ctx context.Context, where string, args ...any) ([]subscription.Subscription, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+subscriptionColumns+` FROM subscriptions `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read subscriptions: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all []subscription.Subscription
	for rows.Next() {
		sub, err := scanSubscription(rows.Scan)
		if err != nil {
			return nil, err
		}
		all = append(all, sub)
	}
	return all, rows.Err()
}

// SubscribedPartners are the partners that have subscriptions, in order.
func (s *Store) SubscribedPartners(ctx context.Context) ([]string, error) {
	partners, err := s.strings(ctx, `SELECT DISTINCT partner FROM subscriptions ORDER BY partner`)
	if err != nil {
		return nil, fmt.Errorf("read partners: %w", err)
	}
	return partners, nil
}

func scanSubscription(scan func(...any) error) (subscription.Subscription, error) {
	var sub subscription.Subscription
	var filters, keys string
	var thin, start, failing, created, updated int64
	err := scan(&sub.Partner, &sub.ID, &filters, &sub.Consumer, &sub.Sink, &thin, &sub.State, &start, &sub.Round, &sub.URL, &sub.Signature,
		&keys, &failing, &sub.DisableReason, &created, &updated)
	if err != nil {
		return sub, fmt.Errorf("read a subscription: %w", err)
	}
	sub.Thin, sub.Start, sub.FailingSince = thin != 0, timeOrZero(start), timeOrZero(failing)
	sub.CreatedAt, sub.UpdatedAt = fromMicros(created), fromMicros(updated)
	return sub, errors.Join(json.Unmarshal([]byte(filters), &sub.Filters), json.Unmarshal([]byte(keys), &sub.Keys))
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func microsOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return micros(t)
}

func timeOrZero(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return fromMicros(us)
}
