package rpc_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
)

// revoker is an issuer that also takes things back.
type revoker struct {
	*issuer
	list string // URL of the list

	mu    sync.Mutex
	doc   rpc.Revocations
	down  bool
	asked int
}

func newRevoker(t *testing.T) *revoker {
	r := &revoker{issuer: newIssuer(t)}
	srv := httptest.NewServer(http.HandlerFunc(r.serveList))
	t.Cleanup(srv.Close)
	r.list = rpc.RevocationsURL(srv.URL + "/.well-known/jwks.json")
	return r
}

func (r *revoker) serveList(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if r.down || req.URL.Path != rpc.RevocationsPath {
		http.Error(w, "down", http.StatusInternalServerError)
		return
	}
	after, err := strconv.ParseInt(req.URL.Query().Get("after"), 10, 64)
	if err != nil {
		r.t.Error(err)
	}
	doc := rpc.Revocations{Sequence: r.doc.Sequence}
	for _, e := range r.doc.Revoked {
		if e.Sequence > after {
			doc.Revoked = append(doc.Revoked, e)
		}
	}
	_ = json.NewEncoder(w).Encode(doc)
}

func (r *revoker) revoke(handle string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doc.Sequence++
	r.doc.Revoked = append(r.doc.Revoked, rpc.Revocation{
		Handle: handle, Sequence: r.doc.Sequence, Until: r.clock.Now().Add(5 * time.Minute).Unix(),
	})
}

func (r *revoker) setDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

func (r *revoker) checker() *rpc.JWTVerifier {
	return rpc.NewJWTVerifier(rpc.JWTConfig{
		Issuer: "https://auth.test", Audience: "armlet", KeysURL: r.url, RevocationsURL: r.list, Now: r.clock.Now,
	})
}

func wantToken(t *testing.T, v *rpc.JWTVerifier, token, why string) {
	t.Helper()
	_, err := v.Verify(t.Context(), token)
	f, ok := fault.As(err)
	switch {
	case why == "" && err != nil:
		t.Errorf("refused: %v", err)
	case why != "" && (!ok || f.Reason != why && f.Meta["token"] != why):
		t.Errorf("got %v, want %s", err, why)
	}
}

func TestATokenThatWasTakenBackIsRefusedWithinASecond(t *testing.T) {
	r := newRevoker(t)
	v := r.checker()
	old := r.sign("k1", nil, r.claims(m{"rvs": 0, "rvh": []string{"client-1", "grant-1"}}))
	other := r.sign("k1", nil, r.claims(m{"jti": "j2", "rvs": 0, "rvh": []string{"client-2"}}))
	wantToken(t, v, old, "")
	wantToken(t, v, other, "")
	r.revoke("grant-1")
	r.clock.Advance(time.Second)
	wantToken(t, v, old, "revoked")
	wantToken(t, v, other, "")
	// One that was issued afterwards has not been taken back, and a verifier that has just started knows as much.
	wantToken(t, v, r.sign("k1", nil, r.claims(m{"jti": "j3", "rvs": 1, "rvh": []string{"client-1", "grant-1"}})), "")
	wantToken(t, r.checker(), old, "revoked")
	// A token that says nothing of itself can be taken back by nothing; what it was issued with does not matter.
	wantToken(t, v, r.sign("k1", nil, r.claims(m{"jti": "j4"})), "")
}

func TestWithoutNewsTokensAreAcceptedForThirtySecondsAndThenRefused(t *testing.T) {
	r := newRevoker(t)
	v := r.checker()
	token := r.sign("k1", nil, r.claims(m{"rvh": []string{"client-1"}}))
	wantToken(t, v, token, "")
	r.setDown(true)
	r.clock.Advance(29 * time.Second)
	wantToken(t, v, token, "")
	r.clock.Advance(2 * time.Second)
	wantToken(t, v, token, rpc.ReasonRevocationsUnavailable)
	wantToken(t, r.checker(), token, rpc.ReasonRevocationsUnavailable)
	r.revoke("client-1")
	r.setDown(false)
	r.clock.Advance(time.Second)
	wantToken(t, v, token, "revoked")
}

func TestNothingThatAWithdrawnKeySignedIsBelieved(t *testing.T) {
	r := newRevoker(t)
	v := r.checker()
	token := r.sign("k1", nil, r.claims(nil))
	wantToken(t, v, token, "")
	r.revoke(rpc.KeyHandle("k1"))
	r.clock.Advance(time.Second)
	wantToken(t, v, token, "revoked")
	wantToken(t, v, r.sign("k1", nil, r.claims(m{"jti": "forged", "rvs": 1 << 40})), "revoked")
	if _, err := v.VerifyJWS(t.Context(), r.sign("k1", m{"typ": "other+jwt"}, r.claims(nil)), "other+jwt"); fault.ReasonOf(err) != rpc.ReasonCallerUnknown {
		t.Errorf("another kind of token: %v", err)
	}
}

func TestAListThatWentBackIsNotBelieved(t *testing.T) {
	r := newRevoker(t)
	v := r.checker()
	token := r.sign("k1", nil, r.claims(m{"rvh": []string{"client-1"}}))
	r.revoke("client-1")
	wantToken(t, v, token, "revoked")
	r.mu.Lock()
	r.doc = rpc.Revocations{}
	r.mu.Unlock()
	r.clock.Advance(time.Second)
	wantToken(t, v, token, "revoked")
	r.clock.Advance(31 * time.Second)
	wantToken(t, v, token, rpc.ReasonRevocationsUnavailable)
}

func TestManyCallersCauseOneQuestion(t *testing.T) {
	r := newRevoker(t)
	v := r.checker()
	token := r.sign("k1", nil, r.claims(m{"rvh": []string{"client-1"}}))
	wantToken(t, v, token, "")
	r.clock.Advance(time.Second)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() { wantToken(t, v, token, "") })
	}
	wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked != 2 {
		t.Errorf("the list was asked for %d times", r.asked)
	}
}

func TestTheListIsNextToTheKeys(t *testing.T) {
	for keys, want := range map[string]string{
		"http://auth:8002/.well-known/jwks.json": "http://auth:8002/oauth2/revocations",
		"https://auth.example/a/b?c=d":           "https://auth.example/oauth2/revocations",
		"":                                       "", "://": "", "no url": "",
	} {
		if got := rpc.RevocationsURL(keys); got != want {
			t.Errorf("%q: %q, want %q", keys, got, want)
		}
	}
}
