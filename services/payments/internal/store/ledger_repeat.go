package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

const postingColumns = `t.id, t.purpose, t.reference, t.posted_at, p.line, p.debit_account, p.credit_account, p.amount, p.currency, p.step,
	p.hold, p.debit_entry, p.debit_balance, p.debit_held, p.credit_entry, p.credit_balance, p.credit_held`

// findPosted reads transactions by what they are unique by.
var findPosted = sqldb.NewBulk("purpose text, reference text", `SELECT `+postingColumns+`
	FROM {rows} AS r JOIN ledger_transactions AS t ON t.purpose = r.purpose AND t.reference = r.reference
	JOIN ledger_postings AS p ON p.transaction_id = t.id ORDER BY t.id, p.line`, 0)

// repeatsOfRefused answers those items that are refused now but were posted before.
func (b *batch) repeatsOfRefused(ctx context.Context, tx *sqldb.Tx) error {
	var refused []*item
	for _, i := range b.items {
		if i.err != nil && i.wanted != nil {
			refused = append(refused, i)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	stored, err := readPosted(ctx, tx, tx.Dialect(), refused)
	if err != nil {
		return err
	}
	for _, i := range refused {
		i.repeat(stored)
	}
	return nil
}

// repeats answers the items that were posted before. When there is none, an id was taken.
func (b *batch) repeats(ctx context.Context, db *sqldb.DB, items []*item) error {
	stored, err := readPosted(ctx, db, db.Dialect(), items)
	if err != nil {
		return err
	}
	found := false
	for _, i := range items {
		found = i.repeat(stored) || found
	}
	if !found {
		return errPosted // an item by itself gets this; several are tried one by one
	}
	return &tryAgain{}
}

// repeat answers an item of which something was posted before.
func (i *item) repeat(stored map[string]ledger.Posted) bool {
	wanted := i.wanted
	if wanted == nil {
		for _, p := range i.posted {
			wanted = append(wanted, p.Transaction)
		}
	}
	var first []ledger.Posted
	same := i.wanted != nil
	for _, t := range wanted {
		if p, ok := stored[keyOf(t)]; ok {
			first = append(first, p)
			same = same && samePostings(p.Transaction.Postings, t.Postings)
		}
	}
	switch {
	case len(first) == 0:
		return false
	case i.wanted == nil:
		i.fail(errPosted)
	case !same || len(first) != len(wanted):
		i.fail(fault.New(fault.FailedPrecondition, "REFERENCE_REUSED",
			"the reference was used for other postings before; use a new one"))
	default:
		i.fail(nil)
		i.posted = first
	}
	return true
}

func samePostings(a, b []ledger.Posting) bool {
	return slices.EqualFunc(a, b, func(x, y ledger.Posting) bool {
		y.ExpireTime = x.ExpireTime // kept with the hold
		return x == y
	})
}

// readPosted reads what was posted before of what the items want to post.
func readPosted(ctx context.Context, q sqldb.Queryer, d sqldb.Dialect, items []*item) (map[string]ledger.Posted, error) {
	wanted := findPosted.Rows(len(items))
	for _, i := range items {
		for _, t := range i.wanted {
			wanted.Add(string(t.Purpose), t.Reference)
		}
		if i.wanted == nil {
			for _, p := range i.posted {
				wanted.Add(string(p.Transaction.Purpose), p.Transaction.Reference)
			}
		}
	}
	if wanted.Len() == 0 {
		return nil, nil
	}
	rows, err := wanted.Query(ctx, q, d)
	if err != nil {
		return nil, fmt.Errorf("look for earlier transactions: %w", err)
	}
	defer func() { _ = rows.Close() }()
	out := map[string]ledger.Posted{}
	for rows.Next() {
		p, line, entry, err := scanPosting(rows)
		if err != nil {
			return nil, fmt.Errorf("look for earlier transactions: %w", err)
		}
		if old, ok := out[keyOf(p.Transaction)]; ok {
			p = old
		}
		p.Transaction.Postings = append(p.Transaction.Postings, line)
		p.Entries = append(p.Entries, entry)
		out[keyOf(p.Transaction)] = p
	}
	return out, rows.Err()
}

// scanPosting reads one row of postingColumns: the transaction without its postings, and one posting.
func scanPosting(row interface{ Scan(dest ...any) error }, more ...any) (ledger.Posted, ledger.Posting, ledger.Entry, error) {
	var p ledger.Posted
	var l ledger.Posting
	var e ledger.Entry
	var at, line int64
	var step string
	var hold sql.NullString
	t := &p.Transaction
	err := row.Scan(append([]any{
		&t.ID, &t.Purpose, &t.Reference, &at, &line, &l.Debit, &l.Credit, &l.Amount, &l.Currency, &step, &hold,
		&e.Debit.Number, &e.Debit.Balance, &e.Debit.Held, &e.Credit.Number, &e.Credit.Balance, &e.Credit.Held,
	}, more...)...)
	t.Time, l.Step, l.Hold = fromMicros(at), stepOf(step), hold.String
	return p, l, e, err
}
