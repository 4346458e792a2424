package store

import (
	"sync"

	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
)

// memoryLimit is how many accounts, and how many holds, are surely remembered.
const memoryLimit = 50_000

// memory is what the engine remembers between batches: how accounts, holds and the chain will stand when all batches that
// were decided are committed. It is a guess that each batch proves when it updates them.
type memory struct {
	mu sync.Mutex
	// epoch grows when a batch fails: those decided after it are wrong then too.
	epoch    int
	accounts recent[ledger.Account]
	holds    recent[ledger.Hold]
	// head is the chain as it is committed, height what it will be. A head of chain 0 is not known.
	head   ledger.Head
	height int64
	// last is closed when the batch decided last is over.
	last chan struct{}
	// writing are the unique keys that batches under way write.
	writing map[string]*batch
	// turns is how many batches are still to take turns with other processes, penalty how many it was last, calm how many
	// went well since.
	turns, penalty, calm int
}

func (m *memory) forget() {
	m.epoch++
	m.accounts, m.holds = recent[ledger.Account]{}, recent[ledger.Hold]{}
	m.head = ledger.Head{}
	if m.writing == nil {
		m.writing = map[string]*batch{}
	}
}

// crowded notes that another process changed the books twice in a row while a batch was decided.
func (m *memory) crowded() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.penalty = min(max(16, 2*m.penalty), 1024)
	m.turns, m.calm = m.penalty, 0
}

// well notes that a batch was committed.
func (m *memory) well(gated bool) {
	if gated {
		m.turns = max(0, m.turns-1)
		return
	}
	if m.calm++; m.calm > 4*m.penalty {
		m.penalty = 0
	}
}

// recent is a map that drops what was not used for long: when the young half is full it becomes the old one.
type recent[T any] struct{ young, old map[string]T }

func (r *recent[T]) get(id string) (T, bool) {
	v, ok := r.young[id]
	if !ok {
		if v, ok = r.old[id]; ok {
			r.set(id, v)
		}
	}
	return v, ok
}

func (r *recent[T]) set(id string, v T) {
	if r.young == nil || len(r.young) >= memoryLimit {
		r.young, r.old = make(map[string]T), r.young
	}
	r.young[id] = v
}
