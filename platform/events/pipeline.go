package events

import (
	"context"
	"time"
)

const (
	// depth is how many batches wait for their acknowledgements while the next one is read; all that may be in flight has to
	// stay below what the client allows, which is 4000.
	depth     = 4
	markBatch = 1024
)

// session publishes what is pending and what comes, until ctx ends or something fails that stops the relay as a whole. It
// reads and sends while a second goroutine waits for acknowledgements and marks rows: as many at a time as have been
// acknowledged since it marked the last ones. healthy is called when something went well.
func (r *Relay) session(ctx context.Context, healthy func()) error {
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	flights := make(chan []flight, depth)
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		r.settle(work, flights, stop, healthy)
	}()
	if err := r.scanAll(work, flights, healthy); err != nil {
		stop(err)
	}
	close(flights)
	<-settled
	clear(r.open)
	r.marked = nil
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(work)
}

// scanAll looks for pending rows whenever it is woken, and now and then, until ctx ends.
func (r *Relay) scanAll(ctx context.Context, flights chan<- []flight, healthy func()) error {
	for ctx.Err() == nil {
		woken := r.cfg.Outbox.waker.next()
		if err := r.prune(ctx); err != nil {
			return err
		}
		// The stream is made before there is anything to publish, so that consumers find it and the first event is not late.
		if err := r.prepare(ctx); err != nil {
			return err
		}
		empty, err := r.scan(ctx, flights)
		if err != nil {
			return err
		}
		if empty {
			healthy()
		}
		sleep(ctx, r.cfg.Every, woken)
	}
	return nil
}

// scan sends everything that is pending now and not in flight already. Each scan begins with the oldest row: a transaction
// that took longer to commit than a later one leaves rows behind the place where the last scan ended.
func (r *Relay) scan(ctx context.Context, flights chan<- []flight) (empty bool, err error) {
	r.forgetMarked()
	for after := int64(0); ; {
		rows, err := r.pending(ctx, after)
		if err != nil {
			return false, err
		}
		if len(rows) == 0 {
			return after == 0, nil
		}
		after = rows[len(rows)-1].seq
		full := len(rows) == r.cfg.Batch
		sent, err := r.sendAll(ctx, r.claim(rows))
		if len(sent) > 0 {
			flights <- sent
		}
		if err != nil || !full {
			return false, err
		}
	}
}

// claim keeps the rows that are to be sent now, which are in flight from here on: not those that are in flight already,
// and not those that are parked.
func (r *Relay) claim(rows []row) []row {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	ready := rows[:0]
	for _, e := range rows {
		if p, ok := r.parked[e.seq]; ok && now.Before(p.until) {
			continue
		}
		if _, ok := r.open[e.seq]; !ok {
			r.open[e.seq] = struct{}{}
			ready = append(ready, e)
		}
	}
	return ready
}

func (r *Relay) forgetMarked() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, seq := range r.marked {
		delete(r.open, seq)
		delete(r.parked, seq)
	}
	r.marked = r.marked[:0]
}

// settle waits for what becomes of the rows in flight and marks those that were stored, until flights is closed.
func (r *Relay) settle(ctx context.Context, flights <-chan []flight, fail func(error), healthy func()) {
	var stored []int64
	take := func(batch []flight) {
		for _, f := range batch {
			err := f.wait(ctx)
			if err == nil {
				stored = append(stored, f.row.seq)
			} else if err = r.refused(ctx, f.row, err); err != nil {
				fail(err)
			}
		}
	}
	for batch := range flights {
		stored = stored[:0]
		take(batch)
		for more := true; more && len(stored) < markBatch; {
			select {
			case next, ok := <-flights:
				take(next)
				more = ok
			default:
				more = false
			}
		}
		if err := r.mark(ctx, stored); err != nil {
			fail(err)
			continue
		}
		r.mu.Lock()
		r.marked = append(r.marked, stored...)
		r.mu.Unlock()
		if len(stored) > 0 {
			healthy()
		}
	}
}
