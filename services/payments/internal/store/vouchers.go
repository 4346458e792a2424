package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// AddHold implements payment.Holds. A hold that is there is as of now.
func (s *Store) AddHold(ctx context.Context, id string, now time.Time) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO voucher_holds (payment, held_at) VALUES ($1, $2)
		ON CONFLICT (payment) DO UPDATE SET held_at = excluded.held_at`, id, micros(now))
	if err != nil {
		return fmt.Errorf("remember a voucher's hold: %w", err)
	}
	return nil
}

// HoldsBefore implements payment.Holds.
func (s *Store) HoldsBefore(ctx context.Context, before time.Time, limit int) ([]string, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT payment FROM voucher_holds WHERE held_at < $1 ORDER BY held_at, payment LIMIT $2`, micros(before), limit)
	if err != nil {
		return nil, fmt.Errorf("read vouchers' holds: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("read vouchers' holds: %w", err)
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

// DropHold implements payment.Holds.
func (s *Store) DropHold(ctx context.Context, id string) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM voucher_holds WHERE payment = $1`, id); err != nil {
		return fmt.Errorf("forget a voucher's hold: %w", err)
	}
	return nil
}

// Answered implements payment.Store.
func (s *Store) Answered(ctx context.Context, req payment.Request) (payment.Answer, bool, error) {
	var response []byte
	err := s.db.QueryRowContext(ctx, `SELECT response FROM requests WHERE caller = $1 AND method = $2 AND request_id = $3`,
		req.Caller, req.Method, req.ID).Scan(&response)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return payment.Answer{}, false, nil
	case err != nil:
		return payment.Answer{}, false, fmt.Errorf("read a request: %w", err)
	}
	a, err := openAnswer(response, payment.Payment{})
	return payment.Answer{ID: a.ID, Transaction: a.Transaction}, err == nil, err
}
