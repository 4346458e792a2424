package rpc

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"
)

const (
	// keysFresh is how long fetched keys are used without asking again; a key that was taken back is refused after this.
	keysFresh = 5 * time.Minute
	// keysUsable is how long they are used while asking again fails.
	keysUsable = time.Hour
	// keysRetry is the least time between two fetches after one failed.
	keysRetry = time.Second
	// keysUnknownEvery and keysUnknownBurst bound the fetches that tokens with made-up key ids can cause.
	keysUnknownEvery = 10 * time.Second
	keysUnknownBurst = 3
	// keysTimeout bounds one fetch.
	keysTimeout = 5 * time.Second
	// maxKeysBytes bounds the document.
	maxKeysBytes = 256 << 10
)

// keySet is the issuer's public keys, fetched when needed.
type keySet struct {
	urls   *urls
	client *http.Client
	now    func() time.Time
	// fetching is held by whoever fetches; a channel, so that waiting for it ends with the call.
	fetching chan struct{}
	unknown  *rate.Limiter

	mu      sync.RWMutex
	keys    map[string]ed25519.PublicKey
	fetched time.Time // when keys were fetched
	failed  time.Time // when a fetch failed last
}

func newKeySet(addresses string, client *http.Client, now func() time.Time) *keySet {
	if client == nil {
		client = &http.Client{
			Timeout:       keysTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("a key set does not redirect") },
		}
	}
	return &keySet{
		urls: newURLs(addresses), client: client, now: now, fetching: make(chan struct{}, 1),
		unknown: rate.NewLimiter(rate.Every(keysUnknownEvery), keysUnknownBurst),
	}
}

// current reports whether the key is published as far as fresh keys say.
func (s *keySet) current(kid string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.keys[kid]
	return ok && s.now().Sub(s.fetched) < keysFresh
}

// find gives the key, asking the issuer again when it is not known or what is known is old.
func (s *keySet) find(ctx context.Context, kid string) (ed25519.PublicKey, error) {
	if key, done, _ := s.look(kid); done {
		return key, nil
	}
	select {
	case s.fetching <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.fetching }()

	key, done, age := s.look(kid) // somebody else may have fetched meanwhile
	if done {
		return key, nil
	}
	fetchErr := s.refresh(ctx, age < keysFresh)
	if key, _, age = s.look(kid); key != nil && age < keysUsable {
		return key, nil
	}
	if age >= keysUsable {
		return nil, errKeysUnavailable.WithCause(fetchErr)
	}
	return nil, errTokenInvalid.WithCause(fmt.Errorf("unknown key id: %w", errors.Join(fetchErr, errors.New("not in the key set"))))
}

// look is done when the key is known and fresh.
func (s *keySet) look(kid string) (key ed25519.PublicKey, done bool, age time.Duration) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.keys == nil {
		return nil, false, keysUsable
	}
	age = s.now().Sub(s.fetched)
	key = s.keys[kid]
	return key, key != nil && age < keysFresh, age
}

// refresh fetches unless that would be too often. A fetch for an unknown key among fresh ones has a budget of its own,
// because anybody can make up key ids.
func (s *keySet) refresh(ctx context.Context, fresh bool) error {
	now := s.now()
	s.mu.RLock()
	wait := !s.failed.IsZero() && now.Sub(s.failed) < keysRetry
	s.mu.RUnlock()
	if wait || fresh && !s.unknown.AllowN(now, 1) {
		return errors.New("the keys were asked for a moment ago")
	}
	keys, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = now
		return err
	}
	s.keys, s.fetched, s.failed = keys, now, time.Time{}
	return nil
}

func (s *keySet) fetch(ctx context.Context) (map[string]ed25519.PublicKey, error) {
	// Others wait for this fetch too: it does not end with the call that began it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysTimeout)
	defer cancel()
	return first(s.urls, func() bool { return ctx.Err() != nil }, func(url string) (map[string]ed25519.PublicKey, error) { return s.fetchFrom(ctx, url) })
}

func (s *keySet) fetchFrom(ctx context.Context, url string) (map[string]ed25519.PublicKey, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("key set: HTTP status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeysBytes))
	if err != nil {
		return nil, err
	}
	return parseKeys(body)
}

// parseKeys takes the Ed25519 signing keys and passes over the rest, as RFC 7517, section 5 asks. A set in which two of them
// have one name is refused: it does not say which is meant.
func parseKeys(body []byte) (map[string]ed25519.PublicKey, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	keys := map[string]ed25519.PublicKey{}
	for _, raw := range doc.Keys {
		var k jose.JSONWebKey
		if err := json.Unmarshal(raw, &k); err != nil {
			continue
		}
		pub, ok := k.Key.(ed25519.PublicKey)
		if ok && k.KeyID != "" && (k.Use == "" || k.Use == "sig") && (k.Algorithm == "" || k.Algorithm == string(jose.EdDSA)) {
			if _, twice := keys[k.KeyID]; twice {
				return nil, errors.New("key set: two keys have one kid")
			}
			keys[k.KeyID] = pub
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("key set: no Ed25519 signing key in it")
	}
	return keys, nil
}
