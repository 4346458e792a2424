package sdk

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

// DefaultTimeout is the deadline of a unary call whose context has none. The
// services refuse a call without one.
const DefaultTimeout = 10 * time.Second

// Endpoints says where a deployment listens. The JSON names are those of the
// file endpoints.json that `armlet up` writes. A service that runs in several
// replicas is "host:port,host:port", or "dns:///name:port" for all addresses of
// a name: calls go round those that are ready, and one that none could take is
// repeated. token_url may be a list in the same way.
type Endpoints struct {
	Devices  string `json:"devices"`   // gRPC target of the device-registry, such as "127.0.0.1:7401"
	Auth     string `json:"auth"`      // gRPC target of auth
	Payments string `json:"payments"`  // gRPC target of payments
	Notify   string `json:"notify"`    // gRPC target of notify
	TokenURL string `json:"token_url"` // URL of auth's token endpoint
	JWKSURL  string `json:"jwks_url"`  // URL of auth's public keys (RFC 7517)
	NATSURL  string `json:"nats_url"`  // URL that partners' event consumers connect to
}

// Client holds a connection to each service. Its fields are safe for concurrent use.
type Client struct {
	Devices  devicesv1.DeviceRegistryServiceClient
	Auth     authv1.AuthServiceClient
	Payments paymentsv1.PaymentsServiceClient
	Notify   notifyv1.NotifyServiceClient

	conns []*grpc.ClientConn
}

// Option changes how Dial connects.
type Option func(*options)

type options struct {
	tokens  TokenSource
	tls     *tls.Config
	timeout time.Duration
	extra   []grpc.DialOption
}

// WithTokens sends a bearer token (RFC 6750) from the source with every call.
func WithTokens(source TokenSource) Option { return func(o *options) { o.tokens = source } }

// WithTLS connects with TLS. Without it connections are in clear text, and Dial
// refuses to send tokens to another machine.
func WithTLS(config *tls.Config) Option { return func(o *options) { o.tls = config } }

// WithTimeout is the deadline of unary calls whose context has none, instead of DefaultTimeout.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithDialOptions adds options of package grpc, such as a stats handler for traces.
func WithDialOptions(extra ...grpc.DialOption) Option {
	return func(o *options) { o.extra = append(o.extra, extra...) }
}

// Dial prepares connections to the services; they are made at the first call.
// It fails on targets that cannot be understood and where a token would travel in
// clear text to another machine.
func Dial(at Endpoints, opts ...Option) (*Client, error) {
	o := options{timeout: DefaultTimeout}
	for _, set := range opts {
		set(&o)
	}
	c := &Client{}
	if err := o.refuseClearTokens(at); err != nil {
		return nil, err
	}
	dial := func(target string) *grpc.ClientConn {
		if target == "" {
			return nil
		}
		target, balance, err := resolve(target)
		if err != nil {
			return nil
		}
		conn, err := grpc.NewClient(target, append(balance, o.dialOptions()...)...)
		if err != nil {
			return nil
		}
		c.conns = append(c.conns, conn)
		return conn
	}
	for _, s := range []struct {
		name, target string
		use          func(*grpc.ClientConn)
	}{
		{"devices", at.Devices, func(cc *grpc.ClientConn) { c.Devices = devicesv1.NewDeviceRegistryServiceClient(cc) }},
		{"auth", at.Auth, func(cc *grpc.ClientConn) { c.Auth = authv1.NewAuthServiceClient(cc) }},
		{"payments", at.Payments, func(cc *grpc.ClientConn) { c.Payments = paymentsv1.NewPaymentsServiceClient(cc) }},
		{"notify", at.Notify, func(cc *grpc.ClientConn) { c.Notify = notifyv1.NewNotifyServiceClient(cc) }},
	} {
		conn := dial(s.target)
		if conn == nil {
			return nil, errors.Join(fmt.Errorf("sdk: the address of %s, %q, cannot be dialled", s.name, s.target), c.Close())
		}
		s.use(conn)
	}
	return c, nil
}

// refuseClearTokens keeps tokens off the network when there is no TLS.
func (o options) refuseClearTokens(at Endpoints) error {
	if o.tls != nil || o.tokens == nil {
		return nil
	}
	for _, target := range strings.Split(strings.Join([]string{at.Devices, at.Auth, at.Payments, at.Notify}, ","), ",") {
		host, _, err := net.SplitHostPort(strings.TrimSpace(target))
		if err != nil {
			return fmt.Errorf("sdk: the address %q is not host:port", target)
		}
		if ip := net.ParseIP(host); host != "localhost" && !ip.IsLoopback() && !ip.IsUnspecified() {
			return fmt.Errorf("sdk: tokens are not sent to %s without TLS; use WithTLS", target)
		}
	}
	return nil
}

// Close ends the connections.
func (c *Client) Close() error {
	var errs []error
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

func (o options) dialOptions() []grpc.DialOption {
	transport := insecure.NewCredentials()
	if o.tls != nil {
		transport = credentials.NewTLS(o.tls)
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		// gRPC's own pauses grow to two minutes, in which a replica that is back would stand idle.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}, MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithChainUnaryInterceptor(withDeadline(o.timeout), o.withNewToken),
	}
	if o.tokens != nil {
		dial = append(dial, grpc.WithPerRPCCredentials(bearer{o.tokens, o.tls != nil}))
	}
	return append(dial, o.extra...)
}

func withDeadline(timeout time.Duration) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if _, ok := ctx.Deadline(); !ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
}

// forgetter is a TokenSource that can be told that its token is no longer believed.
type forgetter interface{ Forget() }

// withNewToken repeats a call once whose token was taken back: a grant was changed, and a new token carries what is left.
// Such a call was refused before anything was done.
func (o options) withNewToken(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	source, ok := o.tokens.(forgetter)
	if !ok || !tokenRevoked(err) {
		return err
	}
	source.Forget()
	return invoke(ctx, method, req, reply, cc, opts...)
}

type bearer struct {
	source TokenSource
	secure bool
}

func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := b.source.Token(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.secure }
