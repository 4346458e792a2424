package store

import (
	"context"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// PostEach commits transactions, each for itself: one that is refused keeps no other from being posted. It is [Ledger.Post] for
// many at once, without a caller for each; the answers are in the order of the transactions.
func (l *Ledger) PostEach(ctx context.Context, transactions []ledger.Transaction) ([]ledger.Posted, []error) {
	return l.engine.postEach(ctx, transactions)
}

// Transaction reads what was posted by its id. It returns TRANSACTION_NOT_FOUND.
func (l *Ledger) Transaction(ctx context.Context, id string) (ledger.Transaction, error) {
	var purpose ledger.Purpose
	var reference string
	err := l.db.QueryRowContext(ctx, `SELECT purpose, reference FROM ledger_transactions WHERE id = $1`, id).Scan(&purpose, &reference)
	if err != nil {
		return ledger.Transaction{}, orNotFound(err, fault.New(fault.NotFound, "TRANSACTION_NOT_FOUND", "there is no such ledger transaction"))
	}
	t, _, err := l.Posted(ctx, purpose, reference)
	return t, err
}

func (e *engine) postEach(ctx context.Context, transactions []ledger.Transaction) ([]ledger.Posted, []error) {
	items := make([]*item, len(transactions))
	for n := range transactions {
		items[n] = newItem(ctx, transactions[n:n+1])
	}
	posted, errs := make([]ledger.Posted, len(items)), make([]error, len(items))
	err := e.enqueue(ctx, items)
	for n, i := range items {
		if err == nil {
			select {
			case <-i.done:
				if errs[n] = i.err; i.err == nil {
					posted[n] = i.posted[0]
				}
				continue
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		errs[n] = err
	}
	return posted, errs
}

// enqueue has all items wait together, so that one batch takes them. An item that wants the same as one under way waits for
// that one first. After an error some items are queued; nobody waits for them.
func (e *engine) enqueue(ctx context.Context, items []*item) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	for _, i := range items {
		if key := keyOf(i.wanted[0]); e.pending[key] == nil {
			e.pending[key] = i
		} else {
			e.start()
			e.mu.Unlock()
			if err := e.register(i); err != nil {
				return err
			}
		}
		e.queue = append(e.queue, i)
	}
	e.start()
	e.mu.Unlock()
	return nil
}
