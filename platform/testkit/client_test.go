package testkit_test

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/testkit"
)

// whoServer remembers who called it last.
type whoServer struct {
	testgrpc.UnimplementedTestServiceServer
	callers chan rpc.Caller
}

func (s *whoServer) EmptyCall(ctx context.Context, _ *testgrpc.Empty) (*testgrpc.Empty, error) {
	s.callers <- rpc.CallerFrom(ctx)
	return &testgrpc.Empty{}, nil
}

func newWhoServer(t *testing.T, cfg rpc.ServerConfig) (*rpc.Server, *whoServer) {
	t.Helper()
	cfg.Service = "who"
	cfg.Policy = rpc.Policy{}
	for _, m := range testgrpc.TestService_ServiceDesc.Methods {
		cfg.Policy["/grpc.testing.TestService/"+m.MethodName] = whoRule
	}
	for _, s := range testgrpc.TestService_ServiceDesc.Streams {
		cfg.Policy["/grpc.testing.TestService/"+s.StreamName] = whoRule
	}
	srv, err := rpc.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	who := &whoServer{callers: make(chan rpc.Caller, 1)}
	testgrpc.RegisterTestServiceServer(srv.GRPC(), who)
	return srv, who
}

var whoRule = rpc.Rule{Roles: []rpc.Role{rpc.RoleService, rpc.RoleWearer}, Services: []string{"payments"}}

func call(t *testing.T, conn *grpc.ClientConn) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := testgrpc.NewTestServiceClient(conn).EmptyCall(ctx, &testgrpc.Empty{})
	return err
}

func TestClientIsWhoItSaysItIs(t *testing.T) {
	tokens := testkit.Tokens{"good": {Role: rpc.RoleWearer, ID: "w1", Account: "accounts/1"}}
	srv, who := newWhoServer(t, rpc.ServerConfig{Verifier: tokens})

	if err := call(t, testkit.Client(t, srv, "payments")); err != nil {
		t.Fatal(err)
	}
	if c := <-who.callers; c.Role != rpc.RoleService || c.ID != "payments" {
		t.Fatalf("the server saw %v, want the service payments", c)
	}
	t.Run("with a token", func(t *testing.T) {
		if err := call(t, testkit.ClientWithToken(t, srv, "good")); err != nil {
			t.Fatal(err)
		}
		if c := <-who.callers; c.Role != rpc.RoleWearer || c.Account != "accounts/1" {
			t.Fatalf("the server saw %v, want the wearer", c)
		}
	})
	for name, conn := range map[string]*grpc.ClientConn{
		"nobody":           testkit.Client(t, srv, ""),
		"an unknown token": testkit.ClientWithToken(t, srv, "bad"),
	} {
		if err := call(t, conn); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: error %v, want unauthenticated", name, err)
		}
	}
	if err := call(t, testkit.Client(t, srv, "notify")); fault.KindOf(err) != fault.PermissionDenied {
		t.Errorf("another service: error %v, want permission denied", err)
	}
}

func TestCertificatesOfTheAuthorityMakeMutualTLS(t *testing.T) {
	pki := testkit.PKI(t)
	cert, key := pki.Service("who")
	serverTLS, err := rpc.ServerTLS(cert, key, pki.File)
	if err != nil {
		t.Fatal(err)
	}
	srv, who := newWhoServer(t, rpc.ServerConfig{TLS: serverTLS})
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(lis) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		srv.Stop(ctx)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	dial := func(issuer *testkit.Authority) *grpc.ClientConn {
		cert, key := issuer.Service("payments")
		clientTLS, err := rpc.ClientTLS(cert, key, pki.File)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := rpc.Dial(lis.Addr().String(), rpc.DialConfig{TLS: clientTLS})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	if err := call(t, dial(pki)); err != nil {
		t.Fatal(err)
	}
	if c := <-who.callers; c.Role != rpc.RoleService || c.ID != "payments" {
		t.Fatalf("the server saw %v, want the service payments", c)
	}
	if err := call(t, dial(testkit.PKI(t))); err == nil {
		t.Fatal("a certificate of another authority was accepted")
	}
}
