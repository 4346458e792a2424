package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

var errPaymentNotFound = fault.New(fault.NotFound, "PAYMENT_NOT_FOUND", "there is no such payment, or the caller may not see it")

// written is the columns that are written once, with the payment.
const written = "id text, amount bigint, currency text, merchant text, merchant_name text, terminal text, device text, partner text, " +
	"account text, mode text, creator text, category_code bigint, capture_mode text, offline bigint, challenge text, " +
	"challenge_frame bytea, tap_expires_at bigint, requirements text, need_level bigint, need_reason text, voucher text, discount bigint, tapped_at bigint?, created_at bigint"

// changing is the columns that the payment's steps change.
const changing = "state text, pong_key bytea?, decline_reason text, transaction_id text?, response_digest bytea?, result_frame bytea?, " +
	"captured bigint, released bigint, refunded bigint, fee bigint, fee_back bigint, captures bigint, refunds bigint, " +
	"authorization_expires_at bigint?, assurance bigint, reserved text, updated_at bigint, revision bigint"

var (
	columns        = names(written) + ", " + names(changing)
	insertPayments = sqldb.NewBulk(written+", "+changing,
		`INSERT INTO payments ({columns}) SELECT {columns} FROM {rows} AS r ORDER BY id`, 0)
	updatePayments = sqldb.NewBulk("id text, "+changing, `UPDATE payments AS p SET `+sets(changing)+` FROM {rows} AS r WHERE p.id = r.id`, 0)
)

// names is the names of columns, sets how each is set from a row.
func names(columns string) string {
	var out []string
	for c := range strings.SplitSeq(columns, ", ") {
		name, _, _ := strings.Cut(c, " ")
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}

func sets(columns string) string {
	var out []string
	for name := range strings.SplitSeq(names(columns), ", ") {
		out = append(out, name+" = r."+name)
	}
	return strings.Join(out, ", ")
}

// Payment implements payment.Store.
func (s *Store) Payment(ctx context.Context, id string) (payment.Payment, error) {
	return s.reads.payments.Do(ctx, id)
}

// readMany reads payments by their sorted ids; those that do not exist are left out.
func (s *Store) readMany(ctx context.Context, tx *sqldb.Tx, ids []string, suffix string) ([]payment.Payment, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	in, arg, err := sqldb.In(tx.Dialect(), ids)
	if err != nil {
		return nil, err
	}
	return query(ctx, tx, `SELECT `+columns+` FROM payments WHERE id `+in+` ORDER BY id`+suffix, arg)
}

func query(ctx context.Context, q sqldb.Queryer, text string, args ...any) ([]payment.Payment, error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("read payments: %w", err)
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

// Due implements payment.Store.
func (s *Store) Due(ctx context.Context, tap, hold time.Time, limit int) ([]payment.Payment, error) {
	out, err := query(ctx, s.db, `SELECT `+columns+` FROM payments WHERE state = 'AWAITING_TAP' AND tap_expires_at < $1
		ORDER BY tap_expires_at LIMIT $2`, micros(tap), limit)
	if err != nil || len(out) == limit {
		return out, err
	}
	lapsed, err := query(ctx, s.db, `SELECT `+columns+` FROM payments WHERE authorization_expires_at IS NOT NULL
		AND authorization_expires_at < $1 ORDER BY authorization_expires_at LIMIT $2`, micros(hold), limit-len(out))
	return append(out, lapsed...), err
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
	for _, c := range [...]struct{ column, value string }{
		{"merchant", f.Merchant}, {"terminal", f.Terminal}, {"account", f.Account}, {"device", f.Device}, {"currency", f.Currency},
	} {
		if c.value != "" {
			add(c.column+" = ?", c.value)
		}
	}
	if f.Partner != "" {
		add("partner = ? AND mode = ?", f.Partner, string(f.Mode))
	}
	if len(f.States) > 0 {
		var states []any
		for _, st := range f.States {
			states = append(states, string(st))
		}
		add("state IN (?"+strings.Repeat(", ?", len(states)-1)+")", states...)
	}
	if f.NotOffline {
		add("offline = 0")
	}
	if !f.From.IsZero() {
		add("created_at >= ?", micros(f.From))
	}
	if !f.To.IsZero() {
		add("created_at < ?", micros(f.To))
	}
	if after != nil {
		add("(created_at, id) < (?, ?)", micros(after.CreateTime), after.ID)
	}
	text := `SELECT ` + columns + ` FROM payments`
	if len(where) > 0 {
		text += ` WHERE ` + strings.Join(where, " AND ")
	}
	args = append(args, limit)
	return query(ctx, s.db, text+fmt.Sprintf(` ORDER BY created_at DESC, id DESC LIMIT $%d`, len(args)), args...)
}

// values is a payment as a row of written and changing.
func values(p payment.Payment) []any {
	offline := int64(0)
	if p.Offline {
		offline = 1
	}
	var tapped any
	if !p.TapTime.IsZero() {
		tapped = micros(p.TapTime)
	}
	return append([]any{
		p.ID, p.Amount.Minor, p.Amount.Currency, p.Merchant, p.MerchantDisplayName, p.Terminal, p.Device, p.Partner, p.Account,
		string(p.Mode), p.Creator, int64(p.CategoryCode), string(p.CaptureMode), offline, p.Tap.Challenge, notNull(p.Tap.Frame),
		orZero(p.Tap.ExpireTime), strings.Join(p.Tap.Requirements, ","), int64(p.Need.Level), p.Need.Reason, p.Discount.Voucher,
		p.Discount.Minor, tapped, micros(p.CreateTime),
	}, changes(p)[1:]...)
}

// changes is a payment as a row of its id and changing.
func changes(p payment.Payment) []any {
	var expires any
	if !p.AuthorizationExpireTime.IsZero() {
		expires = micros(p.AuthorizationExpireTime)
	}
	reserved := ""
	if len(p.Reserved.Days) > 0 || p.Reserved.Strong != "" {
		b, _ := json.Marshal(p.Reserved) // strings, times and numbers
		reserved = string(b)
	}
	return []any{
		p.ID, string(p.State), orNil(p.Tap.PongKey), p.DeclineReason, orNull(p.Transaction), orNil(p.ResponseDigest), orNil(p.ResultFrame),
		p.CapturedMinor, p.ReleasedMinor, p.RefundedMinor, p.FeeMinor, p.FeeBackMinor, int64(p.Captures), int64(p.Refunds),
		expires, int64(p.Assurance), reserved, micros(p.UpdateTime), p.Revision,
	}
}

func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func orNil(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

func read(row interface{ Scan(dest ...any) error }) (payment.Payment, error) {
	var p payment.Payment
	var tapExpires, created, updated int64
	var requirements, reserved string
	var transaction sql.NullString
	var holdExpires, tapped sql.NullInt64
	err := row.Scan(&p.ID, &p.Amount.Minor, &p.Amount.Currency, &p.Merchant, &p.MerchantDisplayName, &p.Terminal, &p.Device, &p.Partner,
		&p.Account, &p.Mode, &p.Creator, &p.CategoryCode, &p.CaptureMode, &p.Offline, &p.Tap.Challenge, &p.Tap.Frame, &tapExpires,
		&requirements, &p.Need.Level, &p.Need.Reason, &p.Discount.Voucher, &p.Discount.Minor, &tapped, &created,
		&p.State, &p.Tap.PongKey, &p.DeclineReason, &transaction, &p.ResponseDigest, &p.ResultFrame, &p.CapturedMinor, &p.ReleasedMinor,
		&p.RefundedMinor, &p.FeeMinor, &p.FeeBackMinor, &p.Captures, &p.Refunds, &holdExpires, &p.Assurance, &reserved, &updated, &p.Revision)
	if err != nil {
		return payment.Payment{}, orNotFound(err, errPaymentNotFound)
	}
	if requirements != "" {
		p.Tap.Requirements = strings.Split(requirements, ",")
	}
	if reserved != "" {
		if err := json.Unmarshal([]byte(reserved), &p.Reserved); err != nil {
			return payment.Payment{}, fmt.Errorf("read what a payment reserved: %w", err)
		}
	}
	if holdExpires.Valid {
		p.AuthorizationExpireTime = fromMicros(holdExpires.Int64)
	}
	if tapped.Valid {
		p.TapTime = fromMicros(tapped.Int64)
	}
	if tapExpires != 0 {
		p.Tap.ExpireTime = fromMicros(tapExpires)
	}
	p.Transaction, p.CreateTime, p.UpdateTime = transaction.String, fromMicros(created), fromMicros(updated)
	return p, nil
}
