package doctor_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/doctor"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/testkit"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	statusv1 "github.com/armlet-pay/armlet/proto/gen/armlet/status/v1"
	"github.com/armlet-pay/armlet/sdk"
)

// world is a deployment whose services say what the test wants.
type world struct {
	statusv1.UnimplementedStatusServiceServer
	paymentsv1.UnimplementedPaymentsServiceServer
	say    func(*statusv1.Status)
	refuse error
	trial  *paymentsv1.GetTrialBalanceResponse
	ledger *paymentsv1.VerifyLedgerResponse
	health healthv1.HealthCheckResponse_ServingStatus
	creds  grpc.ServerOption
	older  bool
}

func (w *world) GetStatus(ctx context.Context, _ *statusv1.GetStatusRequest) (*statusv1.Status, error) {
	if md, _ := metadata.FromIncomingContext(ctx); strings.Join(md.Get("authorization"), "") != "Bearer the-operator" {
		return nil, status.Error(codes.Unauthenticated, "no operator")
	}
	st := &statusv1.Status{Time: timestamppb.Now(), Version: "v1.2.3", Revision: "abc", AppliedMigrations: 4, KnownMigrations: 4}
	for _, name := range []string{"EVT_DEVICES", "EVT_AUTH", "EVT_PAYMENTS", "EVT_NOTIFY", "DLQ"} {
		st.Streams = append(st.Streams, &statusv1.Stream{Name: name, Replicas: 1, CurrentReplicas: 1})
	}
	w.say(st)
	return st, w.refuse
}

func (w *world) GetTrialBalance(context.Context, *paymentsv1.GetTrialBalanceRequest) (*paymentsv1.GetTrialBalanceResponse, error) {
	return w.trial, w.refuse
}

func (w *world) VerifyLedger(context.Context, *paymentsv1.VerifyLedgerRequest) (*paymentsv1.VerifyLedgerResponse, error) {
	return w.ledger, w.refuse
}

// serve is one server that plays all four services.
func (w *world) serve(t *testing.T) (addr string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	var options []grpc.ServerOption
	if w.creds != nil {
		options = append(options, w.creds)
	}
	server, state := grpc.NewServer(options...), health.NewServer()
	state.SetServingStatus("", w.health)
	healthv1.RegisterHealthServer(server, state)
	paymentsv1.RegisterPaymentsServiceServer(server, w)
	if !w.older {
		statusv1.RegisterStatusServiceServer(server, w)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return l.Addr().String()
}

func well() *world {
	return &world{
		say: func(*statusv1.Status) {}, health: healthv1.HealthCheckResponse_SERVING,
		trial:  &paymentsv1.GetTrialBalanceResponse{Balanced: true, Totals: []*paymentsv1.TrialBalanceTotal{{CurrencyCode: "CNY"}}},
		ledger: &paymentsv1.VerifyLedgerResponse{Intact: true, TransactionCount: 7},
	}
}

// deployment has the world behind every address.
func (w *world) deployment(t *testing.T) doctor.Deployment {
	t.Helper()
	addr := w.serve(t)
	keys := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		_, _ = out.Write([]byte(`{"keys":[{"kid":"1"}]}`))
	}))
	t.Cleanup(keys.Close)
	client, err := sdk.Dial(sdk.Endpoints{Devices: addr, Auth: addr, Payments: addr, Notify: addr})
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return doctor.Deployment{
		At:     sdk.Endpoints{Devices: addr, Auth: addr, Payments: addr, Notify: addr, JWKSURL: keys.URL, NATSURL: "nats://" + greeter(t, "INFO {}\r\n")},
		Tokens: sdk.StaticToken("the-operator"), Payments: client.Payments, WholeLedger: true, Patience: 3 * time.Second, Now: time.Now,
	}
}

// greeter says one line to whoever connects.
func greeter(t *testing.T, line string) (addr string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(line))
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

func TestAHealthyDeploymentIsAllOK(t *testing.T) {
	t.Parallel()
	found := well().deployment(t).Examine(t.Context())
	for _, f := range found {
		if f.State != doctor.OK || f.Do != "" {
			t.Errorf("%+v", f)
		}
	}
	if len(found) != 4*5+6 {
		t.Errorf("%d findings: %+v", len(found), found)
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	stream := func(s *statusv1.Stream) func(*world) {
		return func(w *world) { w.say = func(st *statusv1.Status) { st.Streams = append(st.Streams, s) } }
	}
	saying := func(say func(*statusv1.Status)) func(*world) { return func(w *world) { w.say = say } }
	outbox := func(age time.Duration) func(*world) {
		return saying(func(st *statusv1.Status) { st.OutboxEvents, st.OutboxAge = 3, durationpb.New(age) })
	}
	clock := func(off time.Duration) func(*world) {
		return saying(func(st *statusv1.Status) { st.Time = timestamppb.New(time.Now().Add(off)) })
	}
	for name, tc := range map[string]struct {
		broken func(*world)
		state  doctor.State
		part   string
		check  string
		found  string
	}{
		"slow clock":    {clock(-3 * time.Second), doctor.Warn, "payments", "clock", "-"},
		"wrong clock":   {clock(9 * time.Second), doctor.Fail, "auth", "clock", "+"},
		"not migrated":  {saying(func(st *statusv1.Status) { st.AppliedMigrations = 3 }), doctor.Fail, "notify", "migrations", "3 of 4"},
		"older program": {saying(func(st *statusv1.Status) { st.AppliedMigrations = 5 }), doctor.Warn, "notify", "migrations", "has 5, this program knows 4"},
		"outbox waits":  {outbox(20 * time.Second), doctor.Warn, "payments", "outbox", "3 events"},
		"outbox stands": {outbox(2 * time.Minute), doctor.Fail, "payments", "outbox", "2m0s"},
		"not ready":     {func(w *world) { w.health = healthv1.HealthCheckResponse_NOT_SERVING }, doctor.Fail, "auth", "serving", "NOT_SERVING"},
		"not allowed":   {func(w *world) { w.refuse = status.Error(codes.PermissionDenied, "not this token") }, doctor.Fail, "auth", "status", "not this token"},
		"before status": {func(w *world) { w.older = true }, doctor.Warn, "auth", "status", "an older version"},
		"no JetStream":  {saying(func(st *statusv1.Status) { st.StreamsProblem = "it did not answer" }), doctor.Fail, "nats", "streams", "it did not answer"},
		"no stream":     {saying(func(st *statusv1.Status) { st.Streams = st.Streams[1:] }), doctor.Fail, "nats", "streams", "missing: EVT_DEVICES"},
		"node down":     {stream(&statusv1.Stream{Name: "PAYMENTS", Replicas: 3, CurrentReplicas: 2}), doctor.Warn, "nats PAYMENTS", "replicas", "2 of 3"},
		"no majority":   {stream(&statusv1.Stream{Name: "PAYMENTS", Replicas: 3, CurrentReplicas: 1}), doctor.Fail, "nats PAYMENTS", "replicas", "1 of 3"},
		"full stream":   {stream(&statusv1.Stream{Name: "PE_acme", Replicas: 1, CurrentReplicas: 1, Bytes: 90, MaxBytes: 100}), doctor.Warn, "nats PE_acme", "size", "90 of 100"},
		"dead letters":  {stream(&statusv1.Stream{Name: "DLQ", Replicas: 1, CurrentReplicas: 1, Messages: 2}), doctor.Warn, "nats DLQ", "dead letters", "2 events"},
		"a lag":         {stream(lagging("AUTH", 5000)), doctor.Warn, "nats AUTH", "lag", "alerts is 5000 messages behind"},
		"a long lag":    {stream(lagging("AUTH", 5_000_000)), doctor.Fail, "nats AUTH", "lag", "5000000"},
		"books off":     {func(w *world) { w.trial.Totals[0].Difference = -12 }, doctor.Fail, "ledger", "trial balance", "CNY is off by -12"},
		"a balance off": {func(w *world) { w.trial.Balanced = false }, doctor.Fail, "ledger", "trial balance", "sum of its postings"},
		"a changed ledger": {func(w *world) {
			w.ledger = &paymentsv1.VerifyLedgerResponse{BrokenTransaction: "transactions/1", Problem: "changed"}
		}, doctor.Fail, "ledger", "chain", "transactions/1 changed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := well()
			tc.broken(w)
			has(t, w.deployment(t).Examine(t.Context()), tc.state, tc.part, tc.check, tc.found)
		})
	}
}

func lagging(name string, pending int64) *statusv1.Stream {
	return &statusv1.Stream{Name: name, Replicas: 1, CurrentReplicas: 1, Consumers: []*statusv1.Consumer{{Name: "alerts", Pending: pending}}}
}

// A deployment that has just been started is not complained of for streams that come within moments.
func TestStreamsThatAreBeingMadeAreWaitedFor(t *testing.T) {
	t.Parallel()
	w := well()
	var asked atomic.Int64
	w.say = func(st *statusv1.Status) {
		if asked.Add(1) <= 6 {
			st.Streams = st.Streams[1:]
		}
	}
	has(t, w.deployment(t).Examine(t.Context()), doctor.OK, "nats", "streams", "5 streams")
}

// A partner that does not read is no operator's business.
func TestAPartnersOwnLagIsItsOwn(t *testing.T) {
	t.Parallel()
	w := well()
	w.say = func(st *statusv1.Status) { st.Streams = append(st.Streams, lagging("PE_acme", 5_000_000)) }
	for _, f := range w.deployment(t).Examine(t.Context()) {
		if f.State != doctor.OK {
			t.Errorf("%+v", f)
		}
	}
}

func TestReplicasOfDifferentVersionsAreTold(t *testing.T) {
	t.Parallel()
	d := well().deployment(t)
	older := well()
	older.say = func(st *statusv1.Status) { st.Version = "v1.2.2" }
	d.At.Payments += "," + older.serve(t)
	found := d.Examine(t.Context())
	has(t, found, doctor.Warn, "suite", "versions", "run v1.2.2 (abc)")
	has(t, found, doctor.OK, "payments "+strings.Split(d.At.Payments, ",")[1], "migrations", "all 4")
}

func TestAPartThatIsDownHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	gone := errors.New("no token today")
	d := well().deployment(t)
	d.At.Auth, d.At.NATSURL = testkit.Addr(t), "nats://"+greeter(t, "SSH-2.0\r\n")
	d.At.JWKSURL = "http://" + testkit.Addr(t)
	found := d.Examine(t.Context())
	has(t, found, doctor.Fail, "auth", "serving", "refused")
	has(t, found, doctor.Fail, "auth", "key set", "refused")
	has(t, found, doctor.Fail, "nats", "partners' entrance", "no NATS server")
	has(t, found, doctor.OK, "payments", "outbox", "empty")
	d.Tokens = failing{gone}
	has(t, d.Examine(t.Context()), doctor.Fail, "payments", "status", gone.Error())
}

func TestOneReplicaOfSeveralMayLeave(t *testing.T) {
	t.Parallel()
	d := well().deployment(t)
	leaving := well()
	leaving.health = healthv1.HealthCheckResponse_NOT_SERVING
	one, other := leaving.serve(t), leaving.serve(t)
	d.At.Payments, d.At.Notify = one+","+other, d.At.Notify+","+one
	found := d.Examine(t.Context())
	has(t, found, doctor.Warn, "notify "+one, "serving", "NOT_SERVING")
	has(t, found, doctor.Fail, "payments "+one, "serving", "NOT_SERVING")
	has(t, found, doctor.Fail, "payments "+other, "serving", "NOT_SERVING")
}

// What accepts connections and says nothing, as a frozen machine does, takes one patience, not the sum over all checks.
func TestAFrozenDeploymentIsGivenUpInTime(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	addr := l.Addr().String()
	at := sdk.Endpoints{Devices: addr, Auth: addr, Payments: addr, Notify: addr, JWKSURL: "http://" + addr + ",http://" + addr, NATSURL: "nats://" + addr}
	client, err := sdk.Dial(at)
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	d := doctor.Deployment{At: at, Tokens: sdk.StaticToken("the-operator"), Payments: client.Payments, WholeLedger: true, Patience: time.Second, Now: time.Now}
	began := time.Now()
	found := d.Examine(t.Context())
	if took := time.Since(began); took >= 2*d.Patience {
		t.Errorf("it took %s", took)
	}
	for _, check := range []string{"serving", "key set", "partners' entrance", "trial balance", "chain"} {
		if !slices.ContainsFunc(found, func(f doctor.Finding) bool { return f.Check == check && f.State == doctor.Fail }) {
			t.Errorf("%s has not failed in %+v", check, found)
		}
	}
}

type failing struct{ error }

func (f failing) Token(context.Context) (string, error) { return "", f.error }

func TestCertificatesAreLookedAt(t *testing.T) {
	t.Parallel()
	pki, strangers := testkit.PKI(t), testkit.PKI(t)
	for name, tc := range map[string]struct {
		end   time.Duration
		ca    string
		host  string
		state doctor.State
		found string
	}{
		"good":            {300 * 24 * time.Hour, pki.File, "", doctor.OK, "ends "},
		"ends soon":       {3*24*time.Hour + time.Hour, pki.File, "", doctor.Warn, "in 3 days"},
		"has ended":       {-time.Hour, pki.File, "", doctor.Fail, "it is valid from"},
		"of a stranger":   {300 * 24 * time.Hour, strangers.File, "", doctor.Fail, "does not vouch"},
		"for other names": {300 * 24 * time.Hour, pki.File, "127.0.0.2", doctor.Fail, "127.0.0.2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config, err := serverTLS(pki.LeafUntil(strings.ReplaceAll(name, " ", "-"), nil, time.Now().Add(tc.end)))
			must(t, err)
			w := well()
			w.creds = grpc.Creds(credentials.NewTLS(config))
			d := w.deployment(t)
			d.TLS, err = rpc.ClientTLS("", "", tc.ca)
			must(t, err)
			if tc.host != "" {
				_, port, _ := net.SplitHostPort(d.At.Payments)
				d.At.Payments = net.JoinHostPort(tc.host, port)
			}
			has(t, d.Examine(t.Context()), tc.state, "payments", "certificate", tc.found)
		})
	}
}

func has(t *testing.T, all []doctor.Finding, state doctor.State, part, check, found string) {
	t.Helper()
	for _, f := range all {
		if f.Part == part && f.Check == check {
			if f.State != state || !strings.Contains(f.Found, found) || (f.Do == "") != (state == doctor.OK) {
				t.Errorf("got %+v, want %s with %q", f, state, found)
			}
			return
		}
	}
	t.Errorf("no finding for %s of %s in %+v", check, part, all)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func serverTLS(certFile, keyFile string) (*tls.Config, error) {
	return rpc.ServerTLS(certFile, keyFile, "")
}
