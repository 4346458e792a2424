package rpc

import (
	"crypto/sha256"
	"sync"
	"time"
)

// cachedCaller is what a verified token said. The token itself is not kept.
type cachedCaller struct {
	caller  Caller
	expires time.Time
	kid     string
	issued  int64    // the number of the newest revocation when it was issued
	handles []string // what voids it when taken back
}

// callerCache is a bounded map from the SHA-256 of a token to its caller that drops the entry that was not used longest.
type callerCache struct {
	size int

	mu      sync.Mutex
	entries map[[sha256.Size]byte]*cacheEntry
	ring    cacheEntry // its next is the newest entry, its prev the oldest
}

type cacheEntry struct {
	cachedCaller
	sum        [sha256.Size]byte
	prev, next *cacheEntry
}

func newCallerCache(size int) *callerCache {
	c := &callerCache{size: size, entries: map[[sha256.Size]byte]*cacheEntry{}}
	c.ring.prev, c.ring.next = &c.ring, &c.ring
	return c
}

func (c *callerCache) get(sum [sha256.Size]byte) (*cachedCaller, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[sum]
	if !ok {
		return nil, false
	}
	e.unlink()
	c.first(e)
	return &e.cachedCaller, true
}

// put replaces the entry rather than changing it, because get hands out pointers.
func (c *callerCache) put(sum [sha256.Size]byte, v cachedCaller) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.entries[sum]; ok {
		old.unlink()
	}
	e := &cacheEntry{cachedCaller: v, sum: sum}
	c.entries[sum] = e
	c.first(e)
	if len(c.entries) > c.size {
		oldest := c.ring.prev
		oldest.unlink()
		delete(c.entries, oldest.sum)
	}
}

func (e *cacheEntry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }

func (c *callerCache) first(e *cacheEntry) {
	e.prev, e.next = &c.ring, c.ring.next
	e.prev.next, e.next.prev = e, e
}
