package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
	"github.com/armlet-pay/armlet/services/payments/internal/settlement"
)

var errSettlementNotFound = fault.New(fault.NotFound, "SETTLEMENT_NOT_FOUND", "there is no such settlement, or the caller may not see it")

const settlementColumns = `id, merchant, number, currency, starts_at, ends_at, after_entry, after_at, after_balance, last_entry, last_at,
	last_balance, carried_in, captured, refunded, fees, paid_out, carried_out, entry_count, transaction_id, payout_account, created_at`

// Unsettled implements settlement.Store.
func (s *Store) Unsettled(ctx context.Context, after string, limit int) ([]settlement.Merchant, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT m.id, m.currency, m.cut_off, m.time_zone, m.payout_account, m.created_at
		FROM merchants m JOIN ledger_accounts a ON a.id = m.ledger_id
		WHERE m.id > $1 AND a.entries > COALESCE((SELECT CASE WHEN s.created_at IS NULL THEN -1 ELSE s.last_entry END
			FROM settlements s WHERE s.merchant = m.id ORDER BY s.number DESC LIMIT 1), 0)
		ORDER BY m.id LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list merchants to be settled: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []settlement.Merchant
	for rows.Next() {
		var m settlement.Merchant
		var created int64
		if err := rows.Scan(&m.ID, &m.Currency, &m.Schedule.CutOff, &m.Schedule.TimeZone, &m.PayoutAccount, &created); err != nil {
			return nil, fmt.Errorf("list merchants to be settled: %w", err)
		}
		m.CreateTime = fromMicros(created)
		out = append(out, m)
	}
	return out, rows.Err()
}

// LastSettlement implements settlement.Store.
func (s *Store) LastSettlement(ctx context.Context, merchant string) (settlement.Settlement, bool, error) {
	out, err := scanSettlement(s.db.QueryRowContext(ctx, `SELECT `+settlementColumns+` FROM settlements
		WHERE merchant = $1 ORDER BY number DESC LIMIT 1`, merchant))
	if errors.Is(err, sql.ErrNoRows) {
		return settlement.Settlement{}, false, nil
	}
	return out, err == nil, err
}

// sumPage is how many entries of a merchant are read at once.
const sumPage = 1000

// each gives fn the entries of a merchant's ledger account that moved money, from just after a place up to the entry with a
// number or, when it is 0, to the last; until fn says that it has enough.
func (s *Store) each(ctx context.Context, merchant string, after settlement.Place, last int64, fn func(ledger.StatementLine) (more bool)) error {
	since := placeMicros(after)
	for n := after.Entry; last == 0 || n < last; {
		to := n + sumPage
		if last != 0 {
			to = min(to, last)
		}
		lines, err := s.entries(ctx, ledger.ID(ledger.Merchant, merchant), n+1, to, since)
		if err != nil || len(lines) == 0 {
			return err
		}
		for _, e := range lines {
			if (e.Step == ledger.Direct || e.Step == ledger.CaptureHold) && !fn(e) {
				return nil
			}
		}
		n, since = to, micros(lines[len(lines)-1].Time)
	}
	return nil
}

// isPayout says whether the money went on its way to the merchant's bank.
func isPayout(e ledger.StatementLine) bool {
	return e.Amount < 0 && strings.HasPrefix(e.Other, string(ledger.Settlement)+"/")
}

// FirstAfter implements settlement.Store.
func (s *Store) FirstAfter(ctx context.Context, merchant string, p settlement.Place) (at time.Time, ok bool, err error) {
	err = s.each(ctx, merchant, p, 0, func(e ledger.StatementLine) bool {
		if ok = !isPayout(e); ok {
			at = e.Time
		}
		return !ok
	})
	return at, ok, err
}

// placeMicros is a place's time; the zero place is before everything.
func placeMicros(p settlement.Place) int64 {
	if p.Entry == 0 {
		return 0
	}
	return micros(p.Time)
}

// LastBefore implements settlement.Store.
func (s *Store) LastBefore(ctx context.Context, merchant string, at time.Time) (settlement.Place, error) {
	e, err := s.last(ctx, ledger.ID(ledger.Merchant, merchant), micros(at))
	return settlement.Place{Entry: e.Number, Time: e.Time, Balance: e.Balance}, err
}

// Sum implements settlement.Store.
func (s *Store) Sum(ctx context.Context, merchant string, after, last settlement.Place) (settlement.Sums, error) {
	var out settlement.Sums
	if last.Entry <= after.Entry {
		return out, nil
	}
	err := s.each(ctx, merchant, after, last.Entry, func(e ledger.StatementLine) bool {
		switch {
		case strings.HasPrefix(e.Other, string(ledger.Fee)+"/"):
			out.Fees -= e.Amount
		case isPayout(e):
			out.Payouts -= e.Amount
		case e.Amount > 0:
			out.Captured += e.Amount
			out.Count++
		default:
			out.Refunded -= e.Amount
			out.Count++
		}
		return true
	})
	if err != nil {
		return out, fmt.Errorf("sum a merchant's day: %w", err)
	}
	return out, nil
}

// OpenSettlement implements settlement.Store.
func (s *Store) OpenSettlement(ctx context.Context, x settlement.Settlement) (settlement.Settlement, error) {
	var stored settlement.Settlement
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO settlements (`+settlementColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
			$11, $12, $13, $14, $15, $16, 0, $17, $18, '', $19, NULL) ON CONFLICT (merchant, number) DO NOTHING`,
			x.ID, x.Merchant, x.Number, x.Currency, micros(x.Start), micros(x.End), x.After.Entry, placeMicros(x.After), x.After.Balance,
			x.Last.Entry, micros(x.Last.Time), x.Last.Balance, x.CarriedIn, x.Captured, x.Refunded, x.Fees, x.CarriedOut, x.Count, x.PayoutAccount)
		if err != nil {
			return fmt.Errorf("open a settlement: %w", err)
		}
		stored, err = scanSettlement(tx.QueryRowContext(ctx, `SELECT `+settlementColumns+` FROM settlements
			WHERE merchant = $1 AND number = $2`, x.Merchant, x.Number))
		return err
	})
	return stored, err
}

// CloseSettlement implements settlement.Store.
func (s *Store) CloseSettlement(ctx context.Context, x settlement.Settlement) error {
	event, err := s.encode(ctx, payment.SettledEvent{
		ID: x.ID, Merchant: x.Merchant, PaidOut: payment.Money{Minor: x.PaidOut, Currency: x.Currency}, EndTime: x.End, Time: x.CreateTime,
	})
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		fresh, err := changed(tx.ExecContext(ctx, `UPDATE settlements SET paid_out = $1, carried_out = $2, transaction_id = $3, created_at = $4
			WHERE id = $5 AND created_at IS NULL`, x.PaidOut, x.CarriedOut, x.Transaction, micros(x.CreateTime), x.ID))
		if err != nil {
			return fmt.Errorf("close a settlement: %w", err)
		}
		if !fresh {
			return nil
		}
		return events.Append(ctx, tx, event)
	})
}

// Settlement reads one that is closed. It returns SETTLEMENT_NOT_FOUND.
func (s *Store) Settlement(ctx context.Context, id string) (settlement.Settlement, error) {
	out, err := scanSettlement(s.db.QueryRowContext(ctx, `SELECT `+settlementColumns+` FROM settlements
		WHERE id = $1 AND created_at IS NOT NULL`, id))
	return out, orNotFound(err, errSettlementNotFound)
}

// Settlements lists those that are closed, newest first, of one merchant or of all, from just after the cursor.
func (s *Store) Settlements(ctx context.Context, merchant string, after *payment.Cursor, limit int) ([]settlement.Settlement, error) {
	where, args := []string{"created_at IS NOT NULL"}, []any{limit}
	if merchant != "" {
		args = append(args, merchant)
		where = append(where, fmt.Sprintf("merchant = $%d", len(args)))
	}
	if after != nil {
		args = append(args, micros(after.CreateTime), after.ID)
		where = append(where, fmt.Sprintf("(created_at, id) < ($%d, $%d)", len(args)-1, len(args)))
	}
	rows, err := s.db.QueryContext(ctx, `SELECT `+settlementColumns+` FROM settlements WHERE `+strings.Join(where, " AND ")+
		` ORDER BY created_at DESC, id DESC LIMIT $1`, args...)
	if err != nil {
		return nil, fmt.Errorf("list settlements: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []settlement.Settlement
	for rows.Next() {
		x, err := scanSettlement(rows)
		if err != nil {
			return nil, fmt.Errorf("list settlements: %w", err)
		}
		out = append(out, x)
	}
	return out, rows.Err()
}

func scanSettlement(row interface{ Scan(dest ...any) error }) (settlement.Settlement, error) {
	var x settlement.Settlement
	var start, end, after, last int64
	var created sql.NullInt64
	err := row.Scan(&x.ID, &x.Merchant, &x.Number, &x.Currency, &start, &end, &x.After.Entry, &after, &x.After.Balance, &x.Last.Entry, &last,
		&x.Last.Balance, &x.CarriedIn, &x.Captured, &x.Refunded, &x.Fees, &x.PaidOut, &x.CarriedOut, &x.Count, &x.Transaction, &x.PayoutAccount, &created)
	x.Start, x.End, x.After.Time, x.Last.Time = fromMicros(start), fromMicros(end), fromMicros(after), fromMicros(last)
	if created.Valid {
		x.CreateTime = fromMicros(created.Int64)
	}
	return x, err
}

// Posted reads what was posted with a purpose and a reference.
func (l *Ledger) Posted(ctx context.Context, p ledger.Purpose, reference string) (ledger.Transaction, bool, error) {
	wanted := findPosted.Rows(1)
	wanted.Add(string(p), reference)
	rows, err := wanted.Query(ctx, l.db, l.db.Dialect())
	if err != nil {
		return ledger.Transaction{}, false, fmt.Errorf("look for a transaction: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out ledger.Transaction
	var postings []ledger.Posting
	for rows.Next() {
		p, line, _, err := scanPosting(rows)
		if err != nil {
			return ledger.Transaction{}, false, fmt.Errorf("look for a transaction: %w", err)
		}
		out, postings = p.Transaction, append(postings, line)
	}
	out.Postings = postings
	return out, out.ID != "", rows.Err()
}
