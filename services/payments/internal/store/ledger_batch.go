package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// batch is one attempt to commit the work of several items together.
type batch struct {
	engine *engine
	items  []*item
	// gated batches hold the turn and believe only what they read after they got it.
	gated bool

	sheet *sheet
	// known are the accounts and holds that were read for this batch.
	accounts ledger.Books
	holds    map[string]ledger.Hold
	head     ledger.Head
	height   int64

	// tried says that the database has seen it; InTx may not run it again, since its place in the order is gone.
	tried   bool
	decided bool
	epoch   int
	// writes are the unique keys it writes.
	writes []string
	// before is closed when the batch that was decided before is over, done when this one is.
	before, done chan struct{}
	// later are items that write the same unique keys as a batch under way, blockers those batches.
	later    []*item
	blockers []*batch
}

// run makes the attempt, after others have changed the books that many times in between. When it returns an error nothing was written, unless the error says that the database cannot be
// reached.
func (b *batch) run(ctx context.Context, stale int) error {
	m := &b.engine.memory
	if stale > 1 {
		m.crowded()
	}
	b.done = make(chan struct{})
	defer close(b.done)
	m.mu.Lock()
	b.gated = m.turns > 0 || stale > 1
	m.mu.Unlock()
	err := b.engine.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if b.tried {
			return errStale
		}
		b.tried = true
		return b.attempt(ctx, tx)
	})
	b.release(err)
	if errors.Is(err, errTaken) {
		return b.repeats(ctx, b.engine.db, b.items)
	}
	return err
}

// release takes the batch out of the memory: what it has decided is true now, or will never be.
func (b *batch) release(err error) {
	m := &b.engine.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.well(b.gated)
	}
	if !b.decided {
		return
	}
	b.decided = false
	for _, key := range b.writes {
		delete(m.writing, key)
	}
	switch {
	case err != nil:
		m.forget()
	case b.epoch == m.epoch && len(b.sheet.posted) > 0:
		m.head = b.head
	}
}

func (b *batch) attempt(ctx context.Context, tx *sqldb.Tx) error {
	b.sheet, b.later, b.blockers = newSheet(len(b.items)), nil, nil
	if b.gated && tx.ForUpdate() != "" {
		if _, err := tx.ExecContext(ctx, `SELECT id FROM ledger_turns WHERE id = 1 FOR UPDATE`); err != nil {
			return fmt.Errorf("wait for the turn: %w", err)
		}
	}
	if b.engine.cargo != nil {
		if err := b.engine.cargo.lock(ctx, tx, b.items); err != nil {
			return err
		}
	}
	if err := b.read(ctx, tx); err != nil {
		return err
	}
	if err := b.decide(); err != nil {
		return err
	}
	if err := b.repeatsOfRefused(ctx, tx); err != nil {
		return err
	}
	if err := b.insert(ctx, tx); err != nil {
		return err
	}
	if slices.ContainsFunc(b.items, func(i *item) bool { return i.over }) {
		return &tryAgain{}
	}
	if err := b.turn(ctx); err != nil {
		return err
	}
	var err error
	b.head, err = b.sheet.settle(ctx, tx, b.head)
	return err
}

// insert writes what is new, of the ledger and of the cargo, in one round trip.
func (b *batch) insert(ctx context.Context, tx *sqldb.Tx) error {
	all := b.sheet.rows(b.head.Chain, b.height)
	if b.engine.cargo != nil {
		more, err := b.engine.cargo.rows(ctx, tx, b.items)
		if err != nil {
			return err
		}
		all = append(all, more...)
	}
	counts, err := sqldb.ExecAll(ctx, tx, all...)
	switch name := sqldb.UniqueName(err); {
	case strings.HasPrefix(name, "ledger_transactions"):
		return errTaken
	case name != "":
		return errStale // another process wrote the key in between: the next attempt finds it
	case err != nil:
		return fmt.Errorf("write a batch: %w", err)
	}
	for i, n := range counts {
		if n != int64(all[i].Len()) {
			return errStale
		}
	}
	return nil
}

// read gets what the memory does not have. A gated batch believes nothing that it remembers.
func (b *batch) read(ctx context.Context, tx *sqldb.Tx) error {
	accounts, holds := map[string]bool{}, map[string]bool{}
	m := &b.engine.memory
	m.mu.Lock()
	for _, i := range b.items {
		for _, id := range i.accounts {
			if _, ok := m.accounts.get(id); b.gated || !ok {
				accounts[id] = true
			}
		}
		for _, id := range i.holds {
			if _, ok := m.holds.get(id); b.gated || !ok {
				holds[id] = true
			}
		}
	}
	chain := 0
	if b.gated || m.head.Chain == 0 {
		chain = 1 + rand.N(chains/2) //nolint:gosec // to keep processes apart; the other half is for transactions of their own
	}
	m.mu.Unlock()
	b.accounts, b.holds, b.head = nil, nil, ledger.Head{}
	var err error
	if len(accounts) > 0 {
		if b.accounts, err = readAccounts(ctx, tx, keys(accounts), ""); err != nil {
			return err
		}
	}
	if len(holds) > 0 {
		if b.holds, err = readHolds(ctx, tx, keys(holds), ""); err != nil {
			return err
		}
	}
	if chain != 0 {
		b.head, err = readHead(ctx, tx, chain, "")
	}
	return err
}

func keys(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for id := range set {
		out = append(out, id)
	}
	return out
}

// decide asks the items one after the other, each on what those before it have left.
func (b *batch) decide() error {
	m := &b.engine.memory
	if b.gated {
		private := &memory{writing: map[string]*batch{}, head: b.head, height: b.head.Height}
		b.decideOn(private)
		b.height = private.height
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.head.Chain == 0 {
		if b.head.Chain == 0 {
			return errStale // it was known and is forgotten since
		}
		m.head, m.height = b.head, b.head.Height
	}
	b.head = m.head
	b.decideOn(m)
	b.decided, b.epoch, b.height = true, m.epoch, m.height
	b.before, m.last = m.last, b.done
	return nil
}

func (b *batch) decideOn(m *memory) {
	books := ledger.Books{}
	for _, i := range b.items {
		clear(books)
		for _, id := range i.accounts {
			if a, ok := b.account(m, id); ok {
				books[id] = a
			}
		}
		i.posted, i.err = i.decided(books)
		var changes []holdChange
		if i.err == nil {
			changes, i.err = b.checkHolds(m, i.posted)
		}
		if i.err != nil {
			i.posted = nil
			b.depend(m, i)
			continue
		}
		if other := b.blocked(m, i); other != nil {
			b.later, b.blockers = append(b.later, i), append(b.blockers, other)
			i.posted = nil
			continue
		}
		b.keep(m, i, changes)
	}
	if len(b.sheet.posted) > 0 {
		m.height++
	}
}

// depend notes that a refusal is right only while the accounts are as they are.
func (b *batch) depend(m *memory, i *item) {
	for _, id := range i.accounts {
		if a, ok := b.account(m, id); ok {
			b.sheet.depend(a)
		}
	}
}

// keep makes what an item decided the state that the next one sees.
func (b *batch) keep(m *memory, i *item, changes []holdChange) {
	first := len(b.writes)
	for _, p := range i.posted {
		b.sheet.add(p)
		for _, a := range p.Accounts {
			m.accounts.set(a.ID, a)
		}
		b.writes = append(b.writes, keyOf(p.Transaction))
	}
	b.writes = append(b.writes, i.keys...)
	for _, key := range b.writes[first:] {
		m.writing[key] = b
	}
	for _, c := range changes {
		b.sheet.hold(c.before, c.after, c.fresh)
		m.holds.set(c.after.ID, c.after)
	}
	if len(i.posted) == 0 {
		b.depend(m, i) // it decided to post nothing on the accounts as they are
	}
	if i.kept != nil {
		i.kept()
	}
}

func (b *batch) account(m *memory, id string) (ledger.Account, bool) {
	if a, ok := m.accounts.get(id); ok {
		return a, true
	}
	a, ok := b.accounts[id]
	if ok {
		m.accounts.set(id, a)
	}
	return a, ok
}

// checkHolds is what transactions do to holds, or why they cannot.
func (b *batch) checkHolds(m *memory, posted []ledger.Posted) ([]holdChange, error) {
	var out []holdChange
	for _, p := range posted {
		if !touchesHolds(p.Transaction) {
			continue
		}
		view := map[string]ledger.Hold{}
		for _, l := range p.Transaction.Postings {
			h, ok := m.holds.get(l.Hold)
			if !ok {
				h, ok = b.holds[l.Hold]
			}
			if ok {
				view[l.Hold] = h
			}
		}
		for _, c := range out {
			view[c.after.ID] = c.after
		}
		changes, err := applyHolds(view, p.Transaction)
		if err != nil {
			return nil, err
		}
		out = append(out, changes...)
	}
	return out, nil
}

func touchesHolds(t ledger.Transaction) bool {
	return slices.ContainsFunc(t.Postings, func(p ledger.Posting) bool { return p.Step != ledger.Direct })
}

// keyOf is what a transaction is unique by.
func keyOf(t ledger.Transaction) string { return string(t.Purpose) + "\x00" + t.Reference }

// blocked is the batch under way that writes one of the item's unique keys. In the database the item would wait for it
// while it may be waiting for its turn after the item's own batch.
func (b *batch) blocked(m *memory, i *item) *batch {
	for _, p := range i.posted {
		if other := m.writing[keyOf(p.Transaction)]; other != nil {
			return other
		}
	}
	for _, key := range i.keys {
		if other := m.writing[key]; other != nil {
			return other
		}
	}
	return nil
}

// turn waits for the batch that was decided before, on whose balances this one builds.
func (b *batch) turn(ctx context.Context) error {
	if b.gated {
		return nil
	}
	if b.before != nil {
		patience := time.NewTimer(turnTimeout)
		defer patience.Stop()
		select {
		case <-b.before:
		case <-patience.C:
			return errStale
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m := &b.engine.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.epoch != m.epoch {
		return errStale
	}
	b.head = m.head
	return nil
}

// acknowledge gives the items of a committed batch their answers.
func (b *batch) acknowledge() {
	for _, i := range b.items {
		if !slices.Contains(b.later, i) {
			i.over = true
		}
	}
	b.engine.answer(b.items)
}
