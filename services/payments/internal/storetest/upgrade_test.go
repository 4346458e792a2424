package storetest

import (
	"crypto/sha256"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
	"github.com/armlet-pay/armlet/services/payments/internal/settlement"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

// firstMigrations are the migrations up to a number.
func firstMigrations(t *testing.T, last string) fs.FS {
	t.Helper()
	out, all := fstest.MapFS{}, store.Migrations()
	must(t, fs.WalkDir(all, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name()[:4] > last {
			return err
		}
		data, err := fs.ReadFile(all, path)
		out[path] = &fstest.MapFile{Data: data}
		return err
	}))
	return out
}

const (
	oldShop                             = "01950000-0000-7000-8000-000000000001"
	oldPaid, oldWaiting, oldNo, oldLate = "01950000-0000-7000-8000-000000000011", "01950000-0000-7000-8000-000000000012", "01950000-0000-7000-8000-000000000013", "01950000-0000-7000-8000-000000000014"
	oldTopUp, oldCapture                = "01950000-0000-7000-8000-000000000021", "01950000-0000-7000-8000-000000000022"
	oldTerminal                         = "0123456789abcdef"
)

// secondSchema fills a database as the programs before migration 0003 did: olga was topped up with 10.00 and paid 3.00, in
// one link of the chain; three other payments wait, were declined and have expired.
func secondSchema(t *testing.T, db *sqldb.DB) {
	t.Helper()
	at := start.Add(-time.Hour).UnixMicro()
	run := func(text string, args ...any) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), text, args...)
		must(t, err)
	}
	bookedEarlier(t, run, start.Add(-time.Hour))
	run(`INSERT INTO accounts (id, ledger_id, created_at) VALUES ('olga', 'wallet/olga', $1)`, at)
	run(`INSERT INTO merchants (id, ledger_id, display_name, category_code, currency, created_at) VALUES ($1, $2, 'Noodles', 5812, 'CNY', $3)`,
		oldShop, "merchant/"+oldShop, at)
	run(`INSERT INTO terminals (id, merchant, display_name, created_at) VALUES ($1, $2, 'till', $3)`, oldTerminal, oldShop, at)
	for id, p := range map[string]struct {
		state, reason string
		transaction   any
		digest        []byte
	}{
		oldPaid: {"CAPTURED", "", oldCapture, []byte("digest of the response")}, oldWaiting: {"AWAITING_TAP", "", nil, nil},
		oldNo: {"DECLINED", "TAP_DECLINED", nil, []byte("other")}, oldLate: {"EXPIRED", "", nil, nil},
	} {
		run(`INSERT INTO payments (id, state, amount, currency, merchant, merchant_name, terminal, device, partner, account, mode,
			creator, challenge, challenge_frame, tap_expires_at, requirements, decline_reason, transaction_id, response_digest, created_at, updated_at)
			VALUES ($1, $2, 300, 'CNY', $3, 'Noodles', $4, $5, 'acme', 'olga', 'live', 'terminal/`+oldTerminal+`', $6, $7, $8, 'GESTURE', $9, $10, $11, $12, $12)`,
			id, p.state, oldShop, oldTerminal, device, "challenges/"+id, []byte("frame"), start.Add(time.Minute).UnixMicro(), p.reason, p.transaction, p.digest, at)
	}
	run(`INSERT INTO assertions (jti, payment, used_at) VALUES ('jti of `+oldPaid+`', '`+oldPaid+`', $1)`, at)
	run(`INSERT INTO requests (caller, method, request_id, fingerprint, response, created_at) VALUES ('tester', 'TopUp', 'once', $1, $2, $3)`,
		[]byte("content"), []byte(`{"account":{"id":"olga","currency":"CNY","balance":1000,"created_at":1},"transaction":"`+oldTopUp+`"}`), at)
}

// bookedEarlier writes the top-up and the capture, with the accounts as they leave them.
func bookedEarlier(t *testing.T, run func(string, ...any), at time.Time) {
	t.Helper()
	books := ledger.Books{}
	for _, a := range []ledger.Account{ledger.Open(ledger.Funding, cny, cny), ledger.Open(ledger.Wallet, "olga", cny), ledger.Open(ledger.Merchant, oldShop, cny)} {
		books[a.ID] = a
	}
	var hashes [][sha256.Size]byte
	for place, x := range []ledger.Transaction{
		{ID: oldTopUp, Purpose: ledger.TopUp, Reference: "op/1", Time: at, Postings: []ledger.Posting{{Debit: funding, Credit: "wallet/olga", Amount: 1000, Currency: cny}}},
		{ID: oldCapture, Purpose: ledger.Capture, Reference: oldPaid, Time: at.Add(time.Microsecond), Postings: []ledger.Posting{{Debit: "wallet/olga", Credit: "merchant/" + oldShop, Amount: 300, Currency: cny}}},
	} {
		p, err := books.Post(x)
		must(t, err)
		for _, a := range p.Accounts {
			books[a.ID] = a
		}
		hash, l, e := p.Hash(), x.Postings[0], p.Entries[0]
		hashes = append(hashes, hash)
		run(`INSERT INTO ledger_transactions (id, purpose, reference, posted_at, chain, height, place, hash) VALUES ($1, $2, $3, $4, 1, 1, $5, $6)`,
			x.ID, string(x.Purpose), x.Reference, x.Time.UnixMicro(), place, hash[:])
		run(`INSERT INTO ledger_postings (transaction_id, line, debit_account, credit_account, amount, currency, posted_at, debit_entry, debit_balance, credit_entry,
			credit_balance) VALUES ($1, 0, $2, $3, $4, 'CNY', $5, $6, $7, $8, $9)`,
			x.ID, l.Debit, l.Credit, l.Amount, x.Time.UnixMicro(), e.Debit.Number, e.Debit.Balance, e.Credit.Number, e.Credit.Balance)
	}
	for _, a := range books {
		var minimum any
		if a.MinBalance != nil {
			minimum = *a.MinBalance
		}
		run(`INSERT INTO ledger_accounts (id, kind, currency, min_balance, posted_debits, posted_credits, entries, posted_at, version, created_at)
			VALUES ($1, $2, 'CNY', $3, $4, $5, $6, $7, $8, $9)`,
			a.ID, string(a.Kind), minimum, a.PostedDebits, a.PostedCredits, a.Entries, a.LastTime.UnixMicro(), a.Version, at.UnixMicro())
	}
	head := ledger.Head{Chain: 1}.Next(hashes)
	run(`UPDATE ledger_chains SET height = 1, head = $1 WHERE chain = 1`, head.Hash)
	run(`INSERT INTO ledger_links (chain, height, hash, transactions) VALUES (1, 1, $1, 2)`, head.Hash)
}

// A database from before migration 0003, with rows in each of its tables, is migrated: everything is as it was, and goes on.
func TestADatabaseWithRowsOfTheOldShapeGoesOn(t *testing.T) {
	t.Parallel()
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		must(t, db.Migrate(t.Context(), firstMigrations(t, "0002")))
		secondSchema(t, db)
		must(t, db.Migrate(t.Context(), store.Migrations()))
		f := newFixture(t, db)
		old := payment.Caller{Role: payment.Terminal, Merchant: oldShop, Terminal: oldTerminal, Mode: payment.Live}
		read := func(id string) payment.Payment {
			p, err := f.store.Payment(t.Context(), id)
			must(t, err)
			return p
		}
		p := read(oldPaid)
		if p.State != payment.Captured || p.CapturedMinor != 300 || p.Captures != 1 || p.CategoryCode != 5812 || p.Transaction != oldCapture ||
			p.CaptureMode != payment.Automatic || p.Revision != 1 || p.Offline || !p.TapTime.IsZero() {
			t.Errorf("the captured payment: %+v", p)
		}
		if p := read(oldNo); p.State != payment.Declined || p.DeclineReason != "TAP_DECLINED" || p.CapturedMinor != 0 {
			t.Errorf("the declined payment: %+v", p)
		}
		if p := read(oldLate); p.State != payment.Expired {
			t.Errorf("the expired payment: %+v", p)
		}
		moved, err := f.service.TopUp(t.Context(), payment.Request{Caller: "tester", Method: "TopUp", ID: "once", Fingerprint: []byte("content")}, "olga",
			payment.Money{Minor: 1000, Currency: cny}, start)
		must(t, err)
		if moved.Transaction != oldTopUp || moved.Account.Balance.Minor != 1000 || f.balance(t, "olga") != 700 {
			t.Errorf("the repeated top-up: %+v", moved)
		}
		f.auth.intents[oldWaiting] = payment.ChallengeRequest{Payment: oldWaiting, Payer: payment.Payer{Account: "olga"}, Amount: payment.Money{Minor: 300, Currency: cny}, Merchant: payment.Merchant{ID: oldShop}}
		confirmed, err := f.service.Confirm(t.Context(), old, oldWaiting, []byte("response"), start)
		must(t, err)
		refunded, err := f.service.Refund(t.Context(), old, request("Refund"), wish(oldPaid, 100), start)
		must(t, err)
		if confirmed.State != payment.Captured || refunded.Payment.State != payment.PartiallyRefunded || f.balance(t, "olga") != 500 {
			t.Errorf("confirmed %+v, refunded %+v, olga has %d", confirmed, refunded.Payment, f.balance(t, "olga"))
		}
		goesOn(t, f)
	})
}

// goesOn checks what rests on the migrated ledger: point-in-time balances, statements, a settlement, the chain.
func goesOn(t *testing.T, f *fixture) {
	t.Helper()
	wallet := ledger.ID(ledger.Wallet, "olga")
	for at, want := range map[time.Duration]int64{-2 * time.Hour: 0, -time.Hour: 1000, -time.Minute: 700, time.Hour: 500} {
		got, err := f.store.BalanceAt(t.Context(), wallet, start.Add(at))
		must(t, err)
		if got.Posted != want {
			t.Errorf("at %s olga had %d, want %d", at, got.Posted, want)
		}
	}
	lines, err := f.store.Statement(t.Context(), wallet, time.Time{}, start.Add(time.Hour), 0, 10)
	must(t, err)
	if len(lines) != 4 || lines[0].Balance != 1000 || lines[1].Balance != 700 || lines[3].Balance != 500 {
		t.Errorf("the statement: %+v", lines)
	}
	made, err := settlement.NewService(f.store, f.store, newID, time.Minute).SettleDue(t.Context(), 10, start.Add(48*time.Hour))
	must(t, err)
	a, err := f.store.LedgerAccount(t.Context(), ledger.ID(ledger.Settlement, oldShop))
	must(t, err)
	if made != 1 || a.Balance() != 500 {
		t.Errorf("%d settlements, %d on their way", made, a.Balance())
	}
	sound(t, f.store.Ledger)
}
