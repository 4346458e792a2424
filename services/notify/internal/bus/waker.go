package bus

import (
	"context"
	"log/slog"
	"time"

	"github.com/armlet-pay/armlet/services/notify/internal/alert"
)

const (
	wakeEvery = time.Second
	// wakeOverlap covers slow commits and clocks that differ between replicas; a wake-up too many costs one read.
	wakeOverlap = 5 * time.Second
)

// Grown says which inboxes have grown.
type Grown interface {
	AccountsUpdatedSince(ctx context.Context, since time.Time) ([]string, error)
}

// Waker wakes the streams of this process for alerts that other replicas stored.
type Waker struct {
	hub   *alert.Hub
	grown Grown
	now   func() time.Time
	log   *slog.Logger
}

// NewWaker makes a Waker.
func NewWaker(hub *alert.Hub, grown Grown, now func() time.Time, log *slog.Logger) *Waker {
	return &Waker{hub: hub, grown: grown, now: now, log: log}
}

// Run looks once a second until ctx ends, with one query however many streams there are.
func (w *Waker) Run(ctx context.Context) error {
	tick := time.NewTicker(wakeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if w.hub.Idle() {
			continue
		}
		accounts, err := w.grown.AccountsUpdatedSince(ctx, w.now().Add(-wakeOverlap))
		if err != nil {
			if ctx.Err() == nil {
				w.log.WarnContext(ctx, "alerts of other replicas may come late", "error", err)
			}
			continue
		}
		for _, account := range accounts {
			w.hub.Wake(account)
		}
	}
}
