package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// errStale says that an account, a hold or a chain was changed after it was read. Nothing was written; the same work can
// be decided again.
var errStale = errors.New("the books changed in between")

// errTaken says that a transaction was posted before, or its id is another's. Nothing was written.
var errTaken = errors.New("a transaction was posted before")

var (
	insertTransactions = sqldb.NewBulk(
		"id text, purpose text, reference text, posted_at bigint, chain bigint, height bigint, place bigint, hash bytea",
		`INSERT INTO ledger_transactions ({columns}) SELECT {columns} FROM {rows} AS r`, 0)
	insertPostings = sqldb.NewBulk(
		"transaction_id text, line bigint, debit_account text, credit_account text, amount bigint, currency text, step text, "+
			"hold text?, posted_at bigint, debit_entry bigint, debit_balance bigint, debit_held bigint, "+
			"credit_entry bigint, credit_balance bigint, credit_held bigint, debit_before text, credit_before text",
		`INSERT INTO ledger_postings ({columns}) SELECT {columns} FROM {rows} AS r`, 0)
	insertMarks = sqldb.NewBulk("account text, entry bigint, posted_at bigint, transaction_id text",
		`INSERT INTO ledger_marks ({columns}) SELECT {columns} FROM {rows} AS r`, 0)
	insertHolds = sqldb.NewBulk(
		"id text, debit_account text, credit_account text, currency text, amount bigint, captured bigint, released bigint, "+
			"state text, expires_at bigint?",
		`INSERT INTO ledger_holds ({columns}) SELECT {columns} FROM {rows} AS r`, 0)
	updateHolds = sqldb.NewBulk(
		"id text, captured bigint, released bigint, state text, was_captured bigint, was_released bigint",
		`UPDATE ledger_holds AS h SET captured = r.captured, released = r.released, state = r.state FROM {rows} AS r
		WHERE h.id = r.id AND h.state = 'pending' AND h.captured = r.was_captured AND h.released = r.was_released`, 0)
)

const balanceColumns = "id text, version bigint, debits bigint, credits bigint, held_debits bigint, held_credits bigint, " +
	"entries bigint, posted_at bigint, last_transaction text"

const setBalances = `UPDATE ledger_accounts AS a SET posted_debits = a.posted_debits + r.debits,
	posted_credits = a.posted_credits + r.credits, pending_debits = a.pending_debits + r.held_debits,
	pending_credits = a.pending_credits + r.held_credits, entries = a.entries + r.entries, version = a.version + r.entries,
	posted_at = r.posted_at, last_transaction = r.last_transaction`

var (
	// addBalances moves balances and fails to find an account that was changed since it was read.
	addBalances = sqldb.NewBulk(balanceColumns, setBalances+` FROM {rows} AS r WHERE a.id = r.id AND a.version = r.version`, 0)
	// unchanged counts the accounts that still are as they were read.
	unchanged = sqldb.NewBulk("id text, version bigint",
		`SELECT COUNT(*) FROM ledger_accounts AS a JOIN {rows} AS r ON a.id = r.id AND a.version = r.version`, 0)
	// closeBatch is addBalances together with the link, in one statement and hence one round trip. It first takes the lock
	// that all batches close under, so that two processes never wait for one another's accounts in a circle. The parameters
	// before the rows: chain, height before, hash, transactions, accounts.
	closeBatch = sqldb.NewBulk(balanceColumns, `
WITH closing AS MATERIALIZED (
	SELECT id FROM ledger_turns WHERE id = 2 FOR UPDATE
), balances AS (
	`+setBalances+` FROM {rows} AS r WHERE (SELECT COUNT(*) FROM closing) = 1 AND a.id = r.id AND a.version = r.version RETURNING 1
), link AS (
	UPDATE ledger_chains SET height = height + 1, head = $3
	WHERE chain = $1 AND height = $2 AND (SELECT COUNT(*) FROM balances) = $5 RETURNING 1
)
INSERT INTO ledger_links (chain, height, hash, transactions) SELECT $1, $2::bigint + 1, $3, $4 FROM link`, 5)
)

// sheet is all that is to be written to the ledger in one transaction of the database.
type sheet struct {
	posted   []ledger.Posted
	hashes   [][sha256.Size]byte
	accounts map[string]*change
	// holds are the holds as they will be, with what they were; a new one was nothing.
	holds map[string]holdChange
}

// change is what happens to one account.
type change struct {
	// version is the account's before.
	version                                               int64
	debits, credits, heldDebits, heldCredits, entries, at int64
	last                                                  string
}

type holdChange struct {
	before, after ledger.Hold
	fresh         bool
}

func newSheet(capacity int) *sheet {
	return &sheet{
		posted: make([]ledger.Posted, 0, capacity), accounts: make(map[string]*change, 2*capacity), holds: map[string]holdChange{},
	}
}

// depend notes that what is decided depends on the account as it is.
func (s *sheet) depend(a ledger.Account) {
	if s.accounts[a.ID] == nil {
		s.accounts[a.ID] = &change{version: a.Version, at: micros(a.LastTime), last: a.LastTransaction}
	}
}

// add puts a transaction on the sheet.
func (s *sheet) add(p ledger.Posted) {
	s.posted = append(s.posted, p)
	for _, a := range p.Accounts {
		c := s.accounts[a.ID]
		if c == nil {
			c = &change{version: a.Version - touches(p, a.ID)}
			s.accounts[a.ID] = c
		}
		c.at, c.last = micros(a.LastTime), a.LastTransaction
	}
	for _, l := range p.Transaction.Postings {
		debit, credit := s.accounts[l.Debit], s.accounts[l.Credit]
		debit.entries++
		credit.entries++
		switch l.Step {
		case ledger.Direct, ledger.CaptureHold:
			debit.debits += l.Amount
			credit.credits += l.Amount
		case ledger.Pending, ledger.VoidHold, ledger.ExpireHold:
		}
		switch l.Step {
		case ledger.Pending:
			debit.heldDebits += l.Amount
			credit.heldCredits += l.Amount
		case ledger.CaptureHold, ledger.VoidHold, ledger.ExpireHold:
			debit.heldDebits -= l.Amount
			credit.heldCredits -= l.Amount
		case ledger.Direct:
		}
	}
}

// touches is how many postings of the transaction are on the account.
func touches(p ledger.Posted, id string) (n int64) {
	for _, l := range p.Transaction.Postings {
		if l.Debit == id || l.Credit == id {
			n++
		}
	}
	return n
}

// hold notes a hold's next state.
func (s *sheet) hold(before, after ledger.Hold, fresh bool) {
	if was, ok := s.holds[after.ID]; ok {
		before, fresh = was.before, was.fresh
	}
	s.holds[after.ID] = holdChange{before: before, after: after, fresh: fresh}
}

// rows is everything to be inserted: all but the balances, the holds that were there before and the link. They are in the
// order of what transactions are unique by: keys that grow are found at the end of an index, and processes that want the
// same wait for one another in one order.
func (s *sheet) rows(chain int, height int64) []*sqldb.BulkRows {
	transactions, postings, marks := insertTransactions.Rows(len(s.posted)), insertPostings.Rows(len(s.posted)), insertMarks.Rows(0)
	slices.SortStableFunc(s.posted, func(a, b ledger.Posted) int {
		return cmp.Or(strings.Compare(string(a.Transaction.Purpose), string(b.Transaction.Purpose)),
			strings.Compare(a.Transaction.Reference, b.Transaction.Reference))
	})
	s.hashes = make([][sha256.Size]byte, len(s.posted))
	for i := range s.posted {
		p := &s.posted[i]
		t := &p.Transaction
		at := micros(t.Time)
		s.hashes[i] = p.Hash()
		transactions.Add(t.ID, string(t.Purpose), t.Reference, at, int64(chain), height, int64(i), s.hashes[i][:])
		for line := range t.Postings {
			l, e := &t.Postings[line], &p.Entries[line]
			postings.Add(t.ID, int64(line), l.Debit, l.Credit, l.Amount, l.Currency, stepText(l.Step), orNull(l.Hold), at,
				e.Debit.Number, e.Debit.Balance, e.Debit.Held, e.Credit.Number, e.Credit.Balance, e.Credit.Held, e.Debit.Before, e.Credit.Before)
		}
		for _, a := range p.Accounts {
			if marked(a.Entries-touches(*p, a.ID), a.Entries) {
				marks.Add(a.ID, a.Entries, at, t.ID)
			}
		}
	}
	return []*sqldb.BulkRows{transactions, postings, marks, s.holdRows()}
}

func (s *sheet) holdRows() *sqldb.BulkRows {
	fresh := insertHolds.Rows(0)
	for _, id := range slices.Sorted(maps.Keys(s.holds)) {
		if h := s.holds[id]; h.fresh {
			var expires any
			if !h.after.ExpireTime.IsZero() {
				expires = micros(h.after.ExpireTime)
			}
			fresh.Add(id, h.after.Debit, h.after.Credit, h.after.Currency, h.after.Amount, h.after.Captured, h.after.Released,
				string(h.after.State), expires)
		}
	}
	return fresh
}

// settle writes the balances, the holds and the link after head, and returns the new head. It returns errStale when
// something is not as it was read.
func (s *sheet) settle(ctx context.Context, tx *sqldb.Tx, head ledger.Head) (ledger.Head, error) {
	if err := s.settleHolds(ctx, tx); err != nil {
		return head, err
	}
	if len(s.posted) == 0 {
		return head, s.stillHolds(ctx, tx)
	}
	next := head.Next(s.hashes)
	balances := addBalances.Rows(len(s.accounts))
	if tx.Dialect() == sqldb.Postgres {
		balances = closeBatch.Rows(len(s.accounts))
	}
	for _, id := range slices.Sorted(maps.Keys(s.accounts)) {
		c := s.accounts[id]
		balances.Add(id, c.version, c.debits, c.credits, c.heldDebits, c.heldCredits, c.entries, c.at, c.last)
	}
	if tx.Dialect() == sqldb.Postgres {
		balances.With(int64(next.Chain), head.Height, next.Hash, int64(len(s.posted)), int64(len(s.accounts)))
		n, err := balances.Exec(ctx, tx)
		return next, expect(n, err, 1, "set balances")
	}
	n, err := balances.Exec(ctx, tx)
	if err := expect(n, err, len(s.accounts), "set balances"); err != nil {
		return head, err
	}
	return next, s.link(ctx, tx, next)
}

// link adds a link to its chain.
func (s *sheet) link(ctx context.Context, tx *sqldb.Tx, next ledger.Head) error {
	ok, err := changed(tx.ExecContext(ctx, `UPDATE ledger_chains SET height = $1, head = $2 WHERE chain = $3 AND height = $4`,
		next.Height, next.Hash, next.Chain, next.Height-1))
	if err != nil {
		return fmt.Errorf("move the head: %w", err)
	}
	if !ok {
		return errStale
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO ledger_links (chain, height, hash, transactions) VALUES ($1, $2, $3, $4)`,
		next.Chain, next.Height, next.Hash, len(s.posted))
	return err
}

func (s *sheet) settleHolds(ctx context.Context, tx *sqldb.Tx) error {
	old := updateHolds.Rows(0)
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(s.holds)) {
		if h := s.holds[id]; !h.fresh {
			ids = append(ids, id)
			old.Add(id, h.after.Captured, h.after.Released, string(h.after.State), h.before.Captured, h.before.Released)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if _, err := readHolds(ctx, tx, ids, tx.ForUpdate()); err != nil { // in the order of their ids
		return err
	}
	n, err := old.Exec(ctx, tx)
	return expect(n, err, len(ids), "change holds")
}

// stillHolds checks a sheet on which nothing is posted: what was refused was refused rightly.
func (s *sheet) stillHolds(ctx context.Context, tx *sqldb.Tx) error {
	if len(s.accounts) == 0 {
		return nil
	}
	versions := unchanged.Rows(len(s.accounts))
	for id, c := range s.accounts {
		versions.Add(id, c.version)
	}
	var n int64
	err := versions.QueryRow(ctx, tx, tx.Dialect(), &n)
	return expect(n, err, len(s.accounts), "compare accounts")
}

func expect(n int64, err error, want int, doing string) error {
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if n != int64(want) {
		return errStale
	}
	return nil
}

func stepText(s ledger.Step) string {
	if s == ledger.Direct {
		return "posted"
	}
	return string(s)
}

func stepOf(text string) ledger.Step {
	if text == "posted" {
		return ledger.Direct
	}
	return ledger.Step(text)
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

const accountColumns = `id, kind, currency, status, min_balance, overdraft, posted_debits, posted_credits,
	pending_debits, pending_credits, entries, posted_at, last_transaction, version`

// readAccounts reads ledger accounts by their ids; those that do not exist are left out.
func readAccounts(ctx context.Context, tx *sqldb.Tx, ids []string, suffix string) (ledger.Books, error) {
	in, arg, err := sqldb.In(tx.Dialect(), ids)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT `+accountColumns+` FROM ledger_accounts WHERE id `+in+` ORDER BY id`+suffix, arg)
	if err != nil {
		return nil, fmt.Errorf("read ledger accounts: %w", err)
	}
	defer func() { _ = rows.Close() }()
	books := make(ledger.Books, len(ids))
	for rows.Next() {
		a, err := scanLedgerAccount(rows)
		if err != nil {
			return nil, fmt.Errorf("read ledger accounts: %w", err)
		}
		books[a.ID] = a
	}
	return books, rows.Err()
}

func scanLedgerAccount(row interface{ Scan(dest ...any) error }) (ledger.Account, error) {
	var a ledger.Account
	var minimum sql.NullInt64
	var at int64
	err := row.Scan(&a.ID, &a.Kind, &a.Currency, &a.Status, &minimum, &a.Overdraft, &a.PostedDebits, &a.PostedCredits,
		&a.PendingDebits, &a.PendingCredits, &a.Entries, &at, &a.LastTransaction, &a.Version)
	if minimum.Valid {
		a.MinBalance = &minimum.Int64
	}
	a.LastTime = fromMicros(at)
	return a, err
}

const holdColumns = `id, debit_account, credit_account, currency, amount, captured, released, state, expires_at`

// readHolds reads holds by their ids; those that do not exist are left out.
func readHolds(ctx context.Context, tx *sqldb.Tx, ids []string, suffix string) (map[string]ledger.Hold, error) {
	in, arg, err := sqldb.In(tx.Dialect(), ids)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT `+holdColumns+` FROM ledger_holds WHERE id `+in+` ORDER BY id`+suffix, arg)
	if err != nil {
		return nil, fmt.Errorf("read holds: %w", err)
	}
	defer func() { _ = rows.Close() }()
	holds := make(map[string]ledger.Hold, len(ids))
	for rows.Next() {
		h, err := scanHold(rows)
		if err != nil {
			return nil, fmt.Errorf("read holds: %w", err)
		}
		holds[h.ID] = h
	}
	return holds, rows.Err()
}

func scanHold(row interface{ Scan(dest ...any) error }) (ledger.Hold, error) {
	var h ledger.Hold
	var expires sql.NullInt64
	err := row.Scan(&h.ID, &h.Debit, &h.Credit, &h.Currency, &h.Amount, &h.Captured, &h.Released, &h.State, &expires)
	if expires.Valid {
		h.ExpireTime = fromMicros(expires.Int64)
	}
	return h, err
}

// chains is how many the database has.
const chains = 16

// readHead reads the end of a chain.
func readHead(ctx context.Context, tx *sqldb.Tx, chain int, suffix string) (ledger.Head, error) {
	var h ledger.Head
	err := tx.QueryRowContext(ctx, `SELECT chain, height, head FROM ledger_chains WHERE chain = $1`+suffix, chain).
		Scan(&h.Chain, &h.Height, &h.Hash)
	if err != nil {
		return h, fmt.Errorf("read the head of chain %d: %w", chain, err)
	}
	return h, nil
}
