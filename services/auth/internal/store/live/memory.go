// Package live keeps live challenges: in Redis, or in the memory of a single process. Both behave alike (package
// storetest holds them to it), and both may lose everything: then taps are refused, and none is approved.
package live

import (
	"context"
	"sync"
	"time"

	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

// sweepEvery is how many additions lie between two sweeps of what has expired.
const sweepEvery = 1024

// Memory is a live store for a single process. It is safe for concurrent use.
type Memory struct {
	mu       sync.Mutex
	entries  map[wire.Nonce]*entry
	devices  map[wire.UID]wire.Nonce // the live challenge of each
	reserved map[string]challenge.Reservation
	added    int
}

type entry struct {
	challenge challenge.Challenge
	state     challenge.State
	tries     int
	digest    [32]byte
}

var _ challenge.LiveStore = (*Memory)(nil)

// NewMemory makes an empty store.
func NewMemory() *Memory {
	return &Memory{
		entries: map[wire.Nonce]*entry{}, devices: map[wire.UID]wire.Nonce{}, reserved: map[string]challenge.Reservation{},
	}
}

func expired(c challenge.Challenge, now time.Time) bool { return !now.Before(c.ExpiresAt()) }

// Reserve implements challenge.LiveStore.
func (m *Memory) Reserve(_ context.Context, key string, r challenge.Reservation, now time.Time) (challenge.Reservation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweep(now)
	if old, ok := m.reserved[key]; ok && !expired(old.Challenge, now) {
		return old, nil
	}
	m.reserved[key] = r
	return r, nil
}

// Recall implements challenge.LiveStore.
func (m *Memory) Recall(_ context.Context, key string, now time.Time) (challenge.Reservation, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.reserved[key]
	if !ok || expired(r.Challenge, now) {
		return challenge.Reservation{}, false, nil
	}
	return r, true, nil
}

// Release implements challenge.LiveStore.
func (m *Memory) Release(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.reserved, key)
	return nil
}

// Issue implements challenge.LiveStore.
func (m *Memory) Issue(_ context.Context, c challenge.Challenge, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.entries[c.Nonce]; ok {
		return nil
	}
	if old, ok := m.entries[m.devices[c.UID]]; ok && old.state == challenge.Live && !expired(old.challenge, now) {
		if old.challenge.Content.Purpose != c.Content.Purpose {
			return challenge.ErrBusy
		}
		old.state = challenge.Superseded
	}
	m.entries[c.Nonce] = &entry{challenge: c, state: challenge.Live}
	m.devices[c.UID] = c.Nonce
	return nil
}

// Load implements challenge.LiveStore.
func (m *Memory) Load(_ context.Context, nonce wire.Nonce, now time.Time) (challenge.Challenge, challenge.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.find(nonce, now)
	if e == nil {
		return challenge.Challenge{}, challenge.Gone, nil
	}
	return e.challenge, e.state, nil
}

func (m *Memory) find(nonce wire.Nonce, now time.Time) *entry {
	if e, ok := m.entries[nonce]; ok && !expired(e.challenge, now) {
		return e
	}
	return nil
}

// Miss implements challenge.LiveStore.
func (m *Memory) Miss(_ context.Context, nonce wire.Nonce, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.find(nonce, now)
	if e == nil || e.state != challenge.Live {
		return nil
	}
	if e.tries++; e.tries >= challenge.MaxTries {
		e.state = challenge.Spent
	}
	return nil
}

// Take implements challenge.LiveStore.
func (m *Memory) Take(_ context.Context, nonce wire.Nonce, digest [32]byte, now time.Time) (challenge.Taken, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.find(nonce, now)
	if e == nil {
		return challenge.TakenGone, nil
	}
	switch e.state {
	case challenge.Live:
		e.state, e.digest = challenge.Used, digest
		return challenge.TakenWon, nil
	case challenge.Used:
		if e.digest == digest { // digests are no secret
			return challenge.TakenSame, nil
		}
		return challenge.TakenOther, nil
	case challenge.Superseded:
		return challenge.TakenSuperseded, nil
	}
	return challenge.TakenSpent, nil
}

// sweep drops what has expired, now and then.
func (m *Memory) sweep(now time.Time) {
	if m.added++; m.added%sweepEvery != 0 {
		return
	}
	for nonce, e := range m.entries {
		if !expired(e.challenge, now) {
			continue
		}
		delete(m.entries, nonce)
		if m.devices[e.challenge.UID] == nonce {
			delete(m.devices, e.challenge.UID)
		}
	}
	for key, r := range m.reserved {
		if expired(r.Challenge, now) {
			delete(m.reserved, key)
		}
	}
}
