package sdk

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	// Unlike the standard library's it tells aud from AUD and refuses a member that stands there twice.
	"github.com/go-jose/go-jose/v4/json"
)

const (
	// keysFresh is how long keys are used without asking again.
	keysFresh = 5 * time.Minute
	// keysUsable is how long they are used while asking again fails.
	keysUsable = time.Hour
	// keysEvery is the least time between two questions, whatever key ids tokens make up.
	keysEvery = 2 * time.Second
	// maxDocument bounds what is read of an answer, and maxSigned what is parsed as signed.
	maxDocument = 256 << 10
	maxSigned   = 256 << 10
)

// ErrSignature is the error of whatever was not signed by auth, or not as what it is taken for.
var ErrSignature = errors.New("sdk: this was not signed by auth as what it is taken for")

// ErrKeys is the error when the keys to verify with cannot be had. It says nothing about what was to be verified.
var ErrKeys = errors.New("sdk: the keys to verify with cannot be had at present")

// KeySet is the public keys of auth (RFC 7517). They are fetched when they are first needed, again every five minutes and
// when something names a key that is not among them, and used for up to an hour while auth cannot be reached: a key is
// published at least a day before it signs. It is safe for concurrent use.
type KeySet struct {
	// URL is where auth publishes them, see Endpoints.
	URL string
	// Client asks for them; nil is one with a timeout.
	Client *http.Client
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	mu      sync.Mutex
	keys    map[string]ed25519.PublicKey
	fetched time.Time
	asked   time.Time
}

// Verify checks a JWS (RFC 7515) in compact form: EdDSA by one of the keys, and exactly this header typ. It returns the
// payload, or an error that is ErrSignature or ErrKeys.
func (s *KeySet) Verify(ctx context.Context, text, typ string) ([]byte, error) {
	if len(text) > maxSigned {
		return nil, ErrSignature
	}
	// The list of algorithms keeps "none" out, and MACs with the public key.
	jws, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil || len(jws.Signatures) != 1 {
		return nil, ErrSignature
	}
	header := jws.Signatures[0].Protected
	name, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if _, critical := header.ExtraHeaders["crit"]; critical || header.KeyID == "" ||
		strings.TrimPrefix(strings.ToLower(name), "application/") != typ {
		return nil, ErrSignature
	}
	key, err := s.find(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	payload, err := jws.Verify(key)
	if err != nil {
		return nil, ErrSignature
	}
	return payload, nil
}

// find is the key with an id.
func (s *KeySet) find(ctx context.Context, kid string) (ed25519.PublicKey, error) {
	s.mu.Lock() // also while asking: whoever comes meanwhile needs the answer too
	defer s.mu.Unlock()
	now := s.now()
	key, age := s.keys[kid], now.Sub(s.fetched)
	if key != nil && age < keysFresh {
		return key, nil
	}
	var failed error
	if s.asked.IsZero() || now.Sub(s.asked) >= keysEvery {
		s.asked = now
		keys, err := s.fetch(ctx)
		if err == nil {
			s.keys, s.fetched = keys, now
		}
		failed = err
	}
	key, age = s.keys[kid], now.Sub(s.fetched)
	switch {
	case s.keys == nil, age >= keysUsable:
		return nil, errors.Join(ErrKeys, failed)
	case key == nil:
		return nil, ErrSignature
	}
	return key, nil
}

func (s *KeySet) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *KeySet) fetch(ctx context.Context) (map[string]ed25519.PublicKey, error) {
	client := s.Client
	if client == nil {
		client = &http.Client{Timeout: DefaultTimeout}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("sdk: keys: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("sdk: keys: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is left to read
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("sdk: keys: %s answered %s", s.URL, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument))
	if err != nil {
		return nil, fmt.Errorf("sdk: keys: %w", err)
	}
	return parseKeySet(body)
}

// parseKeySet takes the Ed25519 keys for signatures and passes over the rest (RFC 7517, section 5). Two of them with one
// name are refused: the set does not say which is meant.
func parseKeySet(document []byte) (map[string]ed25519.PublicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, fmt.Errorf("sdk: keys: %w", err)
	}
	keys := map[string]ed25519.PublicKey{}
	for _, text := range set.Keys {
		var jwk jose.JSONWebKey
		if jwk.UnmarshalJSON(text) != nil {
			continue
		}
		key, ok := jwk.Key.(ed25519.PublicKey)
		if !ok || jwk.KeyID == "" || jwk.Use != "" && jwk.Use != "sig" || jwk.Algorithm != "" && jwk.Algorithm != string(jose.EdDSA) {
			continue
		}
		if keys[jwk.KeyID] != nil {
			return nil, errors.New("sdk: keys: two have one id")
		}
		keys[jwk.KeyID] = key
	}
	if len(keys) == 0 {
		return nil, errors.New("sdk: keys: none in the answer is an Ed25519 key for signatures")
	}
	return keys, nil
}
