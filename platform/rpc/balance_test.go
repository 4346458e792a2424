package rpc_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/testkit"
)

// replica serves the test service at an address until it is stopped.
func replica(t *testing.T, ca *testkit.Authority, addr string, h handlers) *rpc.Server {
	t.Helper()
	cert, key := ca.Service("test")
	tlsConfig, err := rpc.ServerTLS(cert, key, ca.File)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := rpc.NewServer(rpc.ServerConfig{Service: "test", Policy: open(), TLS: tlsConfig})
	if err != nil {
		t.Fatal(err)
	}
	srv.GRPC().RegisterService(h.desc(), nil)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(l) }()
	srv.SetReady(true)
	return srv
}

// TestNoCallFailsWhileReplicasAreRestartedOneAfterTheOther is the promise of a rolling restart.
func TestNoCallFailsWhileReplicasAreRestartedOneAfterTheOther(t *testing.T) {
	ca := testkit.PKI(t)
	addrs := []string{testkit.Addr(t), testkit.Addr(t)}
	var served [2]atomic.Int64
	start := func(i int) *rpc.Server {
		return replica(t, ca, addrs[i], handlers{echo: func(_ context.Context, s string) (string, error) {
			served[i].Add(1)
			time.Sleep(time.Millisecond) // so that some calls are always under way
			return s, nil
		}})
	}
	running := [2]*rpc.Server{start(0), start(1)}
	t.Cleanup(func() {
		for _, r := range running {
			r.Stop(context.WithoutCancel(t.Context()))
		}
	})
	cert, key := ca.Service("friend")
	clientTLS, err := rpc.ClientTLS(cert, key, ca.File)
	if err != nil {
		t.Fatal(err)
	}
	cc := connected(t)(rpc.Dial(strings.Join(addrs, ","), rpc.DialConfig{TLS: clientTLS}))
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var calls atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := call(context.WithoutCancel(ctx), cc, "x"); err != nil {
					t.Errorf("call %d: %v", calls.Load(), err)
					return
				}
				calls.Add(1)
			}
		})
	}
	some := func(what string, of func() int64) {
		t.Helper()
		before := of()
		for deadline := time.Now().Add(20 * time.Second); of() < before+50; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d calls were served", what, of()-before)
			}
		}
	}
	for round := range 4 {
		i := round % 2
		some("both run", served[i].Load)
		some("both run", served[1-i].Load) // the one that was restarted has its callers again
		running[i].Stop(context.WithoutCancel(t.Context()))
		some("the other one alone", served[1-i].Load)
		running[i] = start(i)
	}
	some("both run again", served[0].Load)
	stop()
	wg.Wait()
}

func TestAReplicaThatIsNotReadyGetsNoCalls(t *testing.T) {
	ca := testkit.PKI(t)
	addrs := []string{testkit.Addr(t), testkit.Addr(t)}
	sick := replica(t, ca, addrs[0], handlers{echo: func(context.Context, string) (string, error) { return "sick", nil }})
	well := replica(t, ca, addrs[1], handlers{echo: func(context.Context, string) (string, error) { return "well", nil }})
	t.Cleanup(func() {
		sick.Stop(context.WithoutCancel(t.Context()))
		well.Stop(context.WithoutCancel(t.Context()))
	})
	sick.SetReady(false)
	cert, key := ca.Service("friend")
	clientTLS, err := rpc.ClientTLS(cert, key, ca.File)
	if err != nil {
		t.Fatal(err)
	}
	cc := connected(t)(rpc.Dial(strings.Join(addrs, ", "), rpc.DialConfig{TLS: clientTLS}))
	for range 50 {
		if got, err := call(t.Context(), cc, "x"); err != nil || got != "well" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
}

func TestACallThatNobodyTookIsRepeatedAndAnotherIsNot(t *testing.T) {
	ca := testkit.PKI(t)
	addr := testkit.Addr(t)
	var tries atomic.Int64
	answer := codes.Unavailable
	srv := replica(t, ca, addr, handlers{echo: func(context.Context, string) (string, error) {
		if tries.Add(1) < 3 {
			return "", status.Error(answer, "not now")
		}
		return "at last", nil
	}})
	t.Cleanup(func() { srv.Stop(context.WithoutCancel(t.Context())) })
	cert, key := ca.Service("friend")
	clientTLS, err := rpc.ClientTLS(cert, key, ca.File)
	if err != nil {
		t.Fatal(err)
	}
	cc := connected(t)(rpc.Dial(addr, rpc.DialConfig{TLS: clientTLS}))
	if got, err := call(t.Context(), cc, "x"); err != nil || got != "at last" || tries.Load() != 3 {
		t.Errorf("got %q, %v after %d tries", got, err, tries.Load())
	}
	tries.Store(0)
	answer = codes.Aborted
	if _, err := call(t.Context(), cc, "x"); err == nil || tries.Load() != 1 {
		t.Errorf("got %v after %d tries", err, tries.Load())
	}
}

func TestAListOfAddressesThatIsNoneIsRefused(t *testing.T) {
	for _, target := range []string{"a:1,", ",", "a,b:1"} {
		if _, err := rpc.Dial(target, rpc.DialConfig{}); err == nil {
			t.Errorf("%q was accepted", target)
		}
	}
}
