// Package group has the work of many callers done together: what they ask for at one time becomes one statement, or one
// transaction, for all of them. A busy service pays for the round trip and the commit once and not for each caller; an idle one
// does not wait for company.
package group

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Defaults of [Config].
const (
	// DefaultMax is how many calls are worked on together at most.
	DefaultMax = 256
	// DefaultTimeout bounds the work.
	DefaultTimeout = 30 * time.Second
)

// Config says how calls are brought together. Its zero value is of use.
type Config struct {
	// Max is how many calls are worked on together at most, 0 for DefaultMax.
	Max int
	// Lanes is how many groups are under way at once, 0 for one. While all lanes are at work new calls wait for the next group:
	// the fewer lanes, the larger the groups.
	Lanes int
	// Linger is how long a group waits for company while another one is under way, 0 for not at all. A call that comes while
	// nothing is under way never waits.
	Linger time.Duration
	// Timeout bounds the work of a group, 0 for DefaultTimeout.
	Timeout time.Duration
	// Shared says of an error that it would meet every call alike, such as a database that cannot be reached: then a group that
	// failed is not taken apart. Nil says it of none.
	Shared func(error) bool
}

// Call is the work of one caller.
type Call[In, Out any] struct {
	// Context is the caller's. It bounds how long the caller waits, not the work; what is done in the caller's name alone, such as
	// the event of it, takes its values.
	Context context.Context //nolint:containedctx // the work of several callers has the context of each
	// In is what the caller asks for.
	In In
	// Out is the answer, Err the caller's own failure.
	Out Out
	// Err see Out.
	Err error

	done chan struct{}
}

// Group brings calls together. It is safe for concurrent use.
type Group[In, Out any] struct {
	cfg Config
	do  func(ctx context.Context, calls []*Call[In, Out]) error

	mu     sync.Mutex
	queue  []*Call[In, Out]
	active int
}

// New is a group whose calls are worked on by do, which sets Out or Err of each. When do returns an error or panics nothing may
// have come of any call: each is done again on its own, so that one that cannot be done fails alone, unless the error is Shared.
// So do can run several times for a call, and whatever it does must bear that.
//
// The context that do gets ends with the timeout and not with a caller. A call that is alone has the values of its caller's
// context there, so that an idle service is traced as if there were no group.
func New[In, Out any](cfg Config, do func(ctx context.Context, calls []*Call[In, Out]) error) *Group[In, Out] {
	if cfg.Max <= 0 {
		cfg.Max = DefaultMax
	}
	if cfg.Lanes <= 0 {
		cfg.Lanes = 1
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Shared == nil {
		cfg.Shared = func(error) bool { return false }
	}
	return &Group[In, Out]{cfg: cfg, do: do}
}

// Do has in worked on together with what others ask for, and waits for its answer or until ctx ends; then the work may still be
// done. It begins after Do was called: what it reads is not older than the question. Do must not be called from within do.
func (g *Group[In, Out]) Do(ctx context.Context, in In) (Out, error) {
	var none Out
	if err := ctx.Err(); err != nil {
		return none, err
	}
	c := &Call[In, Out]{Context: ctx, In: in, done: make(chan struct{})}
	g.mu.Lock()
	g.queue = append(g.queue, c)
	if g.active < g.cfg.Lanes {
		g.active++
		go g.lane()
	}
	g.mu.Unlock()
	select {
	case <-c.done:
		return c.Out, c.Err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// lane works until nobody waits.
func (g *Group[In, Out]) lane() {
	for {
		calls := g.take()
		if calls == nil {
			return
		}
		g.run(calls)
		for _, c := range calls {
			close(c.done)
		}
	}
}

// take is the next group, nil when nobody waits and the lane has ended.
func (g *Group[In, Out]) take() []*Call[In, Out] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.queue); g.cfg.Linger > 0 && g.active > 1 && n > 0 && n < g.cfg.Max {
		g.mu.Unlock()
		time.Sleep(g.cfg.Linger)
		g.mu.Lock()
	}
	n := min(len(g.queue), g.cfg.Max)
	if n == 0 {
		g.active--
		return nil
	}
	calls := g.queue[:n:n]
	if g.queue = g.queue[n:]; len(g.queue) == 0 {
		g.queue = nil
	}
	return calls
}

// run answers every call.
func (g *Group[In, Out]) run(calls []*Call[In, Out]) {
	waiting := make([]*Call[In, Out], 0, len(calls))
	for _, c := range calls {
		if c.Err = c.Context.Err(); c.Err == nil { // else nobody waits for it any more
			waiting = append(waiting, c)
		}
	}
	if len(waiting) == 0 {
		return
	}
	err := g.attempt(waiting)
	switch {
	case err == nil:
	case len(waiting) == 1 || g.cfg.Shared(err):
		for _, c := range waiting {
			c.fail(err)
		}
	default:
		for _, c := range waiting {
			if err := g.attempt([]*Call[In, Out]{c}); err != nil {
				c.fail(err)
			}
		}
	}
}

func (c *Call[In, Out]) fail(err error) {
	var none Out
	c.Out, c.Err = none, err
}

// attempt runs do once. A panic, of which no interceptor would know, is an error.
func (g *Group[In, Out]) attempt(calls []*Call[In, Out]) (err error) {
	ctx := context.Background()
	if len(calls) == 1 {
		ctx = context.WithoutCancel(calls[0].Context)
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	for _, c := range calls {
		c.fail(nil)
	}
	return g.do(ctx, calls)
}
