package bus

import (
	"context"
	"log/slog"
	"time"
)

const (
	clerkEvery   = 500 * time.Millisecond
	forgetEvery  = time.Hour
	clerkBatch   = 200
	membersBatch = 500
)

// Agenda is what becomes due by itself. Each call does at most limit and says how many there were.
type Agenda interface {
	ReleaseDue(ctx context.Context, now time.Time, limit int) (int, error)
	ResendDue(ctx context.Context, now time.Time, limit int) (int, error)
	ExpireDue(ctx context.Context, now time.Time, limit int) (int, error)
	RedactDue(ctx context.Context, now time.Time, limit int) (int, error)
	// AdvanceBroadcast is false when none is due.
	AdvanceBroadcast(ctx context.Context, now time.Time, limit int) (bool, error)
	Forget(ctx context.Context, now time.Time) error
}

// Clerk does what is due: it releases alerts that waited, sends CRITICAL ones again, lets others expire, alerts the members
// of topics, and forgets what is old. Any number of replicas may have one.
type Clerk struct {
	agenda Agenda
	now    func() time.Time
	log    *slog.Logger
	hurry  chan struct{}
}

// NewClerk makes a Clerk.
func NewClerk(agenda Agenda, now func() time.Time, log *slog.Logger) *Clerk {
	return &Clerk{agenda: agenda, now: now, log: log, hurry: make(chan struct{}, 1)}
}

// Hurry tells of a new broadcast. It never blocks.
func (c *Clerk) Hurry() {
	select {
	case c.hurry <- struct{}{}:
	default:
	}
}

// Broadcasts alerts the members of topics until ctx ends.
func (c *Clerk) Broadcasts(ctx context.Context) error {
	return c.loop(ctx, clerkEvery, c.hurry, func(ctx context.Context) error {
		for ctx.Err() == nil {
			more, err := c.agenda.AdvanceBroadcast(ctx, c.now(), membersBatch)
			if err != nil || !more {
				return err
			}
		}
		return nil
	})
}

// Due does what is due until ctx ends.
func (c *Clerk) Due(ctx context.Context) error {
	return c.loop(ctx, clerkEvery, nil, func(ctx context.Context) error {
		for _, do := range []func(context.Context, time.Time, int) (int, error){c.agenda.ReleaseDue, c.agenda.ResendDue, c.agenda.ExpireDue} {
			for ctx.Err() == nil {
				n, err := do(ctx, c.now(), clerkBatch)
				if err != nil {
					c.complain(ctx, err)
				}
				if err != nil || n < clerkBatch {
					break // what failed is tried again at the next round
				}
			}
		}
		return nil
	})
}

// Retention forgets what is old until ctx ends.
func (c *Clerk) Retention(ctx context.Context) error {
	return c.loop(ctx, forgetEvery, nil, func(ctx context.Context) error {
		for ctx.Err() == nil {
			n, err := c.agenda.RedactDue(ctx, c.now(), clerkBatch)
			if err != nil {
				return err
			}
			if n < clerkBatch {
				break
			}
		}
		return c.agenda.Forget(ctx, c.now())
	})
}

func (c *Clerk) loop(ctx context.Context, every time.Duration, hurry <-chan struct{}, do func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := do(ctx); err != nil {
			c.complain(ctx, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-hurry:
		case <-tick.C:
		}
	}
}

func (c *Clerk) complain(ctx context.Context, err error) {
	if ctx.Err() == nil {
		c.log.WarnContext(ctx, "something that is due is tried again later", "error", err)
	}
}
