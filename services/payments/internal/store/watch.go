package store

import "sync"

// watch wakes those of this process who wait for a payment to change. Those of other processes look again and again.
type watch struct {
	mu      sync.Mutex
	waiting map[string]map[chan struct{}]bool
}

// Watch gives a signal after each change of the payment that this process makes, until stop is called. Signals that nobody
// has taken yet are one.
func (s *Store) Watch(id string) (changed <-chan struct{}, stop func()) {
	signal := make(chan struct{}, 1)
	w := &s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = map[string]map[chan struct{}]bool{}
	}
	if w.waiting[id] == nil {
		w.waiting[id] = map[chan struct{}]bool{}
	}
	w.waiting[id][signal] = true
	return signal, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(w.waiting[id], signal); len(w.waiting[id]) == 0 {
			delete(w.waiting, id)
		}
	}
}

func (w *watch) wake(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for signal := range w.waiting[id] {
		select {
		case signal <- struct{}{}:
		default:
		}
	}
}
