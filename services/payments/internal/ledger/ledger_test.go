package ledger_test

import (
	"maps"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

func books() ledger.Books {
	alice, bob := ledger.Open(ledger.Wallet, "alice", "CNY"), ledger.Open(ledger.Wallet, "bob", "EUR")
	shop := ledger.Open(ledger.Merchant, "shop", "CNY")
	funding := ledger.Open(ledger.Funding, "CNY", "CNY")
	alice.PostedCredits, funding.PostedDebits = 100, 100
	return ledger.Books{alice.ID: alice, bob.ID: bob, shop.ID: shop, funding.ID: funding}
}

func move(from, to string, amount int64, currency string) ledger.Transaction {
	return ledger.Transaction{
		ID: "t", Purpose: ledger.Capture, Reference: "r",
		Postings: []ledger.Posting{{Debit: from, Credit: to, Amount: amount, Currency: currency}},
	}
}

func TestATransactionThatBreaksARuleIsRefusedWhole(t *testing.T) {
	two := move("wallet/alice", "merchant/shop", 60, "CNY")
	two.Postings = append(two.Postings, two.Postings[0])
	full := books()
	rich := full["merchant/shop"]
	rich.PostedCredits, rich.PostedDebits = math.MaxInt64, math.MaxInt64
	full["merchant/shop"] = rich
	for name, c := range map[string]struct {
		books ledger.Books
		tx    ledger.Transaction
		want  string
	}{
		"more than there is":            {books(), move("wallet/alice", "merchant/shop", 101, "CNY"), "INSUFFICIENT_FUNDS"},
		"two lines that together are":   {books(), two, "INSUFFICIENT_FUNDS"},
		"from an empty merchant":        {books(), move("merchant/shop", "wallet/alice", 1, "CNY"), "INSUFFICIENT_FUNDS"},
		"nothing":                       {books(), move("wallet/alice", "merchant/shop", 0, "CNY"), "AMOUNT_NOT_POSITIVE"},
		"less than nothing":             {books(), move("wallet/alice", "merchant/shop", -1, "CNY"), "AMOUNT_NOT_POSITIVE"},
		"the least number":              {books(), move("wallet/alice", "merchant/shop", math.MinInt64, "CNY"), "AMOUNT_NOT_POSITIVE"},
		"another currency":              {books(), move("wallet/alice", "merchant/shop", 1, "EUR"), "CURRENCY_MISMATCH"},
		"across currencies":             {books(), move("wallet/alice", "wallet/bob", 1, "CNY"), "CURRENCY_MISMATCH"},
		"to itself":                     {books(), move("wallet/alice", "wallet/alice", 1, "CNY"), "POSTING_INVALID"},
		"from nobody":                   {books(), move("wallet/carol", "merchant/shop", 1, "CNY"), "LEDGER_ACCOUNT_NOT_FOUND"},
		"to nobody":                     {books(), move("wallet/alice", "merchant/none", 1, "CNY"), "LEDGER_ACCOUNT_NOT_FOUND"},
		"no lines":                      {books(), ledger.Transaction{}, "POSTING_INVALID"},
		"more than a wallet can hold":   {books(), move("funding/CNY", "wallet/alice", math.MaxInt64, "CNY"), "BALANCE_OVERFLOW"},
		"one more than a merchant's":    {full, move("wallet/alice", "merchant/shop", 1, "CNY"), "BALANCE_OVERFLOW"},
		"one more than funding's debit": {books(), move("funding/CNY", "merchant/shop", math.MaxInt64-99, "CNY"), "BALANCE_OVERFLOW"},
	} {
		t.Run(name, func(t *testing.T) {
			before := maps.Clone(c.books)
			_, err := c.books.Post(c.tx)
			if got := fault.ReasonOf(err); got != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if diff := cmp.Diff(before, c.books); diff != "" {
				t.Errorf("the books changed: %s", diff)
			}
		})
	}
}

func TestTheWholeBalanceAndTheLargestAmountCanBeMoved(t *testing.T) {
	posted, err := books().Post(move("wallet/alice", "merchant/shop", 100, "CNY"))
	if err != nil {
		t.Fatal(err)
	}
	if got := []int64{posted.Accounts[0].Balance(), posted.Accounts[1].Balance()}; !cmp.Equal(got, []int64{100, 0}) {
		t.Errorf("balances of merchant and wallet are %v", got)
	}
	if _, err := books().Post(move("funding/CNY", "merchant/shop", math.MaxInt64-100, "CNY")); err != nil {
		t.Errorf("the largest amount that fits: %v", err)
	}
}

func TestOnlyWhereTheBalancesEndCounts(t *testing.T) {
	tx := move("merchant/shop", "wallet/alice", 10, "CNY") // the shop has nothing yet
	tx.Postings = append(tx.Postings, ledger.Posting{Debit: "wallet/alice", Credit: "merchant/shop", Amount: 30, Currency: "CNY"})
	posted, err := books().Post(tx)
	if err != nil {
		t.Fatal(err)
	}
	if got := []int64{posted.Accounts[0].Balance(), posted.Accounts[1].Balance()}; !cmp.Equal(got, []int64{20, 80}) {
		t.Errorf("balances of merchant and wallet are %v", got)
	}
}

// Whatever is posted in whatever order, money is neither made nor lost and no minimum is broken.
func TestPostingConservesMoney(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := books()
		ids := []string{"wallet/alice", "wallet/bob", "merchant/shop", "funding/CNY"}
		line := rapid.Custom(func(t *rapid.T) ledger.Posting {
			amount := rapid.OneOf(rapid.Int64Range(-1, 150), rapid.Int64()).Draw(t, "amount")
			return ledger.Posting{
				Debit: rapid.SampledFrom(ids).Draw(t, "debit"), Credit: rapid.SampledFrom(ids).Draw(t, "credit"),
				Amount: amount, Currency: rapid.SampledFrom([]string{"CNY", "EUR"}).Draw(t, "currency"),
			}
		})
		for _, lines := range rapid.SliceOfN(rapid.SliceOfN(line, 1, 4), 1, 30).Draw(t, "transactions") {
			posted, err := now.Post(ledger.Transaction{Postings: lines})
			if err != nil {
				continue
			}
			for _, a := range posted.Accounts {
				now[a.ID] = a
			}
			check(t, now)
		}
	})
}

func check(t *rapid.T, b ledger.Books) {
	sums := map[string]int64{}
	for _, a := range b {
		sums[a.Currency] += a.Balance() // wraps around and comes back, so that zero is zero
		if a.PostedDebits < 0 || a.PostedCredits < 0 {
			t.Fatalf("%s overflowed: %+v", a.ID, a)
		}
		if a.MinBalance != nil && a.Balance() < *a.MinBalance {
			t.Fatalf("%s fell to %d", a.ID, a.Balance())
		}
	}
	for currency, sum := range sums {
		if sum != 0 {
			t.Fatalf("%s sums to %d", currency, sum)
		}
	}
}
