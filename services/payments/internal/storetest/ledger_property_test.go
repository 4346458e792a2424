package storetest

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

// program is a random set of work for several callers at once: groups of linked transactions, some of them given twice.
type program struct {
	callers [][][]ledger.Transaction
	// impatience is how long each caller waits for an answer before it asks again, crashes how often a process is
	// replaced by a new one meanwhile.
	impatience time.Duration
	crashes    int
}

func drawProgram(r *rapid.T, run int) program {
	p := program{
		impatience: time.Duration(rapid.SampledFrom([]int{0, 1, 5, 1000}).Draw(r, "impatience")) * time.Millisecond,
		crashes:    rapid.IntRange(0, 3).Draw(r, "crashes"),
	}
	var all [][]ledger.Transaction
	for c := range rapid.IntRange(1, 8).Draw(r, "callers") {
		var groups [][]ledger.Transaction
		for g := range rapid.IntRange(1, 6).Draw(r, "groups") {
			if len(all) > 0 && rapid.IntRange(0, 4).Draw(r, "again") == 0 {
				groups = append(groups, rapid.SampledFrom(all).Draw(r, "which"))
				continue
			}
			group := drawGroup(r, fmt.Sprintf("%d/%d/%d", run, c, g))
			groups, all = append(groups, group), append(all, group)
		}
		p.callers = append(p.callers, groups)
	}
	return p
}

// drawGroup is one to three transactions, of which the last may undo the first.
func drawGroup(r *rapid.T, name string) []ledger.Transaction {
	var group []ledger.Transaction
	for n := range rapid.IntRange(1, 3).Draw(r, "linked") {
		t := ledger.Transaction{ID: newID(), Purpose: ledger.Transfer, Reference: fmt.Sprint(name, "/", n), Time: start}
		for range rapid.IntRange(1, 3).Draw(r, "postings") {
			from := rapid.IntRange(0, 3).Draw(r, "from")
			to := (from + rapid.IntRange(1, 3).Draw(r, "to")) % 4
			t.Postings = append(t.Postings, ledger.Posting{
				Debit: fmt.Sprintf("wallet/w%06d", from), Credit: fmt.Sprintf("wallet/w%06d", to),
				Amount: rapid.Int64Range(1, 300).Draw(r, "amount"), Currency: cny,
			})
		}
		group = append(group, t)
	}
	if rapid.IntRange(0, 3).Draw(r, "undo") == 0 {
		if back, ok := group[0].Reverse(newID(), start); ok {
			group = append(group, back)
		}
	}
	return group
}

// Random programs run by several callers who lose patience and ask again, while processes crash: every group is posted
// whole or not at all, once, exactly as it was answered; no wallet falls below zero, and the money stays the same.
func TestRandomProgramsConserveMoneyThroughCrashes(t *testing.T) {
	fewerChecks(t, "4") // each program is a load by itself
	schema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		l := newLedger(t, db)
		wallets(t, l, 4, 500)
		run := 0
		rapid.Check(t, func(r *rapid.T) {
			run++
			p := drawProgram(r, run)
			posted := p.run(t, r, db)
			for id, want := range posted {
				var n int
				must(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM ledger_transactions WHERE reference = $1`, id).Scan(&n))
				if (n == 1) != want || n > 1 {
					r.Fatalf("transaction %s was answered posted=%v and is there %d times", id, want, n)
				}
			}
			var sum, lowest int64
			must(t, db.QueryRowContext(t.Context(), `SELECT CAST(SUM(posted_credits - posted_debits) AS BIGINT), MIN(posted_credits - posted_debits)
				FROM ledger_accounts WHERE kind = 'wallet'`).Scan(&sum, &lowest))
			if sum != 4*500 || lowest < 0 {
				r.Fatalf("the wallets hold %d, the poorest %d", sum, lowest)
			}
		})
		sound(t, l)
	})
}

// run runs all callers at once and says of each reference whether it was answered as posted.
func (p program) run(t *testing.T, r *rapid.T, db *sqldb.DB) map[string]bool {
	t.Helper()
	var mu sync.Mutex
	process := store.NewLedger(db, time.Now)
	current := func() *store.Ledger {
		mu.Lock()
		defer mu.Unlock()
		return process
	}
	posted := map[string]bool{}
	var all sync.WaitGroup
	for _, groups := range p.callers {
		all.Go(func() {
			for _, group := range groups {
				ok, err := untilAnswered(t.Context(), current, group, p.impatience)
				if err != nil {
					r.Errorf("unexpected: %v", err)
					return
				}
				mu.Lock()
				for _, x := range group {
					id := x.Reference
					posted[id] = posted[id] || ok
				}
				mu.Unlock()
			}
		})
	}
	for range p.crashes {
		time.Sleep(2 * time.Millisecond)
		mu.Lock()
		process = store.NewLedger(db, time.Now) // it remembers nothing of what the one before was doing
		mu.Unlock()
	}
	all.Wait()
	// What somebody gave up on and nobody asked for again may still be under way in a process that crashed.
	for _, groups := range p.callers {
		for _, group := range groups {
			if ok, err := untilAnswered(t.Context(), current, group, time.Second); err == nil && ok {
				for _, x := range group {
					posted[x.Reference] = true
				}
			}
		}
	}
	return posted
}

// untilAnswered asks again until there is an answer.
func untilAnswered(ctx context.Context, l func() *store.Ledger, group []ledger.Transaction, patience time.Duration) (bool, error) {
	for try := 1; ; try++ {
		call, cancel := context.WithTimeout(ctx, patience*time.Duration(try)+time.Millisecond)
		_, err := l().Post(call, group...)
		cancel()
		switch {
		case err == nil:
			return true, nil
		case fault.ReasonOf(err) == "INSUFFICIENT_FUNDS":
			return false, nil
		case ctx.Err() != nil || fault.ReasonOf(err) != "" && fault.KindOf(err) != fault.Aborted && fault.KindOf(err) != fault.Unavailable:
			return false, err
		}
	}
}

// fewerChecks has rapid make only so many checks in the test, unless somebody asked for a number with -rapid.checks.
func fewerChecks(t *testing.T, checks string) {
	t.Helper()
	usual := flag.Lookup("rapid.checks")
	if usual.Value.String() != usual.DefValue {
		return
	}
	must(t, flag.Set("rapid.checks", checks))
	t.Cleanup(func() { must(t, flag.Set("rapid.checks", usual.DefValue)) })
}
