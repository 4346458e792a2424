// Package run turns what a service is made of into a running process: it starts, says when it is ready, survives the
// failure of its background work, and drains when it is told to stop. [Main] does this for one service as a program of its
// own, [Suite] for several in one process; a service cannot tell the difference.
package run

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/sqldb"
)

// Env is what a service is given to run in.
type Env struct {
	// Log is the service's logger.
	Log *slog.Logger
	// TracerProvider makes the spans.
	TracerProvider trace.TracerProvider
	// MeterProvider makes the instruments.
	MeterProvider metric.MeterProvider
	// Now is the clock.
	Now func() time.Time
	// Network joins the services of one process; nil when the service runs alone.
	Network *rpc.Network
	// NATS connects to an account (CORE, EDGE, AUTH or SYS) of the NATS server in this process; nil when the service has to
	// connect to the server that is configured.
	NATS func(ctx context.Context, account string) (*nats.Conn, error)
}

// Conn connects the service from to the service to: in-process when there is a network, otherwise to the target.
func (e Env) Conn(from, to, target string, tlsConfig *tls.Config) (*grpc.ClientConn, error) {
	cfg := rpc.DialConfig{TLS: tlsConfig, Log: e.Log, TracerProvider: e.TracerProvider, MeterProvider: e.MeterProvider}
	if e.Network != nil {
		return e.Network.Dial(from, to, cfg)
	}
	if target == "" {
		return nil, fmt.Errorf("the address of %s is not configured", to)
	}
	return rpc.Dial(target, cfg)
}

// OpenDB opens the database at the URL and has it and what is built on it, such as an outbox, measured.
func (e Env) OpenDB(ctx context.Context, url string) (*sqldb.DB, error) {
	db, err := sqldb.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	if err := db.Observe(e.TracerProvider, e.MeterProvider); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// ConnectNATS connects to the account: in-process when the environment has a NATS server, otherwise to the URL. That
// connection does not give up: the server may come later, and come back.
func (e Env) ConnectNATS(ctx context.Context, account, url string, opts ...nats.Option) (*nats.Conn, error) {
	if e.NATS != nil {
		return e.NATS(ctx, account)
	}
	if url == "" {
		return nil, errors.New("the address of NATS is not configured")
	}
	log := e.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return nats.Connect(url, append([]nats.Option{
		nats.Timeout(5 * time.Second),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("NATS connection lost", "account", account, "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("NATS connected", "account", account) }),
	}, opts...)...)
}

// Worker is work in the background of a service.
type Worker struct {
	// Name stands in the log.
	Name string
	// Run works until the context ends. When it fails or panics before that it is run again after a pause that grows to
	// 30 s; when it returns nil it has finished and is not.
	Run func(ctx context.Context) error
}

// Service is everything of a service that runs.
type Service struct {
	// Name is the name of the service, on the in-process network too.
	Name string
	// Server serves gRPC; nil when there is none.
	Server *rpc.Server
	// Listen is the TCP address of gRPC; empty for in-process only.
	Listen string
	// Network is where the service listens in-process under its name; nil for TCP only. Suite sets it when it has one.
	Network *rpc.Network
	// HTTP answers every path but /healthz and /readyz; nil answers none.
	HTTP http.Handler
	// HTTPListen is the TCP address of HTTP; empty for none.
	HTTPListen string
	// HTTPSListen is the TCP address of the same over TLS by HTTPS; empty for none.
	HTTPSListen string
	// HTTPS is the configuration of HTTPSListen.
	HTTPS *tls.Config
	// Workers run from when the server serves until it has drained.
	Workers []Worker
	// Check says whether the service can do its work at present; nil is always. It is asked before the service becomes
	// ready and every few seconds from then on.
	Check func(ctx context.Context) error
	// Close releases what the service holds once nothing uses it any more.
	Close func(ctx context.Context) error
}
