package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

const subscriptionColumns = `partner, id, filter, consumer, created_at`

// CreateSubscription implements subscription.Store.
func (s *Store) CreateSubscription(ctx context.Context, req once.Request, sub subscription.Subscription) (subscription.Subscription, error) {
	return inTxOnce(ctx, s.db, req, sub.CreatedAt, func(ctx context.Context, tx *sqldb.Tx) (subscription.Subscription, error) {
		stored, err := changed(ctx, tx, `INSERT INTO subscriptions (`+subscriptionColumns+`) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (partner, id) DO NOTHING`, sub.Partner, sub.ID, sub.Filter, sub.Consumer, micros(sub.CreatedAt))
		if err != nil {
			return sub, fmt.Errorf("store a subscription: %w", err)
		}
		if !stored {
			return sub, subscription.ErrExists
		}
		return sub, nil
	})
}

// Subscription implements subscription.Store.
func (s *Store) Subscription(ctx context.Context, partner, id string) (subscription.Subscription, error) {
	row := s.db.QueryRowContext(ctx, `SELECT `+subscriptionColumns+` FROM subscriptions WHERE partner = $1 AND id = $2`, partner, id)
	sub, err := scanSubscription(row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return sub, subscription.ErrNotFound
	}
	return sub, err
}

// Subscriptions are all subscriptions of all partners.
func (s *Store) Subscriptions(ctx context.Context) ([]subscription.Subscription, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+subscriptionColumns+` FROM subscriptions ORDER BY partner, id`)
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
	var created int64
	if err := scan(&sub.Partner, &sub.ID, &sub.Filter, &sub.Consumer, &created); err != nil {
		return sub, fmt.Errorf("read a subscription: %w", err)
	}
	sub.CreatedAt = fromMicros(created)
	return sub, nil
}
