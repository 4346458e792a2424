package sdk

import (
	"context"
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
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

// replica is a server of payments that can stop.
type replica struct {
	paymentsv1.UnimplementedPaymentsServiceServer
	server *grpc.Server
	health *health.Server
	calls  atomic.Int64
	busy   atomic.Int64 // how many calls are refused as unavailable
	// streams are what is sent to one who watches after the other; each breaks at its end.
	streams chan []*paymentsv1.Payment
}

func (r *replica) GetPayment(_ context.Context, in *paymentsv1.GetPaymentRequest) (*paymentsv1.Payment, error) {
	r.calls.Add(1)
	if r.busy.Add(-1) >= 0 {
		return nil, status.Error(codes.Unavailable, "busy")
	}
	return &paymentsv1.Payment{Name: in.GetName()}, nil
}

func (r *replica) WatchPayment(in *paymentsv1.WatchPaymentRequest, stream grpc.ServerStreamingServer[paymentsv1.Payment]) error {
	if in.GetName() != "payments/x" {
		return status.Error(codes.NotFound, "no such payment")
	}
	for _, p := range <-r.streams {
		if err := stream.Send(p); err != nil || p.GetState() == paymentsv1.PaymentState_PAYMENT_STATE_VOIDED {
			return err
		}
	}
	return status.Error(codes.Unavailable, "stopping")
}

func startReplica(t *testing.T) (*replica, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{server: grpc.NewServer(), health: health.NewServer()}
	paymentsv1.RegisterPaymentsServiceServer(r.server, r)
	healthpb.RegisterHealthServer(r.server, r.health)
	go func() { _ = r.server.Serve(l) }()
	t.Cleanup(r.server.Stop)
	return r, l.Addr().String()
}

func dialReplicas(t *testing.T, target string) *Client {
	t.Helper()
	c, err := Dial(Endpoints{Devices: target, Auth: target, Payments: target, Notify: target}, WithTokens(StaticToken("t")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestCallsGoRoundTheReplicasThatAreReady(t *testing.T) {
	a, first := startReplica(t)
	b, second := startReplica(t)
	c := dialReplicas(t, first+", "+second)
	get := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := c.Payments.GetPayment(ctx, &paymentsv1.GetPaymentRequest{Name: "payments/x"}); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); a.calls.Load() == 0 || b.calls.Load() == 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d and %d calls", a.calls.Load(), b.calls.Load())
		}
		get()
	}
	a.busy.Store(1) // the call is repeated
	for range 4 {
		get()
	}
	a.health.Shutdown()
	a.server.GracefulStop()
	before := b.calls.Load()
	for range 10 {
		get()
	}
	if n := b.calls.Load() - before; n != 10 {
		t.Errorf("the replica that is left had %d of 10 calls", n)
	}
}

func TestAListOfReplicasThatIsNoneIsRefused(t *testing.T) {
	for _, target := range []string{"127.0.0.1:1,", ",", "127.0.0.1,127.0.0.1:1"} {
		if _, err := Dial(Endpoints{Devices: target, Auth: target, Payments: target, Notify: target}); err == nil {
			t.Errorf("%q was accepted", target)
		}
	}
	_, err := Dial(Endpoints{Devices: "127.0.0.1:1", Auth: "127.0.0.1:1", Payments: "127.0.0.1:1,far.example:1", Notify: "127.0.0.1:1"}, WithTokens(StaticToken("t")))
	if err == nil || !strings.Contains(err.Error(), "far.example") {
		t.Errorf("a token may go to another machine in clear text: %v", err)
	}
}

func TestWhoWatchesAPaymentIsNotDisturbedByARestart(t *testing.T) {
	a, first := startReplica(t)
	b, second := startReplica(t)
	c := dialReplicas(t, first+","+second)
	waits, held, void := paymentsv1.PaymentState_PAYMENT_STATE_AWAITING_TAP, paymentsv1.PaymentState_PAYMENT_STATE_AUTHORIZED, paymentsv1.PaymentState_PAYMENT_STATE_VOIDED
	streams := make(chan []*paymentsv1.Payment, 4)
	a.streams, b.streams = streams, streams
	streams <- []*paymentsv1.Payment{{Revision: 1, State: waits}, {Revision: 2, State: held}}
	streams <- nil
	streams <- []*paymentsv1.Payment{{Revision: 2, State: held}}
	streams <- []*paymentsv1.Payment{{Revision: 2, State: held}, {Revision: 3, State: void}}
	var seen []paymentsv1.PaymentState
	if err := WatchPayment(t.Context(), c.Payments, "payments/x", func(p *paymentsv1.Payment) error {
		seen = append(seen, p.GetState())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(seen, []paymentsv1.PaymentState{waits, held, void}) {
		t.Errorf("saw %v", seen)
	}

	streams <- []*paymentsv1.Payment{{Revision: 1, State: waits}}
	if err := WatchPayment(t.Context(), c.Payments, "payments/x", func(*paymentsv1.Payment) error { return ErrStop }); err != nil {
		t.Errorf("stopped, it says %v", err)
	}
	streams <- []*paymentsv1.Payment{{Revision: 1, State: waits}}
	own := errors.New("the screen is broken")
	if err := WatchPayment(t.Context(), c.Payments, "payments/x", func(*paymentsv1.Payment) error { return own }); !errors.Is(err, own) {
		t.Errorf("got %v", err)
	}
	if err := WatchPayment(t.Context(), c.Payments, "payments/unknown", nil); status.Code(err) != codes.NotFound {
		t.Errorf("got %v", err)
	}
}

func TestAReplicaThatIsAwayGivesNoTokenAndAnotherDoes(t *testing.T) {
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	here, asked := endpoint(t, key)
	stopping := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "{}", http.StatusServiceUnavailable) }))
	t.Cleanup(stopping.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	source := ClientCredentials(gone.URL+", "+stopping.URL+", "+here, "acme-backend", key)
	if _, err := source.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !asked()[0].Audience.Contains(gone.URL) {
		t.Errorf("the audience is %v, and not the first of the list", asked()[0].Audience)
	}
	if _, err := ClientCredentials(gone.URL+","+stopping.URL, "acme-backend", key).Token(t.Context()); err == nil {
		t.Error("nobody is there, and there is a token")
	}
}
