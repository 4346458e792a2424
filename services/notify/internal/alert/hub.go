package alert

import "sync"

// Hub wakes the streams of an account when its inbox has grown. It carries no alerts: each stream reads them from the
// store at its own speed, so a slow one holds nobody up and a lost wake-up loses nothing.
type Hub struct {
	mu      sync.Mutex
	streams map[string]map[chan struct{}]struct{}
}

// NewHub makes a Hub without streams.
func NewHub() *Hub { return &Hub{streams: map[string]map[chan struct{}]struct{}{}} }

// Join returns a channel that gets a value after each growth of the inbox, several growths in one value, and the
// function that ends this.
func (h *Hub) Join(account string) (<-chan struct{}, func()) {
	wake := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams[account] == nil {
		h.streams[account] = map[chan struct{}]struct{}{}
	}
	h.streams[account][wake] = struct{}{}
	return wake, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.streams[account], wake)
		if len(h.streams[account]) == 0 {
			delete(h.streams, account)
		}
	}
}

// Wake tells the streams of an account to look. It never blocks.
func (h *Hub) Wake(account string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for wake := range h.streams[account] {
		select {
		case wake <- struct{}{}:
		default: // it has not looked since the last value and will see this alert too
		}
	}
}

// Idle reports whether nobody listens.
func (h *Hub) Idle() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams) == 0
}
