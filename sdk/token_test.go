package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// endpoint is a token endpoint that checks the assertion against the key.
func endpoint(t *testing.T, key Key) (url string, asked func() []jwt.Claims) {
	t.Helper()
	var mu sync.Mutex
	var seen []jwt.Claims
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parsed, err := jwt.ParseSigned(r.PostFormValue("client_assertion"), []jose.SignatureAlgorithm{jose.EdDSA})
		if err != nil {
			t.Errorf("assertion: %v", err)
			return
		}
		var claims jwt.Claims
		if err := parsed.Claims(key.jwk.Public().Key, &claims); err != nil {
			t.Errorf("the assertion is not signed with the client's key: %v", err)
		}
		mu.Lock()
		seen = append(seen, claims)
		n := len(seen)
		mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprint("token-", n), "expires_in": 300})
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() []jwt.Claims {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

func TestATokenIsKeptUntilShortlyBeforeItsEnd(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	url, asked := endpoint(t, key)
	source := ClientCredentials(url, "acme-backend", key).(*clientCredentials) //nolint:forcetypeassert // it is ours
	now := time.Now()
	source.now = func() time.Time { return now }
	for _, step := range []struct {
		after time.Duration
		want  string
	}{{0, "token-1"}, {269 * time.Second, "token-1"}, {2 * time.Second, "token-2"}} {
		now = now.Add(step.after)
		got, err := source.Token(context.Background())
		if err != nil || got != step.want {
			t.Fatalf("after %v: %q, %v; want %q", step.after, got, err, step.want)
		}
	}
	first, second := asked()[0], asked()[1]
	if first.ID == second.ID || first.Issuer != "acme-backend" || first.Subject != "acme-backend" || !first.Audience.Contains(url) {
		t.Errorf("the assertions are %+v and %+v", first, second)
	}
}

func TestConcurrentCallersShareOneToken(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	url, asked := endpoint(t, key)
	source := ClientCredentials(url, "acme-backend", key)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := source.Token(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(asked()); n != 1 {
		t.Errorf("the endpoint was asked %d times, want once", n)
	}
}

func TestARefusalSaysWhatTheEndpointSaid(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"invalid_client","error_description":"unknown key"}`))
	}))
	defer srv.Close()
	_, err = ClientCredentials(srv.URL, "acme-backend", key).Token(context.Background())
	if err == nil || !strings.Contains(err.Error(), "invalid_client: unknown key") {
		t.Errorf("error %v", err)
	}
}

func TestOfManyWhoMakeAKeyAllGetTheSame(t *testing.T) {
	for range 20 {
		file := filepath.Join(t.TempDir(), "client.jwk.json")
		got := make(chan string)
		for range 16 {
			go func() {
				key, err := LoadOrCreateKey(file)
				if err != nil {
					t.Error(err)
				}
				public, _ := key.PublicJWK()
				got <- public
			}()
		}
		first := <-got
		for range 15 {
			if other := <-got; other != first {
				t.Fatalf("two keys: %s and %s", first, other)
			}
		}
		if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
			t.Fatalf("left behind: %v %v", left, err)
		}
	}
}

func TestAKeyIsMadeOnceAndOnlyItsOwnerCanReadIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "client.jwk.json")
	first, err := LoadOrCreateKey(file)
	if err != nil {
		t.Fatal(err)
	}
	second, err := LoadOrCreateKey(file)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := first.PublicJWK()
	b, _ := second.PublicJWK()
	if a != b {
		t.Error("the key was made twice")
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", first, first, first, StaticToken("secret")); strings.Contains(text, "secret") || strings.Contains(text, "{") {
		t.Errorf("a secret is printed: %s", text)
	}
	if strings.Contains(a, `"d"`) {
		t.Error("the public JWK has the private member")
	}
}

func TestACallWhoseTokenWasTakenBackIsRepeatedOnceWithANewOne(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	url, asked := endpoint(t, key)
	source := ClientCredentials(url, "acme-backend", key).(*clientCredentials) //nolint:forcetypeassert // it is ours
	now := time.Now()
	source.now = func() time.Time { return now }
	o := options{tokens: source}
	refusal, err := status.New(codes.Unauthenticated, "revoked").WithDetails(&errdetails.ErrorInfo{Metadata: map[string]string{"token": "revoked"}})
	if err != nil {
		t.Fatal(err)
	}
	var used []string
	call := func(good string) error {
		return o.withNewToken(t.Context(), "m", nil, nil, nil, func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			token, err := source.Token(ctx)
			if err != nil {
				return err
			}
			if used = append(used, token); token != good {
				return refusal.Err()
			}
			return nil
		})
	}
	if err := call("token-1"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if err := call("token-2"); err != nil || len(asked()) != 2 {
		t.Errorf("taken back: %v after %v", err, used)
	}
	// One that was got a moment ago and is refused all the same is not asked for again and again.
	if err := call("none"); !tokenRevoked(err) || len(asked()) != 2 || len(used) != 5 {
		t.Errorf("refused for good: %v after %v", err, used)
	}
}
