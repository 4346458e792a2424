// Package checker decides whether a suite kept its word while parts of it were killed, cut off or slowed down. It shares no code
// with the services: it knows what a client sent and was told, reads the tables of payments, the events on NATS and the inboxes
// of the wearers itself, and compares. It has the wire contract, database drivers and a NATS client, and nothing else.
package checker

import (
	"maps"
	"slices"
	"sync"
)

// Outcome is what a client was told about a tap.
type Outcome int

// A tap whose outcome is unknown may have been captured or not: the client heard nothing that settles it.
const (
	Unknown Outcome = iota
	Acknowledged
	Refused
)

// Tap is one payment that a client asked for, under one request id however often it was sent.
type Tap struct {
	Account string // accounts/…
	Request string
	// Amount is in minor units and is not repeated by the account, so that it names the tap in every book.
	Amount int64
	// Payment is the name that the client was given, payments/…, or empty.
	Payment string
	Outcome Outcome
}

// History is what clients know. It is safe for concurrent use.
type History struct {
	mu       sync.Mutex
	deposits map[string]int64
	taps     map[string]*Tap
}

// NewHistory returns an empty history.
func NewHistory() *History {
	return &History{deposits: map[string]int64{}, taps: map[string]*Tap{}}
}

// Deposited notes money that an account was acknowledged to have been given.
func (h *History) Deposited(account string, minor int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deposits[account] += minor
}

// Sent notes a tap before its first request leaves.
func (h *History) Sent(account, request string, minor int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.taps[request] = &Tap{Account: account, Request: request, Amount: minor}
}

// Named notes the payment that was made for the request.
func (h *History) Named(request, payment string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.taps[request].Payment = payment
}

// Settled notes what the client was told in the end.
func (h *History) Settled(request string, o Outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.taps[request].Outcome = o
}

// Count is how many taps have the outcome.
func (h *History) Count(o Outcome) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.taps {
		if t.Outcome == o {
			n++
		}
	}
	return n
}

// Accounts are those that were given money.
func (h *History) Accounts() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.deposits))
}

// snapshot copies everything.
func (h *History) snapshot() (deposits map[string]int64, taps []Tap) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, request := range slices.Sorted(maps.Keys(h.taps)) {
		taps = append(taps, *h.taps[request])
	}
	return maps.Clone(h.deposits), taps
}
