package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/stats"
)

// Defaults of ServerConfig.
const (
	// DefaultMaxRecvBytes is the largest message a server takes.
	DefaultMaxRecvBytes = 1 << 20
	// DefaultMaxConnectionAge is how long a connection lasts before its client is asked to make a new one.
	DefaultMaxConnectionAge = 30 * time.Minute
	// DefaultMaxTimeout is the most time a unary call gets, whatever its deadline says.
	DefaultMaxTimeout = 60 * time.Second

	// streamWorkers is how many goroutines a server keeps for calls. A call through all interceptors needs 16 KiB of stack; a
	// new goroutine grows to that in steps, each of which copies. More calls at once get goroutines of their own.
	streamWorkers = 256
)

// propagator carries W3C traceparent. It is passed explicitly: the global one does nothing until somebody sets it, and a
// library should not depend on that.
var propagator = propagation.TraceContext{}

// ServerConfig is what a server is made of. Service and Policy are needed; every other zero value has a meaning.
type ServerConfig struct {
	// Service is the name of the service, for logs.
	Service string
	// Policy says who may call what; it must name every registered method.
	Policy Policy
	// Verifier verifies bearer tokens; without one every token is refused.
	Verifier Verifier
	// TLS is used on listeners that are not in-process; nil is plaintext.
	TLS *tls.Config
	// Classify gives errors that are no faults a kind that callers may act on, where it can; nil is none. Services give
	// sqldb.Classify, so that a database that restarts is UNAVAILABLE and not INTERNAL.
	Classify func(error) error
	// Log gets what callers must not see; nil is silence.
	Log *slog.Logger
	// TracerProvider and MeterProvider receive a span and metrics for each call; nil records nothing but still propagates.
	TracerProvider trace.TracerProvider
	// MeterProvider see TracerProvider.
	MeterProvider metric.MeterProvider
	// MaxRecvBytes is the largest message taken, 0 for DefaultMaxRecvBytes.
	MaxRecvBytes int
	// MaxTimeout is the most time a unary call gets, 0 for DefaultMaxTimeout.
	MaxTimeout time.Duration
	// MaxConnectionAge is how long a connection lasts, 0 for DefaultMaxConnectionAge. Then its client makes a new one, so that
	// renewed certificates and authorities come into effect, and replicas that are new get their share; calls and streams that
	// are under way go on.
	MaxConnectionAge time.Duration
}

// Server is a gRPC server with the interceptors of this package, health and reflection.
type Server struct {
	grpc   *grpc.Server
	health *health.Server
	policy Policy
	drain  context.CancelFunc
	// unwatch ends the measuring of the certificate.
	unwatch func()
}

// NewServer makes a server that does not serve yet and is not ready. It refuses a policy with a rule that makes no sense.
func NewServer(cfg ServerConfig) (*Server, error) {
	if err := cfg.Policy.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	unwatch, err := watchCertificate(cfg.MeterProvider.Meter("github.com/armlet-pay/armlet/platform/rpc"), cfg.TLS, time.Now)
	if err != nil {
		return nil, err
	}
	draining, drain := context.WithCancel(context.Background())
	g := &guard{
		log: cfg.Log, classify: cfg.Classify, policy: cfg.Policy, verifier: cfg.Verifier, maxTimeout: cfg.MaxTimeout, draining: draining, limits: limiters{per: map[limitKey]*limiter{}},
	}
	s := &Server{
		grpc: grpc.NewServer(
			grpc.Creds(newServerCreds(cfg.TLS)),
			grpc.StatsHandler(otelgrpc.NewServerHandler(
				otelgrpc.WithTracerProvider(cfg.TracerProvider),
				otelgrpc.WithMeterProvider(cfg.MeterProvider),
				otelgrpc.WithPropagators(propagator),
				otelgrpc.WithFilter(func(i *stats.RPCTagInfo) bool { return !isInfrastructure(i.FullMethodName) }),
			)),
			grpc.ChainUnaryInterceptor(g.unary()...),
			grpc.ChainStreamInterceptor(g.stream()...),
			grpc.MaxRecvMsgSize(cfg.MaxRecvBytes),
			grpc.MaxHeaderListSize(64<<10),
			grpc.MaxConcurrentStreams(1000),
			grpc.NumStreamWorkers(streamWorkers),
			grpc.ConnectionTimeout(10*time.Second),
			// Dial pings every 30 s to notice a dead peer; without this gRPC would close such connections.
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
			grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second, MaxConnectionAge: cfg.MaxConnectionAge}),
		),
		health: health.NewServer(),
		policy: cfg.Policy,
		drain:  drain, unwatch: unwatch,
	}
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	return s, nil
}

func (c ServerConfig) withDefaults() ServerConfig {
	if c.Classify == nil {
		c.Classify = func(err error) error { return err }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Log = c.Log.With("service", c.Service)
	if c.TracerProvider == nil {
		c.TracerProvider = tracenoop.NewTracerProvider()
	}
	if c.MeterProvider == nil {
		c.MeterProvider = metricnoop.NewMeterProvider()
	}
	if c.MaxRecvBytes <= 0 {
		c.MaxRecvBytes = DefaultMaxRecvBytes
	}
	if c.MaxTimeout <= 0 {
		c.MaxTimeout = DefaultMaxTimeout
	}
	if c.MaxConnectionAge <= 0 {
		c.MaxConnectionAge = DefaultMaxConnectionAge
	}
	return c
}

// GRPC is where the service registers its handlers, before Serve.
func (s *Server) GRPC() *grpc.Server { return s.grpc }

// Check reports whether the server may start: every registered method is in the policy and every request's field rules
// compile. Serve checks too; a program that starts several servers can check all of them first.
func (s *Server) Check() error {
	registered := s.grpc.GetServiceInfo()
	if missing := s.policy.Missing(registered); len(missing) > 0 {
		return fmt.Errorf("the policy does not say who may call %s", strings.Join(missing, ", "))
	}
	return warmUp(registered)
}

// Serve serves on all listeners until Stop is called or one of them fails, which it takes over and closes in any case.
// After Stop it returns nil.
func (s *Server) Serve(listeners ...net.Listener) error {
	if len(listeners) == 0 {
		return errors.New("rpc: no listener to serve on")
	}
	if err := s.Check(); err != nil {
		for _, l := range listeners {
			_ = l.Close()
		}
		return err
	}
	errs := make(chan error, len(listeners))
	var wg sync.WaitGroup
	for _, l := range listeners {
		wg.Go(func() {
			err := s.grpc.Serve(l)
			if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				errs <- fmt.Errorf("serve on %s: %w", l.Addr(), err)
				s.grpc.Stop() // the other listeners end as well
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// SetReady says through the health service whether the service is ready, as a whole ("") and under each registered name.
// Calls are served in either case; it is for load balancers and for whoever waits for the start.
func (s *Server) SetReady(ready bool) {
	st := healthpb.HealthCheckResponse_NOT_SERVING
	if ready {
		st = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", st)
	for name := range s.grpc.GetServiceInfo() {
		if !isInfrastructure("/" + name) {
			s.health.SetServingStatus(name, st)
		}
	}
}

// Stop says NOT_SERVING, takes no new calls, ends the context of streams (their callers see UNAVAILABLE SHUTTING_DOWN) and
// waits for the calls under way; when the context ends first it breaks them off.
func (s *Server) Stop(ctx context.Context) {
	s.health.Shutdown()
	s.drain()
	s.unwatch()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
}
