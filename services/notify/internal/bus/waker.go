package bus

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/armlet-pay/armlet/services/notify/internal/alert"
)

const (
	wakeSubject = "notify.v1.wake"
	wakeBatch   = 500
	wakeEvery   = time.Second
	// wakeOverlap covers slow commits and clocks that differ between replicas; a wake-up too many costs one read.
	wakeOverlap = 5 * time.Second
)

// Grown says which inboxes have changed.
type Grown interface {
	// InboxesUpdatedSince are their last sequences by account.
	InboxesUpdatedSince(ctx context.Context, since time.Time) (map[string]int64, error)
}

// wakeUp is what replicas tell each other. It carries no alert: what is lost costs a second, and nothing else.
type wakeUp struct {
	From     string    `json:"from"`
	Accounts []string  `json:"accounts,omitempty"`
	Replaced []replace `json:"replaced,omitempty"`
}

type replace struct {
	Account string `json:"account"`
	Client  string `json:"client"`
}

// Waker wakes the streams of an account in all replicas: those of this process at once, those of others by NATS, and by
// looking into the database once a second for what NATS did not bring.
type Waker struct {
	hub  *alert.Hub
	nc   *nats.Conn
	self string
	now  func() time.Time
	log  *slog.Logger

	mu       sync.Mutex
	accounts map[string]struct{}
	replaced []replace
	pending  chan struct{}
}

// NewWaker makes a Waker. Without a connection replicas find each other's alerts in the database alone.
func NewWaker(hub *alert.Hub, nc *nats.Conn, self string, now func() time.Time, log *slog.Logger) *Waker {
	return &Waker{hub: hub, nc: nc, self: self, now: now, log: log, accounts: map[string]struct{}{}, pending: make(chan struct{}, 1)}
}

// Wake tells all streams of an account to look. It never blocks.
func (w *Waker) Wake(account string) {
	w.hub.Wake(account)
	w.mu.Lock()
	w.accounts[account] = struct{}{}
	w.mu.Unlock()
	w.signal()
}

// Joined tells other replicas that a client has a new stream here, so that they end the one it had there. It never blocks.
func (w *Waker) Joined(account, client string) {
	w.mu.Lock()
	w.replaced = append(w.replaced, replace{account, client})
	w.mu.Unlock()
	w.signal()
}

func (w *Waker) signal() {
	select {
	case w.pending <- struct{}{}:
	default:
	}
}

// Run tells and listens until ctx ends.
func (w *Waker) Run(ctx context.Context, grown Grown) error {
	if w.nc != nil {
		sub, err := w.nc.Subscribe(wakeSubject, w.heard)
		if err != nil {
			return err
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	tick := time.NewTicker(wakeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.pending:
			w.tell(ctx)
		case <-tick.C:
			w.look(ctx, grown)
		}
	}
}

func (w *Waker) tell(ctx context.Context) {
	w.mu.Lock()
	accounts, replaced := w.accounts, w.replaced
	w.accounts, w.replaced = map[string]struct{}{}, nil
	w.mu.Unlock()
	if w.nc == nil {
		return
	}
	say := func(m wakeUp) {
		m.From = w.self
		data, err := json.Marshal(m)
		if err == nil {
			err = w.nc.Publish(wakeSubject, data)
		}
		if err != nil {
			w.log.DebugContext(ctx, "other replicas were not woken; they look themselves", "error", err)
		}
	}
	m := wakeUp{}
	for account := range accounts {
		if m.Accounts = append(m.Accounts, account); len(m.Accounts) == wakeBatch {
			say(m)
			m = wakeUp{}
		}
	}
	for len(replaced) > wakeBatch {
		say(wakeUp{Replaced: replaced[:wakeBatch]})
		replaced = replaced[wakeBatch:]
	}
	if m.Replaced = replaced; len(m.Accounts)+len(m.Replaced) > 0 {
		say(m)
	}
}

func (w *Waker) heard(msg *nats.Msg) {
	var m wakeUp
	if err := json.Unmarshal(msg.Data, &m); err != nil || m.From == w.self {
		return
	}
	for _, account := range m.Accounts {
		w.hub.Wake(account)
	}
	for _, r := range m.Replaced {
		w.hub.Replace(r.Account, r.Client)
	}
}

// look finds what other replicas changed, with one query however many streams there are.
func (w *Waker) look(ctx context.Context, grown Grown) {
	if w.hub.Idle() {
		return
	}
	last, err := grown.InboxesUpdatedSince(ctx, w.now().Add(-wakeOverlap))
	if err != nil {
		if ctx.Err() == nil {
			w.log.WarnContext(ctx, "alerts of other replicas may come late", "error", err)
		}
		return
	}
	for account, sequence := range last {
		w.hub.WakeTo(account, sequence)
	}
}
