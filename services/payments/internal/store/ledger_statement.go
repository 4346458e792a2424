package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// markEvery is how many entries of an account lie between two of its marks.
const markEvery = 64

// marked says whether a transaction that brings an account from one entry to another leaves a mark.
func marked(before, after int64) bool { return before/markEvery != after/markEvery }

// A statement has no index of its own, since that would cost each transfer two pages somewhere in the middle of a tree. Each
// posting names the transaction before it on either account, the account the last one, and a mark about one in markEvery, so
// that whatever entry is wanted is a few steps from where reading begins. Postings that name none, being of programs before
// this was so, are in partial indexes; entries are numbered without a gap over both.
//
// stepBack leads from a transaction to the one before on the account $1, while one condition holds of a posting that debits it
// and another of one that credits it.
const stepBack = `
	UNION ALL
	SELECT CASE WHEN p.debit_account = $1 THEN p.debit_before ELSE p.credit_before END
	FROM walk w JOIN ledger_postings p ON p.transaction_id = w.id
	WHERE p.debit_account = $1 AND p.debit_before <> '' AND %s OR p.credit_account = $1 AND p.credit_before <> '' AND %s`

// lastQuery finds the last entry before a moment. Its parameters: account, moment.
var lastQuery = `
WITH RECURSIVE walk (id) AS (
	SELECT COALESCE((SELECT transaction_id FROM ledger_marks WHERE account = $1 AND posted_at >= $2 ORDER BY posted_at, entry LIMIT 1),
		(SELECT last_transaction FROM ledger_accounts WHERE id = $1))` + fmt.Sprintf(stepBack, "p.posted_at >= $2", "p.posted_at >= $2") + `
)
SELECT entry, posted_at, balance, held FROM (
	SELECT p.debit_entry AS entry, p.posted_at, p.debit_balance AS balance, p.debit_held AS held
	FROM walk w JOIN ledger_postings p ON p.transaction_id = w.id WHERE p.debit_account = $1 AND p.posted_at < $2
	UNION ALL
	SELECT p.credit_entry, p.posted_at, p.credit_balance, p.credit_held
	FROM walk w JOIN ledger_postings p ON p.transaction_id = w.id WHERE p.credit_account = $1 AND p.posted_at < $2
	UNION ALL
	SELECT * FROM (SELECT debit_entry, posted_at, debit_balance, debit_held FROM ledger_postings
		WHERE debit_account = $1 AND debit_before IS NULL AND posted_at < $2 ORDER BY posted_at DESC, debit_entry DESC LIMIT 1) AS debits
	UNION ALL
	SELECT * FROM (SELECT credit_entry, posted_at, credit_balance, credit_held FROM ledger_postings
		WHERE credit_account = $1 AND credit_before IS NULL AND posted_at < $2 ORDER BY posted_at DESC, credit_entry DESC LIMIT 1) AS credits
) AS e ORDER BY entry DESC LIMIT 1`

// entriesQuery finds entries by their numbers. Its parameters: account, first, last, and the time of the first or one before.
// CROSS JOIN keeps SQLite from looking through all transactions for those of the entries.
var entriesQuery = `
WITH RECURSIVE walk (id) AS (
	SELECT COALESCE((SELECT transaction_id FROM ledger_marks WHERE account = $1 AND entry >= $3 ORDER BY entry LIMIT 1),
		(SELECT last_transaction FROM ledger_accounts WHERE id = $1))` + fmt.Sprintf(stepBack, "p.debit_entry > $2", "p.credit_entry > $2") + `
), sides AS (
` + side("debit", "walk w JOIN ledger_postings p ON p.transaction_id = w.id", "p.debit_before IS NOT NULL") + `
	UNION ALL
` + side("credit", "walk w JOIN ledger_postings p ON p.transaction_id = w.id", "p.credit_before IS NOT NULL") + `
	UNION ALL
` + indexed("debit") + `
	UNION ALL
` + indexed("credit") + `
)
SELECT s.entry, s.transaction_id, t.purpose, t.reference, s.posted_at, s.step, s.other, s.amount, s.balance, s.held
FROM sides s CROSS JOIN ledger_transactions t WHERE t.id = s.transaction_id AND s.entry <= $3 ORDER BY s.entry`

// side is the entries of an account as debit or credit. What is captured or freed gives back what was set aside.
func side(name, from, where string) string {
	other, gives, frees := "credit", "-p.amount", "p.amount"
	if name == "credit" {
		other, gives, frees = "debit", frees, gives
	}
	return fmt.Sprintf(`	SELECT p.%[1]s_entry AS entry, p.transaction_id, p.step, p.%[2]s_account AS other, p.posted_at,
		CASE WHEN p.step IN ('void', 'expire') THEN %[4]s ELSE %[3]s END AS amount, p.%[1]s_balance AS balance, p.%[1]s_held AS held
	FROM %[5]s WHERE p.%[1]s_account = $1 AND p.%[1]s_entry >= $2 AND %[6]s`, name, other, gives, frees, from, where)
}

// indexed is a side of those postings that name none before them.
func indexed(name string) string {
	return fmt.Sprintf(`SELECT * FROM (%s ORDER BY p.posted_at, p.%[2]s_entry LIMIT $3 - $2 + 1) AS %[2]s`,
		side(name, "ledger_postings p", "p."+name+"_before IS NULL AND p.posted_at >= $4"), name)
}

// last is an account's last entry before a moment; without one its number is 0.
func (l *Ledger) last(ctx context.Context, id string, before int64) (e ledger.StatementLine, err error) {
	var at int64
	err = l.db.QueryRowContext(ctx, lastQuery, id, before).Scan(&e.Number, &at, &e.Balance, &e.Held)
	if errors.Is(err, sql.ErrNoRows) {
		return ledger.StatementLine{}, nil
	}
	e.Time = fromMicros(at)
	return e, err
}

// entries are those of an account with the numbers from first to last. None of them is older than since.
func (l *Ledger) entries(ctx context.Context, id string, first, last, since int64) ([]ledger.StatementLine, error) {
	rows, err := l.db.QueryContext(ctx, entriesQuery, id, first, last, since)
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

// BalanceAt is an account as it was after everything that was posted up to the moment. What it reads does not grow with the
// account. It returns LEDGER_ACCOUNT_NOT_FOUND.
func (l *Ledger) BalanceAt(ctx context.Context, id string, at time.Time) (ledger.BalanceAt, error) {
	a, err := l.LedgerAccount(ctx, id)
	if err != nil {
		return ledger.BalanceAt{}, err
	}
	e, err := l.last(ctx, id, max(micros(at), micros(at)+1)) // the largest number has no next one
	if err != nil {
		return ledger.BalanceAt{}, fmt.Errorf("read a balance: %w", err)
	}
	return ledger.BalanceAt{Account: id, Currency: a.Currency, Entries: e.Number, Posted: e.Balance, Held: e.Held}, nil
}

// Statement lists an account's postings from one moment to just before another, oldest first and numbered after the given
// entry. The first page is after entry 0.
func (l *Ledger) Statement(ctx context.Context, id string, from, to time.Time, after int64, limit int) ([]ledger.StatementLine, error) {
	before, err := l.last(ctx, id, micros(from))
	if err != nil {
		return nil, fmt.Errorf("read a statement: %w", err)
	}
	first := max(after, before.Number) + 1
	lines, err := l.entries(ctx, id, first, first+int64(limit)-1, micros(from))
	for n, e := range lines {
		if !e.Time.Before(to) {
			return lines[:n], err
		}
	}
	return lines, err
}
