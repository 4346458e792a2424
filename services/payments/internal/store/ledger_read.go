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

// BalanceAt is an account as it was after everything that was posted up to the moment. It reads one posting, however many
// there are. It returns LEDGER_ACCOUNT_NOT_FOUND.
func (l *Ledger) BalanceAt(ctx context.Context, id string, at time.Time) (ledger.BalanceAt, error) {
	out := ledger.BalanceAt{Account: id}
	err := l.db.QueryRowContext(ctx, `SELECT a.currency, COALESCE(e.entry, 0), COALESCE(e.balance, 0), COALESCE(e.held, 0)
		FROM ledger_accounts a LEFT JOIN (
			SELECT * FROM (
				SELECT * FROM (SELECT debit_entry AS entry, debit_balance AS balance, debit_held AS held FROM ledger_postings
					WHERE debit_account = $1 AND posted_at <= $2 ORDER BY posted_at DESC, debit_entry DESC LIMIT 1) AS debits
				UNION ALL
				SELECT * FROM (SELECT credit_entry, credit_balance, credit_held FROM ledger_postings
					WHERE credit_account = $1 AND posted_at <= $2 ORDER BY posted_at DESC, credit_entry DESC LIMIT 1) AS credits
			) AS sides ORDER BY entry DESC LIMIT 1
		) AS e ON TRUE WHERE a.id = $1`, id, micros(at)).Scan(&out.Currency, &out.Entries, &out.Posted, &out.Held)
	if errors.Is(err, sql.ErrNoRows) {
		return out, fault.New(fault.NotFound, "LEDGER_ACCOUNT_NOT_FOUND", "there is no ledger account %q", id)
	}
	return out, err
}

// Statement lists an account's postings from one moment to just before another, oldest first and numbered after the given
// entry. The first page is after entry 0.
func (l *Ledger) Statement(ctx context.Context, id string, from, to time.Time, after int64, limit int) ([]ledger.StatementLine, error) {
	const side = `SELECT %[1]s_entry AS entry, transaction_id, step, %[2]s_account AS other, %[3]s AS amount, posted_at,
		%[1]s_balance AS balance, %[1]s_held AS held FROM ledger_postings
		WHERE %[1]s_account = $1 AND posted_at >= $2 AND posted_at < $3 AND %[1]s_entry > $4 ORDER BY posted_at, %[1]s_entry LIMIT $5`
	// What is captured or freed gives back what was set aside.
	gives := fmt.Sprintf(side, "debit", "credit", `CASE WHEN step IN ('void', 'expire') THEN amount ELSE -amount END`)
	gets := fmt.Sprintf(side, "credit", "debit", `CASE WHEN step IN ('void', 'expire') THEN -amount ELSE amount END`)
	rows, err := l.db.QueryContext(ctx, `SELECT e.entry, e.transaction_id, t.purpose, t.reference, e.posted_at, e.step, e.other,
		e.amount, e.balance, e.held FROM (SELECT * FROM (`+gives+`) AS gives UNION ALL SELECT * FROM (`+gets+`) AS gets) AS e
		JOIN ledger_transactions t ON t.id = e.transaction_id ORDER BY e.entry LIMIT $5`,
		id, micros(from), micros(to), after, limit)
	if err != nil {
		return nil, fmt.Errorf("read a statement: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []ledger.StatementLine
	for rows.Next() {
		var e ledger.StatementLine
		var at int64
		var step string
		err := rows.Scan(&e.Number, &e.Transaction, &e.Purpose, &e.Reference, &at, &step, &e.Other, &e.Amount, &e.Balance, &e.Held)
		if err != nil {
			return nil, fmt.Errorf("read a statement: %w", err)
		}
		e.Time, e.Step = fromMicros(at), stepOf(step)
		out = append(out, e)
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
