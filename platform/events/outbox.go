package events

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
)

// Outbox is the table outbox of one database. All outboxes of a database wake the same relays.
type Outbox struct {
	db    *sqldb.DB
	waker *waker
}

// NewOutbox returns the outbox of db, whose schema must have the tables of [Schema].
func NewOutbox(db *sqldb.DB) *Outbox {
	return &Outbox{db: db, waker: wakerOf(db)}
}

var insertEvents = sqldb.NewBulk("id text, subject text, type text, headers text, data bytea, created_at bigint",
	`INSERT INTO outbox ({columns}) SELECT {columns} FROM {rows} AS r`, 0)

// Append adds events to the outbox in tx, in this order: they are published if and only if tx commits. The relays of this
// process start at once after the commit; those of others find the events when they poll.
func Append(ctx context.Context, tx *sqldb.Tx, evs ...Event) error {
	rows, err := Rows(tx, evs...)
	if err != nil {
		return err
	}
	if _, err := rows.Exec(ctx, tx); err != nil {
		return fmt.Errorf("events: append to the outbox: %w", err)
	}
	return nil
}

// Rows is what [Append] writes, for those who write it together with rows of their own. They have to.
func Rows(tx *sqldb.Tx, evs ...Event) (*sqldb.BulkRows, error) {
	rows := insertEvents.Rows(len(evs))
	for _, ev := range evs {
		if err := ev.check(); err != nil {
			return nil, err
		}
		data := ev.Data
		if data == nil {
			data = []byte{} // nil would be NULL
		}
		rows.Add(ev.ID, ev.Subject, ev.Type, string(ev.headersJSON()), data, ev.Time.UnixMicro())
	}
	if len(evs) > 0 {
		tx.OnCommit(func() {
			wakerOf(tx.DB()).wake()
			metersOf(tx.DB()).count(evs)
		})
	}
	return rows, nil
}

// Append is the function [Append].
func (o *Outbox) Append(ctx context.Context, tx *sqldb.Tx, evs ...Event) error {
	return Append(ctx, tx, evs...)
}

// Pending counts the events that are not published yet and tells since when the oldest has been waiting; the time is zero
// when none is.
func (o *Outbox) Pending(ctx context.Context) (n int, oldest time.Time, err error) {
	var created int64
	err = o.db.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(MIN(created_at), 0) FROM outbox WHERE published_at IS NULL`).
		Scan(&n, &created)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("events: count the outbox: %w", err)
	}
	if n > 0 {
		oldest = time.UnixMicro(created).UTC()
	}
	return n, oldest, nil
}

// waker tells any number of relays that there is something to publish.
type waker struct {
	mu     sync.Mutex
	signal chan struct{}
}

type wakerKey struct{}

func wakerOf(db *sqldb.DB) *waker {
	w, _ := db.Attach(wakerKey{}, func() any { return &waker{signal: make(chan struct{})} }).(*waker) // the key is ours alone
	return w
}

func (w *waker) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.signal)
	w.signal = make(chan struct{})
}

// next is closed at the first wake after the call. Take it before looking for work, so that no wake is lost.
func (w *waker) next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.signal
}
