package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

const linearWallets = 3

// step is one call to the ledger, and saw what it answered.
type step struct {
	// what is "move", "hold", "capture", "void" or "read".
	what     string
	from, to int
	amount   int64
	// hold numbers the holds of the history.
	hold int
}

type saw struct {
	refused       bool
	balance, held int64
}

// linearState is the books as a sequential ledger would have them. It is a value, so that porcupine can compare it.
type linearState struct {
	balance, held [linearWallets]int64
	// ended has a bit for each hold that was captured or freed.
	holds, ended uint64
}

// linearModel is the ledger that takes one call after the other.
var linearModel = porcupine.Model{
	Init: func() any {
		var s linearState
		for i := range s.balance {
			s.balance[i] = 100
		}
		return s
	},
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(linearState), input.(step), output.(saw)
		next, ok := s.apply(in)
		if in.what == "read" {
			return out.balance == s.balance[in.from] && out.held == s.held[in.from], s
		}
		if !ok {
			next = s
		}
		return ok != out.refused, next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
}

func (s linearState) apply(in step) (linearState, bool) {
	bit := uint64(1) << in.hold
	switch in.what {
	case "move", "hold":
		if s.balance[in.from]-s.held[in.from] < in.amount {
			return s, false
		}
		if in.what == "hold" {
			s.held[in.from] += in.amount
			s.holds |= bit
			return s, true
		}
		s.balance[in.from] -= in.amount
		s.balance[in.to] += in.amount
	case "capture", "void":
		if s.holds&bit == 0 || s.ended&bit != 0 {
			return s, false
		}
		s.ended |= bit
		s.held[in.from] -= in.amount
		if in.what == "capture" {
			s.balance[in.from] -= in.amount
			s.balance[in.to] += in.amount
		}
	}
	return s, true
}

// Whatever happens at once, in one process and in two, could have happened one after the other, in an order in which every
// call took effect between its beginning and its answer.
func TestTheLedgerIsLinearizable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dialect   sqldb.Dialect
		processes int
	}{{sqldb.SQLite, 1}, {sqldb.Postgres, 1}, {sqldb.Postgres, 2}} {
		t.Run(fmt.Sprint(c.dialect, c.processes), func(t *testing.T) {
			t.Parallel()
			for range 3 {
				history := record(t, c.dialect, c.processes)
				if got := porcupine.CheckOperationsTimeout(linearModel, history, 20*time.Second); got != porcupine.Ok {
					t.Fatalf("a history of %d calls: %s", len(history), got)
				}
				// The check itself: with one answer turned round the history is impossible.
				if !slices.ContainsFunc(history, func(o porcupine.Operation) bool { return o.Output.(saw).refused }) {
					t.Error("nothing was refused: the history tells little")
				}
				if got := porcupine.CheckOperationsTimeout(linearModel, spoil(history), 20*time.Second); got != porcupine.Illegal {
					t.Fatalf("a history with a wrong balance: %s", got)
				}
			}
		})
	}
}

// spoil makes the last read see a cent that is not there.
func spoil(history []porcupine.Operation) []porcupine.Operation {
	history = slices.Clone(history)
	for i := range slices.Backward(history) {
		if history[i].Input.(step).what == "read" {
			out := history[i].Output.(saw)
			out.balance += 1000
			history[i].Output = out
			return history
		}
	}
	return nil
}

// record has six clients make random calls at once, spread over the processes, and returns what they saw.
func record(t *testing.T, dialect sqldb.Dialect, processes int) []porcupine.Operation {
	t.Helper()
	const clients, calls = 6, 25
	url := testkit.DBURL(t, dialect)
	ledgers := []*store.Ledger{newLedger(t, testkit.OpenDB(t, url))}
	wallets(t, ledgers[0], linearWallets, 100)
	for len(ledgers) < processes {
		ledgers = append(ledgers, store.NewLedger(testkit.OpenDB(t, url), time.Now))
	}
	holds := &holdBook{}
	histories := make([][]porcupine.Operation, clients)
	begin := time.Now()
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for range calls {
				in := holds.draw()
				op := porcupine.Operation{ClientId: c, Input: in, Call: time.Since(begin).Nanoseconds()}
				out, err := perform(t.Context(), ledgers[c%processes], holds, in)
				if err != nil {
					t.Error(err)
					return
				}
				op.Output, op.Return = out, time.Since(begin).Nanoseconds()
				histories[c] = append(histories[c], op)
			}
		})
	}
	all.Wait()
	for _, l := range ledgers {
		sound(t, l)
	}
	return slices.Concat(histories...)
}

// holdBook knows the holds of a history, so that one client may end what another has made.
type holdBook struct {
	mu   sync.Mutex
	made []step
	ids  []string
}

func (h *holdBook) draw() step {
	h.mu.Lock()
	defer h.mu.Unlock()
	from := rand.N(linearWallets)
	in := step{what: []string{"move", "move", "hold", "capture", "void", "read", "read"}[rand.N(7)], from: from,
		to: (from + 1 + rand.N(linearWallets-1)) % linearWallets, amount: 1 + rand.N(int64(90))}
	switch {
	case in.what == "hold" && len(h.made) < 60:
		in.hold = len(h.made)
		h.made, h.ids = append(h.made, in), append(h.ids, newID())
	case in.what == "hold":
		in.what = "move"
	case (in.what == "capture" || in.what == "void") && len(h.made) > 0:
		what, hold := in.what, max(0, len(h.made)-1-rand.N(4))
		in = h.made[hold]
		in.what = what
	case in.what == "capture" || in.what == "void":
		in.what = "read"
	}
	return in
}

func perform(ctx context.Context, l *store.Ledger, holds *holdBook, in step) (saw, error) {
	name := func(i int) string { return fmt.Sprintf("wallet/w%06d", i) }
	if in.what == "read" {
		a, err := l.LedgerAccount(ctx, name(in.from))
		return saw{balance: a.Balance(), held: a.PendingDebits}, err
	}
	t := transfer(name(in.from), name(in.to), in.amount)
	if in.what != "move" {
		holds.mu.Lock()
		t.Postings[0].Hold = holds.ids[in.hold]
		holds.mu.Unlock()
		t.Postings[0].Step = map[string]ledger.Step{"hold": ledger.Pending, "capture": ledger.CaptureHold, "void": ledger.VoidHold}[in.what]
	}
	_, err := l.Post(ctx, t)
	switch fault.ReasonOf(err) {
	case "INSUFFICIENT_FUNDS", "HOLD_STATE", "HOLD_NOT_FOUND":
		return saw{refused: true}, nil
	}
	return saw{}, err
}
