package testkit

import (
	"sync"
	"time"
)

// FakeClock is a clock that moves only when it is told to. It is safe for concurrent use.
type FakeClock struct {
	mu  sync.Mutex
	now time.Time
}

// Clock returns a clock that stands at start.
func Clock(start time.Time) *FakeClock { return &FakeClock{now: start} }

// Now is the time the clock shows.
func (c *FakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock by d, backwards when d is negative.
func (c *FakeClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
