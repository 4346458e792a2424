package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/services/payments/internal/bus"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	issuer = "https://auth.test"
	grace  = 30 * time.Second
	device = "partners/acme/devices/00000070000000000000000001"
)

// schema makes databases for tests.
var schema = testkit.NewTemplate(store.Migrations())

// fixture is a service on a fresh database, with an auth that approves every tap.
type fixture struct {
	db       *sqldb.DB
	store    *store.Store
	service  *payment.Service
	auth     *approver
	vouchers *wallet
	merchant payment.Merchant
	terminal payment.Caller
}

func newFixture(t testing.TB, db *sqldb.DB) *fixture {
	t.Helper()
	clock := testkit.Clock(start)
	f := &fixture{db: db, store: store.New(db, bus.Encode, clock.Now), auth: &approver{intents: map[string]payment.ChallengeRequest{}}, vouchers: newWallet()}
	f.service = f.serviceOn(f.store, f.auth)
	var err error
	f.merchant, err = f.service.CreateMerchant(t.Context(), request("CreateMerchant"), payment.Merchant{
		DisplayName: "Noodles", CategoryCode: 5812, Currency: "CNY",
	}, start)
	must(t, err)
	till, err := f.service.CreateTerminal(t.Context(), request("CreateTerminal"), f.merchant.ID, "till 1")
	must(t, err)
	f.terminal = payment.Caller{Role: payment.Terminal, Merchant: f.merchant.ID, Terminal: till.ID, Mode: payment.Live}
	f.wallet(t, "alice", 0)
	return f
}

// serviceOn is a service of another process, or with another auth.
func (f *fixture) serviceOn(s *store.Store, auth payment.Auth) *payment.Service {
	return payment.NewService(s, payment.Directory{Wallets: s, Merchants: s, Limits: s, Holds: s, Vouchers: f.vouchers}, auth, payment.Config{
		Grace: grace, Issuer: issuer, NewID: newID, NewTerminalID: func() string { return newID()[20:] },
	})
}

func (f *fixture) wallet(t testing.TB, id string, balance int64) {
	t.Helper()
	_, err := f.service.CreateAccount(t.Context(), request("CreateAccount"), id, "CNY", start)
	must(t, err)
	if balance > 0 {
		f.topUp(t, id, balance)
	}
}

func (f *fixture) topUp(t testing.TB, id string, amount int64) {
	t.Helper()
	_, err := f.service.TopUp(t.Context(), request("TopUp"), id, payment.Money{Minor: amount, Currency: "CNY"}, start)
	must(t, err)
}

// pay creates a payment that waits for the tap.
func (f *fixture) pay(t testing.TB, account string, amount int64) payment.Payment {
	t.Helper()
	p, err := f.service.Create(t.Context(), f.terminal, request("CreatePayment"), f.order(account, amount), start)
	must(t, err)
	return p
}

func (f *fixture) order(account string, amount int64) payment.Order {
	return payment.Order{
		Merchant: f.merchant.ID, Amount: payment.Money{Minor: amount, Currency: "CNY"}, Payer: payment.Payer{Account: account},
	}
}

func (f *fixture) confirm(t testing.TB, id string) (payment.Payment, error) {
	t.Helper()
	return f.service.Confirm(t.Context(), f.terminal, id, []byte("response of "+id), start)
}

func (f *fixture) balance(t testing.TB, account string) int64 {
	t.Helper()
	a, err := f.store.Account(t.Context(), account)
	must(t, err)
	return a.Balance.Minor
}

func (f *fixture) count(t testing.TB, query string, args ...any) int {
	t.Helper()
	var n int
	must(t, f.db.QueryRowContext(t.Context(), query, args...).Scan(&n))
	return n
}

// balanced checks the books and returns how many transactions there are.
func (f *fixture) balanced(t testing.TB) int64 {
	t.Helper()
	trial, err := f.store.TrialBalance(t.Context())
	must(t, err)
	if !trial.Balanced() || len(trial.Totals) != 1 {
		t.Fatalf("the books do not balance: %+v", trial)
	}
	return trial.Totals[0].Transactions
}

// approver is auth as the domain knows it: the same payment has the same challenge, the same response the same decision.
type approver struct {
	mu      sync.Mutex
	intents map[string]payment.ChallengeRequest
	// judge gives the verdicts on offline taps, seen are those it gave.
	judge func(payment.TapSubmission) payment.TapVerdict
	seen  map[string]bool
	// jti overrides the id of assertions, which is otherwise the payment's own.
	jti string
}

func (a *approver) CreateChallenge(_ context.Context, req payment.ChallengeRequest) (payment.Challenge, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.intents[req.Payment] = req
	return payment.Challenge{
		Tap: payment.Tap{
			Challenge: "challenges/" + req.Payment, Frame: []byte("challenge " + req.Payment), ExpireTime: start.Add(time.Minute),
			Requirements: []string{"ON_WRIST", "GESTURE"}, PongKey: []byte("pong"),
		},
		Device: device, Partner: "acme", Account: req.Payer.Account,
	}, nil
}

func (a *approver) VerifyResponse(_ context.Context, challenge string, _ []byte) (payment.Decision, error) {
	return payment.Decision{Assertion: challenge[len("challenges/"):], ApprovedFrame: []byte("approved"), DeclinedFrame: []byte("declined")}, nil
}

func (a *approver) OpenAssertion(_ context.Context, id string) (payment.Assertion, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	req, jti := a.intents[id], a.jti
	if jti == "" {
		jti = "jti of " + id
	}
	return payment.Assertion{
		ID: jti, Issuer: issuer, Audience: "payments", Purpose: "PAY", Account: req.Payer.Account, Device: device, Partner: "acme",
		Merchant: req.Merchant.ID, Payment: id, Amount: req.Amount,
	}, nil
}

func (a *approver) VerifyTaps(_ context.Context, taps []payment.TapSubmission) ([]payment.TapVerdict, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen == nil {
		a.seen = map[string]bool{}
	}
	out := make([]payment.TapVerdict, len(taps))
	for i, t := range taps {
		out[i] = a.judge(t)
		out[i].Duplicate = a.seen[string(t.TapFrame)]
		a.seen[string(t.TapFrame)] = len(out[i].Digest) > 0 // nothing is kept of what proves nothing
	}
	return out, nil
}

func request(method string) payment.Request {
	return payment.Request{Caller: "tester", Method: method, ID: newID(), Fingerprint: []byte("content")}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantReason(t testing.TB, err error, reason string) {
	t.Helper()
	if fault.ReasonOf(err) != reason {
		t.Fatalf("got %v, want %s", err, reason)
	}
}

// together runs fn n times at once and returns the errors that came.
func together(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	begin := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-begin
			errs[i] = fn(i)
		})
	}
	close(begin)
	all.Wait()
	var failed []error
	for i, err := range errs {
		if err != nil {
			failed = append(failed, fmt.Errorf("call %d: %w", i, err))
		}
	}
	return failed
}

// newStoreOn is the store of another process on the same database.
func newStoreOn(db *sqldb.DB) *store.Store {
	return store.New(db, bus.Encode, testkit.Clock(start).Now)
}
