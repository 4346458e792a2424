package voucher

import (
	"context"
	"strings"
	"sync"
	"time"
)

const (
	// guessWindow is the time in which wrong codes are counted, lockFor how long too many of them lock out.
	guessWindow = 10 * time.Minute
	lockFor     = 15 * time.Minute
	// guessesOfOne are for a wearer or a terminal, guessesOfMany for a partner's program, which has many customers who
	// mistype. Either way a guess hits one in 2^55 codes.
	guessesOfOne  = 20
	guessesOfMany = 1000
	// maxGuessers bounds the memory; beyond it the oldest windows are forgotten.
	maxGuessers = 100_000
	// recheck is how long a replica may not know of a lockout that another one made.
	recheck = 5 * time.Second
)

// Guard counts codes that do not exist. Counting is done in memory, so that a wrong code costs no write; a lockout is
// stored, so that it outlives a restart and binds all replicas. It is safe for concurrent use.
type guard struct {
	mu       sync.Mutex
	guessers map[string]*guesser
}

type guesser struct {
	since       time.Time
	misses      int
	lockedUntil time.Time
	checkedAt   time.Time
}

func newGuard() *guard { return &guard{guessers: map[string]*guesser{}} }

func (a Actor) guesses() int {
	if a.Role == RolePartner || a.Role == RoleService && strings.HasPrefix(a.Behalf, string(RolePartner)+"/") {
		return guessesOfMany
	}
	return guessesOfOne
}

func (g *guard) locked(by Actor, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.guessers[by.guesser()]
	return one != nil && now.Before(one.lockedUntil)
}

// miss counts a wrong code and reports whether it was one too many.
func (g *guard) miss(by Actor, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.of(by, now)
	if now.Sub(one.since) >= guessWindow {
		one.since, one.misses = now, 0
	}
	one.misses++
	if one.misses < by.guesses() {
		return false
	}
	one.since, one.misses, one.lockedUntil = now, 0, now.Add(lockFor)
	return true
}

// due reports whether the store is to be asked for a lockout.
func (g *guard) due(by Actor, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.of(by, now)
	if age := now.Sub(one.checkedAt); age >= 0 && age < recheck {
		return false
	}
	one.checkedAt = now
	return true
}

func (g *guard) lock(by Actor, until, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.of(by, now).lockedUntil = until
}

func (g *guard) of(by Actor, now time.Time) *guesser {
	key := by.guesser()
	one := g.guessers[key]
	if one == nil {
		if len(g.guessers) >= maxGuessers {
			g.forget(now)
		}
		one = &guesser{since: now}
		g.guessers[key] = one
	}
	return one
}

// forget drops those whose window is over, and everybody who is not locked out when that is not enough.
func (g *guard) forget(now time.Time) {
	for _, all := range []bool{false, true} {
		for key, one := range g.guessers {
			if !now.Before(one.lockedUntil) && (all || now.Sub(one.since) >= guessWindow) {
				delete(g.guessers, key)
			}
		}
		if len(g.guessers) < maxGuessers {
			return
		}
	}
}

// miss is what a code that does not exist gets.
func (s *Service) miss(ctx context.Context, by Actor, now time.Time) error {
	if by.Role != RoleOperator && s.guard.miss(by, now) {
		if err := s.vouchers.LockOut(ctx, by.guesser(), now.Add(lockFor)); err != nil {
			return err
		}
	}
	return ErrVoucherNotFound
}

// checkLock asks for lockouts that other replicas made.
func (s *Service) checkLock(ctx context.Context, by Actor, now time.Time) error {
	if by.Role == RoleOperator || !s.guard.due(by, now) {
		return nil
	}
	until, err := s.vouchers.LockedUntil(ctx, by.guesser())
	if err != nil {
		return err
	}
	if now.Before(until) {
		s.guard.lock(by, until, now)
		return ErrLockedOut
	}
	return nil
}
