package rpc_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/peer"

	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/testkit"
)

// side has the certificate of one side and what it trusts in files that are replaced.
type side struct{ cert, key, ca string }

func newSide(t *testing.T) side {
	t.Helper()
	dir := t.TempDir()
	return side{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")}
}

// put replaces a file as those who renew certificates do, at once.
func put(t *testing.T, to string, from ...string) {
	t.Helper()
	var text []byte
	for _, file := range from {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b...)
	}
	if err := os.WriteFile(to+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to+".new", to); err != nil {
		t.Fatal(err)
	}
}

// TestNoCallFailsWhileCertificatesAndTheirAuthorityAreReplaced is a whole change of the authority, under load and without a
// restart: first both sides trust both, then each gets a certificate of the new one, then nobody trusts the old one.
func TestNoCallFailsWhileCertificatesAndTheirAuthorityAreReplaced(t *testing.T) {
	before, after := testkit.PKI(t), testkit.PKI(t)
	server, client := newSide(t), newSide(t)
	for name, s := range map[string]side{"test": server, "friend": client} {
		cert, key := before.Service(name)
		put(t, s.cert, cert)
		put(t, s.key, key)
		put(t, s.ca, before.File)
	}
	seen := &addresses{known: map[string]bool{}}
	addr := renewing(t, server, seen)
	clientTLS, err := rpc.ClientTLS(client.cert, client.key, client.ca)
	if err != nil {
		t.Fatal(err)
	}
	cc := connected(t)(rpc.Dial(addr, rpc.DialConfig{TLS: clientTLS}))
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var calls atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
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
	defer wg.Wait()
	defer stop()
	// Of two connections that are made from now on the second one has its handshake behind all that was done until now.
	renewed := func() {
		t.Helper()
		want := seen.count() + 2
		for deadline := time.Now().Add(20 * time.Second); seen.count() < want; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("no new connection was made")
			}
		}
	}
	renewed()
	put(t, server.ca, before.File, after.File)
	put(t, client.ca, before.File, after.File)
	renewed()
	for name, s := range map[string]side{"test": server, "friend": client} {
		cert, key := after.Service(name)
		put(t, s.cert, cert) // for a moment it has no key
		time.Sleep(connectionAge)
		put(t, s.key, key)
	}
	renewed()
	put(t, server.ca, after.File)
	put(t, client.ca, after.File)
	renewed()
	if calls.Load() == 0 {
		t.Error("there was no load")
	}
	stranger, strangerKey := before.Service("friend")
	old, err := rpc.ClientTLS(stranger, strangerKey, after.File)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := call(within(t, 5*time.Second), connected(t)(rpc.Dial(addr, rpc.DialConfig{TLS: old})), "x"); err == nil {
		t.Error("a certificate of the authority from before is believed")
	}
}

// addresses are the clients' ends of the connections.
type addresses struct {
	mu    sync.Mutex
	known map[string]bool
}

func (a *addresses) add(address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known[address] = true
}

func (a *addresses) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.known)
}

// connectionAge is short, so that a connection does not outlive a step of the test.
const connectionAge = 100 * time.Millisecond

func renewing(t *testing.T, s side, seen *addresses) string {
	t.Helper()
	serverTLS, err := rpc.ServerTLS(s.cert, s.key, s.ca)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := rpc.NewServer(rpc.ServerConfig{Service: "test", Policy: open(), TLS: serverTLS, MaxConnectionAge: connectionAge})
	if err != nil {
		t.Fatal(err)
	}
	h := handlers{echo: func(ctx context.Context, s string) (string, error) {
		if p, ok := peer.FromContext(ctx); ok {
			seen.add(p.Addr.String())
		}
		return s, nil
	}}
	srv.GRPC().RegisterService(h.desc(), nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(l) }()
	srv.SetReady(true)
	t.Cleanup(func() { srv.Stop(context.WithoutCancel(t.Context())) })
	return l.Addr().String()
}
