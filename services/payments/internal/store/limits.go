package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// Policy implements payment.Limits.
func (s *Store) Policy(ctx context.Context, currency string) (limit.Policy, error) {
	return s.reads.policies.Do(ctx, currency)
}

func openPolicy(text string) (p limit.Policy, err error) {
	if err = json.Unmarshal([]byte(text), &p); err != nil {
		err = fmt.Errorf("read limits: %w", err)
	}
	return p, err
}

// Policies implements payment.Limits.
func (s *Store) Policies(ctx context.Context) ([]limit.Policy, error) { return s.listPolicies(ctx, "") }

// SetPolicy implements payment.Limits.
func (s *Store) SetPolicy(ctx context.Context, req payment.Request, p limit.Policy) (limit.Policy, error) {
	return once(ctx, s, req, func(ctx context.Context, tx *sqldb.Tx) (limit.Policy, error) {
		text, err := json.Marshal(p)
		if err != nil {
			return limit.Policy{}, fmt.Errorf("write limits: %w", err)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO limit_policies (currency, policy, updated_at) VALUES ($1, $2, $3)
			ON CONFLICT (currency) DO UPDATE SET policy = excluded.policy, updated_at = excluded.updated_at`,
			p.Currency, string(text), micros(p.UpdateTime))
		if err != nil {
			return limit.Policy{}, fmt.Errorf("write limits: %w", err)
		}
		return p, s.publish(ctx, tx, payment.PolicyEvent{Policy: p, Time: p.UpdateTime})
	})
}

// DeletePolicy implements payment.Limits.
func (s *Store) DeletePolicy(ctx context.Context, req payment.Request, currency string) error {
	_, err := once(ctx, s, req, func(ctx context.Context, tx *sqldb.Tx) (struct{}, error) {
		found, err := changed(tx.ExecContext(ctx, `DELETE FROM limit_policies WHERE currency = $1`, currency))
		if err != nil || !found {
			return struct{}{}, err
		}
		return struct{}{}, s.publish(ctx, tx, payment.PolicyEvent{Policy: limit.Policy{Currency: currency}, Deleted: true, Time: s.now()})
	})
	return err
}

// Counters implements payment.Limits.
func (s *Store) Counters(ctx context.Context, keys []limit.Key) (limit.Counters, error) {
	if len(keys) == 0 {
		return limit.Counters{}, nil
	}
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID
	}
	return s.reads.counters.Do(ctx, ids)
}

// ForgetCounters deletes counters of days that are over, at most limit of them, and says how many.
func (s *Store) ForgetCounters(ctx context.Context, before time.Time, limit int) (int64, error) {
	res, err := s.db.ExecContext(ctx, `DELETE FROM limit_counters WHERE id IN (
		SELECT id FROM limit_counters WHERE expires_at < $1 ORDER BY id LIMIT $2)`, micros(before), limit)
	if err != nil {
		return 0, fmt.Errorf("forget counters: %w", err)
	}
	return res.RowsAffected()
}
