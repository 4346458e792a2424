package rpc_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/rpc"
)

// TestKeysAndRevocationsComeFromWhicheverReplicaAnswers has two replicas of an issuer, of which first one and then the
// other is away, for longer than anybody would be believed without news.
func TestKeysAndRevocationsComeFromWhicheverReplicaAnswers(t *testing.T) {
	r := newRevoker(t)
	var away [2]atomic.Bool
	keys := ""
	for i := range away {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			switch {
			case away[i].Load():
				http.Error(w, "stopping", http.StatusServiceUnavailable)
			case req.URL.Path == rpc.RevocationsPath:
				r.serveList(w, req)
			default:
				r.serve(w, req)
			}
		}))
		t.Cleanup(srv.Close)
		keys += srv.URL + "/.well-known/jwks.json, "
	}
	keys = keys[:len(keys)-2]
	v := rpc.NewJWTVerifier(rpc.JWTConfig{
		Issuer: "https://auth.test", Audience: "armlet", KeysURL: keys, RevocationsURL: rpc.RevocationsURL(keys), Now: r.clock.Now,
	})
	token := func(jti string) string {
		return r.sign("k1", nil, r.claims(m{"jti": jti, "rvs": 0, "rvh": []string{"client-1"}}))
	}
	wantToken(t, v, token("a"), "")
	for i := range away {
		away[i].Store(true)
		for range 4 {
			r.clock.Advance(20 * time.Second)
			wantToken(t, v, token("b"), "")
		}
		away[i].Store(false)
	}
	away[1].Store(true)
	r.revoke("client-1")
	r.clock.Advance(time.Second)
	wantToken(t, v, token("c"), "revoked")
	away[0].Store(true)
	r.clock.Advance(time.Minute)
	wantToken(t, v, r.sign("k1", nil, r.claims(m{"jti": "d", "rvh": []string{"client-2"}})), rpc.ReasonRevocationsUnavailable)
}
