package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

var errPaymentNotFound = fault.New(fault.NotFound, "PAYMENT_NOT_FOUND", "there is no such payment, or the caller may not see it")

const columns = `id, state, amount, currency, merchant, merchant_name, terminal, device, partner, account, mode, creator,
	challenge, challenge_frame, tap_expires_at, requirements, pong_key, decline_reason, transaction_id, response_digest,
	result_frame, created_at, updated_at`

// Reserve implements payment.Store.
func (s *Store) Reserve(ctx context.Context, req payment.Request, id string) (string, error) {
	answer, err := once(ctx, s, req, func(context.Context, *sqldb.Tx) (idAnswer, error) { return idAnswer{ID: id}, nil })
	return answer.ID, err
}

// Add implements payment.Store.
func (s *Store) Add(ctx context.Context, p payment.Payment, facts []payment.Event) (payment.Payment, error) {
	var stored payment.Payment
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		fresh, err := changed(tx.ExecContext(ctx, `INSERT INTO payments (`+columns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9,
			$10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23) ON CONFLICT (id) DO NOTHING`, values(p)...))
		if err != nil {
			return fmt.Errorf("add a payment: %w", err)
		}
		if fresh {
			if err := s.publish(ctx, tx, facts); err != nil {
				return err
			}
		}
		stored, err = read(tx.QueryRowContext(ctx, `SELECT `+columns+` FROM payments WHERE id = $1`, p.ID))
		return err
	})
	return stored, err
}

// Payment implements payment.Store.
func (s *Store) Payment(ctx context.Context, id string) (payment.Payment, error) {
	return read(s.db.QueryRowContext(ctx, `SELECT `+columns+` FROM payments WHERE id = $1`, id))
}

// Update implements payment.Store.
func (s *Store) Update(ctx context.Context, id string, fn func(payment.Payment) (payment.Change, error)) (payment.Payment, error) {
	return s.change(ctx, id, nil, func(old payment.Payment, _ ledger.Books) (payment.Change, error) { return fn(old) })
}

// Capture implements payment.Store.
func (s *Store) Capture(ctx context.Context, id string, accounts []string,
	fn func(payment.Payment, ledger.Books) (payment.Change, error),
) (payment.Payment, error) {
	return s.change(ctx, id, accounts, fn)
}

func (s *Store) change(ctx context.Context, id string, accounts []string,
	fn func(payment.Payment, ledger.Books) (payment.Change, error),
) (payment.Payment, error) {
	var result payment.Payment
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		old, err := read(tx.QueryRowContext(ctx, `SELECT `+columns+` FROM payments WHERE id = $1`+tx.ForUpdate(), id))
		if err != nil {
			return err
		}
		var books ledger.Books
		if len(accounts) > 0 {
			if books, err = s.lock(ctx, tx, accounts); err != nil {
				return err
			}
		}
		change, err := fn(old, books)
		if err != nil {
			return err
		}
		result = change.Payment
		if change.Payment.State == old.State {
			return nil
		}
		return s.write(ctx, tx, change)
	})
	if err != nil {
		return payment.Payment{}, err
	}
	return result, nil
}

// write stores all that a change consists of.
func (s *Store) write(ctx context.Context, tx *sqldb.Tx, c payment.Change) error {
	if c.Assertion != "" {
		if err := s.use(ctx, tx, c); err != nil {
			return err
		}
	}
	if c.Posted != nil {
		if err := s.post(ctx, tx, *c.Posted); err != nil {
			return err
		}
	}
	p := c.Payment
	_, err := tx.ExecContext(ctx, `UPDATE payments SET state = $1, pong_key = $2, decline_reason = $3, transaction_id = $4,
		response_digest = $5, result_frame = $6, updated_at = $7, captured = CASE $1 WHEN 'CAPTURED' THEN amount ELSE 0 END,
		captures = CASE $1 WHEN 'CAPTURED' THEN 1 ELSE 0 END, revision = revision + 1 WHERE id = $8`,
		string(p.State), p.Tap.PongKey, p.DeclineReason, text(p.Transaction), p.ResponseDigest, p.ResultFrame, micros(p.UpdateTime), p.ID)
	if err != nil {
		return fmt.Errorf("change a payment: %w", err)
	}
	return s.publish(ctx, tx, c.Events)
}

// use marks an assertion as used.
func (s *Store) use(ctx context.Context, tx *sqldb.Tx, c payment.Change) error {
	fresh, err := changed(tx.ExecContext(ctx, `INSERT INTO assertions (jti, payment, used_at) VALUES ($1, $2, $3)
		ON CONFLICT (jti) DO NOTHING`, c.Assertion, c.Payment.ID, micros(c.Payment.UpdateTime)))
	if err != nil {
		return fmt.Errorf("use an assertion: %w", err)
	}
	if !fresh {
		return fault.New(fault.FailedPrecondition, "ASSERTION_MISMATCH",
			"the approval was used for another payment before (jti differs); nothing was moved").WithMeta("claim", "jti")
	}
	return nil
}

// Due implements payment.Store.
func (s *Store) Due(ctx context.Context, before time.Time, limit int) ([]string, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id FROM payments WHERE state = 'AWAITING_TAP' AND tap_expires_at < $1
		ORDER BY tap_expires_at LIMIT $2`, micros(before), limit)
	if err != nil {
		return nil, fmt.Errorf("list due payments: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("list due payments: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// List implements payment.Store.
func (s *Store) List(ctx context.Context, f payment.Filter, after *payment.Cursor, limit int) ([]payment.Payment, error) {
	var where []string
	var args []any
	add := func(condition string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(args)), 1)
		}
		where = append(where, condition)
	}
	if f.Merchant != "" {
		add("merchant = ?", f.Merchant)
	}
	if f.Account != "" {
		add("account = ?", f.Account)
	}
	if f.Partner != "" {
		add("partner = ? AND mode = ?", f.Partner, string(f.Mode))
	}
	if after != nil {
		add("(created_at, id) < (?, ?)", micros(after.CreateTime), after.ID)
	}
	query := `SELECT ` + columns + ` FROM payments`
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, " AND ")
	}
	args = append(args, limit)
	rows, err := s.db.QueryContext(ctx, query+fmt.Sprintf(` ORDER BY created_at DESC, id DESC LIMIT $%d`, len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("list payments: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []payment.Payment
	for rows.Next() {
		p, err := read(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

func values(p payment.Payment) []any {
	return []any{
		p.ID, string(p.State), p.Amount.Minor, p.Amount.Currency, p.Merchant, p.MerchantDisplayName, p.Terminal, p.Device,
		p.Partner, p.Account, string(p.Mode), p.Creator, p.Tap.Challenge, p.Tap.Frame, micros(p.Tap.ExpireTime),
		strings.Join(p.Tap.Requirements, ","), p.Tap.PongKey, p.DeclineReason, text(p.Transaction), p.ResponseDigest,
		p.ResultFrame, micros(p.CreateTime), micros(p.UpdateTime),
	}
}

func read(row interface{ Scan(dest ...any) error }) (payment.Payment, error) {
	var p payment.Payment
	var expires, created, updated int64
	var requirements string
	var transaction sql.NullString
	err := row.Scan(&p.ID, &p.State, &p.Amount.Minor, &p.Amount.Currency, &p.Merchant, &p.MerchantDisplayName, &p.Terminal,
		&p.Device, &p.Partner, &p.Account, &p.Mode, &p.Creator, &p.Tap.Challenge, &p.Tap.Frame, &expires, &requirements,
		&p.Tap.PongKey, &p.DeclineReason, &transaction, &p.ResponseDigest, &p.ResultFrame, &created, &updated)
	if err != nil {
		return payment.Payment{}, orNotFound(err, errPaymentNotFound)
	}
	if requirements != "" {
		p.Tap.Requirements = strings.Split(requirements, ",")
	}
	p.Transaction = transaction.String
	p.Tap.ExpireTime, p.CreateTime, p.UpdateTime = fromMicros(expires), fromMicros(created), fromMicros(updated)
	return p, nil
}

func text(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }
