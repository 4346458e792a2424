package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// Ledger keeps the books. Several may be used on one database, in one process or in several.
type Ledger struct {
	db     *sqldb.DB
	now    func() time.Time
	engine *engine
}

// NewLedger is the ledger of a migrated database. The clock stamps new accounts.
func NewLedger(db *sqldb.DB, now func() time.Time) *Ledger {
	return &Ledger{db: db, now: now, engine: newEngine(db, nil)}
}

// Post commits transactions, all of them or none, together with whatever else is being posted at the moment. They are
// found good on the accounts as they are when it commits, and are on disk when it returns. Repeating it with the same
// purposes, references and postings gives the first answer (without the accounts) and posts nothing.
//
// Errors are those of [ledger.Books.Post], HOLD_NOT_FOUND, HOLD_STATE, REFERENCE_REUSED, TRANSACTION_POSTED for an id that
// is taken, and those of the database and of ctx, after which a repetition tells what happened.
func (l *Ledger) Post(ctx context.Context, transactions ...ledger.Transaction) ([]ledger.Posted, error) {
	return l.engine.post(ctx, transactions...)
}

// OpenAccounts makes accounts, except those that are there.
func (l *Ledger) OpenAccounts(ctx context.Context, accounts ...ledger.Account) error {
	return l.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		for _, a := range accounts {
			if _, err := openAccount(ctx, tx, a, l.now()); err != nil {
				return err
			}
		}
		return nil
	})
}

// ChangeAccount sets an account's status, minimum and overdraft to what fn makes of the account; its balances stay. It
// returns LEDGER_ACCOUNT_NOT_FOUND, and LEDGER_ACCOUNT_STATE when the account's money does not allow it: a closed account
// is empty, and an account is not below its minimum.
func (l *Ledger) ChangeAccount(ctx context.Context, id string, fn func(*ledger.Account)) error {
	return l.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return changeAccount(ctx, tx, id, fn) })
}

func changeAccount(ctx context.Context, tx *sqldb.Tx, id string, fn func(*ledger.Account)) error {
	books, err := readAccounts(ctx, tx, []string{id}, tx.ForUpdate())
	if err != nil {
		return err
	}
	a, ok := books[id]
	if !ok {
		return fault.New(fault.NotFound, "LEDGER_ACCOUNT_NOT_FOUND", "there is no ledger account %q", id)
	}
	fn(&a)
	_, err = tx.ExecContext(ctx, `UPDATE ledger_accounts SET status = $1, min_balance = $2, overdraft = $3, version = version + 1
		WHERE id = $4`, string(a.Status), nullMinimum(a), a.Overdraft, id)
	if sqldb.IsCheck(err) {
		return fault.New(fault.FailedPrecondition, "LEDGER_ACCOUNT_STATE",
			"the money in the account does not allow it: only an empty account is closed, and none is put below its minimum").WithCause(err)
	}
	return err
}

func nullMinimum(a ledger.Account) sql.NullInt64 {
	if a.MinBalance == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: *a.MinBalance, Valid: true}
}

// LedgerAccount reads an account. It returns LEDGER_ACCOUNT_NOT_FOUND.
func (l *Ledger) LedgerAccount(ctx context.Context, id string) (ledger.Account, error) {
	a, err := scanLedgerAccount(l.db.QueryRowContext(ctx, `SELECT `+accountColumns+` FROM ledger_accounts WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return ledger.Account{}, fault.New(fault.NotFound, "LEDGER_ACCOUNT_NOT_FOUND", "there is no ledger account %q", id)
	}
	return a, err
}

// LedgerHold reads a hold. It returns HOLD_NOT_FOUND.
func (l *Ledger) LedgerHold(ctx context.Context, id string) (ledger.Hold, error) {
	h, err := scanHold(l.db.QueryRowContext(ctx, `SELECT `+holdColumns+` FROM ledger_holds WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return ledger.Hold{}, ledger.HoldNotFound()
	}
	return h, err
}

// DueHolds lists holds that are still pending after their time, oldest first. Posting their Expire frees the money.
func (l *Ledger) DueHolds(ctx context.Context, before time.Time, limit int) ([]ledger.Hold, error) {
	rows, err := l.db.QueryContext(ctx, `SELECT `+holdColumns+` FROM ledger_holds
		WHERE state = 'pending' AND expires_at IS NOT NULL AND expires_at < $1 ORDER BY expires_at LIMIT $2`, micros(before), limit)
	if err != nil {
		return nil, fmt.Errorf("list due holds: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []ledger.Hold
	for rows.Next() {
		h, err := scanHold(rows)
		if err != nil {
			return nil, fmt.Errorf("list due holds: %w", err)
		}
		out = append(out, h)
	}
	return out, rows.Err()
}

// Difference is, for each currency, the sum of the balances of all accounts: zero, or the books are wrong. It costs one
// look at the accounts and none at the postings, which [Ledger.TrialBalance] sums.
func (l *Ledger) Difference(ctx context.Context) (map[string]int64, error) {
	rows, err := l.db.QueryContext(ctx, `SELECT currency, CAST(SUM(posted_credits - posted_debits) AS BIGINT)
		FROM ledger_accounts GROUP BY currency`)
	if err != nil {
		return nil, fmt.Errorf("sum the balances: %w", err)
	}
	defer func() { _ = rows.Close() }()
	sums := map[string]int64{}
	for rows.Next() {
		var currency string
		var sum int64
		if err := rows.Scan(&currency, &sum); err != nil {
			return nil, fmt.Errorf("sum the balances: %w", err)
		}
		sums[currency] = sum
	}
	return sums, rows.Err()
}
