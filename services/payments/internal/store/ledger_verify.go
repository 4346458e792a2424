package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// wrongs is how many troubles outside the chains VerifyLedger lists.
const wrongs = 20

// wrongQueries find what no hash covers. Each gives one text a row.
var wrongQueries = []struct{ what, query string }{
	{"a posting of a transaction that is not there", `SELECT p.transaction_id FROM ledger_postings p
		LEFT JOIN ledger_transactions t ON t.id = p.transaction_id WHERE t.id IS NULL LIMIT $1`},
	{"a posting to an account that is not there in its currency", `SELECT p.transaction_id FROM ledger_postings p
		LEFT JOIN ledger_accounts d ON d.id = p.debit_account AND d.currency = p.currency
		LEFT JOIN ledger_accounts c ON c.id = p.credit_account AND c.currency = p.currency
		WHERE d.id IS NULL OR c.id IS NULL LIMIT $1`},
	{"a hold that is not what its postings say", `SELECT h.id FROM ledger_holds h LEFT JOIN (
			SELECT hold, SUM(CASE step WHEN 'pending' THEN amount ELSE 0 END) AS amount,
				SUM(CASE step WHEN 'capture' THEN amount ELSE 0 END) AS captured,
				SUM(CASE WHEN step IN ('void', 'expire') THEN amount ELSE 0 END) AS released
			FROM ledger_postings WHERE hold IS NOT NULL GROUP BY hold
		) AS p ON p.hold = h.id
		WHERE p.hold IS NULL OR p.amount <> h.amount OR p.captured <> h.captured OR p.released <> h.released LIMIT $1`},
	{"a posting of a hold that is not there", `SELECT p.transaction_id FROM ledger_postings p
		LEFT JOIN ledger_holds h ON h.id = p.hold WHERE p.hold IS NOT NULL AND h.id IS NULL LIMIT $1`},
	{"an account whose statement does not end with its balance", `SELECT a.id FROM ledger_accounts a
		LEFT JOIN (
			SELECT account, COUNT(*) AS n, COUNT(DISTINCT entry) AS numbers, MAX(entry) AS last, CAST(SUM(change) AS BIGINT) AS balance FROM (
				SELECT debit_account AS account, debit_entry AS entry, CASE WHEN step IN ('posted', 'capture') THEN -amount ELSE 0 END AS change FROM ledger_postings
				UNION ALL
				SELECT credit_account, credit_entry, CASE WHEN step IN ('posted', 'capture') THEN amount ELSE 0 END FROM ledger_postings
			) AS sides GROUP BY account
		) AS e ON e.account = a.id
		WHERE COALESCE(e.n, 0) <> a.entries OR COALESCE(e.last, 0) <> a.entries OR COALESCE(e.numbers, 0) <> a.entries
			OR COALESCE(e.balance, 0) <> a.posted_credits - a.posted_debits LIMIT $1`},
	{"an account whose statement does not lead from each entry to the one before", `WITH steps AS (
			SELECT account, transaction_id, before, LAG(transaction_id, 1, '') OVER byentry AS earlier, LEAD(entry) OVER byentry AS later FROM (
				SELECT debit_account AS account, debit_entry AS entry, transaction_id, debit_before AS before
				FROM ledger_postings WHERE debit_before IS NOT NULL
				UNION ALL
				SELECT credit_account, credit_entry, transaction_id, credit_before FROM ledger_postings WHERE credit_before IS NOT NULL
			) AS sides WINDOW byentry AS (PARTITION BY account ORDER BY entry)
		)
		SELECT DISTINCT account FROM (
			SELECT account FROM steps WHERE before <> CASE WHEN earlier = transaction_id THEN '' ELSE earlier END
			UNION ALL
			SELECT a.id FROM ledger_accounts a LEFT JOIN steps s ON s.account = a.id AND s.later IS NULL
			WHERE a.last_transaction <> COALESCE(s.transaction_id, '')
		) AS wrong LIMIT $1`},
	{"a mark of an entry that is not there", `SELECT m.account FROM ledger_marks m LEFT JOIN ledger_postings p
			ON p.transaction_id = m.transaction_id AND p.posted_at = m.posted_at
			AND (p.debit_account = m.account AND p.debit_entry = m.entry OR p.credit_account = m.account AND p.credit_entry = m.entry)
		WHERE p.transaction_id IS NULL LIMIT $1`},
}

// VerifyLedger walks through all chains from their first links and names the first one that was broken, and looks for
// what the chains do not cover. It reads the whole ledger, while others go on posting.
func (l *Ledger) VerifyLedger(ctx context.Context) (ledger.Verification, error) {
	heads, err := l.heads(ctx)
	if err != nil {
		return ledger.Verification{}, err
	}
	links, err := l.links(ctx)
	if err != nil {
		return ledger.Verification{}, err
	}
	v := ledger.NewVerifier(heads, links)
	if err := l.walk(ctx, v); err != nil {
		return ledger.Verification{}, err
	}
	found := v.Done()
	for _, q := range wrongQueries {
		more, err := l.texts(ctx, q.query, wrongs)
		if err != nil {
			return ledger.Verification{}, fmt.Errorf("look for %s: %w", q.what, err)
		}
		for _, id := range more {
			found.Wrong = append(found.Wrong, q.what+": "+id)
		}
	}
	trial, err := l.TrialBalance(ctx)
	for _, t := range trial.Totals {
		if t.Difference != 0 || t.Wrong != 0 {
			found.Wrong = append(found.Wrong, fmt.Sprintf("%d accounts in %s do not hold what their postings say", t.Wrong, t.Currency))
		}
	}
	return found, err
}

func (l *Ledger) heads(ctx context.Context) ([]ledger.Head, error) {
	rows, err := l.db.QueryContext(ctx, `SELECT chain, height, head FROM ledger_chains ORDER BY chain`)
	if err != nil {
		return nil, fmt.Errorf("read the heads of the chains: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []ledger.Head
	for rows.Next() {
		var h ledger.Head
		if err := rows.Scan(&h.Chain, &h.Height, &h.Hash); err != nil {
			return nil, fmt.Errorf("read the heads of the chains: %w", err)
		}
		out = append(out, h)
	}
	return out, rows.Err()
}

func (l *Ledger) links(ctx context.Context) ([]ledger.Link, error) {
	rows, err := l.db.QueryContext(ctx, `SELECT chain, height, hash, transactions FROM ledger_links ORDER BY chain, height`)
	if err != nil {
		return nil, fmt.Errorf("read the links of the chains: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []ledger.Link
	for rows.Next() {
		var k ledger.Link
		if err := rows.Scan(&k.Chain, &k.Height, &k.Hash, &k.Transactions); err != nil {
			return nil, fmt.Errorf("read the links of the chains: %w", err)
		}
		out = append(out, k)
	}
	return out, rows.Err()
}

// walk gives the verifier every transaction in the order of the chains. A transaction without postings is given too: its
// hash will say that they are missing.
func (l *Ledger) walk(ctx context.Context, v *ledger.Verifier) error {
	rows, err := l.db.QueryContext(ctx, `SELECT t.id, t.purpose, t.reference, t.posted_at, COALESCE(p.line, -1),
		COALESCE(p.debit_account, ''), COALESCE(p.credit_account, ''), COALESCE(p.amount, 0), COALESCE(p.currency, ''),
		COALESCE(p.step, ''), p.hold, COALESCE(p.debit_entry, 0), COALESCE(p.debit_balance, 0), COALESCE(p.debit_held, 0),
		COALESCE(p.credit_entry, 0), COALESCE(p.credit_balance, 0), COALESCE(p.credit_held, 0),
		t.chain, t.height, t.place, t.hash
		FROM ledger_transactions t LEFT JOIN ledger_postings p ON p.transaction_id = t.id
		ORDER BY t.chain, t.height, t.place, t.id, p.line`)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var now ledger.Chained
	for rows.Next() {
		var next ledger.Chained
		posted, line, entry, err := scanPosting(rows, &next.Chain, &next.Height, &next.Place, &next.Hash)
		if err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		next.Posted = posted
		if next.Transaction.ID != now.Transaction.ID {
			if now.Transaction.ID != "" && !v.Add(now) {
				return nil
			}
			now = next
		}
		now.Transaction.Postings = append(now.Transaction.Postings, line)
		now.Entries = append(now.Entries, entry)
	}
	if now.Transaction.ID != "" {
		v.Add(now)
	}
	return rows.Err()
}

func (l *Ledger) texts(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := l.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var text sql.NullString
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		out = append(out, text.String)
	}
	return out, rows.Err()
}
