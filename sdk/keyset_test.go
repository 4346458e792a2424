package sdk

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/proto/wire"
)

// issuer is auth as a partner sees it: keys that change, and what is signed with them.
type issuer struct {
	t    *testing.T
	url  string
	mu   sync.Mutex
	keys map[string]ed25519.PrivateKey
	down bool
	asks int
	now  time.Time
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t, keys: map[string]ed25519.PrivateKey{}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	srv := httptest.NewServer(http.HandlerFunc(i.serve))
	t.Cleanup(srv.Close)
	i.url = srv.URL
	i.add("one")
	return i
}

func (i *issuer) serve(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asks++
	if i.down {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	var set jose.JSONWebKeySet
	for kid, key := range i.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: kid, Algorithm: "EdDSA", Use: "sig"})
	}
	_ = json.NewEncoder(w).Encode(set)
}

func (i *issuer) add(kid string) {
	i.t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys[kid] = private
}

func (i *issuer) set() *KeySet {
	return &KeySet{URL: i.url, Now: func() time.Time { return i.now }}
}

// sign signs with a key, under a header that may say otherwise.
func (i *issuer) sign(kid, header string, claims any) string {
	i.t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		i.t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(i.keys[kid], []byte(text)))
}

func (i *issuer) asserts(kid string, changes map[string]any) string {
	claims := map[string]any{
		"iss": "https://auth.example", "aud": "partners/acme", "iat": i.now.Unix(), "exp": i.now.Unix() + 30, "jti": fmt.Sprint(i.asks, kid, len(changes)),
		"purpose": "PRESENCE", "account": "accounts/ann", "device": "partners/acme/devices/0", "intent": "i", "merchant": "m", "assurance": 1,
	}
	maps.Copy(claims, changes)
	return i.sign(kid, `{"alg":"EdDSA","kid":"`+kid+`","typ":"armlet-assertion+jwt"}`, claims)
}

func TestKeysAreKeptAndFollowARotation(t *testing.T) {
	i := newIssuer(t)
	v := &PresenceVerifier{Keys: i.set(), Issuer: "https://auth.example", Partner: "partners/acme"}
	n := 0
	works := func(kid string) error {
		n++
		_, err := v.Verify(t.Context(), i.asserts(kid, map[string]any{"jti": fmt.Sprint(n)}))
		return err
	}
	step := func(name string, after time.Duration, kid string, asks int, want error) {
		t.Helper()
		i.now = i.now.Add(after)
		if err := works(kid); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if i.asks != asks {
			t.Errorf("%s: auth was asked %d times, want %d", name, i.asks, asks)
		}
	}
	step("first", 0, "one", 1, nil)
	step("four minutes later", 4*time.Minute, "one", 1, nil)
	i.add("two")
	step("a key that is not known is asked for", 0, "two", 2, nil)
	i.add("three")
	step("but not at once again", time.Second, "three", 2, ErrSignature)
	step("and then it is", 2*time.Second, "three", 3, nil)
	i.down = true
	step("auth is away and keys are old", 6*time.Minute, "one", 4, nil)
	step("nearly an hour", 50*time.Minute, "one", 5, nil)
	step("more than an hour", 10*time.Minute, "one", 6, ErrKeys)
	i.down = false
	step("auth is back", 3*time.Second, "one", 7, nil)
	delete(i.keys, "one")
	gone := i.keys["two"]
	i.keys["one"] = gone // another key under the name of the one that was withdrawn
	step("what is fresh is used", time.Minute, "one", 7, ErrSignature)
	step("and what came since counts", 5*time.Minute, "one", 8, nil)
}

func TestAPresenceIsProvedOnceToItsPartnerAndInItsTime(t *testing.T) {
	i := newIssuer(t)
	v := &PresenceVerifier{Keys: i.set(), Issuer: "https://auth.example", Partner: "partners/acme"}
	good := i.asserts("one", nil)
	p, err := v.Verify(t.Context(), good)
	if err != nil || p.Account != "accounts/ann" || p.Intent != "i" || p.Audience != "m" || p.Assurance != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	again := i.asserts("one", map[string]any{"iat": i.now.Unix() + 4, "exp": i.now.Unix() + 34, "jti": p.ID})
	parts := strings.Split(good, ".")
	header := func(text string) string { return i.sign("one", text, map[string]any{"x": 1}) }
	for name, text := range map[string]string{
		"a second time":            good,
		"signed again":             again,
		"for another partner":      i.asserts("one", map[string]any{"aud": "partners/globex"}),
		"for payments":             i.asserts("one", map[string]any{"aud": "payments"}),
		"by another issuer":        i.asserts("one", map[string]any{"iss": "https://elsewhere"}),
		"of a payment":             i.asserts("one", map[string]any{"purpose": "PAY"}),
		"that has ended":           i.asserts("one", map[string]any{"iat": i.now.Unix() - 60, "exp": i.now.Unix() - 6}),
		"that lives too long":      i.asserts("one", map[string]any{"exp": i.now.Unix() + 300}),
		"from the future":          i.asserts("one", map[string]any{"iat": i.now.Unix() + 60, "exp": i.now.Unix() + 80}),
		"without an id":            i.asserts("one", map[string]any{"jti": ""}),
		"of another type":          header(`{"alg":"EdDSA","kid":"one","typ":"at+jwt"}`),
		"without a type":           header(`{"alg":"EdDSA","kid":"one"}`),
		"without a key":            header(`{"alg":"EdDSA","typ":"armlet-assertion+jwt"}`),
		"with an extension":        header(`{"alg":"EdDSA","kid":"one","typ":"armlet-assertion+jwt","crit":["exp"]}`),
		"with alg none":            base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"one","typ":"armlet-assertion+jwt"}`)) + "." + parts[1] + ".",
		"with another's signature": parts[0] + "." + parts[1] + "." + strings.Split(again, ".")[2],
		"cut short":                good[:len(good)-3],
		"nonsense":                 "nonsense",
	} {
		if p, err := v.Verify(t.Context(), text); !errors.Is(err, ErrPresence) && !errors.Is(err, ErrSignature) || p != (Presence{}) {
			t.Errorf("one %s: %+v, %v", name, p, err)
		}
	}
	if _, err := (&PresenceVerifier{Keys: i.set(), Issuer: "https://auth.example"}).Verify(t.Context(), i.asserts("one", map[string]any{"aud": ""})); err == nil {
		t.Error("a verifier without a partner accepts one for nobody")
	}
	// Of many that present one assertion at once, one is believed.
	text := i.asserts("one", map[string]any{"jti": "raced"})
	var won [32]bool
	var all sync.WaitGroup
	for n := range won {
		all.Go(func() { _, err := v.Verify(context.Background(), text); won[n] = err == nil })
	}
	all.Wait()
	winners := 0
	for _, w := range won {
		if w {
			winners++
		}
	}
	if winners != 1 {
		t.Errorf("%d were believed", winners)
	}
}

func TestASetOfKeysThatIsAmbiguousOrEmptyIsRefused(t *testing.T) {
	const key = `{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	for text, ok := range map[string]bool{
		`{"keys":[` + key + `]}`:             true,
		`{"keys":[{"kty":"x"},` + key + `]}`: true,
		`{"keys":[` + key + `,` + key + `]}`: false,
		`{"keys":[]}`:                        false,
		`{"keys":[` + strings.Replace(key, `"kid"`, `"use":"enc","kid"`, 1) + `]}`: false,
		`{"keys":[` + key + `],"keys":[]}`:                                         false,
		`nonsense`:                                                                 false,
	} {
		if _, err := parseKeySet([]byte(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func (i *issuer) piece(from, upTo int64, entries ...map[string]any) string {
	return i.sign("one", `{"alg":"EdDSA","kid":"one","typ":"armlet-denylist+jwt"}`, map[string]any{
		"iss": "https://auth.example", "iat": i.now.Unix(), "from": from, "up_to": upTo, "entries": entries,
	})
}

func TestADenyListIsTakenInPieceByPiece(t *testing.T) {
	i := newIssuer(t)
	l := &DenyList{Keys: i.set(), Issuer: "https://auth.example"}
	lost := wire.Alias{1, 2, 3, 4, 5, 6, 7, 8}
	entry := func(allowed bool) map[string]any {
		return map[string]any{"alias": "0102030405060708", "exp": i.now.Add(time.Hour).Unix(), "allowed": allowed}
	}
	first, second := i.piece(0, 3, entry(false)), i.piece(3, 4, entry(true))
	take := func(text string, want error) {
		t.Helper()
		if err := l.Take(t.Context(), text); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	take(second, ErrDenyList) // a gap
	take(first, nil)
	if !l.Denied(lost) || l.Number() != 3 || l.Denied(wire.Alias{9}) {
		t.Fatalf("after the first piece: %d, %t", l.Number(), l.Denied(lost))
	}
	take(i.asserts("one", nil), ErrSignature) // something else that auth signed
	take(first[:len(first)-2], ErrSignature)
	take(i.sign("one", `{"alg":"EdDSA","kid":"one","typ":"armlet-denylist+jwt"}`, map[string]any{"iss": "https://elsewhere", "from": 3, "up_to": 9}), ErrDenyList)
	take(i.piece(3, 5, map[string]any{"alias": "01", "exp": 1}), ErrDenyList)
	take(second, nil)
	take(first, nil) // once more changes nothing
	if l.Denied(lost) || l.Number() != 4 {
		t.Errorf("after the second piece: %d, %t", l.Number(), l.Denied(lost))
	}
	take(i.piece(4, 5, entry(false)), nil)
	i.now = i.now.Add(2 * time.Hour)
	if age := l.Age(); age != 2*time.Hour {
		t.Errorf("the list is %v old", age)
	}
	take(i.piece(5, 5), nil)
	if l.Denied(lost) || l.Age() != 0 {
		t.Error("an alias is kept whose grant has ended")
	}
}

// stream is auth's stream of pieces.
type stream struct {
	authv1.AuthServiceClient
	grpc.ServerStreamingClient[authv1.StreamDenyListResponse]
	pieces []string
	after  int64
}

func (s *stream) StreamDenyList(_ context.Context, in *authv1.StreamDenyListRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[authv1.StreamDenyListResponse], error) {
	s.after = in.GetAfterNumber()
	return s, nil
}

var errBroken = errors.New("the line broke")

func (s *stream) Recv() (*authv1.StreamDenyListResponse, error) {
	if len(s.pieces) == 0 {
		return nil, errBroken
	}
	next := s.pieces[0]
	s.pieces = s.pieces[1:]
	return &authv1.StreamDenyListResponse{SignedList: next}, nil
}

func TestADenyListGoesOnWhereTheStreamBroke(t *testing.T) {
	i := newIssuer(t)
	l := &DenyList{Keys: i.set(), Issuer: "https://auth.example"}
	s := &stream{pieces: []string{i.piece(0, 2), i.piece(2, 7)}}
	if err := l.Follow(t.Context(), s); !errors.Is(err, errBroken) || l.Number() != 7 {
		t.Errorf("%v at %d", err, l.Number())
	}
	s.pieces = []string{i.piece(7, 8), "forged"}
	if err := l.Follow(t.Context(), s); !errors.Is(err, ErrSignature) || s.after != 7 || l.Number() != 8 {
		t.Errorf("%v, asked from %d, at %d", err, s.after, l.Number())
	}
}
