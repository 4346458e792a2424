package checker

import (
	"fmt"
	"slices"
	"strings"
)

// Kind says what is wrong.
type Kind string

// The ways in which a suite can break its word.
const (
	// Lost is an acknowledged payment that is not there, or whose money did not move.
	Lost Kind = "lost"
	// Doubled is a payment that was made twice, or whose money moved twice.
	Doubled Kind = "doubled"
	// Invented is something that nobody asked for, or that was refused to who asked.
	Invented Kind = "invented"
	// Unbalanced is a ledger whose postings and balances disagree.
	Unbalanced Kind = "unbalanced"
	// EventMissing is an event, or its effect, that did not arrive. It may still come.
	EventMissing Kind = "event missing"
	// EventDoubled is an event, or its effect, that came more than once.
	EventDoubled Kind = "event doubled"
)

// Violation is one broken promise.
type Violation struct {
	Kind Kind
	What string
}

func (v Violation) String() string { return string(v.Kind) + ": " + v.What }

// Pending says whether time may heal every one of them.
func Pending(all []Violation) bool {
	return !slices.ContainsFunc(all, func(v Violation) bool { return v.Kind != EventMissing })
}

// Check compares what clients know with what there is. It wants a quiet suite: no tap may be under way.
func Check(h *History, e Evidence) []Violation {
	deposits, taps := h.snapshot()
	c := &check{e: e, deposits: map[string]int64{}, taps: taps, captured: map[key][]Payment{}}
	for account, money := range deposits {
		c.deposits[short(account)] = money
	}
	for _, p := range e.Payments {
		if p.Captured > 0 {
			k := key{p.Account, p.Captured}
			c.captured[k] = append(c.captured[k], p)
		}
	}
	c.acknowledged()
	c.asked()
	c.moved()
	c.balanced()
	c.published("the stream of payments", e.Events, false)
	c.published("the partner's stream", e.Feed, true)
	c.alerted()
	return c.found
}

// key names a tap in every book.
type key struct {
	account string
	amount  int64
}

type check struct {
	e        Evidence
	deposits map[string]int64
	taps     []Tap
	captured map[key][]Payment
	found    []Violation
}

func (c *check) add(kind Kind, format string, args ...any) {
	c.found = append(c.found, Violation{kind, fmt.Sprintf(format, args...)})
}

// acknowledged holds that what a client was told is so.
func (c *check) acknowledged() {
	byID := map[string]Payment{}
	for _, p := range c.e.Payments {
		byID[p.ID] = p
	}
	for _, t := range c.taps {
		p, there := byID[short(t.Payment)]
		switch {
		case t.Outcome == Acknowledged && !there:
			c.add(Lost, "%s of %s was acknowledged and is not there", t.Payment, t.Account)
		case t.Outcome == Acknowledged && (p.State != "CAPTURED" || p.Captured != t.Amount || p.Account != short(t.Account)):
			c.add(Lost, "%s of %s over %d was acknowledged as captured and is %s over %d of %s", t.Payment, t.Account, t.Amount, p.State, p.Captured, p.Account)
		case t.Outcome == Refused && there && p.Captured > 0:
			c.add(Invented, "%s of %s was refused and is captured", t.Payment, t.Account)
		}
	}
}

// asked holds that every captured payment was asked for, and once.
func (c *check) asked() {
	sent := map[key]bool{}
	for _, t := range c.taps {
		sent[key{short(t.Account), t.Amount}] = true
	}
	for k, payments := range c.captured {
		if _, known := c.deposits[k.account]; !known {
			c.add(Invented, "a payment of %s, an account that nobody opened", k.account)
		}
		if !sent[k] {
			c.add(Invented, "a payment of %s over %d that nobody asked for", k.account, k.amount)
		}
		if len(payments) > 1 {
			c.add(Doubled, "one tap of %s over %d was captured as %d payments", k.account, k.amount, len(payments))
		}
	}
}

// final says whether money has moved with a posting.
func (p Posting) final() bool { return p.Step == "posted" || p.Step == "capture" }

// moved holds that the money of each captured payment left its wallet, and once, and nothing else did.
func (c *check) moved() {
	left := map[key]int{}
	for _, p := range c.e.Postings {
		if wallet, ok := strings.CutPrefix(p.Debit, "wallet/"); ok && p.final() {
			left[key{wallet, p.Amount}]++
		}
	}
	for k := range c.captured {
		if left[k] == 0 {
			c.add(Lost, "%d of %s is captured and was not posted", k.amount, k.account)
		}
	}
	for k, times := range left {
		if times > max(1, len(c.captured[k])) {
			c.add(Doubled, "%d left the wallet of %s %d times", k.amount, k.account, times)
		}
		if len(c.captured[k]) == 0 {
			c.add(Invented, "%d left the wallet of %s without a captured payment", k.amount, k.account)
		}
	}
	c.wallets()
}

// wallets holds that each wallet has what was put in less what was taken.
func (c *check) wallets() {
	books := map[string]Book{}
	for _, b := range c.e.Books {
		books[b.ID] = b
	}
	taken := map[string]int64{}
	for k, payments := range c.captured {
		taken[k.account] += k.amount * int64(len(payments))
	}
	for account, money := range c.deposits {
		b := books["wallet/"+account]
		if has, want := b.Credits-b.Debits, money-taken[account]; has != want {
			c.add(Unbalanced, "%s has %d; %d was put in and %d paid, so it should have %d", account, has, money, taken[account], want)
		}
		if b.PendingDebits != 0 {
			c.add(Unbalanced, "%d of %s is held for nothing", b.PendingDebits, account)
		}
	}
}

// balanced sums the postings anew and holds every balance against them.
func (c *check) balanced() {
	type sums struct{ debits, credits, pendingDebits, pendingCredits int64 }
	by := map[string]*sums{}
	currency := map[string]string{}
	for _, b := range c.e.Books {
		by[b.ID], currency[b.ID] = &sums{}, b.Currency
	}
	for _, p := range c.e.Postings {
		debit, credit := by[p.Debit], by[p.Credit]
		if debit == nil || credit == nil || p.Amount <= 0 || currency[p.Debit] != p.Currency || currency[p.Credit] != p.Currency {
			c.add(Unbalanced, "the posting of %d from %s to %s of transaction %s cannot be", p.Amount, p.Debit, p.Credit, p.Transaction)
			continue
		}
		if p.final() {
			debit.debits += p.Amount
			credit.credits += p.Amount
		}
		held := p.Amount
		switch p.Step {
		case "posted":
			held = 0
		case "capture", "void", "expire":
			held = -held
		}
		debit.pendingDebits += held
		credit.pendingCredits += held
	}
	total := map[string]int64{}
	for _, b := range c.e.Books {
		if s := by[b.ID]; *s != (sums{b.Debits, b.Credits, b.PendingDebits, b.PendingCredits}) {
			c.add(Unbalanced, "%s says %d debits, %d credits, %d and %d held; its postings say %v", b.ID, b.Debits, b.Credits, b.PendingDebits, b.PendingCredits, *s)
		}
		total[b.Currency] += b.Credits - b.Debits
	}
	for name, sum := range total {
		if sum != 0 {
			c.add(Unbalanced, "the balances in %s sum to %d", name, sum)
		}
	}
}

// published holds that a stream has one event for each captured payment and no other.
func (c *check) published(where string, events []Event, anonymous bool) {
	of, ids := map[string][]Event{}, map[string]int{}
	for _, e := range events {
		ids[e.ID]++
		if ids[e.ID] > 1 {
			c.add(EventDoubled, "%s has the event %s %d times", where, e.ID, ids[e.ID])
			continue
		}
		of[e.Payment] = append(of[e.Payment], e)
	}
	for _, payments := range c.captured {
		for _, p := range payments {
			got := of[p.ID]
			delete(of, p.ID)
			account := p.Account
			if anonymous {
				account = ""
			}
			switch {
			case len(got) == 0:
				c.add(EventMissing, "%s has no event of payment %s", where, p.ID)
			case len(got) > 1:
				c.add(EventDoubled, "%s has %d events of payment %s", where, len(got), p.ID)
			case got[0].Amount != p.Captured || got[0].Account != account:
				c.add(Invented, "%s says %d of %q about payment %s, which is %d of %q", where, got[0].Amount, got[0].Account, p.ID, p.Captured, account)
			}
		}
	}
	for id := range of {
		c.add(Invented, "%s says that payment %s was captured, which it was not", where, id)
	}
}

// alerted holds that each captured payment has one alert, and that no event was given up.
func (c *check) alerted() {
	alerts := map[Alert]int{}
	for _, a := range c.e.Alerts {
		alerts[Alert{short(a.Account), a.Text}]++
	}
	for k := range c.captured {
		a := Alert{k.account, Paid(k.amount)}
		switch n := alerts[a]; {
		case n == 0:
			c.add(EventMissing, "%s has no alert %q", a.Account, a.Text)
		case n > 1:
			c.add(EventDoubled, "%s has the alert %q %d times", a.Account, a.Text, n)
		}
		delete(alerts, a)
	}
	for a := range alerts {
		c.add(Invented, "%s has the alert %q of no payment", a.Account, a.Text)
	}
	if c.e.Unpublished > 0 {
		c.add(EventMissing, "%d events wait in the outbox", c.e.Unpublished)
	}
	if c.e.DeadLetters > 0 {
		c.add(EventMissing, "%d events are among the dead letters", c.e.DeadLetters)
	}
}

// Paid is what a band shows of a payment in yuan.
func Paid(minor int64) string { return fmt.Sprintf("Paid ¥%d.%02d", minor/100, minor%100) }

// short is a name without its collection.
func short(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
