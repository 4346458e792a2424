package rpc_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/testkit"
)

// issuer is an authorization server: keys, a JWKS endpoint, and a hand that signs whatever it is told.
type issuer struct {
	t       *testing.T
	url     string
	clock   *testkit.FakeClock
	fetches atomic.Int64

	mu        sync.Mutex
	published map[string]ed25519.PublicKey
	broken    bool
	keys      map[string]ed25519.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	is := &issuer{t: t, clock: testkit.Clock(time.Unix(1_900_000_000, 0)), published: map[string]ed25519.PublicKey{}, keys: map[string]ed25519.PrivateKey{}}
	srv := httptest.NewServer(http.HandlerFunc(is.serve))
	t.Cleanup(srv.Close)
	is.url = srv.URL
	is.addKey("k1")
	is.publish("k1")
	return is
}

func (is *issuer) serve(w http.ResponseWriter, _ *http.Request) {
	is.fetches.Add(1)
	is.mu.Lock()
	defer is.mu.Unlock()
	if is.broken {
		http.Error(w, "down", http.StatusInternalServerError)
		return
	}
	set := jose.JSONWebKeySet{}
	for kid, pub := range is.published {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: pub, KeyID: kid, Algorithm: "EdDSA", Use: "sig"})
	}
	b, err := json.Marshal(set)
	if err != nil {
		is.t.Error(err)
	}
	// A key of a type that nobody here knows must not spoil the others.
	_, _ = w.Write([]byte(strings.Replace(string(b), `{"keys":[`, `{"keys":[{"kty":"NEW","kid":"future"},`, 1)))
}

func (is *issuer) addKey(kid string) {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		is.t.Fatal(err)
	}
	is.mu.Lock()
	defer is.mu.Unlock()
	is.keys[kid] = priv
}

func (is *issuer) publish(kids ...string) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.published = map[string]ed25519.PublicKey{}
	for _, kid := range kids {
		is.published[kid] = is.keys[kid].Public().(ed25519.PublicKey)
	}
}

func (is *issuer) setBroken(b bool) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.broken = b
}

func (is *issuer) verifier() *rpc.JWTVerifier {
	return rpc.NewJWTVerifier(rpc.JWTConfig{Issuer: "https://auth.test", Audience: "armlet", KeysURL: is.url, Now: is.clock.Now})
}

type m = map[string]any

// claims are those of a good partner token, changed by the edit; a nil value removes a claim.
func (is *issuer) claims(edit m) m {
	now := is.clock.Now().Unix()
	c := m{
		"iss": "https://auth.test", "sub": "acme-1", "aud": "armlet", "iat": now, "exp": now + 300, "jti": "j1", "client_id": "acme-1",
		"role": "partner", "partner": "acme", "partner_no": 7, "mode": "live", "scope": "devices.read payments.read",
	}
	maps.Copy(c, edit)
	for k, v := range c {
		if v == nil {
			delete(c, k)
		}
	}
	return c
}

func b64(v any) string {
	b, ok := v.([]byte)
	if !ok {
		var err error
		if b, err = json.Marshal(v); err != nil {
			panic(err)
		}
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// sign signs header and claims as they are; the header says k1, EdDSA and at+jwt unless it is edited.
func (is *issuer) sign(kid string, header, claims m) string {
	h := m{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}
	maps.Copy(h, header)
	for k, v := range h {
		if v == nil {
			delete(h, k)
		}
	}
	is.mu.Lock()
	defer is.mu.Unlock()
	input := b64(h) + "." + b64(claims)
	return input + "." + b64(ed25519.Sign(is.keys[kid], []byte(input)))
}

func (is *issuer) good() string { return is.sign("k1", nil, is.claims(nil)) }

func TestAGoodTokenNamesItsCaller(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier()
	want := rpc.Caller{
		Role: rpc.RolePartner, ID: "acme-1", Partner: "acme", PartnerNo: 7, Mode: "live",
		Scopes: []string{"devices.read", "payments.read"},
	}
	for name, token := range map[string]string{
		"plain":               is.good(),
		"aud is a list":       is.sign("k1", nil, is.claims(m{"aud": []string{"other", "armlet"}})),
		"typ in full":         is.sign("k1", m{"typ": "application/at+jwt"}, is.claims(nil)),
		"expired within skew": is.sign("k1", nil, is.claims(m{"exp": is.clock.Now().Unix() - 4})),
		"made within skew":    is.sign("k1", nil, is.claims(m{"iat": is.clock.Now().Unix() + 4})),
		"exp with a fraction": is.sign("k1", nil, is.claims(m{"exp": float64(is.clock.Now().Unix()) + 0.5})),
	} {
		got, err := v.Verify(t.Context(), token)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestABadTokenIsRefused(t *testing.T) {
	is := newIssuer(t)
	is.addKey("k2") // never published
	now := is.clock.Now().Unix()
	good := is.good()
	parts := strings.Split(good, ".")

	none := b64(m{"alg": "none", "typ": "at+jwt", "kid": "k1"}) + "." + parts[1] + "."
	pub := is.keys["k1"].Public().(ed25519.PublicKey)
	hs, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: []byte(pub), KeyID: "k1"}}, (&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	object, err := hs.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	confused, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	own := jose.JSONWebKey{Key: is.keys["k2"].Public(), KeyID: "k2"}

	for name, token := range map[string]string{
		"empty":                         "",
		"not a token":                   "a.b.c",
		"alg none":                      none,
		"alg none, signature kept":      b64(m{"alg": "none", "typ": "at+jwt", "kid": "k1"}) + "." + parts[1] + "." + parts[2],
		"HS256 with the public key":     confused,
		"signature of something else":   parts[0] + "." + b64(is.claims(m{"role": "operator"})) + "." + parts[2],
		"signature cut":                 good[:len(good)-4],
		"no signature":                  parts[0] + "." + parts[1] + ".",
		"a key that is not published":   is.sign("k2", nil, is.claims(nil)),
		"another's key id":              is.sign("k2", m{"kid": "k1"}, is.claims(nil)),
		"the key comes with the token":  is.sign("k2", m{"jwk": own}, is.claims(nil)),
		"no key id":                     is.sign("k1", m{"kid": nil}, is.claims(nil)),
		"a critical header":             is.sign("k1", m{"crit": []string{"x"}, "x": 1}, is.claims(nil)),
		"typ JWT":                       is.sign("k1", m{"typ": "JWT"}, is.claims(nil)),
		"typ of another kind":           is.sign("k1", m{"typ": "armlet-assertion+jwt"}, is.claims(nil)),
		"no typ":                        is.sign("k1", m{"typ": nil}, is.claims(nil)),
		"typ is no string":              is.sign("k1", m{"typ": 1}, is.claims(nil)),
		"wrong issuer":                  is.sign("k1", nil, is.claims(m{"iss": "https://evil.test"})),
		"wrong audience":                is.sign("k1", nil, is.claims(m{"aud": "other"})),
		"audience only begins right":    is.sign("k1", nil, is.claims(m{"aud": "armlet2"})),
		"no audience":                   is.sign("k1", nil, is.claims(m{"aud": nil})),
		"audience is no text":           is.sign("k1", nil, is.claims(m{"aud": 5})),
		"no subject":                    is.sign("k1", nil, is.claims(m{"sub": nil})),
		"no expiry":                     is.sign("k1", nil, is.claims(m{"exp": nil})),
		"expiry is text":                is.sign("k1", nil, is.claims(m{"exp": "tomorrow"})),
		"expired":                       is.sign("k1", nil, is.claims(m{"exp": now - 6})),
		"not made yet":                  is.sign("k1", nil, is.claims(m{"iat": now + 60})),
		"made at no time":               is.sign("k1", nil, is.claims(m{"iat": nil})),
		"not good yet":                  is.sign("k1", nil, is.claims(m{"nbf": now + 60})),
		"no role":                       is.sign("k1", nil, is.claims(m{"role": nil})),
		"role service":                  is.sign("k1", nil, is.claims(m{"role": "service", "sub": "payments"})),
		"unknown role":                  is.sign("k1", nil, is.claims(m{"role": "root"})),
		"Role instead of role":          is.sign("k1", nil, is.claims(m{"role": nil, "Role": "operator"})),
		"partner of no partner":         is.sign("k1", nil, is.claims(m{"partner": nil})),
		"wearer of no account":          is.sign("k1", nil, is.claims(m{"role": "wearer"})),
		"terminal that is none":         is.sign("k1", nil, is.claims(m{"role": "terminal"})),
		"partner number out of range":   is.sign("k1", nil, is.claims(m{"partner_no": 1 << 40})),
		"payload is no object":          is.sign("k1", nil, nil),
		"a token as long as a novel":    is.sign("k1", nil, is.claims(m{"x": strings.Repeat("x", 9000)})),
		"a JSON serialisation of a JWS": fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, parts[1], parts[0], parts[2]),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := is.verifier().Verify(t.Context(), token)
			f := wantFault(t, err, fault.Unauthenticated, rpc.ReasonCallerUnknown)
			want := "invalid"
			if name == "expired" {
				want = "expired"
			}
			if f.Meta["token"] != want {
				t.Errorf("it says that the token is %s, not %s", f.Meta["token"], want)
			}
			if diff := cmp.Diff(rpc.Caller{}, got); diff != "" {
				t.Errorf("a caller all the same: %s", diff)
			}
			if len(token) > 20 && strings.Contains(err.Error(), token) {
				t.Error("the error repeats the token")
			}
		})
	}
}

func TestAVerifiedTokenIsRememberedUntilItExpires(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier()
	token := is.sign("k1", nil, is.claims(m{"exp": is.clock.Now().Unix() + 60}))
	for range 3 {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	if n := is.fetches.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
	is.clock.Advance(66 * time.Second)
	_, err := v.Verify(t.Context(), token)
	if f := wantFault(t, err, fault.Unauthenticated, rpc.ReasonCallerUnknown); f.Meta["token"] != "expired" {
		t.Errorf("got %+v", f)
	}
}

func TestKeysRotateAndAreTakenBack(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier()
	before := is.sign("k1", nil, is.claims(m{"exp": is.clock.Now().Unix() + 3600}))
	if _, err := v.Verify(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	is.addKey("k2")
	is.publish("k1", "k2")
	if _, err := v.Verify(t.Context(), is.sign("k2", nil, is.claims(nil))); err != nil {
		t.Errorf("a new key is not found: %v", err)
	}
	if n := is.fetches.Load(); n != 2 {
		t.Errorf("%d fetches, want one more for the new key", n)
	}
	is.publish("k2")
	is.clock.Advance(6 * time.Minute) // now what is known is old
	_, err := v.Verify(t.Context(), before)
	wantFault(t, err, fault.Unauthenticated, rpc.ReasonCallerUnknown) // also from the cache
	if _, err := v.Verify(t.Context(), is.sign("k2", nil, is.claims(nil))); err != nil {
		t.Errorf("the other key: %v", err)
	}
}

func TestMadeUpKeyIDsCauseFewFetches(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier()
	if _, err := v.Verify(t.Context(), is.good()); err != nil {
		t.Fatal(err)
	}
	is.addKey("own")
	for i := range 100 {
		token := is.sign("own", m{"kid": fmt.Sprint("made-up-", i)}, is.claims(nil))
		_, err := v.Verify(t.Context(), token)
		wantFault(t, err, fault.Unauthenticated, rpc.ReasonCallerUnknown)
	}
	if n := is.fetches.Load(); n > 4 {
		t.Errorf("%d fetches for 100 made-up key ids", n)
	}
	if _, err := v.Verify(t.Context(), is.good()); err != nil {
		t.Errorf("a good token suffers: %v", err)
	}
	is.publish("k1", "own")
	is.clock.Advance(11 * time.Second) // the budget has recovered
	if _, err := v.Verify(t.Context(), is.sign("own", nil, is.claims(nil))); err != nil {
		t.Errorf("a real new key is not found any more: %v", err)
	}
}

func TestManyCallersFetchTheKeysOnce(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier()
	token := is.good()
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := is.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestWithoutKeysNothingIsDecided(t *testing.T) {
	is := newIssuer(t)
	is.setBroken(true)
	v := is.verifier()
	token := is.sign("k1", nil, is.claims(m{"exp": is.clock.Now().Unix() + 100_000}))
	_, err := v.Verify(t.Context(), token)
	wantFault(t, err, fault.Unavailable, rpc.ReasonKeysUnavailable)

	for range 20 { // an outage is not made worse by asking at every call
		_, err = v.Verify(t.Context(), token)
		wantFault(t, err, fault.Unavailable, rpc.ReasonKeysUnavailable)
	}
	if n := is.fetches.Load(); n != 1 {
		t.Errorf("%d fetches in the same second", n)
	}
	is.setBroken(false)
	is.clock.Advance(2 * time.Second)
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("it does not recover: %v", err)
	}
	is.setBroken(true)
	is.clock.Advance(30 * time.Minute)
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("the keys it has are good for a while: %v", err)
	}
	is.clock.Advance(31 * time.Minute)
	_, err = v.Verify(t.Context(), token)
	wantFault(t, err, fault.Unavailable, rpc.ReasonKeysUnavailable)
}

func TestAKeySetDoesNotRedirect(t *testing.T) {
	is := newIssuer(t)
	srv := httptest.NewServer(http.RedirectHandler(is.url, http.StatusFound))
	defer srv.Close()
	v := rpc.NewJWTVerifier(rpc.JWTConfig{Issuer: "https://auth.test", Audience: "armlet", KeysURL: srv.URL, Now: is.clock.Now})
	_, err := v.Verify(t.Context(), is.good())
	wantFault(t, err, fault.Unavailable, rpc.ReasonKeysUnavailable)
}

func TestWaitingForKeysEndsWithTheCall(t *testing.T) {
	entered, release := make(chan struct{}, 1), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	}))
	defer srv.Close()
	defer close(release)
	is := newIssuer(t)
	token := is.good()
	v := rpc.NewJWTVerifier(rpc.JWTConfig{Issuer: "https://auth.test", Audience: "armlet", KeysURL: srv.URL, Now: is.clock.Now})
	go func() { _, _ = v.Verify(context.WithoutCancel(t.Context()), token) }()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := v.Verify(ctx, token); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestOtherTypedTokensAreVerifiedWithTheSameKeys(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier()
	token := is.sign("k1", m{"typ": "proof+jwt"}, m{"x": 1})
	payload, err := v.VerifyJWS(t.Context(), token, "proof+jwt")
	if err != nil || string(payload) != `{"x":1}` {
		t.Errorf("got %s, %v", payload, err)
	}
	_, err = v.VerifyJWS(t.Context(), token, "other+jwt")
	wantFault(t, err, fault.Unauthenticated, rpc.ReasonCallerUnknown)
	_, err = v.VerifyJWS(t.Context(), is.good(), "proof+jwt")
	wantFault(t, err, fault.Unauthenticated, rpc.ReasonCallerUnknown)
}

func TestATokenWorksThroughTheServer(t *testing.T) {
	is := newIssuer(t)
	r := serve(t, rpc.ServerConfig{Verifier: is.verifier()}, handlers{echo: whoAmI})
	if got, err := call(t.Context(), r.with(t, is.good()), "x"); err != nil || got != "partner acme-1 partner=acme mode=live" {
		t.Errorf("got %q, %v", got, err)
	}
	stale := is.sign("k1", nil, is.claims(m{"exp": is.clock.Now().Unix() - 60}))
	_, err := call(t.Context(), r.with(t, stale), "x")
	if f := wantFault(t, err, fault.Unauthenticated, rpc.ReasonCallerUnknown); f.Meta["token"] != "expired" {
		t.Errorf("got %+v", f)
	}
	if strings.Contains(r.log.String(), stale) || strings.Contains(r.log.String(), is.good()) {
		t.Error("the log has a token in it")
	}
}
