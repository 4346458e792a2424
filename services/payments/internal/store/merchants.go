package store

import (
	"context"
	"fmt"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

var (
	errMerchantNotFound = fault.New(fault.NotFound, "MERCHANT_NOT_FOUND", "there is no such merchant, or the caller may not see it")
	errTerminalNotFound = fault.New(fault.NotFound, "TERMINAL_NOT_FOUND", "the merchant has no such terminal; register it first")
)

const merchantColumns = `id, display_name, category_code, currency, fee_basis_points, fee_fixed, fee_returned, cut_off, time_zone,
	payout_account, suspended, created_at`

// CreateMerchant implements payment.Merchants.
func (s *Store) CreateMerchant(ctx context.Context, req payment.Request, m payment.Merchant) (payment.Merchant, error) {
	done, err := once(ctx, s, req, func(ctx context.Context, tx *sqldb.Tx) (remembered, error) {
		books := ledger.Open(ledger.Merchant, m.ID, m.Currency)
		for _, a := range []ledger.Account{books, ledger.Open(ledger.Fee, m.Currency, m.Currency)} {
			if _, err := s.open(ctx, tx, a, m.CreateTime); err != nil {
				return remembered{}, fmt.Errorf("open the account %s: %w", a.ID, err)
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO merchants (`+merchantColumns+`, ledger_id)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`, append(merchantValues(m), books.ID)...)
		if err != nil {
			return remembered{}, fmt.Errorf("register a merchant: %w", err)
		}
		return remembered{ID: m.ID}, s.publish(ctx, tx, payment.MerchantEvent{Merchant: m, New: true, Time: m.CreateTime})
	})
	if err != nil {
		return payment.Merchant{}, err
	}
	return s.Merchant(ctx, done.ID)
}

func merchantValues(m payment.Merchant) []any {
	return []any{
		m.ID, m.DisplayName, int64(m.CategoryCode), m.Currency, int64(m.Fees.BasisPoints), m.Fees.FixedMinor, flag(m.Fees.ReturnedOnRefund),
		m.Settlement.CutOff, m.Settlement.TimeZone, m.Settlement.PayoutAccount, flag(m.Suspended), micros(m.CreateTime),
	}
}

// flag is how the databases keep a truth.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// UpdateMerchant implements payment.Merchants.
func (s *Store) UpdateMerchant(ctx context.Context, req payment.Request, id string,
	fn func(payment.Merchant) (payment.Merchant, payment.Event, error),
) (payment.Merchant, error) {
	answer, err := once(ctx, s, req, func(ctx context.Context, tx *sqldb.Tx) (merchantAnswer, error) {
		found, err := queryMerchants(ctx, tx, `WHERE id = $1`+tx.ForUpdate(), id)
		if err != nil {
			return merchantAnswer{}, err
		}
		if len(found) == 0 {
			return merchantAnswer{}, errMerchantNotFound
		}
		m, event, err := fn(found[0])
		if err != nil || m == found[0] {
			return closeMerchant(m), err
		}
		_, err = tx.ExecContext(ctx, `UPDATE merchants SET display_name = $2, category_code = $3, fee_basis_points = $4, fee_fixed = $5,
			fee_returned = $6, cut_off = $7, time_zone = $8, payout_account = $9, suspended = $10 WHERE id = $1`,
			id, m.DisplayName, int64(m.CategoryCode), int64(m.Fees.BasisPoints), m.Fees.FixedMinor, flag(m.Fees.ReturnedOnRefund),
			m.Settlement.CutOff, m.Settlement.TimeZone, m.Settlement.PayoutAccount, flag(m.Suspended))
		if err != nil {
			return merchantAnswer{}, fmt.Errorf("change a merchant: %w", err)
		}
		return closeMerchant(m), s.publish(ctx, tx, event)
	})
	if err != nil {
		return payment.Merchant{}, err
	}
	return answer.merchant(), nil
}

// Merchant implements payment.Merchants.
func (s *Store) Merchant(ctx context.Context, id string) (payment.Merchant, error) {
	return s.reads.merchants.Do(ctx, id)
}

func merchant(ctx context.Context, q sqldb.Queryer, id string) (payment.Merchant, error) {
	found, err := queryMerchants(ctx, q, `WHERE id = $1`, id)
	if err != nil {
		return payment.Merchant{}, err
	}
	if len(found) == 0 {
		return payment.Merchant{}, errMerchantNotFound
	}
	return found[0], nil
}

// Merchants lists merchants, newest first, from just after the cursor or, when that is nil, from the newest.
func (s *Store) Merchants(ctx context.Context, after *payment.Cursor, limit int) ([]payment.Merchant, error) {
	const order = ` ORDER BY created_at DESC, id DESC LIMIT `
	if after == nil {
		return queryMerchants(ctx, s.db, order+`$1`, limit)
	}
	return queryMerchants(ctx, s.db, `WHERE (created_at, id) < ($1, $2)`+order+`$3`, micros(after.CreateTime), after.ID, limit)
}

func queryMerchants(ctx context.Context, q sqldb.Queryer, where string, args ...any) ([]payment.Merchant, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+merchantColumns+` FROM merchants `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read merchants: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []payment.Merchant
	for rows.Next() {
		var m payment.Merchant
		var created int64
		err := rows.Scan(&m.ID, &m.DisplayName, &m.CategoryCode, &m.Currency, &m.Fees.BasisPoints, &m.Fees.FixedMinor,
			&m.Fees.ReturnedOnRefund, &m.Settlement.CutOff, &m.Settlement.TimeZone, &m.Settlement.PayoutAccount, &m.Suspended, &created)
		if err != nil {
			return nil, fmt.Errorf("read merchants: %w", err)
		}
		m.CreateTime = fromMicros(created)
		out = append(out, m)
	}
	return out, rows.Err()
}

// CreateTerminal implements payment.Merchants.
func (s *Store) CreateTerminal(ctx context.Context, req payment.Request, t payment.TerminalDevice) (payment.TerminalDevice, error) {
	done, err := once(ctx, s, req, func(ctx context.Context, tx *sqldb.Tx) (remembered, error) {
		if _, err := merchant(ctx, tx, t.Merchant); err != nil {
			return remembered{}, err
		}
		now := s.now()
		_, err := tx.ExecContext(ctx, `INSERT INTO terminals (id, merchant, display_name, created_at) VALUES ($1, $2, $3, $4)`,
			t.ID, t.Merchant, t.DisplayName, micros(now))
		if err != nil {
			return remembered{}, fmt.Errorf("register a terminal: %w", err)
		}
		return remembered{ID: t.ID}, s.publish(ctx, tx, payment.TerminalEvent{Terminal: t, New: true, Time: now})
	})
	if err != nil {
		return payment.TerminalDevice{}, err
	}
	return s.Terminal(ctx, done.ID)
}

// SuspendTerminal implements payment.Merchants.
func (s *Store) SuspendTerminal(ctx context.Context, req payment.Request, id string, suspended bool) (payment.TerminalDevice, error) {
	answer, err := once(ctx, s, req, func(ctx context.Context, tx *sqldb.Tx) (terminalAnswer, error) {
		fresh, err := changed(tx.ExecContext(ctx, `UPDATE terminals SET suspended = $1 WHERE id = $2 AND suspended <> $1`, flag(suspended), id))
		if err != nil {
			return terminalAnswer{}, fmt.Errorf("suspend a terminal: %w", err)
		}
		t, err := terminal(ctx, tx, id)
		if err == nil && fresh {
			err = s.publish(ctx, tx, payment.TerminalEvent{Terminal: t, Time: s.now()})
		}
		return terminalAnswer{ID: t.ID, Merchant: t.Merchant, DisplayName: t.DisplayName, Suspended: t.Suspended}, err
	})
	return payment.TerminalDevice{ID: answer.ID, Merchant: answer.Merchant, DisplayName: answer.DisplayName, Suspended: answer.Suspended}, err
}

// Terminal implements payment.Merchants.
func (s *Store) Terminal(ctx context.Context, id string) (payment.TerminalDevice, error) {
	return s.reads.terminals.Do(ctx, id)
}

func terminal(ctx context.Context, q sqldb.Queryer, id string) (payment.TerminalDevice, error) {
	found, err := queryTerminals(ctx, q, `WHERE id = $1`, id)
	if err != nil {
		return payment.TerminalDevice{}, err
	}
	if len(found) == 0 {
		return payment.TerminalDevice{}, errTerminalNotFound
	}
	return found[0], nil
}

// Terminals implements payment.Merchants.
func (s *Store) Terminals(ctx context.Context, merchant, after string, limit int) ([]payment.TerminalDevice, error) {
	return queryTerminals(ctx, s.db, `WHERE merchant = $1 AND id > $2 ORDER BY id LIMIT $3`, merchant, after, limit)
}

func queryTerminals(ctx context.Context, q sqldb.Queryer, where string, args ...any) ([]payment.TerminalDevice, error) {
	rows, err := q.QueryContext(ctx, `SELECT id, merchant, display_name, suspended FROM terminals `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read terminals: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []payment.TerminalDevice
	for rows.Next() {
		var t payment.TerminalDevice
		if err := rows.Scan(&t.ID, &t.Merchant, &t.DisplayName, &t.Suspended); err != nil {
			return nil, fmt.Errorf("read terminals: %w", err)
		}
		out = append(out, t)
	}
	return out, rows.Err()
}
