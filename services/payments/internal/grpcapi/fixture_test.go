package grpcapi_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/payments/internal/bus"
	"github.com/armlet-pay/armlet/services/payments/internal/grpcapi"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
	"github.com/armlet-pay/armlet/services/payments/internal/peers"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

const (
	issuer    = "https://auth.test"
	partnerNo = 7
	noUUID    = "00000000-0000-4000-8000-000000000000"
)

var (
	start   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	bandUID = wire.NewRangeUID(partnerNo, 1, 42).String()
	band    = "partners/acme/devices/" + bandUID
)

// api is the service behind real interceptors, with a client for each kind of caller.
type api struct {
	db     *sqldb.DB
	books  *store.Store
	clock  *testkit.FakeClock
	auth   *signer
	notify *notifyServer

	operator, alice, bob, till, otherTill, strayTill paymentsv1.PaymentsServiceClient
	acme, acmeReader, acmeTest, rival, twin, nobody  paymentsv1.PaymentsServiceClient
	service, acmeClear, rivalClear                   paymentsv1.PaymentsServiceClient

	merchant, otherMerchant, terminal, otherTerminal string
	// conns are the callers' connections by name.
	conns  map[string]*grpc.ClientConn
	tokens testkit.Tokens
	// lose has every call end without its reply, when its deadline has passed.
	lose atomic.Bool
}

// migrated is a database with the schema; each test works on a copy of it.
var migrated = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "payments-edge-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "db")
	db, err := sqldb.Open(context.Background(), "sqlite:"+file)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(db.Migrate(context.Background(), store.Migrations()), db.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})

func openDB(t *testing.T) *sqldb.DB {
	t.Helper()
	content, err := migrated()
	must(t, err)
	url := testkit.DBURL(t, sqldb.SQLite)
	must(t, os.WriteFile(strings.TrimPrefix(url, "sqlite:"), content, 0o600))
	return testkit.OpenDB(t, url)
}

// newAPI has alice with 50.00, bob with nothing and eve with an account in another currency.
func newAPI(t *testing.T) *api {
	t.Helper()
	return newAPIOn(t, openDB(t))
}

// serve is one more process on the database.
func (a *api) serve(t *testing.T, db *sqldb.DB) (*rpc.Server, *store.Store) {
	t.Helper()
	books := store.New(db, bus.Encode, a.clock.Now)
	rules := payment.NewService(books, payment.Directory{
		Wallets: books, Merchants: books, Limits: books, Holds: books, Vouchers: a.newNotify(t),
	}, a.auth, payment.Config{
		Grace: 30 * time.Second, Issuer: issuer, NewID: func() string { return uuid.Must(uuid.NewV7()).String() },
		NewTerminalID: func() string { return uuid.NewString()[:8] + uuid.NewString()[:8] },
	})
	srv, err := rpc.NewServer(rpc.ServerConfig{Service: "payments", Policy: grpcapi.Policy(), Verifier: a.tokens})
	must(t, err)
	contract := a.cut(paymentsv1.PaymentsService_ServiceDesc)
	srv.GRPC().RegisterService(&contract, grpcapi.New(rules, books, books, []byte("page key"), a.clock.Now))
	return srv, books
}

func newAPIOn(t *testing.T, db *sqldb.DB) *api {
	t.Helper()
	a := &api{clock: testkit.Clock(start), db: db, conns: map[string]*grpc.ClientConn{}, tokens: testkit.Tokens{}}
	a.auth = newSigner(t, a.clock.Now)
	srv, books := a.serve(t, db)
	a.books = books
	client := func(token string, c rpc.Caller) paymentsv1.PaymentsServiceClient {
		a.tokens[token] = c
		a.conns[token] = testkit.ClientWithToken(t, srv, token)
		return paymentsv1.NewPaymentsServiceClient(a.conns[token])
	}
	a.operator = client("operator", rpc.Caller{Role: rpc.RoleOperator, ID: "operator"})
	a.merchant, a.terminal = a.shop(t, "Noodles", "CNY")
	a.otherMerchant, a.otherTerminal = a.shop(t, "Tea", "CNY")
	scopes := []string{"payments.initiate", "payments.read"}
	// Claims hold resource names or bare ids; both are the same to this service.
	a.till = client("till", rpc.Caller{Role: rpc.RoleTerminal, ID: "till", Merchant: a.merchant, Terminal: a.terminal, Mode: "live"})
	a.otherTill = client("other till", rpc.Caller{Role: rpc.RoleTerminal, ID: "other", Merchant: a.otherMerchant, Terminal: a.otherTerminal})
	a.strayTill = client("stray till", rpc.Caller{Role: rpc.RoleTerminal, ID: "stray", Merchant: a.merchant, Terminal: a.otherTerminal})
	a.alice = client("alice", rpc.Caller{Role: rpc.RoleWearer, ID: "alice", Account: "accounts/alice"})
	a.bob = client("bob", rpc.Caller{Role: rpc.RoleWearer, ID: "bob", Account: "bob"})
	a.acme = client("acme", rpc.Caller{Role: rpc.RolePartner, ID: "acme-1", Partner: "acme", PartnerNo: partnerNo, Scopes: scopes, Mode: "live"})
	a.acmeReader = client("acme reader", rpc.Caller{Role: rpc.RolePartner, ID: "acme-2", Partner: "acme", PartnerNo: partnerNo, Scopes: scopes[1:]})
	a.acmeTest = client("acme test", rpc.Caller{Role: rpc.RolePartner, ID: "acme-3", Partner: "acme", PartnerNo: partnerNo, Scopes: append(scopes, "offline.clear"), Mode: "test"})
	a.rival = client("rival", rpc.Caller{Role: rpc.RolePartner, ID: "rival-1", Partner: "rival", PartnerNo: 8, Scopes: scopes})
	a.twin = client("twin", rpc.Caller{Role: rpc.RolePartner, ID: "twin-1", Partner: "twin", PartnerNo: partnerNo, Scopes: scopes})
	clear := []string{"offline.clear"}
	a.acmeClear = client("acme clears", rpc.Caller{Role: rpc.RolePartner, ID: "acme-4", Partner: "acme", PartnerNo: partnerNo, Scopes: clear})
	a.rivalClear = client("rival clears", rpc.Caller{Role: rpc.RolePartner, ID: "rival-2", Partner: "rival", PartnerNo: 8, Scopes: clear})
	client("support", rpc.Caller{Role: rpc.RoleOperator, ID: "support", Operator: rpc.OperatorSupport})
	client("auditor", rpc.Caller{Role: rpc.RoleOperator, ID: "auditor", Operator: rpc.OperatorAuditor})
	a.conns["nobody"], a.conns["service"] = testkit.ClientWithToken(t, srv, "made up"), testkit.Client(t, srv, "notify")
	a.nobody, a.service = paymentsv1.NewPaymentsServiceClient(a.conns["nobody"]), paymentsv1.NewPaymentsServiceClient(a.conns["service"])
	a.wallet(t, "alice", "CNY", 5000)
	a.wallet(t, "bob", "CNY", 0)
	a.wallet(t, "eve", "EUR", 5000)
	return a
}

func (a *api) shop(t *testing.T, name, currency string) (merchant, terminal string) {
	t.Helper()
	m, err := a.operator.CreateMerchant(t.Context(), &paymentsv1.CreateMerchantRequest{
		Merchant: &paymentsv1.Merchant{DisplayName: name, CategoryCode: 5812, CurrencyCode: currency}, RequestId: uuid.NewString(),
	})
	must(t, err)
	r, err := a.operator.CreateTerminal(t.Context(), &paymentsv1.CreateTerminalRequest{
		Merchant: m.GetName(), DisplayName: "till of " + name, RequestId: uuid.NewString(),
	})
	must(t, err)
	return m.GetName(), r.GetName()
}

func (a *api) wallet(t *testing.T, id, currency string, balance int64) {
	t.Helper()
	_, err := a.operator.CreateAccount(t.Context(), &paymentsv1.CreateAccountRequest{AccountId: id, CurrencyCode: currency, RequestId: uuid.NewString()})
	must(t, err)
	if balance > 0 {
		_, err = a.operator.TopUpAccount(t.Context(), &paymentsv1.TopUpAccountRequest{
			Name: "accounts/" + id, Amount: amount(balance, currency), RequestId: uuid.NewString(),
		})
		must(t, err)
	}
}

// order is a payment of 12.00 by the band.
func (a *api) order() *paymentsv1.CreatePaymentRequest {
	return &paymentsv1.CreatePaymentRequest{
		Merchant: a.merchant, Amount: amount(1200, "CNY"), RequestId: uuid.NewString(),
		Payer: &paymentsv1.CreatePaymentRequest_DeviceUid{DeviceUid: bandUID},
	}
}

func (a *api) waiting(t *testing.T) *paymentsv1.Payment {
	t.Helper()
	p, err := a.till.CreatePayment(t.Context(), a.order())
	must(t, err)
	return p
}

func (a *api) confirm(ctx context.Context, p *paymentsv1.Payment) (*paymentsv1.ConfirmPaymentResponse, error) {
	return a.till.ConfirmPayment(ctx, &paymentsv1.ConfirmPaymentRequest{Name: p.GetName(), ResponseFrame: []byte("response")})
}

func (a *api) balance(t *testing.T, account string) int64 {
	t.Helper()
	got, err := a.operator.GetAccount(t.Context(), &paymentsv1.GetAccountRequest{Name: "accounts/" + account})
	must(t, err)
	return got.GetBalance().GetMinorUnits()
}

func (a *api) balanced(t *testing.T) {
	t.Helper()
	got, err := a.operator.GetTrialBalance(t.Context(), &paymentsv1.GetTrialBalanceRequest{})
	must(t, err)
	if !got.GetBalanced() {
		t.Errorf("the books do not balance: %v", got)
	}
}

// signer is an auth of one band, acme's, bound to alice. Its assertions are signed and are opened as those of the real one.
type signer struct {
	peers.Assertions
	sign func(typ string, claims map[string]any) string

	mu      sync.Mutex
	intents map[string]payment.ChallengeRequest
	// account is whose band it is.
	account string
	// refuse and refuseChallenge, when set, are what auth answers.
	refuse, refuseChallenge error
	// spoil changes the claims of the next assertions, typ their type.
	spoil func(map[string]any)
	typ   string
	// verified counts the decisions asked for.
	verified int
	// reject, when set, is the verdict on offline taps; taps are those that were seen.
	reject string
	taps   map[string]bool
}

func newSigner(t *testing.T, now func() time.Time) *signer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "k1", Algorithm: "EdDSA", Use: "sig"}}})
	}))
	t.Cleanup(keys.Close)
	verifier := rpc.NewJWTVerifier(rpc.JWTConfig{Issuer: issuer, Audience: "armlet", KeysURL: keys.URL, Now: now})
	return &signer{
		Assertions: peers.Assertions{Verifier: verifier, Now: now},
		sign: func(typ string, claims map[string]any) string {
			return signed(t, private, typ, claims)
		},
		intents: map[string]payment.ChallengeRequest{}, account: "alice", typ: peers.AssertionType,
	}
}

func signed(t *testing.T, key ed25519.PrivateKey, typ string, claims map[string]any) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		t.Error(err)
		return ""
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Error(err)
		return ""
	}
	jws, err := s.Sign(payload)
	if err != nil {
		t.Error(err)
		return ""
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Error(err)
	}
	return out
}

func (s *signer) CreateChallenge(_ context.Context, req payment.ChallengeRequest) (payment.Challenge, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuseChallenge != nil {
		return payment.Challenge{}, s.refuseChallenge
	}
	if uid := req.Payer.DeviceUID; uid != "" && uid != bandUID || req.Payer.Account != "" && req.Payer.Account != s.account {
		return payment.Challenge{}, fault.New(fault.NotFound, "DEVICE_NOT_FOUND", "no such device")
	}
	s.intents[req.Payment] = req
	return payment.Challenge{
		Tap: payment.Tap{
			Challenge: "challenges/" + req.Payment, Frame: []byte("challenge"), ExpireTime: s.Now().Add(time.Minute),
			Requirements: []string{"ON_WRIST", "GESTURE"}, PongKey: []byte("pong"),
		},
		Device: band, Partner: "acme", Account: s.account,
	}, nil
}

func (s *signer) VerifyResponse(_ context.Context, challenge string, response []byte) (payment.Decision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verified++
	if s.refuse != nil {
		return payment.Decision{}, s.refuse
	}
	if string(response) != "response" {
		return payment.Decision{}, fault.New(fault.PermissionDenied, "RESPONSE_REJECTED", "the response is not the band's")
	}
	id := challenge[len("challenges/"):]
	req := s.intents[id]
	claims := map[string]any{
		"iss": issuer, "aud": "payments", "iat": s.Now().Unix(), "exp": s.Now().Add(30 * time.Second).Unix(), "jti": "jti of " + id,
		"purpose": "PAY", "account": "accounts/" + s.account, "device": band, "partner": "partners/acme", "intent": id,
		"amount": req.Amount.Minor, "currency": req.Amount.Currency, "merchant": req.Merchant.ID, "assurance": 2, "counter": 1,
	}
	if s.spoil != nil {
		claims = maps.Clone(claims)
		s.spoil(claims)
	}
	return payment.Decision{
		Assertion: s.sign(s.typ, claims), ApprovedFrame: []byte("approved"), DeclinedFrame: []byte("declined"),
	}, nil
}

func amount(minor int64, currency string) *typev1.Money {
	return &typev1.Money{MinorUnits: minor, CurrencyCode: currency}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants is a code and a reason.
type wants struct {
	code   codes.Code
	reason string
}

func (w wants) check(t testing.TB, what string, err error) {
	t.Helper()
	f, _ := fault.As(err)
	if f == nil || codeOf(err) != w.code || f.Reason != w.reason {
		t.Errorf("%s: got %v (%s), want %s %s", what, err, codeOf(err), w.code, w.reason)
	}
}

// codeOf is the code on the wire, which the fault keeps as its cause.
func codeOf(err error) codes.Code {
	var s interface{ GRPCStatus() *status.Status }
	for e := err; e != nil; e = unwrap(e) {
		if g, ok := e.(interface{ GRPCStatus() *status.Status }); ok {
			s = g
		}
	}
	if s == nil {
		return codes.OK
	}
	return s.GRPCStatus().Code()
}

func unwrap(err error) error {
	u, ok := err.(interface{ Unwrap() error })
	if !ok {
		return nil
	}
	return u.Unwrap()
}
