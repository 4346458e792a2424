package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

const (
	// maxBatch is how many callers share a commit at most.
	maxBatch = 512
	// linger is how long a batch waits for company while another one is on its way to the disk. An idle engine does not wait.
	linger = 300 * time.Microsecond
	// regroup is how long a single lane waits for as many as it has just answered: most of them come again, and a batch of the
	// few that are first would keep all others waiting for another commit. After a few it does not wait.
	regroup = time.Millisecond
	few     = 8
	// postgresLanes is how many batches are under way at once: one is decided and sent while another is being committed.
	// SQLite has one writer.
	postgresLanes = 3
	// batchTimeout bounds a batch, turnTimeout the wait for the batch before it. Nothing but a broken database needs them.
	batchTimeout = 30 * time.Second
	turnTimeout  = 5 * time.Second
	// maxTries is how often work is decided anew when others changed the books in between.
	maxTries = 40
)

// engine commits the ledger's work in groups.
//
// Callers queue. A lane takes all who wait, decides on them one after the other in memory, writes all rows with a few
// statements and commits once; then each caller gets its own answer. Balances are remembered from batch to batch, so that
// the next batch is decided and its rows are sent while the one before is still being committed; only the update of the
// balances waits for its turn. What was decided on is compared by version in that update: when another process was there
// in between, the batch is rolled back and decided again. Processes that meet like this again and again take turns for a
// while (see ledger_turns).
//
// Rows are always locked in one order, which leaves no circle to wait in: the turn, rows of the cargo by id, new
// transactions and cargo by their keys, holds by id, and under the lock of closing accounts and the chain.
type engine struct {
	db    *sqldb.DB
	cargo cargo
	lanes int

	mu     sync.Mutex
	queue  []*item
	active int
	// pending are the items without an answer, by the unique keys of their transactions. A repetition waits for the item
	// whose caller has gone: it must not be refused while that one may still be posted.
	pending map[string]*item

	memory memory
}

// cargo is what rides along with postings in the same transaction.
type cargo interface {
	// lock reads and locks what the decisions of the items need, in an order that is the same in all processes.
	lock(ctx context.Context, tx *sqldb.Tx, items []*item) error
	// rows is what the items decided. All of it is written, or the batch is decided again. An item whose rows cannot be
	// written because of what it wants itself gets its error with fail, and then the batch starts again without it.
	rows(ctx context.Context, tx *sqldb.Tx, items []*item) ([]*sqldb.BulkRows, error)
}

// item is the work of one caller.
type item struct {
	// ctx is the caller's; it bounds the wait and not the batch.
	ctx context.Context
	// accounts and holds are what the decision looks at.
	accounts, holds []string
	// decide says what is to be posted, given the accounts as they stand. It may run several times and has no effect outside
	// the item.
	decide func(ledger.Books) ([]ledger.Posted, error)
	// wanted are the transactions of an item that may be repeated, nil for others.
	wanted []ledger.Transaction
	// keys are what the cargo writes under unique indexes; decide sets them.
	keys []string
	// load is the cargo's own; kept, if any, is called when what was decided becomes what the next item sees.
	load any
	kept func()

	posted []ledger.Posted
	err    error
	over   bool
	done   chan struct{}
}

// fail gives the item its error, whatever becomes of the batch.
func (i *item) fail(err error) { i.err, i.over = err, true }

func newEngine(db *sqldb.DB, c cargo) *engine {
	e := &engine{db: db, cargo: c, lanes: 1, pending: map[string]*item{}}
	if db.Dialect() == sqldb.Postgres {
		e.lanes = postgresLanes
	}
	e.memory.forget()
	return e
}

// post commits transactions, all of them or none. They are found good on the accounts as they are at the moment of the
// commit, and are on disk when it returns. Repeating it with the same purposes, references and postings gives the first
// answer (without the accounts) and posts nothing.
//
// Errors are those of [ledger.Books.Post], HOLD_NOT_FOUND, HOLD_STATE, REFERENCE_REUSED, TRANSACTION_POSTED for an id that
// is taken, and those of the database, after which a repetition tells what happened.
func (e *engine) post(ctx context.Context, transactions ...ledger.Transaction) ([]ledger.Posted, error) {
	if len(transactions) == 0 {
		return nil, fault.New(fault.Invalid, "POSTING_INVALID", "there is nothing to post")
	}
	return e.submit(newItem(ctx, transactions))
}

// newItem is the work of posting transactions.
func newItem(ctx context.Context, transactions []ledger.Transaction) *item {
	i := &item{ctx: ctx, wanted: transactions, done: make(chan struct{})}
	for _, t := range transactions {
		for _, p := range t.Postings {
			i.accounts = append(i.accounts, p.Debit, p.Credit)
		}
		i.holds = append(i.holds, holdsOf(t)...)
	}
	i.decide = i.postWanted
	return i
}

// postWanted posts one transaction after the other, each on what the one before has left.
func (i *item) postWanted(books ledger.Books) ([]ledger.Posted, error) {
	out := make([]ledger.Posted, len(i.wanted))
	for n, t := range i.wanted {
		var err error
		if out[n], err = books.Post(t); err != nil {
			return nil, i.about(t, err)
		}
		if n < len(i.wanted)-1 {
			for _, a := range out[n].Accounts {
				books[a.ID] = a
			}
		}
	}
	return out, nil
}

// about names the one of several transactions that was refused.
func (i *item) about(t ledger.Transaction, err error) error {
	if f, ok := fault.As(err); ok && len(i.wanted) > 1 {
		return f.WithMeta(payment.MetaTransaction, t.ID)
	}
	return err
}

// submit queues an item and waits for its answer.
func (e *engine) submit(i *item) ([]ledger.Posted, error) {
	if err := i.ctx.Err(); err != nil {
		return nil, err
	}
	if err := e.register(i); err != nil {
		return nil, err
	}
	e.queue = append(e.queue, i)
	e.start()
	e.mu.Unlock()
	select {
	case <-i.done:
		return i.posted, i.err
	case <-i.ctx.Done():
		return nil, i.ctx.Err()
	}
}

// start has a lane take what is queued, unless all lanes are at work. The engine is locked.
func (e *engine) start() {
	if e.active < e.lanes && len(e.queue) > 0 {
		e.active++
		go e.lane()
	}
}

// register notes what the item wants to post, after those who want the same have their answers. It returns with the engine
// locked, unless the item's context has ended.
func (e *engine) register(i *item) error {
	e.mu.Lock()
	for {
		var other *item
		for _, t := range i.wanted {
			if other = e.pending[keyOf(t)]; other != nil {
				break
			}
		}
		if other == nil {
			break
		}
		e.mu.Unlock()
		select {
		case <-other.done:
		case <-i.ctx.Done():
			return i.ctx.Err()
		}
		e.mu.Lock()
	}
	for _, t := range i.wanted {
		e.pending[keyOf(t)] = i
	}
	return nil
}

// lane commits batches until nobody waits.
func (e *engine) lane() {
	for answered := 0; ; {
		items := e.take(answered)
		if items == nil {
			return
		}
		answered = len(items)
		e.run(items)
	}
}

// take is the next batch of a lane that has answered some callers before, nil when there is none and the lane has ended.
func (e *engine) take(answered int) []*item {
	e.mu.Lock()
	defer e.mu.Unlock()
	pause := func(d time.Duration) {
		e.mu.Unlock()
		time.Sleep(d)
		e.mu.Lock()
	}
	switch n := len(e.queue); {
	case e.lanes == 1 && answered > few:
		for range 8 {
			if len(e.queue) < min(answered, maxBatch) {
				pause(regroup / 8)
			}
		}
	case e.active > 1 && n > 0 && n < maxBatch:
		pause(linger)
	}
	n := min(len(e.queue), maxBatch)
	if n == 0 {
		e.active--
		return nil
	}
	items := e.queue[:n:n]
	if e.queue = e.queue[n:]; len(e.queue) == 0 {
		e.queue = nil
	}
	return items
}

// run answers every item.
func (e *engine) run(items []*item) {
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	for i := range items {
		if err := items[i].ctx.Err(); err != nil {
			items[i].fail(err) // nobody waits for it any more
		}
	}
	for stale := 0; ; {
		if items = e.answer(items); len(items) == 0 {
			return
		}
		b := &batch{engine: e, items: items}
		err := b.run(ctx, stale)
		var again *tryAgain
		switch {
		case err == nil:
			b.acknowledge()
			for _, blocker := range b.blockers {
				<-blocker.done
			}
			items = b.later
		case errors.As(err, &again):
		case errors.Is(err, errStale) && stale < maxTries:
			stale++
			time.Sleep(rand.N(time.Duration(stale) * time.Millisecond)) //nolint:gosec // jitter needs no secrecy
		case errors.Is(err, errStale):
			failAll(items, fault.New(fault.Aborted, sqldb.ReasonContention, "too many changes at once: try again"))
		case len(items) > 1 && !unreachable(err):
			e.single(items)
		default:
			failAll(items, err)
		}
	}
}

// single runs the items one by one after a batch failed for a reason that cannot be laid on one of them.
func (e *engine) single(items []*item) {
	for _, i := range items {
		e.run([]*item{i})
	}
}

// answer tells those that are over and returns the others.
func (e *engine) answer(items []*item) []*item {
	var left []*item
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, i := range items {
		if !i.over {
			left = append(left, i)
			continue
		}
		select {
		case <-i.done:
		default:
			for _, t := range i.wanted {
				delete(e.pending, keyOf(t))
			}
			close(i.done)
		}
	}
	return left
}

func failAll(items []*item, err error) {
	for _, i := range items {
		if !i.over {
			i.fail(err)
		}
	}
}

func unreachable(err error) bool {
	return sqldb.IsUnavailable(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// tryAgain ends a batch that goes on without some of its items, which have their answers.
type tryAgain struct{}

func (*tryAgain) Error() string { return "the batch is smaller now" }

// decided runs an item's decision. Whatever panics in it is that item's own failure.
func (i *item) decided(books ledger.Books) (posted []ledger.Posted, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a decision panicked: %v", r)
		}
	}()
	i.keys = i.keys[:0]
	return i.decide(books)
}
