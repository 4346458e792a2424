package events

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/metric"

	"github.com/armlet-pay/armlet/platform/sqldb"
)

const (
	ackWait        = 5 * time.Second
	removeTimeout  = 5 * time.Second
	maxRelayWait   = 5 * time.Second
	pruneEvery     = 10 * time.Minute
	pruneBatch     = 1000
	dedupeWindow   = 5 * time.Minute
	connectTimeout = 10 * time.Second
)

// RelayConfig says what a [Relay] publishes and where.
type RelayConfig struct {
	// Outbox is what is published. Required.
	Outbox *Outbox
	// JetStream publishes what Route does not send elsewhere. Required. After an acknowledgement was missed the relay
	// aborts every publish in flight on it, so other asynchronous publishers should have one of their own.
	JetStream jetstream.JetStream
	// Stream is created or brought up to date on JetStream before the first publish, and JetStream is held to storing the
	// events in it. With an empty Name no stream is made and any may take them. Duplicates defaults to 5 minutes.
	Stream jetstream.StreamConfig
	// Route picks another JetStream, such as that of another account, for a subject; nil or a nil result means JetStream.
	Route func(subject string) jetstream.JetStream
	// Log defaults to slog.Default.
	Log *slog.Logger
	// Batch is how many events are read at once, and sent under one acknowledgement where the server knows how (2.14 or newer);
	// default 500. A few batches are in flight at a time.
	Batch int
	// Every is how often the outbox is looked at without a wake-up; default 500 ms.
	Every time.Duration
}

// Relay publishes an outbox. Any number of them may run on one database: they publish the same events with the same ids,
// and the stream keeps one of each.
type Relay struct {
	cfg    RelayConfig
	db     *sqldb.DB
	pruned time.Time

	mu       sync.Mutex
	prepared bool
	batches  bool // the stream takes batches
	parked   map[int64]parking
	// open are the rows that were sent and not yet found removed; removed are those of them that are removed by now. A row
	// leaves open before a read that can no longer see it, so none is sent twice for being read while it was removed.
	open    map[int64]struct{}
	removed []int64
}

// parking is when a row that JetStream refused for itself (no stream takes its subject, say) is tried again. The rows behind
// it go on meanwhile.
type parking struct {
	until time.Time
	delay time.Duration
}

type row struct {
	seq     int64
	id      string
	subject string
	headers string
	data    []byte
}

// NewRelay returns a relay that does nothing until it runs.
func NewRelay(cfg RelayConfig) *Relay {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Batch <= 0 {
		cfg.Batch = 500
	}
	if cfg.Every <= 0 {
		cfg.Every = 500 * time.Millisecond
	}
	if cfg.Stream.Duplicates == 0 {
		cfg.Stream.Duplicates = dedupeWindow
		if age := cfg.Stream.MaxAge; age > 0 {
			cfg.Stream.Duplicates = min(age, dedupeWindow) // the server refuses a longer one
		}
	}
	cfg.Stream.AllowBatchPublish = cfg.Stream.Name != ""
	return &Relay{cfg: cfg, db: cfg.Outbox.db, parked: map[int64]parking{}, open: map[int64]struct{}{}}
}

// Run publishes until ctx ends and then returns nil. Whatever fails, the database or NATS, is logged once per outage and
// tried again with growing pauses of at most 5 seconds.
func (r *Relay) Run(ctx context.Context) error {
	unwatch, err := r.watch()
	if err != nil {
		return err
	}
	defer unwatch()
	var failures atomic.Int32
	healthy := func() {
		if n := failures.Swap(0); n > troubleAfter {
			r.cfg.Log.InfoContext(ctx, "events are published again", "attempts", n)
		}
	}
	for ctx.Err() == nil {
		if err := r.session(ctx, healthy); err != nil {
			n := failures.Load()
			r.interrupted(ctx, err, int(n))
			// No wake-up: what was just committed cannot be published either.
			sleep(ctx, min(100*time.Millisecond<<min(n, 10), maxRelayWait), nil)
			failures.Add(1)
		}
	}
	return nil
}

// troubleAfter is how many failures in a row are no trouble yet: a server that reads its configuration again answers nothing
// for a moment.
const troubleAfter = 2

func (r *Relay) interrupted(ctx context.Context, err error, failures int) {
	if failures == troubleAfter && ctx.Err() == nil {
		r.cfg.Log.WarnContext(ctx, "events are kept in the outbox until they can be published", "error", err)
	}
}

func sleep(ctx context.Context, d time.Duration, woken <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-woken:
	case <-timer.C:
	}
}

// page is what one read of the outbox found.
type page struct {
	rows []row
	err  error
}

// read reads the next rows while others are sent.
func (r *Relay) read(ctx context.Context, after int64) <-chan page {
	out := make(chan page, 1)
	go func() {
		rows, err := r.pending(ctx, after)
		out <- page{rows, err}
	}()
	return out
}

// pending has a plus before the column so that the rows are read in the order in which they are stored, and not by way of the
// index of this column.
func (r *Relay) pending(ctx context.Context, after int64) ([]row, error) {
	rows, err := r.db.QueryContext(ctx, `SELECT seq, id, subject, headers, data FROM outbox
		WHERE +published_at IS NULL AND seq > $1 ORDER BY seq LIMIT $2`, after, r.cfg.Batch)
	if err != nil {
		return nil, fmt.Errorf("read the outbox: %w", err)
	}
	defer func() { _ = rows.Close() }()
	out := make([]row, 0, r.cfg.Batch)
	for rows.Next() {
		var e row
		if err := rows.Scan(&e.seq, &e.id, &e.subject, &e.headers, &e.data); err != nil {
			return nil, fmt.Errorf("read the outbox: %w", err)
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

// prepare makes the stream, once and again after JetStream said that nobody takes the events.
func (r *Relay) prepare(ctx context.Context) error {
	if conn := r.cfg.JetStream.Conn(); !conn.IsConnected() {
		return fmt.Errorf("NATS: %w", nats.ErrDisconnected)
	}
	r.mu.Lock()
	prepared := r.prepared
	r.mu.Unlock()
	if prepared || r.cfg.Stream.Name == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	stream, err := r.cfg.JetStream.CreateOrUpdateStream(ctx, r.cfg.Stream)
	if err != nil {
		return fmt.Errorf("make the stream %s: %w", r.cfg.Stream.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prepared, r.batches = true, stream.CachedInfo().Config.AllowBatchPublish // older servers leave it out
	return nil
}

// remove deletes the rows of events that are stored in the stream. Marking them instead would write each anew, with all
// its indexes, and cost as much as appending it did. Rows that follow one another are deleted by one statement.
func (r *Relay) remove(ctx context.Context, stored []int64) error {
	if len(stored) == 0 {
		return nil
	}
	metersOf(r.db).sent.Add(ctx, int64(len(stored)), metric.WithAttributes(natsSystem))
	// What is stored should be removed even while the service is stopping; else it would be published again later.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	slices.Sort(stored)
	err := r.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		for first := 0; first < len(stored); {
			last := first
			for last+1 < len(stored) && stored[last+1] <= stored[last]+1 {
				last++
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM outbox WHERE seq BETWEEN $1 AND $2`, stored[first], stored[last]); err != nil {
				return err
			}
			first = last + 1
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove published events: %w", err)
	}
	return nil
}

// prune removes the rows that an earlier version of this package marked as published and kept for a day.
func (r *Relay) prune(ctx context.Context) error {
	if time.Since(r.pruned) < pruneEvery {
		return nil
	}
	for {
		var n int64
		err := r.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			res, err := tx.ExecContext(ctx, `DELETE FROM outbox WHERE seq IN (
				SELECT seq FROM outbox WHERE published_at IS NOT NULL LIMIT $1)`, pruneBatch)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil {
			return fmt.Errorf("prune the outbox: %w", err)
		}
		if n < pruneBatch {
			r.pruned = time.Now()
			return nil
		}
	}
}
