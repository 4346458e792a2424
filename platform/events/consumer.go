package events

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/armlet-pay/armlet/platform/sqldb"
)

const (
	pullWait        = time.Second // also the most that stopping waits for the server
	apiTimeout      = 10 * time.Second
	streamPoll      = 250 * time.Millisecond
	maxSessionPause = 5 * time.Second
	pruneInboxEvery = time.Hour
	shutdownGrace   = 5 * time.Second
	laneLength      = 8
)

// ConsumerConfig says which events are handled, and how.
type ConsumerConfig struct {
	// JetStream is the account the stream is in. Required.
	JetStream jetstream.JetStream
	// DB is the database of the effect; it must have the tables of [Schema]. Required.
	DB *sqldb.DB
	// Stream is what is consumed. It need not exist yet. Required.
	Stream string
	// Durable names the consumer on the stream and in the inbox; replicas of one service use the same. Required.
	Durable string
	// Filters are the subjects wanted, wildcards allowed. At least one.
	Filters []string
	// Log defaults to slog.Default.
	Log *slog.Logger
	// TracerProvider makes the span of each event, a child of the trace that caused it; default none.
	TracerProvider trace.TracerProvider
	// MaxDeliver is after how many deliveries an event whose failure nobody classified goes to the dead letters; default
	// 20. Failures that pass by themselves (kinds Unavailable, Aborted, DeadlineExceeded, ResourceExhausted and Canceled)
	// are tried again however long they last.
	MaxDeliver int
	// DeadLetterSubject defaults to dlq.v1.<Durable>; it must begin with dlq.v1.
	DeadLetterSubject string
	// Concurrency is how many events are handled at once, default 8. Events with the same Key never are.
	Concurrency int
	// Batch is how many events that are waiting at the same time may share a transaction, default 1. Each still takes effect
	// once: when one of them fails, all are handled again one by one. Events are then handled by one goroutine whatever
	// Concurrency is, because transactions of several events each could wait for each other crosswise.
	Batch int
	// AckWait is how long one event may take before another replica gets it; default 30 s.
	AckWait time.Duration
	// RetryMin and RetryMax bound the pause before a failed event comes again, which doubles each time; defaults 500 ms
	// and 1 minute.
	RetryMin, RetryMax time.Duration
	// Handle makes the effect in tx. It may run again for the same event when tx was not committed, so everything else it
	// wants to do belongs in tx.OnCommit. A [fault.Error] of kind Invalid, NotFound or FailedPrecondition means that
	// trying again is pointless: the event goes to the dead letters at once. Required.
	Handle func(ctx context.Context, tx *sqldb.Tx, ev Event) error
	// HandleAll makes the effects of a batch in place of Handle, with fewer statements: the events are new, and in their order.
	// When it fails, Handle gets them one by one. It takes locks that others take too in an order that all keep, or two
	// replicas' batches may wait for each other until the database ends one. Optional.
	HandleAll func(ctx context.Context, tx *sqldb.Tx, evs []Event) error
}

// Consumer handles each event of a stream exactly once.
type Consumer struct {
	cfg    ConsumerConfig
	tracer trace.Tracer
	gauge  *gauge
	now    func() time.Time
	pruned time.Time
}

// NewConsumer returns a consumer that does nothing until it runs.
func NewConsumer(cfg ConsumerConfig) *Consumer {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.Log = cfg.Log.With("consumer", cfg.Durable)
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = noop.NewTracerProvider()
	}
	if cfg.MaxDeliver <= 0 {
		cfg.MaxDeliver = 20
	}
	if cfg.DeadLetterSubject == "" {
		cfg.DeadLetterSubject = deadLetterPrefix + cfg.Durable
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = 8
	}
	if cfg.Batch > 1 {
		cfg.Concurrency = 1
	}
	if cfg.AckWait <= 0 {
		cfg.AckWait = 30 * time.Second
	}
	if cfg.RetryMin <= 0 {
		cfg.RetryMin = 500 * time.Millisecond
	}
	if cfg.RetryMax < cfg.RetryMin {
		cfg.RetryMax = max(time.Minute, cfg.RetryMin)
	}
	tracer := cfg.TracerProvider.Tracer("github.com/armlet-pay/armlet/platform/events")
	return &Consumer{cfg: cfg, tracer: tracer, now: time.Now}
}

// Run handles events until ctx ends and then returns nil, after giving the events in hand 5 seconds to finish and the rest
// back to the stream. It returns an error at once only when the configuration is wrong; it waits for the stream to exist
// and outlasts every outage of NATS and of the database.
func (c *Consumer) Run(ctx context.Context) error {
	if err := c.cfg.validate(); err != nil {
		return err
	}
	c.gauge = newGauge(c.cfg.DB, c.cfg.Durable)
	unwatch, err := c.gauge.watch(c.cfg.DB, c.cfg.JetStream.Conn())
	if err != nil {
		return err
	}
	defer unwatch()
	for pause := streamPoll; ctx.Err() == nil; pause = min(pause*2, maxSessionPause) {
		started := c.now()
		c.interrupted(ctx, c.session(ctx), pause)
		if c.now().Sub(started) > time.Minute {
			pause = streamPoll
		}
		sleep(ctx, pause, nil)
	}
	return nil
}

// interrupted logs why a session ended, unless that is no trouble: the consumer stops, or the stream's owner has yet to make it.
// A server that reads its configuration again answers nothing for a moment; only what a second try meets too is a warning.
func (c *Consumer) interrupted(ctx context.Context, err error, pause time.Duration) {
	if ctx.Err() != nil || errors.Is(err, jetstream.ErrStreamNotFound) {
		return
	}
	level := slog.LevelDebug
	if pause > streamPoll {
		level = slog.LevelWarn
	}
	c.cfg.Log.Log(ctx, level, "consuming events was interrupted", "stream", c.cfg.Stream, "error", err)
}

func (cfg ConsumerConfig) validate() error {
	switch {
	case cfg.JetStream == nil || cfg.DB == nil || cfg.Handle == nil:
		return errors.New("events: a consumer needs JetStream, DB and Handle")
	case cfg.Stream == "" || !isToken(cfg.Durable, isTokenByte):
		return errors.New("events: a consumer needs the name of a stream and a durable name that is one NATS token")
	case len(cfg.Filters) == 0:
		return fmt.Errorf("events: the consumer %s needs at least one filter", cfg.Durable)
	}
	return checkDeadLetterSubject(cfg.DeadLetterSubject)
}

// session consumes until something about the stream, the consumer or the connection breaks, or ctx ends.
func (c *Consumer) session(ctx context.Context) error {
	setup, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stream, err := c.cfg.JetStream.Stream(setup, c.cfg.Stream)
	if err != nil {
		return fmt.Errorf("find the stream: %w", err)
	}
	if err := c.prepareDeadLetters(setup); err != nil {
		c.cfg.Log.WarnContext(ctx, "dead letters could not be stored at present", "error", err)
	}
	consumer, err := stream.CreateOrUpdateConsumer(setup, jetstream.ConsumerConfig{
		Durable:        c.cfg.Durable,
		FilterSubjects: c.cfg.Filters,
		AckPolicy:      jetstream.AckExplicitPolicy,
		AckWait:        c.cfg.AckWait,
		MaxDeliver:     -1, // the server would drop the event silently; deliveries are counted here instead
	})
	if err != nil {
		return fmt.Errorf("make the consumer: %w", err)
	}
	c.gauge.current.Store(&consumer)
	return c.consume(ctx, consumer, stream.CachedInfo().Config.MaxAge)
}

// consume pulls batches and gives each message to the lane of its key: a lane handles one message after the other.
//
// It uses Fetch and not Messages or Consume, because those may forget to ask for more when a batch has arrived before their
// request returned, and then notice only by a missing heartbeat ten seconds later.
func (c *Consumer) consume(ctx context.Context, consumer jetstream.Consumer, maxAge time.Duration) error {
	lanes := make([]chan jetstream.Msg, c.cfg.Concurrency)
	var left leftovers
	var workers sync.WaitGroup
	for i := range lanes {
		lanes[i] = make(chan jetstream.Msg, max(laneLength, c.cfg.Batch))
		workers.Go(func() { c.work(ctx, lanes[i], &left) })
	}
	var err error
	for err == nil && ctx.Err() == nil {
		c.pruneInbox(ctx, maxAge)
		err = c.pull(ctx, consumer, lanes, &left)
	}
	for _, lane := range lanes {
		close(lane)
	}
	workers.Wait()
	// No pull is open any more, so another replica gets these, now and not after AckWait.
	for _, msg := range left.msgs {
		c.settle(ctx, "nak", msg.Nak())
	}
	return err
}

// work handles what comes on a lane until that is closed.
func (c *Consumer) work(ctx context.Context, lane <-chan jetstream.Msg, left *leftovers) {
	for msg := range lane {
		if ctx.Err() != nil {
			left.add(msg)
			continue
		}
		msgs := []jetstream.Msg{msg}
		for more := true; more && len(msgs) < c.cfg.Batch; {
			select {
			case next, ok := <-lane:
				if more = ok; ok {
					msgs = append(msgs, next)
				}
			default:
				more = false
			}
		}
		if len(msgs) > 1 && c.receiveAll(ctx, msgs) {
			continue
		}
		for _, m := range msgs {
			c.receive(ctx, m)
		}
	}
}

func (c *Consumer) pull(ctx context.Context, consumer jetstream.Consumer, lanes []chan jetstream.Msg, left *leftovers) error {
	batch, err := consumer.Fetch(2*max(len(lanes), c.cfg.Batch), jetstream.FetchMaxWait(pullWait))
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	for msg := range batch.Messages() {
		if ctx.Err() != nil {
			left.add(msg)
			continue
		}
		select {
		case lanes[laneOf(msg, len(lanes))] <- msg:
		case <-ctx.Done():
			left.add(msg)
		}
	}
	if err := batch.Error(); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	return nil
}

// leftovers are messages that were delivered but not begun when the consumer was stopped.
type leftovers struct {
	mu   sync.Mutex
	msgs []jetstream.Msg
}

func (l *leftovers) add(msg jetstream.Msg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.msgs = append(l.msgs, msg)
}

func laneOf(msg jetstream.Msg, lanes int) int {
	key := first(msg.Headers(), HeaderSubject)
	if key == "" {
		key = msg.Subject()
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return int(h.Sum32() % uint32(lanes))
}
