package testkit

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
)

// serving has the network of each server under test. A server is started at its first client.
var serving = struct {
	sync.Mutex
	networks map[*rpc.Server]*rpc.Network
}{networks: map[*rpc.Server]*rpc.Network{}}

const underTest = "server-under-test"

// Client connects to srv over an in-process network, as the service identity or, when it is empty, as nobody. The first
// client starts the server, which is stopped when that client's test ends: make it in the test that made the server, not in
// a subtest.
func Client(t testing.TB, srv *rpc.Server, identity string) *grpc.ClientConn {
	t.Helper()
	return connect(t, srv, identity, rpc.DialConfig{})
}

// ClientWithToken is [Client] for a caller from outside who shows a bearer token; see [Tokens].
func ClientWithToken(t testing.TB, srv *rpc.Server, token string) *grpc.ClientConn {
	t.Helper()
	return connect(t, srv, "", rpc.DialConfig{Token: func(context.Context) (string, error) { return token, nil }})
}

func connect(t testing.TB, srv *rpc.Server, identity string, cfg rpc.DialConfig) *grpc.ClientConn {
	t.Helper()
	conn, err := networkOf(t, srv).Dial(identity, underTest, cfg)
	if err != nil {
		t.Fatalf("testkit: dial: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func networkOf(t testing.TB, srv *rpc.Server) *rpc.Network {
	t.Helper()
	serving.Lock()
	defer serving.Unlock()
	if network, ok := serving.networks[srv]; ok {
		return network
	}
	if err := srv.Check(); err != nil {
		t.Fatalf("testkit: the server cannot start: %v", err)
	}
	network := rpc.NewNetwork()
	lis := network.Listen(underTest)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(lis) }()
	serving.networks[srv] = network
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		srv.Stop(ctx)
		if err := <-ended; err != nil {
			t.Errorf("testkit: serve: %v", err)
		}
		serving.Lock()
		defer serving.Unlock()
		delete(serving.networks, srv)
	})
	return network
}

// Tokens is a verifier for servers under test that knows each token's caller.
type Tokens map[string]rpc.Caller

var errUnknownToken = errors.New("testkit: unknown token")

// Verify returns the caller of token, or a fault of kind Unauthenticated.
func (tokens Tokens) Verify(_ context.Context, token string) (rpc.Caller, error) {
	caller, ok := tokens[token]
	if !ok {
		return rpc.Caller{}, fault.New(fault.Unauthenticated, "CALLER_UNKNOWN", "the token is not known").WithCause(errUnknownToken)
	}
	return caller, nil
}
