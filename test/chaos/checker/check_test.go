package checker

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
)

// truth is a history of two wearers and the evidence of a suite that kept its word: of the last wearer one tap was refused,
// one has no answer and was captured, and one has no answer and was not.
func truth() (*History, *Evidence) {
	h, e := NewHistory(), &Evidence{}
	funding := Book{ID: "funding/CNY", Currency: "CNY"}
	merchant := Book{ID: "merchant/m", Currency: "CNY"}
	for w := range 2 {
		account := fmt.Sprint("wearer", w)
		wallet := Book{ID: "wallet/" + account, Currency: "CNY", Credits: 10_000}
		funding.Debits += 10_000
		h.Deposited("accounts/"+account, 10_000)
		e.Postings = append(e.Postings, Posting{Transaction: "top" + account, Debit: funding.ID, Credit: wallet.ID, Currency: "CNY", Step: "posted", Amount: 10_000})
		for n := range 6 {
			amount := int64(100 + n)
			id := account + "-" + strconv.Itoa(n)
			h.Sent("accounts/"+account, id, amount)
			h.Named(id, "payments/"+id)
			state, captured := "CAPTURED", amount
			switch {
			case w == 1 && n == 3:
				h.Settled(id, Refused)
				state, captured = "DECLINED", 0
			case w == 1 && n == 4:
				state, captured = "AWAITING_TAP", 0
			case w == 1 && n == 5: // captured, though nobody was told
			default:
				h.Settled(id, Acknowledged)
			}
			e.Payments = append(e.Payments, Payment{ID: id, Account: account, State: state, Currency: "CNY", Amount: amount, Captured: captured})
			if captured == 0 {
				continue
			}
			e.Postings = append(e.Postings, Posting{Transaction: "t" + id, Debit: wallet.ID, Credit: merchant.ID, Currency: "CNY", Step: "posted", Amount: amount})
			wallet.Debits += amount
			merchant.Credits += amount
			e.Events = append(e.Events, Event{ID: "e" + id, Payment: id, Account: account, Amount: amount})
			e.Feed = append(e.Feed, Event{ID: "e" + id, Payment: id, Amount: amount})
			e.Alerts = append(e.Alerts, Alert{Account: "accounts/" + account, Text: Paid(amount)})
		}
		e.Books = append(e.Books, wallet)
	}
	e.Books = append(e.Books, funding, merchant)
	return h, e
}

func TestTheTruthIsBelieved(t *testing.T) {
	t.Parallel()
	h, e := truth()
	if got := Check(h, *e); len(got) != 0 {
		t.Errorf("the checker found %v", got)
	}
	if h.Count(Acknowledged) != 9 || h.Count(Refused) != 1 || h.Count(Unknown) != 2 {
		t.Errorf("the history counts %d, %d and %d", h.Count(Acknowledged), h.Count(Refused), h.Count(Unknown))
	}
}

// TestEveryLieIsCaught changes the true evidence in one way each, and wants what is wrong to be called by its name.
func TestEveryLieIsCaught(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]struct {
		tell func(h *History, e *Evidence)
		want Kind
	}{
		"an acknowledged payment is gone": {func(_ *History, e *Evidence) { e.Payments = e.Payments[1:] }, Lost},
		"an acknowledged payment is gone and so is every trace of it": {func(_ *History, e *Evidence) {
			e.Payments, e.Events, e.Feed, e.Alerts = e.Payments[1:], e.Events[1:], e.Feed[1:], e.Alerts[1:]
			e.Postings = slices.Delete(e.Postings, 1, 2)
			e.Books[0].Debits -= 100
			e.Books[3].Credits -= 100
		}, Lost},
		"an acknowledged payment is not captured":     {func(_ *History, e *Evidence) { e.Payments[0].State, e.Payments[0].Captured = "AWAITING_TAP", 0 }, Lost},
		"an acknowledged payment is of less":          {func(_ *History, e *Evidence) { e.Payments[0].Captured-- }, Lost},
		"an acknowledged payment is somebody else's":  {func(_ *History, e *Evidence) { e.Payments[0].Account = "wearer1" }, Lost},
		"the client was told of a name that is not":   {func(h *History, _ *Evidence) { h.Named("wearer0-0", "payments/other") }, Lost},
		"a captured payment has no posting":           {func(_ *History, e *Evidence) { e.Postings = slices.Delete(e.Postings, 1, 2) }, Lost},
		"a tap made two payments":                     {func(_ *History, e *Evidence) { again(e, "again") }, Doubled},
		"money left twice":                            {func(_ *History, e *Evidence) { e.Postings = append(e.Postings, e.Postings[1]) }, Doubled},
		"money left twice and the balances know":      {func(_ *History, e *Evidence) { e.Postings = append(e.Postings, e.Postings[1]); pay(e, 100) }, Doubled},
		"a refused payment is captured":               {func(h *History, _ *Evidence) { h.Settled("wearer0-0", Refused) }, Invented},
		"nobody asked for a payment":                  {func(_ *History, e *Evidence) { e.Payments[0].Captured, e.Payments[0].Amount = 777, 777 }, Invented},
		"a payment of an unknown account":             {func(_ *History, e *Evidence) { e.Payments[0].Account = "stranger" }, Invented},
		"money left without a payment":                {func(_ *History, e *Evidence) { e.Postings[1].Amount = 55 }, Invented},
		"a balance is off by one":                     {func(_ *History, e *Evidence) { e.Books[0].Debits++ }, Unbalanced},
		"two balances are off and the sum is right":   {func(_ *History, e *Evidence) { pay(e, 1) }, Unbalanced},
		"a wallet lost its top-up":                    {func(h *History, _ *Evidence) { h.Deposited("accounts/wearer0", 1) }, Unbalanced},
		"a posting has no account":                    {func(_ *History, e *Evidence) { e.Postings[0].Debit = "funding/EUR" }, Unbalanced},
		"a posting crosses currencies":                {func(_ *History, e *Evidence) { e.Postings[1].Currency = "EUR" }, Unbalanced},
		"a hold was left behind":                      {func(_ *History, e *Evidence) { e.Books[0].PendingDebits = 5 }, Unbalanced},
		"an event is missing":                         {func(_ *History, e *Evidence) { e.Events = e.Events[1:] }, EventMissing},
		"the partner misses an event":                 {func(_ *History, e *Evidence) { e.Feed = e.Feed[1:] }, EventMissing},
		"an alert is missing":                         {func(_ *History, e *Evidence) { e.Alerts = e.Alerts[1:] }, EventMissing},
		"an event waits in the outbox":                {func(_ *History, e *Evidence) { e.Unpublished = 1 }, EventMissing},
		"an event was given up":                       {func(_ *History, e *Evidence) { e.DeadLetters = 1 }, EventMissing},
		"an event is there twice":                     {func(_ *History, e *Evidence) { e.Events = append(e.Events, e.Events[0]) }, EventDoubled},
		"an event is there twice under another id":    {func(_ *History, e *Evidence) { e.Events = append(e.Events, renamed(e.Events[0])) }, EventDoubled},
		"the partner gets an event twice":             {func(_ *History, e *Evidence) { e.Feed = append(e.Feed, e.Feed[0]) }, EventDoubled},
		"a wearer is told twice":                      {func(_ *History, e *Evidence) { e.Alerts = append(e.Alerts, e.Alerts[0]) }, EventDoubled},
		"an event of a payment that is not captured":  {func(_ *History, e *Evidence) { e.Events[0].Payment = "wearer1-4" }, Invented},
		"an event says another amount":                {func(_ *History, e *Evidence) { e.Events[0].Amount++ }, Invented},
		"the partner is told the account":             {func(_ *History, e *Evidence) { e.Feed[0].Account = "wearer0" }, Invented},
		"a wearer is told of a payment that is not":   {func(_ *History, e *Evidence) { e.Alerts[0].Text = Paid(9_999) }, Invented},
		"a wearer is told of somebody else's payment": {func(_ *History, e *Evidence) { e.Alerts[0].Account = "accounts/wearer9" }, Invented},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, e := truth()
			lie.tell(h, e)
			got := Check(h, *e)
			if !slices.ContainsFunc(got, func(v Violation) bool { return v.Kind == lie.want }) {
				t.Errorf("the checker found %v, want one that is %q", got, lie.want)
			}
			if pending := lie.want == EventMissing; Pending(got) != pending {
				t.Errorf("pending is %v of %v", !pending, got)
			}
		})
	}
}

// pay moves money from the first wallet to the merchant in the balances alone.
func pay(e *Evidence, minor int64) {
	e.Books[0].Debits += minor
	e.Books[3].Credits += minor
}

// again captures the first payment once more, with everything that belongs to it.
func again(e *Evidence, id string) {
	p, posting, event, feed := e.Payments[0], e.Postings[1], e.Events[0], e.Feed[0]
	p.ID, posting.Transaction = id, "t"+id
	event.ID, event.Payment, feed.ID, feed.Payment = "e"+id, id, "e"+id, id
	e.Payments, e.Postings = append(e.Payments, p), append(e.Postings, posting)
	e.Events, e.Feed = append(e.Events, event), append(e.Feed, feed)
	pay(e, p.Captured)
}

func renamed(e Event) Event {
	e.ID += "'"
	return e
}
