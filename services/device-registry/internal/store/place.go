package store

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

const (
	// placeAtOnce is how many entries one transaction gives their places.
	placeAtOnce = 2000
	// placeGather is the least time from one transaction to the next, in which entries gather, so that many changes a second do not
	// each cost a transaction more. The first after a silence does not wait.
	placeGather = 6 * time.Millisecond
	// placeEvery is how often entries are looked for whose process ended before it gave them their places.
	placeEvery = time.Second
)

// KeepLog gives entries their places in the log as they are committed, until ctx ends. Every process on the database runs
// it; one at a time is at work.
func (s *Store) KeepLog(ctx context.Context) error {
	tick := time.NewTicker(placeEvery)
	defer tick.Stop()
	for {
		began := time.Now()
		if err := s.Place(ctx); err != nil {
			return err
		}
		select {
		case <-s.placed:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		select {
		case <-time.After(time.Until(began.Add(placeGather))):
		case <-ctx.Done():
			return nil
		}
	}
}

// Place gives every entry that was committed before the call its place in the log. Transactions do not commit in the order in
// which they write, so that a place given inside them could appear behind one that a watcher has passed already.
func (s *Store) Place(ctx context.Context) error {
	for {
		n := 0
		err := s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			head, err := logHead(ctx, tx, tx.ForUpdate())
			if err != nil {
				return err
			}
			entries, err := unplaced(ctx, tx, placeAtOnce)
			if n = len(entries); err != nil || n == 0 {
				return err
			}
			for i := range entries {
				e := &entries[i]
				e.Position = head.Sequence + 1
				e.LogHash = e.Next(head.Hash)
				head = device.Head{Sequence: e.Position, Hash: e.LogHash}
			}
			if err := writePlaces(ctx, tx, entries); err != nil {
				return err
			}
			tx.OnCommit(s.changed)
			_, err = tx.ExecContext(ctx, `UPDATE audit_head SET position = $1, hash = $2 WHERE id = 1`, head.Sequence, head.Hash[:])
			return err
		})
		if err != nil || n < placeAtOnce {
			return err
		}
	}
}

// unplaced are entries without a place, with what the log's hash is made of.
func unplaced(ctx context.Context, tx *sqldb.Tx, limit int) ([]device.Entry, error) {
	rows, err := tx.QueryContext(ctx, `SELECT subject, seq, hash FROM audit_entries WHERE position IS NULL ORDER BY subject, seq LIMIT $1`, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var entries []device.Entry
	for rows.Next() {
		var e device.Entry
		var subject string
		var hash []byte
		if err := rows.Scan(&subject, &e.Sequence, &hash); err != nil {
			return nil, err
		}
		copy(e.Hash[:], hash)
		if e.UID, e.Subject, err = parseSubject(subject); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

// Changes lists what the entries of the log are about whose positions are above after, at most limit of them. They have Subject, UID
// and Position only.
func (s *Store) Changes(ctx context.Context, after int64, limit int) ([]device.Entry, error) {
	rows, err := s.read(ctx).QueryContext(ctx, `SELECT position, subject FROM audit_entries WHERE position > $1 ORDER BY position LIMIT $2`,
		after, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var entries []device.Entry
	for rows.Next() {
		var e device.Entry
		var subject string
		if err := rows.Scan(&e.Position, &subject); err != nil {
			return nil, err
		}
		if e.UID, e.Subject, err = parseSubject(subject); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

// changed wakes whoever waits for the log to grow.
func (s *Store) changed() {
	s.grownMu.Lock()
	defer s.grownMu.Unlock()
	close(s.grown)
	s.grown = make(chan struct{})
}

// Grown is closed when this process next gives an entry its place. Get it before reading the log.
func (s *Store) Grown() <-chan struct{} {
	s.grownMu.Lock()
	defer s.grownMu.Unlock()
	return s.grown
}
