package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
)

const (
	// stepReads is how many reads of steps run at a time; inboxes that are asked for meanwhile share the next one.
	stepReads        = 2
	inboxesInRead    = 200
	readStepsTimeout = 10 * time.Second
)

// stepReader reads steps for many streams at once: an alert of a topic wakes thousands of them together, and a read of its own
// for each would cost more than all the rest.
type stepReader struct {
	mu      sync.Mutex
	waiting []*question
	reads   int
}

// question is what one stream wants to know.
type question struct {
	account string
	after   int64
	limit   int
	steps   []alert.Step
	err     error
	done    chan struct{}
}

// StepsAfter are the oldest steps of an inbox with a greater sequence, at most limit. What an alert says is as it is now; what
// it was ordered with and the decisions on it are left out.
func (s *Store) StepsAfter(ctx context.Context, account string, after int64, limit int) ([]alert.Step, error) {
	q := &question{account: account, after: after, limit: limit, done: make(chan struct{})}
	r := &s.steps
	r.mu.Lock()
	r.waiting = append(r.waiting, q)
	if r.reads < stepReads {
		r.reads++
		go s.readSteps(context.WithoutCancel(ctx))
	}
	r.mu.Unlock()
	select {
	case <-q.done:
		return q.steps, q.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// readSteps reads until nobody waits.
func (s *Store) readSteps(ctx context.Context) {
	for {
		r := &s.steps
		r.mu.Lock()
		asked := r.waiting[:min(len(r.waiting), inboxesInRead)]
		r.waiting = r.waiting[len(asked):]
		if len(asked) == 0 {
			r.waiting = nil
			r.reads--
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		err := s.answer(ctx, asked)
		for _, q := range asked {
			if q.err = cmp.Or(q.err, err); q.err != nil {
				q.steps = nil
			}
			close(q.done)
		}
	}
}

const (
	askedSQLite   = `WITH asked (n, account, seen, most) AS (SELECT key, value->>0, value->>1, value->>2 FROM json_each($1)) `
	askedPostgres = `WITH asked (n, account, seen, most) AS (SELECT n - 1, value->>0, (value->>1)::bigint, (value->>2)::bigint
		FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS list (value, n)) `
	// A sequence has no gap, so the oldest steps are those up to a number. CROSS has SQLite begin with what was asked.
	answers = `SELECT asked.n, s.sequence, s.kind, ` + alertColumnsOfStep + ` FROM asked CROSS JOIN inbox_steps s CROSS JOIN alerts a
		WHERE s.account = asked.account AND s.sequence > asked.seen AND a.id = s.alert_id AND s.sequence < asked.most +
			(SELECT MIN(o.sequence) FROM inbox_steps o WHERE o.account = asked.account AND o.sequence > asked.seen)`
	alertColumnsOfStep = `a.id, a.account, a.mode, a.kind_partner, a.kind_id, a.device, a.partner, a.sender, a.broadcast_id, a.collapse_key,
		a.category, a.priority, a.delivery, a.engagement, a.sequence, a.attempt, a.content, '{}', '[]', a.created_at, a.expires_at,
		a.release_at, a.resend_at`
)

// answer reads the steps of all questions with one statement.
func (s *Store) answer(ctx context.Context, asked []*question) error {
	ctx, cancel := context.WithTimeout(ctx, readStepsTimeout)
	defer cancel()
	list := make([][3]any, len(asked))
	for i, q := range asked {
		list[i] = [3]any{q.account, q.after, q.limit}
	}
	text, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("read inboxes: %w", err)
	}
	query := askedSQLite + answers
	if s.db.Dialect() == sqldb.Postgres {
		query = askedPostgres + answers
	}
	rows, err := s.db.QueryContext(ctx, query, string(text))
	if err != nil {
		return fmt.Errorf("read inboxes: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var n int
		var step alert.Step
		if step.Alert, err = scanAlert(rows.Scan, &n, &step.Sequence, &step.Kind); err != nil {
			asked[n].err = fmt.Errorf("read an inbox: %w", err) // the others have theirs
			continue
		}
		asked[n].steps = append(asked[n].steps, step)
	}
	for _, q := range asked {
		slices.SortFunc(q.steps, func(a, b alert.Step) int { return cmp.Compare(a.Sequence, b.Sequence) })
	}
	return rows.Err()
}
