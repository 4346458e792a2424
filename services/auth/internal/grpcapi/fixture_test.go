package grpcapi_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/bus"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/grpcapi"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/offline"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
	"github.com/armlet-pay/armlet/services/auth/internal/revocation"
	"github.com/armlet-pay/armlet/services/auth/internal/store"
	"github.com/armlet-pay/armlet/services/auth/internal/store/live"
	"github.com/armlet-pay/armlet/services/auth/internal/storetest"
	"github.com/armlet-pay/armlet/services/auth/internal/token"
)

const issuer = "http://auth.test"

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is auth with its real edge on SQLite, and a device registry in memory.
type fixture struct {
	keyFile  string
	mint     *token.Mint
	t        *testing.T
	clock    *testkit.FakeClock
	db       *sqldb.DB
	ring     *keys.Ring
	keys     *keys.Service
	store    *store.Store
	endpoint *token.Endpoint
	registry *storetest.Registry
	taps     *offline.Service
	server   *rpc.Server
	http     *httptest.Server
	operator *client
	requests int
}

// client is a program with a key of its own.
type client struct {
	id      string
	private jose.JSONWebKey
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, clock: testkit.Clock(start), registry: storetest.NewRegistry()}
	f.db = testkit.OpenDB(t, testkit.DBURL(t, sqldb.SQLite))
	s, err := store.New(t.Context(), f.db, bus.Encode)
	must(t, err)
	f.keyFile = filepath.Join(t.TempDir(), "keyset.json")
	kek, err := keys.OpenLocal(f.keyFile)
	must(t, err)
	f.ring, err = keys.Open(t.Context(), s, kek, start)
	must(t, err)
	f.keys = keys.NewService(s, f.ring, keys.Schedule{Life: 30 * 24 * time.Hour, Ahead: 24 * time.Hour, Kept: 25 * time.Hour})
	must(t, f.keys.Maintain(t.Context(), start))
	partners, mint := partner.NewService(s, f.ring), token.NewMint(issuer, f.ring, s)
	f.mint = mint
	challenges := challenge.NewService(challenge.Config{
		Devices: f.registry, Live: live.NewMemory(), Store: s, Claims: s, Denials: s, Keys: f.ring, Issuer: issuer, Life: time.Minute,
		Policy: challenge.Policy{Offline: map[string]challenge.OfflineLimit{"CNY": {MaxTap: 500, Cumulative: 2000, MaxTaps: 5}}},
	})
	f.store, f.endpoint = s, token.NewEndpoint(s, mint, issuer, issuer+grpcapi.TokenPath)
	h := grpcapi.NewHTTP(f.endpoint, f.ring, revocation.NewFeed(s), grpcapi.Addresses{Issuer: issuer, URL: issuer}, slog.New(slog.DiscardHandler), f.clock.Now)
	f.http = httptest.NewServer(h)
	t.Cleanup(f.http.Close)
	f.server, err = rpc.NewServer(rpc.ServerConfig{
		Service: "auth", Policy: grpcapi.Policy(),
		Verifier: rpc.NewJWTVerifier(rpc.JWTConfig{
			Issuer: issuer, Audience: token.Audience, KeysURL: issuer + grpcapi.KeysPath, RevocationsURL: issuer + rpc.RevocationsPath,
			Client: &http.Client{Transport: h}, Now: f.clock.Now,
		}),
	})
	must(t, err)
	f.taps = offline.NewService(s, f.registry, f.ring, challenges, issuer)
	authv1.RegisterAuthServiceServer(f.server.GRPC(), grpcapi.New(partners, challenges, f.taps, f.ring, f.keys, mint, s, s, f.clock.Now))
	f.operator = newClient(t, "operator")
	must(t, partners.EnsureOperator(t.Context(), "operator", f.operator.public(t), start))
	return f
}

func newClient(t testing.TB, id string) *client {
	t.Helper()
	text, err := keys.NewPrivateJWK()
	must(t, err)
	c := &client{id: id}
	must(t, c.private.UnmarshalJSON(text))
	return c
}

func (c *client) public(t testing.TB) string {
	t.Helper()
	text, err := c.private.Public().MarshalJSON()
	must(t, err)
	return string(text)
}

// claims are those of a good assertion, with changes.
func (c *client) claims(f *fixture, changes map[string]any) map[string]any {
	f.requests++
	claims := map[string]any{
		"iss": c.id, "sub": c.id, "aud": issuer + grpcapi.TokenPath, "jti": "jti-" + strconv.Itoa(f.requests),
		"iat": f.clock.Now().Unix(), "exp": f.clock.Now().Add(time.Minute).Unix(),
	}
	for k, v := range changes {
		if v == nil {
			delete(claims, k)
			continue
		}
		claims[k] = v
	}
	return claims
}

func signed(t testing.TB, key jose.SigningKey, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	must(t, err)
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT"))
	must(t, err)
	jws, err := signer.Sign(payload)
	must(t, err)
	text, err := jws.CompactSerialize()
	must(t, err)
	return text
}

func (c *client) assertion(f *fixture, changes map[string]any) string {
	return signed(f.t, jose.SigningKey{Algorithm: jose.EdDSA, Key: c.private}, c.claims(f, changes))
}

// answer is what the token endpoint says.
type answer struct {
	Status      int
	Token       string `json:"access_token"`
	Type        string `json:"token_type"`
	Life        int    `json:"expires_in"`
	Scope       string `json:"scope"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (f *fixture) post(form url.Values) answer {
	f.t.Helper()
	resp, err := http.PostForm(f.http.URL+grpcapi.TokenPath, form)
	must(f.t, err)
	defer resp.Body.Close()
	a := answer{Status: resp.StatusCode}
	must(f.t, json.NewDecoder(resp.Body).Decode(&a))
	if cache := resp.Header.Get("Cache-Control"); cache != "no-store" {
		f.t.Errorf("Cache-Control is %q", cache)
	}
	return a
}

func form(assertion string) url.Values {
	return url.Values{
		"grant_type":            {"client_credentials"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {assertion},
	}
}

func (f *fixture) tokenOf(c *client) string {
	f.t.Helper()
	a := f.post(form(c.assertion(f, nil)))
	if a.Status != http.StatusOK {
		f.t.Fatalf("no token for %s: %+v", c.id, a)
	}
	return a.Token
}

// as is the service as the bearer of a token sees it; asService as another service does.
func (f *fixture) as(token string) authv1.AuthServiceClient {
	return authv1.NewAuthServiceClient(testkit.ClientWithToken(f.t, f.server, token))
}

func (f *fixture) asService(name string) authv1.AuthServiceClient {
	return authv1.NewAuthServiceClient(testkit.Client(f.t, f.server, name))
}

func (f *fixture) asOperator() authv1.AuthServiceClient { return f.as(f.tokenOf(f.operator)) }

func (f *fixture) requestID() string {
	f.requests++
	return "req-" + strconv.Itoa(f.requests)
}

// partner registers a partner with a client and scopes.
func (f *fixture) partner(id string, scopes ...string) *client {
	f.t.Helper()
	op, ctx := f.asOperator(), f.t.Context()
	_, err := op.CreatePartner(ctx, &authv1.CreatePartnerRequest{PartnerId: id, DisplayName: id, RequestId: f.requestID()})
	must(f.t, err)
	c := newClient(f.t, id+"-backend")
	_, err = op.CreateClient(ctx, &authv1.CreateClientRequest{
		ClientId: c.id, Role: authv1.ClientRole_CLIENT_ROLE_PARTNER, Partner: "partners/" + id, PublicJwk: c.public(f.t), RequestId: f.requestID(),
	})
	must(f.t, err)
	for _, scope := range scopes {
		_, err = op.CreateGrant(ctx, &authv1.CreateGrantRequest{Parent: "partners/" + id, Scope: scope, RequestId: f.requestID()})
		must(f.t, err)
	}
	return c
}

func (f *fixture) wearer(account string) authv1.AuthServiceClient {
	f.t.Helper()
	s, err := f.asOperator().CreateWearerSession(f.t.Context(), &authv1.CreateWearerSessionRequest{Account: "accounts/" + account})
	must(f.t, err)
	return f.as(s.GetAccessToken())
}

func (f *fixture) terminal() authv1.AuthServiceClient {
	f.t.Helper()
	s, err := f.asOperator().CreateTerminalSession(f.t.Context(), &authv1.CreateTerminalSessionRequest{
		Merchant: "merchants/01020304-0506-4708-890a-0b0c0d0e0f10", Terminal: "terminals/00000000000000aa",
	})
	must(f.t, err)
	return f.as(s.GetAccessToken())
}

// band makes a band of partner acme that the registry knows.
func (f *fixture) band(serial uint64) *storetest.Band {
	f.t.Helper()
	master, err := f.ring.Master(f.t.Context(), "acme", 1)
	must(f.t, err)
	b, err := storetest.NewBand(master, 1, wire.NewRangeUID(1, 1, serial), wire.SuiteHMAC)
	must(f.t, err)
	f.registry.Put(challenge.Device{
		Name: "partners/acme/devices/" + b.UID.String(), Partner: "acme", UID: b.UID, Suite: b.Suite, Epoch: 1, WristAware: true, Block: challenge.NotBound,
	})
	return b
}

func (f *fixture) claim(w authv1.AuthServiceClient, b *storetest.Band) *authv1.CompleteClaimResponse {
	f.t.Helper()
	c, err := w.BeginClaim(f.t.Context(), &authv1.BeginClaimRequest{Uid: b.UID.QR(), RequestId: f.requestID()})
	must(f.t, err)
	out, err := w.CompleteClaim(f.t.Context(), &authv1.CompleteClaimRequest{Name: c.GetName(), ResponseFrame: f.answer(b, c.GetChallengeFrame())})
	must(f.t, err)
	f.clock.Advance(time.Second)
	return out
}

func (f *fixture) answer(b *storetest.Band, frame []byte) []byte {
	f.t.Helper()
	text, err := b.Answer(frame, f.registry.Get(b.UID).BindNonce)
	must(f.t, err)
	return text
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, err error, kind fault.Kind, reason string) {
	t.Helper()
	if fault.KindOf(err) != kind || fault.ReasonOf(err) != reason {
		t.Errorf("got %s %q (%v), want %s %q", fault.KindOf(err), fault.ReasonOf(err), err, kind, reason)
	}
}
