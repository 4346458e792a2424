// Package revocation is how something that was granted ends before its tokens do. Taking back a client, a grant or a
// session adds a numbered entry; a token says up to which number it knew, and is void when one of the things it rests on
// was taken back under a higher number. Nobody compares clocks.
//
// Every service reads the newest entries a few times a second and refuses void tokens (see platform/rpc). The list names
// things by handles, keyed hashes, because it is open to all.
package revocation

import (
	"context"
	"sync"
	"time"
)

// Kind says what was taken back. The values are stored.
type Kind string

// The kinds.
const (
	Client   Kind = "client"
	Partner  Kind = "partner"
	Grant    Kind = "grant"    // partner/scope
	Session  Kind = "session"  // one session of a wearer or terminal
	Account  Kind = "account"  // all sessions of a wearer
	Terminal Kind = "terminal" // all sessions of a terminal
	// SigningKey voids everything that a key signed, whatever it says of itself.
	SigningKey Kind = "signing_key"
)

// Entry voids the tokens that rest on a thing and were issued under a lower number. As an effect of a change it has no
// number yet.
type Entry struct {
	Sequence int64
	Kind     Kind
	ID       string
	// Until is when the last token that it can void has ended.
	Until time.Time
}

// Store remembers entries until they are of no use any more.
type Store interface {
	// Revocations is the number of the newest entry ever, and the entries above after that are still of use, by number.
	Revocations(ctx context.Context, after int64, now time.Time) (sequence int64, entries []Entry, err error)
}

// snapshotLife is how long what was read is told to all who ask, so that their number does not reach the database.
const snapshotLife = 100 * time.Millisecond

// Feed tells what was taken back. It is safe for concurrent use.
type Feed struct {
	store Store

	mu       sync.Mutex
	read     time.Time
	sequence int64
	entries  []Entry
}

// NewFeed makes a Feed.
func NewFeed(store Store) *Feed { return &Feed{store: store} }

// Since is the number of the newest entry and the entries above after, as of a tenth of a second ago at most.
func (f *Feed) Since(ctx context.Context, after int64, now time.Time) (int64, []Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if age := now.Sub(f.read); f.read.IsZero() || age < 0 || age >= snapshotLife {
		sequence, entries, err := f.store.Revocations(ctx, 0, now)
		if err != nil {
			return 0, nil, err
		}
		f.sequence, f.entries, f.read = sequence, entries, now
	}
	// The entries are sorted, and most who ask know all but the last few.
	i := len(f.entries)
	for i > 0 && f.entries[i-1].Sequence > after {
		i--
	}
	return f.sequence, f.entries[i:], nil
}
