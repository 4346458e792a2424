package rpc

import (
	"context"
	"crypto/subtle"
	"errors"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/armlet-pay/armlet/platform/fault"
)

// streamRecheck is how often the token of a running stream is looked at again.
const streamRecheck = 500 * time.Millisecond

// Verifier turns a bearer token into the caller it stands for. It refuses a token with a fault of kind Unauthenticated, and
// says Unavailable when it cannot tell.
type Verifier interface {
	// Verify checks the token and names its caller. The token has no "Bearer " before it.
	Verify(ctx context.Context, token string) (Caller, error)
}

// watcher is a Verifier that looks at a token again for much less than verifying it costs: thousands of streams may run.
type watcher interface {
	// Watch gives what looks at a token again that Verify has taken. It is for one goroutine.
	Watch(token string) func(context.Context) error
}

// guard is what the interceptors know. It does not change once the server serves.
type guard struct {
	classify   func(error) error
	log        *slog.Logger
	policy     Policy
	verifier   Verifier
	maxTimeout time.Duration
	limits     limiters
	// draining ends when the server stops: calls run to their end, but streams could last for ever and are ended.
	draining context.Context
}

// unary is the list of interceptors, outermost first. Tracing stands around all of them as a stats handler, and an
// oversized message is refused by gRPC before any of them (RESOURCE_EXHAUSTED).
func (g *guard) unary() []grpc.UnaryServerInterceptor {
	return []grpc.UnaryServerInterceptor{
		g.recoverUnary,  // a panic becomes INTERNAL with an error id; the stack goes to the log
		g.mapUnary,      // a fault becomes its status; anything else becomes INTERNAL with an error id
		g.deadlineUnary, // no deadline: INVALID_ARGUMENT DEADLINE_REQUIRED; a distant one is cut to MaxTimeout
		g.admitUnary,    // authenticate, then authorize by the policy: UNAUTHENTICATED or PERMISSION_DENIED
		validateUnary,   // the request's field rules: INVALID_ARGUMENT INVALID_FIELD
	}
}

// stream is the same list for streams, which live as long as their caller likes and so need no deadline.
func (g *guard) stream() []grpc.StreamServerInterceptor {
	return []grpc.StreamServerInterceptor{
		g.recoverStream,
		g.mapStream,
		g.admitStream,
		validateStream,
	}
}

func (g *guard) recoverUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (_ any, err error) {
	ctx = withCall(ctx)
	defer func() {
		if p := recover(); p != nil {
			err = internalStatus(ctx, g.log, info.FullMethod, "panic", p, slog.String("stack", string(debug.Stack())))
		}
	}()
	return next(ctx, req)
}

func (g *guard) recoverStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	ctx, cancel := context.WithCancelCause(withCall(ss.Context()))
	defer cancel(nil)
	defer context.AfterFunc(g.draining, func() { cancel(errDraining) })()
	ss = &serverStream{ServerStream: ss, ctx: ctx}
	defer func() {
		if p := recover(); p != nil {
			err = internalStatus(ss.Context(), g.log, info.FullMethod, "panic", p, slog.String("stack", string(debug.Stack())))
		}
	}()
	return next(srv, ss)
}

func (g *guard) mapUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	if err != nil {
		return nil, toStatus(ctx, g.log, info.FullMethod, g.classify(err))
	}
	return resp, nil
}

func (g *guard) mapStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	err := next(srv, ss)
	if err == nil {
		return nil
	}
	if errors.Is(context.Cause(ss.Context()), errDraining) {
		err = errDraining
	}
	return toStatus(ss.Context(), g.log, info.FullMethod, g.classify(err))
}

func (g *guard) deadlineUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	deadline, ok := ctx.Deadline()
	switch {
	case isInfrastructure(info.FullMethod):
	case !ok:
		return nil, errDeadlineRequired
	case time.Until(deadline) > g.maxTimeout:
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, g.maxTimeout)
		defer cancel()
	}
	return next(ctx, req)
}

func (g *guard) admitUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := g.admit(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (g *guard) admitStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := g.admit(ss.Context(), info.FullMethod); err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ss.Context())
	defer end(nil)
	g.stillGood(ctx, end)
	err := next(srv, &serverStream{ServerStream: ss, ctx: ctx})
	if f, ok := fault.As(context.Cause(ctx)); ok && err != nil && f.Kind == fault.Unauthenticated {
		return f
	}
	return err
}

// admit notes who calls, or says why the call may not go on.
func (g *guard) admit(ctx context.Context, method string) error {
	if isInfrastructure(method) {
		return nil
	}
	rule, ok := g.policy[method]
	if !ok { // cannot happen once Serve has checked the policy; denied all the same
		return errCallerNotAllowed
	}
	caller, err := g.authenticate(ctx, rule.Public)
	if err != nil {
		return err
	}
	setCaller(ctx, caller)
	if err := rule.authorize(caller, method); err != nil {
		return err
	}
	return g.limits.admit(caller, rule.Scope)
}

// authenticate finds the caller: by the token if there is one, otherwise by the channel. It is nil when nothing names one.
func (g *guard) authenticate(ctx context.Context, public bool) (*Caller, error) {
	if !public {
		token, err := bearer(ctx)
		if err != nil {
			return nil, err
		}
		if token != "" {
			return g.verify(ctx, token)
		}
	}
	if p, ok := peer.FromContext(ctx); ok {
		if ci, ok := p.AuthInfo.(channelInfo); ok {
			return ci.channelCaller(), nil
		}
	}
	return nil, nil
}

func (g *guard) verify(ctx context.Context, token string) (*Caller, error) {
	if g.verifier == nil {
		return nil, errTokenInvalid
	}
	c, err := g.verifier.Verify(ctx, token)
	if err != nil {
		if _, ok := fault.As(err); ok || ctx.Err() != nil {
			return nil, err
		}
		return nil, errTokenInvalid.WithCause(err)
	}
	// Services are known by their channel alone: a token must never be able to name one.
	if c.Role == "" || c.Role == RoleService {
		return nil, errTokenInvalid
	}
	if c.Certificate != "" && subtle.ConstantTimeCompare([]byte(c.Certificate), []byte(peerThumbprint(ctx))) != 1 {
		return nil, errTokenUnbound
	}
	return &c, nil
}

// peerThumbprint is the x5t#S256 of the connection's client certificate, empty when it has none.
func peerThumbprint(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	info, ok := p.AuthInfo.(tlsInfo)
	if !ok || len(info.State.VerifiedChains) == 0 || len(info.State.PeerCertificates) == 0 {
		return ""
	}
	return Thumbprint(info.State.PeerCertificates[0])
}

// stillGood ends a stream whose token stops being good while it runs: a stream may last for days and its caller was looked
// at once.
func (g *guard) stillGood(ctx context.Context, end context.CancelCauseFunc) {
	token, err := bearer(ctx)
	if role := CallerFrom(ctx).Role; err != nil || token == "" || role == "" || role == RoleService {
		return // it is not by a token that this caller was let in
	}
	again := func(ctx context.Context) error {
		_, err := g.verify(ctx, token)
		return err
	}
	if w, ok := g.verifier.(watcher); ok {
		again = w.Watch(token)
	}
	go func() {
		tick := time.NewTicker(streamRecheck)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if err := again(ctx); err != nil && fault.KindOf(err) == fault.Unauthenticated {
				end(err)
				return
			}
		}
	}()
}

// bearer is the call's token, empty when it has none. Two of them, or another scheme, are refused rather than chosen from.
func bearer(ctx context.Context) (string, error) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		scheme, token, ok := strings.Cut(values[0], " ")
		if ok && strings.EqualFold(scheme, "bearer") && token != "" {
			return token, nil
		}
	}
	return "", errTokenInvalid
}

// serverStream is a stream whose context knows the call.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }
