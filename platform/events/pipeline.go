package events

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// depth is how many batches wait for their acknowledgements while the next one is read; all that may be in flight has to
	// stay below what the client allows, which is 4000.
	depth       = 4
	removeBatch = 2048
	// scanGap and removeGap are how long a look for events and the removal of those published wait for more to come along:
	// under load there is a commit every few milliseconds, and each would cost statements and a commit of its own.
	scanGap   = 3 * time.Millisecond
	removeGap = 20 * time.Millisecond
)

// session publishes what is pending and what comes, until ctx ends or something fails that stops the relay as a whole. It
// reads and sends while a second goroutine waits for acknowledgements and a third removes rows: as many at a time as have
// been acknowledged since it removed the last ones. healthy is called when something went well.
func (r *Relay) session(ctx context.Context, healthy func()) error {
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	batcher, err := newBatcher(r.cfg.JetStream.Conn())
	if err != nil {
		return err
	}
	defer batcher.close()
	flights, stored := make(chan []flight, depth), make(chan []int64, depth)
	var followers sync.WaitGroup
	followers.Go(func() { r.settle(work, batcher, flights, stored, stop) })
	followers.Go(func() { r.clear(work, stored, stop, healthy) })
	if err := r.scanAll(work, batcher, flights, healthy); err != nil {
		stop(err)
	}
	close(flights)
	followers.Wait()
	clear(r.open)
	r.removed = nil
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(work)
}

// scanAll looks for pending rows whenever it is woken, and now and then, until ctx ends.
func (r *Relay) scanAll(ctx context.Context, batcher *batcher, flights chan<- []flight, healthy func()) error {
	for ctx.Err() == nil {
		woken := r.cfg.Outbox.waker.next()
		if err := r.prune(ctx); err != nil {
			return err
		}
		// The stream is made before there is anything to publish, so that consumers find it and the first event is not late.
		if err := r.prepare(ctx); err != nil {
			return err
		}
		begun := time.Now()
		empty, err := r.scan(ctx, batcher, flights)
		if err != nil {
			return err
		}
		if empty {
			healthy()
		}
		sleep(ctx, r.cfg.Every, woken)
		sleep(ctx, scanGap-time.Since(begun), nil)
	}
	return nil
}

// scan sends everything that is pending now and not in flight already. Each scan begins with the oldest row: a transaction
// that took longer to commit than a later one leaves rows behind the place where the last scan ended.
func (r *Relay) scan(ctx context.Context, batcher *batcher, flights chan<- []flight) (empty bool, err error) {
	r.forgetRemoved()
	next := r.read(ctx, 0)
	for first := true; ; first = false {
		p := <-next
		if p.err != nil || len(p.rows) == 0 {
			return first && p.err == nil, p.err
		}
		full := len(p.rows) == r.cfg.Batch
		if full {
			next = r.read(ctx, p.rows[len(p.rows)-1].seq)
		}
		sent, err := r.sendAll(ctx, batcher, r.claim(p.rows))
		if len(sent) > 0 {
			flights <- sent
		}
		if !full {
			return false, err
		}
		if err != nil {
			<-next // no read goes on behind the session's back
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

func (r *Relay) forgetRemoved() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, seq := range r.removed {
		delete(r.open, seq)
		delete(r.parked, seq)
	}
	r.removed = r.removed[:0]
}

// settle waits for what becomes of the rows in flight and passes on those that were stored, until flights is closed.
func (r *Relay) settle(ctx context.Context, batcher *batcher, flights <-chan []flight, stored chan<- []int64, fail func(error)) {
	defer close(stored)
	for sent := range flights {
		var seqs []int64
		for _, f := range sent {
			n, err := r.landed(ctx, batcher, f)
			for _, e := range f.rows[:n] {
				seqs = append(seqs, e.seq)
			}
			if err != nil {
				fail(err)
			}
		}
		if len(seqs) > 0 {
			stored <- seqs
		}
	}
}

// landed waits for what becomes of a flight and says how many of its rows are stored, from the first on. Its error is an outage.
func (r *Relay) landed(ctx context.Context, batcher *batcher, f flight) (stored int, err error) {
	if f.batch == nil {
		if err := f.wait(ctx); err != nil {
			return 0, r.refused(ctx, f.rows[0], err)
		}
		return 1, nil
	}
	n, err := batcher.wait(ctx, f.batch, f.deadline, len(f.rows))
	if n == len(f.rows) || err != nil && !errors.Is(err, errNoBatch) {
		return n, err
	}
	r.sendAlone(ctx, f.rows[n:], err)
	return n, nil
}

// clear removes rows that were stored from the outbox, until stored is closed.
func (r *Relay) clear(ctx context.Context, stored <-chan []int64, fail func(error), healthy func()) {
	for seqs := range stored {
		enough := time.NewTimer(removeGap)
		for more := true; more && len(seqs) < removeBatch; {
			select {
			case next, ok := <-stored:
				seqs = append(seqs, next...)
				more = ok
			case <-enough.C:
				more = false
			case <-ctx.Done():
				more = false
			}
		}
		enough.Stop()
		if err := r.remove(ctx, seqs); err != nil {
			fail(err)
			continue
		}
		r.mu.Lock()
		r.removed = append(r.removed, seqs...)
		r.mu.Unlock()
		healthy()
	}
}
