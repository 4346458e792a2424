package grpcapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/services/auth/internal/bus"
	"github.com/armlet-pay/armlet/services/auth/internal/grpcapi"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
	"github.com/armlet-pay/armlet/services/auth/internal/store"
	"github.com/armlet-pay/armlet/services/auth/internal/token"
)

// load mints and verifies without pause until it is stopped.
type load struct {
	f *fixture
	// day is held for reading while a token is made and verified, so that it does not end meanwhile.
	day      sync.RWMutex
	stop     chan struct{}
	all      sync.WaitGroup
	verified atomic.Int64
}

// run has each mint's tokens verified by each verifier, by several callers at once.
func (l *load) run(t *testing.T, mints []*token.Mint, verifiers []*rpc.JWTVerifier) {
	for caller := range 2 * len(mints) {
		l.all.Go(func() {
			for i := caller; ; i++ {
				select {
				case <-l.stop:
					return
				default:
				}
				l.day.RLock()
				made, err := mints[i%len(mints)].Wearer(t.Context(), "operator", fmt.Sprint("ann", i), l.f.clock.Now())
				if err != nil {
					t.Errorf("mint: %v", err)
				}
				for n, v := range verifiers {
					if _, err := v.Verify(t.Context(), made.Text); err != nil {
						t.Errorf("verifier %d refuses a token that was just made: %v", n, err)
					}
					l.verified.Add(1)
				}
				l.day.RUnlock()
			}
		})
	}
}

// tomorrow lets a day go by between two tokens.
func (l *load) tomorrow() {
	l.day.Lock()
	defer l.day.Unlock()
	l.f.clock.Advance(25 * time.Hour)
}

// settled waits until n more tokens were verified.
func (l *load) settled(t *testing.T, n int64) {
	t.Helper()
	for until := l.verified.Load() + n; l.verified.Load() < until && !t.Failed(); {
		time.Sleep(time.Millisecond)
	}
}

// replica is another process of auth on the same database and key file.
func (f *fixture) replica() (*keys.Ring, *keys.Service, *token.Mint) {
	f.t.Helper()
	s, err := store.New(f.t.Context(), f.db, bus.Encode)
	must(f.t, err)
	kek, err := keys.OpenLocal(f.keyFile)
	must(f.t, err)
	ring, err := keys.Open(f.t.Context(), s, kek, f.clock.Now())
	must(f.t, err)
	return ring, keys.NewService(s, ring, keys.Schedule{Life: 720 * time.Hour, Ahead: 24 * time.Hour, Kept: 25 * time.Hour}), token.NewMint(issuer, ring, s)
}

func TestSigningKeysRotateUnderLoadWithoutOneFailedVerification(t *testing.T) {
	f := newFixture(t)
	other, otherKeys, otherMint := f.replica()
	published := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		document, err := other.JWKS() // verifiers do not all ask the process that signs
		if err != nil {
			t.Error(err)
		}
		_, _ = rw.Write(document)
	}))
	defer published.Close()
	verifier := func(url string) *rpc.JWTVerifier {
		return rpc.NewJWTVerifier(rpc.JWTConfig{
			Issuer: issuer, Audience: token.Audience, KeysURL: url, RevocationsURL: f.http.URL + rpc.RevocationsPath, Now: f.clock.Now,
		})
	}
	verifiers := []*rpc.JWTVerifier{verifier(f.http.URL + grpcapi.KeysPath), verifier(published.URL)}
	l := &load{f: f, stop: make(chan struct{})}
	l.run(t, []*token.Mint{f.mint, otherMint}, verifiers)
	kids := map[string]bool{}
	for i := range 4 {
		l.settled(t, 20)
		l.tomorrow() // the prepared key has been published for its day
		must(t, otherKeys.Maintain(t.Context(), f.clock.Now()))
		info, err := f.keys.Rotate(t.Context(), request.ID{Caller: "operator", Method: "RotateSigningKey", ID: fmt.Sprint(i)}, false, f.clock.Now())
		must(t, err)
		kids[info.Kid] = true
		l.settled(t, 20) // the other process signs with the key before
		must(t, otherKeys.Maintain(t.Context(), f.clock.Now()))
	}
	l.settled(t, 20)
	close(l.stop)
	l.all.Wait()
	if len(kids) != 4 {
		t.Errorf("%d keys signed", len(kids))
	}
	t.Logf("%d verifications, none failed", l.verified.Load())
	f.withdraw(t, verifiers, otherKeys, otherMint)
}

// withdraw taints the key that signs: what it signed is void at once for whoever has heard of it, and every process goes on
// with another.
func (f *fixture) withdraw(t *testing.T, verifiers []*rpc.JWTVerifier, otherKeys *keys.Service, otherMint *token.Mint) {
	t.Helper()
	stolen, err := f.mint.Wearer(t.Context(), "operator", "eve", f.clock.Now())
	must(t, err)
	for _, v := range verifiers {
		_, err := v.Verify(t.Context(), stolen.Text)
		must(t, err)
	}
	all, err := f.ring.List(t.Context(), keys.Signing, "")
	must(t, err)
	for _, k := range all {
		if k.State == keys.Active {
			_, err = f.keys.TaintSigning(t.Context(), request.ID{Caller: "operator", Method: "TaintSigningKey", ID: "taint"}, k.Kid, f.clock.Now())
			must(t, err)
		}
	}
	must(t, otherKeys.Maintain(t.Context(), f.clock.Now()))
	f.clock.Advance(time.Second) // that is how old the list of what was taken back may be
	for n, v := range verifiers {
		_, err := v.Verify(t.Context(), stolen.Text)
		want(t, err, fault.Unauthenticated, "CALLER_UNKNOWN")
		for _, mint := range []*token.Mint{f.mint, otherMint} {
			fresh, err := mint.Wearer(t.Context(), "operator", "ann", f.clock.Now())
			must(t, err)
			if _, err := v.Verify(t.Context(), fresh.Text); err != nil {
				t.Errorf("verifier %d refuses the next key: %v", n, err)
			}
		}
	}
}
