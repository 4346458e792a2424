package sdk

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/proto/wire"
)

// denyListType is the header typ of a signed piece of the deny-list.
const denyListType = "armlet-denylist+jwt"

// ErrDenyList is the error of a piece of the deny-list that does not follow on what a terminal has.
var ErrDenyList = errors.New("sdk: the piece does not follow on the deny-list that is here")

// DenyList is a terminal's copy of the offline grants that do not count any more, by the alias that a band shows. It takes
// in signed pieces only, each exactly once and in order. It is safe for concurrent use.
type DenyList struct {
	Keys   *KeySet
	Issuer string // auth's token-issuer

	mu     sync.RWMutex
	number int64
	at     time.Time
	denied map[wire.Alias]int64 // until when, in Unix seconds
}

// Number is how far the list reaches; a terminal that stores it with the pieces goes on from there.
func (l *DenyList) Number() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.number
}

// Age is how long ago auth said that the list was complete; a terminal refuses all taps when it is too old for its risk.
func (l *DenyList) Age() time.Duration {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.Keys.now().Sub(l.at)
}

// Denied says whether a tap with this alias is to be refused.
func (l *DenyList) Denied(alias wire.Alias) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, denied := l.denied[alias]
	return denied
}

// Take verifies a signed piece, which may have come by any way, and takes it in. A piece that is here already changes
// nothing; one that leaves a gap is ErrDenyList. It may also be ErrSignature or ErrKeys.
func (l *DenyList) Take(ctx context.Context, signed string) error {
	payload, err := l.Keys.Verify(ctx, signed, denyListType)
	if err != nil {
		return err
	}
	var piece struct {
		Issuer   string `json:"iss"`
		IssuedAt int64  `json:"iat"`
		From     int64  `json:"from"`
		UpTo     int64  `json:"up_to"`
		Entries  []struct {
			Alias     string `json:"alias"`
			ExpiresAt int64  `json:"exp"`
			Allowed   bool   `json:"allowed"`
		} `json:"entries"`
	}
	if err := json.Unmarshal(payload, &piece); err != nil || piece.Issuer != l.Issuer || piece.UpTo < piece.From {
		return ErrDenyList
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case piece.From > l.number:
		return fmt.Errorf("%w: it goes on from %d, the list reaches to %d", ErrDenyList, piece.From, l.number)
	case piece.From < l.number:
		return nil
	}
	changes := map[wire.Alias]int64{}
	for _, e := range piece.Entries {
		raw, err := hex.DecodeString(e.Alias)
		if err != nil || len(raw) != len(wire.Alias{}) {
			return ErrDenyList
		}
		changes[wire.Alias(raw)] = e.ExpiresAt
		if e.Allowed {
			changes[wire.Alias(raw)] = 0
		}
	}
	l.apply(changes)
	l.number, l.at = piece.UpTo, time.Unix(piece.IssuedAt, 0)
	return nil
}

// apply also forgets grants that have ended, which no terminal takes anyway.
func (l *DenyList) apply(changes map[wire.Alias]int64) {
	if l.denied == nil {
		l.denied = map[wire.Alias]int64{}
	}
	for alias, until := range changes {
		if until == 0 {
			delete(l.denied, alias)
			continue
		}
		l.denied[alias] = until
	}
	now := l.Keys.now().Unix()
	for alias, until := range l.denied {
		if until < now {
			delete(l.denied, alias)
		}
	}
}

// Follow takes in the list from auth and keeps it up to date until ctx ends or the stream breaks; call it again then, and it
// goes on where it was.
func (l *DenyList) Follow(ctx context.Context, auth authv1.AuthServiceClient) error {
	stream, err := auth.StreamDenyList(ctx, &authv1.StreamDenyListRequest{AfterNumber: l.Number()})
	if err != nil {
		return err
	}
	for {
		piece, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := l.Take(ctx, piece.GetSignedList()); err != nil {
			return err
		}
	}
}
