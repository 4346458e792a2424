package sdk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

const (
	// presenceType is the header typ of auth's assertions.
	presenceType = "armlet-assertion+jwt"
	// presenceLife is the longest that an assertion is good.
	presenceLife = 30 * time.Second
	// presenceSkew is how much the clocks of auth and of a partner may differ.
	presenceSkew = 5 * time.Second
)

// ErrPresence is the error of an assertion that does not prove a wearer's presence to this partner now.
var ErrPresence = errors.New("sdk: the assertion proves no presence")

// Presence says that a wearer tapped for a partner: what a PRESENCE challenge leads to.
type Presence struct {
	ID        string `json:"jti"`
	Account   string `json:"account"`  // `accounts/{account}`
	Device    string `json:"device"`   // `partners/{partner}/devices/{uid}`
	Intent    string `json:"intent"`   // UUID that the partner gave with the challenge
	Audience  string `json:"merchant"` // UUID: the audience id that the partner gave with the challenge
	Assurance int    `json:"assurance"`
	Counter   uint32 `json:"counter"`
	Risk      int    `json:"risk"`
	// TappedAt is when auth signed, in Unix seconds, and ExpiresAt when the assertion ends.
	TappedAt  int64 `json:"iat"`
	ExpiresAt int64 `json:"exp"`
}

// PresenceVerifier verifies assertions in a partner's own service, without asking auth for each. It is safe for concurrent
// use; make one for a process, since it remembers which assertions it has seen.
type PresenceVerifier struct {
	Keys    *KeySet
	Issuer  string // auth's token-issuer
	Partner string // `partners/{partner}`

	mu   sync.Mutex
	seen map[string]int64 // jti and when it ends
}

// Verify checks an assertion of VerifyResponse and says who was there. Each assertion is good once: a second time it is
// ErrPresence, as is one for another partner, another purpose, or that has ended. It may also be ErrSignature or ErrKeys.
func (v *PresenceVerifier) Verify(ctx context.Context, assertion string) (Presence, error) {
	payload, err := v.Keys.Verify(ctx, assertion, presenceType)
	if err != nil {
		return Presence{}, err
	}
	var claims struct {
		Presence
		Issuer  string `json:"iss"`
		For     string `json:"aud"`
		Purpose string `json:"purpose"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return Presence{}, ErrPresence
	}
	now, p := v.Keys.now(), claims.Presence
	from, until := time.Unix(p.TappedAt, 0), time.Unix(p.ExpiresAt, 0)
	switch {
	case v.Issuer == "" || v.Partner == "" || claims.Issuer != v.Issuer || claims.For != v.Partner:
		return Presence{}, fmt.Errorf("%w: it is for %q by %q", ErrPresence, claims.For, claims.Issuer)
	case claims.Purpose != "PRESENCE" || p.ID == "" || p.Account == "" || p.Device == "":
		return Presence{}, fmt.Errorf("%w: its purpose is %q", ErrPresence, claims.Purpose)
	case !now.Before(until.Add(presenceSkew)), from.After(now.Add(presenceSkew)), until.Sub(from) > presenceLife:
		return Presence{}, fmt.Errorf("%w: it is good from %s to %s", ErrPresence, from.UTC(), until.UTC())
	case !v.once(p, now):
		return Presence{}, fmt.Errorf("%w: it was presented before", ErrPresence)
	}
	return p, nil
}

// once remembers the assertion until it has ended and reports whether it is new.
func (v *PresenceVerifier) once(p Presence, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil {
		v.seen = map[string]int64{}
	}
	for id, end := range v.seen { // never more than were presented within half a minute
		if now.After(time.Unix(end, 0).Add(2 * presenceSkew)) {
			delete(v.seen, id)
		}
	}
	if _, seen := v.seen[p.ID]; seen {
		return false
	}
	// auth signs one decision again for a lost reply, under the same id and with a later end.
	v.seen[p.ID] = p.ExpiresAt + int64(10*time.Minute/time.Second)
	return true
}
