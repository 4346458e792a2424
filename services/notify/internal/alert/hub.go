package alert

import (
	"math"
	"sync"
	"sync/atomic"
)

// Listener is one stream of an account's inbox.
type Listener struct {
	// Wake gets a value after the inbox has changed, several changes in one value.
	Wake chan struct{}
	// Ended is closed when a newer stream of the same client and surface has taken its place.
	Ended chan struct{}

	account, client string
	// seen is the sequence up to which the stream has read.
	seen atomic.Int64
}

// Saw notes how far the stream has read.
func (l *Listener) Saw(sequence int64) { l.seen.Store(sequence) }

// Hub wakes the streams of an account when its inbox has changed. It carries no alerts: each stream reads them from the
// store at its own speed, so a slow one holds nobody up and a lost wake-up loses nothing.
type Hub struct {
	mu      sync.Mutex
	streams map[string]map[string]*Listener
}

// NewHub makes a Hub without streams.
func NewHub() *Hub { return &Hub{streams: map[string]map[string]*Listener{}} }

// Join makes a stream of an account known; client names who listens and on which surface. It ends the client's stream
// before. The function makes the stream unknown again.
func (h *Hub) Join(account, client string) (*Listener, func()) {
	l := &Listener{Wake: make(chan struct{}, 1), Ended: make(chan struct{}), account: account, client: client}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams[account] == nil {
		h.streams[account] = map[string]*Listener{}
	}
	h.end(account, client)
	h.streams[account][client] = l
	return l, func() { h.leave(l) }
}

// Streams is how many there are.
func (h *Hub) Streams() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, of := range h.streams {
		n += len(of)
	}
	return n
}

func (h *Hub) leave(l *Listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams[l.account][l.client] != l {
		return // another one has its place
	}
	delete(h.streams[l.account], l.client)
	if len(h.streams[l.account]) == 0 {
		delete(h.streams, l.account)
	}
}

func (h *Hub) end(account, client string) {
	if old, ok := h.streams[account][client]; ok {
		close(old.Ended)
		delete(h.streams[account], client)
	}
}

// Replace ends a client's stream here because it has a newer one in another replica.
func (h *Hub) Replace(account, client string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(account, client)
	if len(h.streams[account]) == 0 {
		delete(h.streams, account)
	}
}

// Wake tells the streams of an account to look. It never blocks.
func (h *Hub) Wake(account string) { h.WakeTo(account, math.MaxInt64) }

// WakeTo tells those streams of an account to look that have not read as far as this sequence. It never blocks.
func (h *Hub) WakeTo(account string, sequence int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.streams[account] {
		if l.seen.Load() >= sequence {
			continue
		}
		select {
		case l.Wake <- struct{}{}:
		default: // it has not looked since the last value and will see this change too
		}
	}
}

// Idle reports whether nobody listens.
func (h *Hub) Idle() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams) == 0
}
