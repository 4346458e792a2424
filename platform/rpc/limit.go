package rpc

import (
	"sync"

	"golang.org/x/time/rate"

	"github.com/armlet-pay/armlet/platform/fault"
)

// maxLimiters bounds the memory that callers can make a server use.
const maxLimiters = 8192

// limiters hold partners to the calls a minute that their grants permit, each process by itself.
type limiters struct {
	mu  sync.Mutex
	per map[limitKey]*limiter
}

type limitKey struct{ client, scope string }

type limiter struct {
	*rate.Limiter
	perMinute int
}

// admit counts a call under the scope. A burst of a sixth of the minute's calls, at least one, may come at once.
func (l *limiters) admit(c *Caller, scope string) error {
	perMinute := 0
	if c != nil && scope != "" {
		perMinute = c.Limits[scope]
	}
	if perMinute <= 0 || l.of(limitKey{c.ID, scope}, perMinute).Allow() {
		return nil
	}
	return fault.New(fault.ResourceExhausted, ReasonGrantLimitExceeded,
		"the grant of %s permits %d calls a minute; slow down, or ask the operator for more", scope, perMinute).WithMeta("scope", scope)
}

func (l *limiters) of(key limitKey, perMinute int) *limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lim, ok := l.per[key]; ok && lim.perMinute == perMinute {
		return lim
	}
	if len(l.per) >= maxLimiters {
		clear(l.per) // rare, and to the callers' advantage
	}
	lim := &limiter{rate.NewLimiter(rate.Limit(float64(perMinute)/60), max(1, perMinute/6)), perMinute}
	l.per[key] = lim
	return lim
}
