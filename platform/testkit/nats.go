package testkit

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NATS starts a NATS server with JetStream in this process, on a free port and with its files in a folder of the test's,
// and shuts it down when the test ends.
func NATS(t testing.TB) (srv *server.Server, url string) {
	t.Helper()
	return NATSAt(t, t.TempDir(), -1)
}

// NATSAt is [NATS] with the folder of JetStream's files and the port given, for tests that start a server again where
// another one was shut down. The port -1 means a free one.
func NATSAt(t testing.TB, dir string, port int) (srv *server.Server, url string) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
		JetStreamMaxMemory: 256 << 20, JetStreamMaxStore: 4 << 30,
	})
	if err != nil {
		t.Fatalf("testkit: NATS: %v", err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(startTimeout) {
		t.Fatal("testkit: NATS does not accept connections")
	}
	return srv, srv.ClientURL()
}

// JetStream connects to url, reconnecting for ever and quickly, until the test ends.
func JetStream(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatalf("testkit: NATS: %v", err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatalf("testkit: NATS: %v", err)
	}
	return js
}
