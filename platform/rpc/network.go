package rpc

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// pipeBuffer is the size in bytes of each direction of an in-process connection.
const pipeBuffer = 128 << 10

// Network joins services that run in one process. It is like a network of its own: connections to a service that does not
// listen fail, and can be made again when it does. Whoever holds the Network can dial as any service, so it is handed to
// the services of one installation and to nobody else; a caller from outside cannot reach it at all.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*pipeListener
}

// NewNetwork makes a network on which nobody listens.
func NewNetwork() *Network { return &Network{listeners: map[string]*pipeListener{}} }

// Listen makes the listener of the named service, to be given to [Server.Serve]. The name is free again once the listener
// is closed; taking a name that is in use panics, because it would steal another service's calls.
func (n *Network) Listen(service string) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, taken := n.listeners[service]; taken {
		panic(fmt.Sprintf("rpc: %s already listens on this network", service))
	}
	l := &pipeListener{network: n, service: service, conns: make(chan net.Conn), done: make(chan struct{})}
	n.listeners[service] = l
	return l
}

// Dial connects the service from to the service to. The server sees Caller{Role: RoleService, ID: from}; with an empty from
// it sees nobody, and a token is needed as from outside. The listener may come later: until then calls fail as Unavailable.
// The TLS part of the configuration is not used.
func (n *Network) Dial(from, to string, cfg DialConfig) (*grpc.ClientConn, error) {
	opts := append(cfg.options(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return n.connect(ctx, from, to) }),
		// There is no wire to protect: try again soon, the other service is only being started.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: 5 * time.Second,
		}))
	return grpc.NewClient("passthrough:///"+to, opts...)
}

func (n *Network) connect(ctx context.Context, from, to string) (net.Conn, error) {
	n.mu.Lock()
	l, ok := n.listeners[to]
	n.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("service %s does not listen in this process", to)
	}
	client, server, err := pipe(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case l.conns <- &pipeConn{Conn: server, from: from}:
		return client, nil
	case <-l.done:
		return nil, fmt.Errorf("service %s has stopped listening", to)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pipe makes two ends of a buffered connection.
func pipe(ctx context.Context) (client, server net.Conn, err error) {
	l := bufconn.Listen(pipeBuffer)
	defer func() { _ = l.Close() }() // closes the listener alone, not the connection
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			accepted <- c
		}
		close(accepted)
	}()
	if client, err = l.DialContext(ctx); err != nil {
		return nil, nil, err
	}
	return client, <-accepted, nil
}

// pipeConn is the server's end of an in-process connection. Only connect makes one, which is why a server may believe
// what it says.
type pipeConn struct {
	net.Conn
	from string
}

type pipeListener struct {
	network *Network
	service string
	conns   chan net.Conn
	once    sync.Once
	done    chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.network.mu.Lock()
		defer l.network.mu.Unlock()
		delete(l.network.listeners, l.service)
	})
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr(l.service) }

type pipeAddr string

func (pipeAddr) Network() string  { return "in-process" }
func (a pipeAddr) String() string { return string(a) }
