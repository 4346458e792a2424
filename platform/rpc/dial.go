package rpc

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

// DefaultTimeout is the deadline that a unary call gets when its context has none.
const DefaultTimeout = 10 * time.Second

// reconnectMost is the longest pause before a server that was away is tried again: a rolling restart has to wait for as long
// between two replicas.
const reconnectMost = time.Second

// DialConfig is how a connection is made. The zero value is a plaintext connection without a token.
type DialConfig struct {
	// TLS is the client's side of TLS; nil is plaintext.
	TLS *tls.Config
	// Token gives the bearer token of each call; nil sends none, and an empty token sends none either. It is called for
	// every call, so it keeps its token while that is good.
	Token func(ctx context.Context) (string, error)
	// Log gets, at debug level, the calls that failed; nil is silence.
	Log *slog.Logger
	// TracerProvider and MeterProvider receive a span and metrics for each call; nil records nothing but still propagates.
	TracerProvider trace.TracerProvider
	// MeterProvider see TracerProvider.
	MeterProvider metric.MeterProvider
	// Timeout is the deadline of unary calls whose context has none, 0 for DefaultTimeout. Streams get none.
	Timeout time.Duration
}

// Dial makes a connection to the target: host:port, a list host:port,host:port of replicas, or any gRPC target such as
// dns:///name:port, whose addresses are replicas too. Calls go round the replicas that are ready, and one that nobody could
// take is repeated. It connects when it is first used. Failed calls return faults: use fault.ReasonOf and fault.KindOf on
// them.
func Dial(target string, cfg DialConfig) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if cfg.TLS != nil {
		creds = newClientCreds(cfg.TLS)
	}
	target, opts, err := resolve(target)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient(target, append(append(cfg.options(), opts...),
		grpc.WithTransportCredentials(creds),
		// gRPC's own pauses grow to two minutes, in which a replica that is back would stand idle.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectMost}, MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	)...)
}

func (cfg DialConfig) options() []grpc.DialOption {
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = tracenoop.NewTracerProvider()
	}
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = metricnoop.NewMeterProvider()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	return []grpc.DialOption{
		grpc.WithStatsHandler(otelgrpc.NewClientHandler(
			otelgrpc.WithTracerProvider(cfg.TracerProvider),
			otelgrpc.WithMeterProvider(cfg.MeterProvider),
			otelgrpc.WithPropagators(propagator),
		)),
		grpc.WithUnaryInterceptor(cfg.callUnary),
		grpc.WithStreamInterceptor(cfg.callStream),
	}
}

func (cfg DialConfig) callUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cfg.Timeout)
		defer cancel()
	}
	ctx, err := cfg.withToken(ctx)
	if err != nil {
		return err
	}
	return cfg.failed(ctx, method, invoke(ctx, method, req, reply, cc, opts...))
}

func (cfg DialConfig) callStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, err := cfg.withToken(ctx)
	if err != nil {
		return nil, err
	}
	cs, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, cfg.failed(ctx, method, err)
	}
	return &clientStream{cs}, nil
}

func (cfg DialConfig) withToken(ctx context.Context) (context.Context, error) {
	if cfg.Token == nil {
		return ctx, nil
	}
	token, err := cfg.Token(ctx)
	if err != nil || token == "" {
		return ctx, err
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), nil
}

func (cfg DialConfig) failed(ctx context.Context, method string, err error) error {
	if err = fromStatus(err); err != nil && cfg.Log.Enabled(ctx, slog.LevelDebug) {
		cfg.Log.LogAttrs(ctx, slog.LevelDebug, "call failed", slog.String("method", method), slog.Any("error", err))
	}
	return err
}

// clientStream turns the statuses of a stream into faults.
type clientStream struct{ grpc.ClientStream }

func (s *clientStream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	return md, fromStatus(err)
}

func (s *clientStream) SendMsg(m any) error {
	return fromStatus(s.ClientStream.SendMsg(m))
}

func (s *clientStream) CloseSend() error {
	return fromStatus(s.ClientStream.CloseSend())
}

func (s *clientStream) RecvMsg(m any) error {
	return fromStatus(s.ClientStream.RecvMsg(m))
}
