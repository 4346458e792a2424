package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

var errPosted = fault.New(fault.AlreadyExists, "TRANSACTION_POSTED", "this was posted before; read what it did")

// trialLines is how many ledger accounts a trial balance lists.
const trialLines = 1000

// open makes a ledger account unless it is there.
func (s *Store) open(ctx context.Context, tx *sqldb.Tx, a ledger.Account, now time.Time) (bool, error) {
	return openAccount(ctx, tx, a, now)
}

func openAccount(ctx context.Context, tx *sqldb.Tx, a ledger.Account, now time.Time) (bool, error) {
	return changed(tx.ExecContext(ctx, `INSERT INTO ledger_accounts (id, kind, currency, status, min_balance, overdraft, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING`,
		a.ID, string(a.Kind), a.Currency, string(a.Status), nullMinimum(a), a.Overdraft, micros(now)))
}

// holdsOf is the ids of the holds that a transaction captures or frees, sorted, each once. New ones are not among them.
func holdsOf(t ledger.Transaction) []string {
	var ids []string
	for _, p := range t.Postings {
		if p.Step != ledger.Direct && p.Step != ledger.Pending {
			ids = append(ids, p.Hold)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// applyHolds is what a transaction does to holds, in the order of its postings. The map stays as it was.
func applyHolds(holds map[string]ledger.Hold, t ledger.Transaction) ([]holdChange, error) {
	var out []holdChange
	latest := func(id string) (ledger.Hold, bool) {
		for _, c := range slices.Backward(out) {
			if c.after.ID == id {
				return c.after, true
			}
		}
		h, ok := holds[id]
		return h, ok
	}
	for _, p := range t.Postings {
		switch p.Step {
		case ledger.Direct:
		case ledger.Pending:
			out = append(out, holdChange{after: ledger.NewHold(p), fresh: true})
		default:
			before, ok := latest(p.Hold)
			if !ok {
				return nil, ledger.HoldNotFound()
			}
			after, err := before.Apply(p, t.Time)
			if err != nil {
				return nil, err
			}
			out = append(out, holdChange{before: before, after: after})
		}
	}
	return out, nil
}

// steps says what the steps of a posting do to what is posted and to what is set aside.
const steps = `CASE WHEN step IN ('posted', 'capture') THEN 1 ELSE 0 END AS moved,
			CASE step WHEN 'posted' THEN 0 WHEN 'pending' THEN 1 ELSE -1 END AS held`

// trialQuery is a single statement, so that it sees one moment in both databases. It sums the postings anew and holds the
// balances against the sums.
const trialQuery = `
WITH sums AS (
	SELECT account, currency, COUNT(*) AS entries,
		CAST(SUM(debit * moved) AS BIGINT) AS debits, CAST(SUM(credit * moved) AS BIGINT) AS credits,
		CAST(SUM(debit * held) AS BIGINT) AS held_debits, CAST(SUM(credit * held) AS BIGINT) AS held_credits
	FROM (
		SELECT debit_account AS account, currency, amount AS debit, 0 AS credit, ` + steps + ` FROM ledger_postings
		UNION ALL
		SELECT credit_account, currency, 0, amount, ` + steps + ` FROM ledger_postings
	) AS sides
	GROUP BY account, currency
), books AS (
	SELECT a.id, a.currency, COALESCE(s.debits, 0) AS debits, COALESCE(s.credits, 0) AS credits,
		CASE WHEN a.posted_debits = COALESCE(s.debits, 0) AND a.posted_credits = COALESCE(s.credits, 0)
			AND a.pending_debits = COALESCE(s.held_debits, 0) AND a.pending_credits = COALESCE(s.held_credits, 0)
			AND a.entries = COALESCE(s.entries, 0)
			AND (a.min_balance IS NULL
				OR a.posted_credits - a.posted_debits - a.pending_debits >= a.min_balance - a.overdraft) THEN 0 ELSE 1 END AS wrong
	FROM ledger_accounts a LEFT JOIN sums s ON s.account = a.id AND s.currency = a.currency
	UNION ALL
	-- Postings to an account that is not there, or not in that currency.
	SELECT s.account, s.currency, s.debits, s.credits, 1
	FROM sums s LEFT JOIN ledger_accounts a ON a.id = s.account AND a.currency = s.currency WHERE a.id IS NULL
), transactions AS (
	SELECT currency, COUNT(DISTINCT transaction_id) AS posted FROM ledger_postings GROUP BY currency
), lines AS (
	SELECT id, currency, debits, credits FROM books
	ORDER BY CASE WHEN debits > credits THEN debits ELSE credits END DESC, id LIMIT $1
)
SELECT 'line' AS what, id, currency, debits, credits, 0 AS wrong FROM lines
UNION ALL
SELECT 'total', '', b.currency, CAST(SUM(b.debits - b.credits) AS BIGINT), COALESCE(MAX(t.posted), 0), CAST(SUM(b.wrong) AS BIGINT)
FROM books b LEFT JOIN transactions t ON t.currency = b.currency
GROUP BY b.currency
ORDER BY what, id, currency`

// TrialBalance sums the whole ledger.
func (l *Ledger) TrialBalance(ctx context.Context) (ledger.TrialBalance, error) {
	rows, err := l.db.QueryContext(ctx, trialQuery, trialLines)
	if err != nil {
		return ledger.TrialBalance{}, fmt.Errorf("trial balance: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out ledger.TrialBalance
	for rows.Next() {
		var what, id, currency string
		var first, second, wrong int64
		if err := rows.Scan(&what, &id, &currency, &first, &second, &wrong); err != nil {
			return ledger.TrialBalance{}, fmt.Errorf("trial balance: %w", err)
		}
		if what == "line" {
			out.Lines = append(out.Lines, ledger.Line{Account: id, Currency: currency, Debits: first, Credits: second})
			continue
		}
		out.Totals = append(out.Totals, ledger.Total{Currency: currency, Difference: first, Transactions: second, Wrong: wrong})
	}
	return out, rows.Err()
}
