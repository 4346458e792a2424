package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

// tampering is what somebody does behind the books' back, and what is said of it. In the statements {id} is the second of
// the transactions that were committed together, {chain} and {height} their link.
var tampering = map[string]struct {
	do []string
	// named says that the transaction is named.
	named bool
	says  string
}{
	"an amount that was changed":      {[]string{`UPDATE ledger_postings SET amount = amount + 1 WHERE transaction_id = '{id}'`}, true, "not what was posted"},
	"an account that was exchanged":   {[]string{`UPDATE ledger_postings SET credit_account = 'wallet/w000003' WHERE transaction_id = '{id}'`}, true, "not what was posted"},
	"a time that was changed":         {[]string{`UPDATE ledger_transactions SET posted_at = posted_at + 1 WHERE id = '{id}'`}, true, "not what was posted"},
	"a reference that was changed":    {[]string{`UPDATE ledger_transactions SET reference = 'other' WHERE id = '{id}'`}, true, "not what was posted"},
	"a balance after it":              {[]string{`UPDATE ledger_postings SET credit_balance = credit_balance + 1 WHERE transaction_id = '{id}'`}, true, "not what was posted"},
	"a line that was removed":         {[]string{`DELETE FROM ledger_postings WHERE transaction_id = '{id}'`}, true, "not what was posted"},
	"a line that was added":           {[]string{copyPosting("'{id}'", "1")}, true, "not what was posted"},
	"a hash that was recomputed":      {[]string{`UPDATE ledger_transactions SET hash = (SELECT head FROM ledger_chains WHERE height > 0 LIMIT 1) WHERE id = '{id}'`}, true, "not what was posted"},
	"a transaction that was removed":  {[]string{`DELETE FROM ledger_transactions WHERE id = '{id}'`}, false, "transaction 2 of its 3 was removed"},
	"a transaction that was moved":    {[]string{`UPDATE ledger_transactions SET place = 7 WHERE id = '{id}'`}, false, "transaction 2 of its 3 was removed"},
	"the last one of a link":          {[]string{`DELETE FROM ledger_transactions WHERE chain = {chain} AND height = {height} AND place = 2`}, false, "transaction 3 of its 3 was removed"},
	"a transaction that was added":    {[]string{copyTransaction("{chain}", "{height}", "3"), copyPosting("'added'", "0")}, false, "transaction added: the transaction was added"},
	"one that was put between":        {[]string{copyTransaction("{chain}", "{height}", "1"), copyPosting("'added'", "0")}, false, "was added to the link"},
	"one that is in no link":          {[]string{copyTransaction("{chain}", "{height} - 1", "9"), copyPosting("'added'", "0")}, false, "transaction added"},
	"one that is in no chain":         {[]string{copyTransaction("0", "0", "0"), copyPosting("'added'", "0")}, false, "transaction added: the transaction is in no chain"},
	"a link that was removed":         {[]string{`DELETE FROM ledger_links WHERE chain = {chain} AND height = {height}`}, false, "the link is missing"},
	"a link with its transactions":    {[]string{`DELETE FROM ledger_links WHERE chain = {chain} AND height = {height}`, `DELETE FROM ledger_postings WHERE transaction_id IN (SELECT id FROM ledger_transactions WHERE chain = {chain} AND height = {height})`, `DELETE FROM ledger_transactions WHERE chain = {chain} AND height = {height}`}, false, "the link is missing"},
	"a link that was changed":         {[]string{`UPDATE ledger_links SET hash = (SELECT hash FROM ledger_transactions WHERE id = '{id}') WHERE chain = {chain} AND height = {height}`}, false, "does not follow"},
	"a head that was changed":         {[]string{`UPDATE ledger_chains SET head = (SELECT hash FROM ledger_transactions WHERE id = '{id}') WHERE chain = {chain}`}, false, "another hash"},
	"a balance that was changed":      {[]string{`UPDATE ledger_accounts SET posted_credits = posted_credits + 1 WHERE id = 'wallet/w000001'`}, false, "an account whose statement does not end with its balance: wallet/w000001"},
	"a turnover that was changed":     {[]string{`UPDATE ledger_accounts SET posted_credits = posted_credits + 1, posted_debits = posted_debits + 1 WHERE id = 'wallet/w000001'`}, false, "1 accounts in CNY"},
	"money set aside":                 {[]string{`UPDATE ledger_accounts SET pending_debits = 0 WHERE id = 'wallet/w000000'`}, false, "1 accounts in CNY"},
	"a hold that was changed":         {[]string{`UPDATE ledger_holds SET amount = amount + 1`}, false, "a hold that is not what its postings say"},
	"a hold that was removed":         {[]string{`DELETE FROM ledger_holds`}, false, "a posting of a hold that is not there"},
	"a posting of no transaction":     {[]string{copyPosting("'added'", "0")}, false, "a posting of a transaction that is not there: added"},
	"a step of a statement":           {[]string{`UPDATE ledger_postings SET debit_before = '' WHERE transaction_id = '{id}'`}, false, "from each entry to the one before: wallet/w000001"},
	"the end of a statement":          {[]string{`UPDATE ledger_accounts SET last_transaction = '{id}' WHERE id = 'wallet/w000001'`}, false, "from each entry to the one before: wallet/w000001"},
	"a mark of no entry":              {[]string{`INSERT INTO ledger_marks (account, entry, posted_at, transaction_id) VALUES ('wallet/w000001', 64, 0, '{id}')`}, false, "a mark of an entry that is not there: wallet/w000001"},
	"an account that was removed":     {[]string{`DELETE FROM ledger_accounts WHERE id = 'wallet/w000001'`}, false, "not there in its currency"},
	"the currency of an account":      {[]string{`UPDATE ledger_accounts SET currency = 'EUR' WHERE id = 'wallet/w000001'`}, false, "not there in its currency"},
	"an account that was never there": {[]string{`INSERT INTO ledger_accounts (id, kind, currency, min_balance, posted_credits, created_at) VALUES ('wallet/eve', 'wallet', 'CNY', 0, 5, 0)`}, false, "wallet/eve"},
}

// copyPosting adds a posting that looks like one of the transaction's.
func copyPosting(transaction, line string) string {
	const rest = `debit_account, credit_account, amount, currency, step, hold, posted_at, debit_entry, debit_balance, debit_held,
		credit_entry, credit_balance, credit_held`
	return `INSERT INTO ledger_postings (transaction_id, line, ` + rest + `) SELECT ` + transaction + `, ` + line + `, ` + rest +
		` FROM ledger_postings WHERE transaction_id = '{id}' AND line = 0`
}

func copyTransaction(chain, height, place string) string {
	return `INSERT INTO ledger_transactions (id, purpose, reference, posted_at, chain, height, place, hash)
		SELECT 'added', purpose, 'added', posted_at, ` + chain + `, ` + height + `, ` + place + `, hash FROM ledger_transactions WHERE id = '{id}'`
}

func TestWhateverIsDoneBehindTheBooksBackIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		t.Parallel()
		l, link := smallLedger(t, db)
		for _, table := range ledgerTables {
			_, err := db.ExecContext(t.Context(), `CREATE TABLE saved_`+table+` AS SELECT * FROM `+table)
			must(t, err)
		}
		for name, c := range tampering {
			t.Run(name, func(t *testing.T) {
				sound(t, l)
				for _, statement := range c.do {
					_, err := db.ExecContext(t.Context(), link.Replace(statement))
					must(t, err)
				}
				v, err := l.VerifyLedger(t.Context())
				must(t, err)
				if v.Intact() {
					t.Error("it was not noticed")
				}
				said := strings.Join(v.Wrong, "\n")
				if v.Broken != nil {
					said = v.Broken.String() + "\n" + said
				}
				if !strings.Contains(said, c.says) {
					t.Errorf("it said\n%s\nand not %q", said, c.says)
				}
				if c.named && (v.Broken == nil || v.Broken.Transaction != link.Replace("{id}")) {
					t.Errorf("it named %+v", v.Broken)
				}
				putBack(t, db)
			})
		}
		sound(t, l)
	})
}

// ledgerTables is what the ledger is stored in; a table stands before those that refer to it.
var ledgerTables = []string{"ledger_accounts", "ledger_transactions", "ledger_postings", "ledger_holds", "ledger_chains", "ledger_links", "ledger_marks"}

// putBack makes the ledger what it was when it was saved.
func putBack(t *testing.T, db *sqldb.DB) {
	t.Helper()
	must(t, db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		for _, table := range slices.Backward(ledgerTables) {
			if _, err := tx.ExecContext(ctx, `DELETE FROM `+table); err != nil {
				return err
			}
		}
		for _, table := range ledgerTables {
			if _, err := tx.ExecContext(ctx, `INSERT INTO `+table+` SELECT * FROM saved_`+table); err != nil {
				return err
			}
		}
		return nil
	}))
}

// smallLedger has three transactions that were committed together in the middle of a chain, and a hold.
func smallLedger(t *testing.T, db *sqldb.DB) (*store.Ledger, *strings.Replacer) {
	t.Helper()
	l := newLedger(t, db)
	w := wallets(t, l, 4, 1000)
	hold := transfer(w[0], w[2], 50)
	hold.Postings[0].Step, hold.Postings[0].Hold = ledger.Pending, newID()
	three := []ledger.Transaction{transfer(w[0], w[1], 5), transfer(w[1], w[2], 6), transfer(w[2], w[0], 7)}
	for _, group := range [][]ledger.Transaction{{hold}, three, {transfer(w[1], w[0], 8)}} {
		_, err := l.Post(t.Context(), group...)
		must(t, err)
	}
	id := three[1].ID
	var chain, height int
	must(t, db.QueryRowContext(t.Context(), `SELECT chain, height FROM ledger_transactions WHERE id = $1`, id).Scan(&chain, &height))
	return l, strings.NewReplacer("{id}", id, "{chain}", fmt.Sprint(chain), "{height}", fmt.Sprint(height))
}
