package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
)

// raw connects without any of our client code, over TCP, as an outsider would.
func (r *rig) raw(t *testing.T) *grpc.ClientConn {
	t.Helper()
	return connected(t)(grpc.NewClient(r.tcp, grpc.WithTransportCredentials(insecure.NewCredentials())))
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func wantFault(t *testing.T, err error, kind fault.Kind, reason string) *fault.Error {
	t.Helper()
	f, ok := fault.As(err)
	if !ok {
		t.Fatalf("got %v, want a fault %s %s", err, kind, reason)
	}
	if f.Kind != kind || f.Reason != reason {
		t.Fatalf("got %s %s (%v), want %s %s", f.Kind, f.Reason, err, kind, reason)
	}
	return f
}

func TestEveryKindOfFaultArrivesAsItWasReturned(t *testing.T) {
	for kind := fault.Invalid; kind <= fault.Unimplemented; kind++ {
		t.Run(kind.String(), func(t *testing.T) {
			r := serve(t, rpc.ServerConfig{}, handlers{echo: func(context.Context, string) (string, error) {
				f := fault.New(kind, "SOME_REASON", "what to do").WithField("a.b").WithMeta("k", "v").WithCause(errors.New("the inner secret"))
				return "", fmt.Errorf("handler: %w", f)
			}})
			_, err := call(t.Context(), r.as(t, "friend"), "x")
			f := wantFault(t, err, kind, "SOME_REASON")
			if f.Message != "what to do" || f.Field != "a.b" || f.Meta["k"] != "v" {
				t.Errorf("got %+v", f)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the cause was sent: %v", err)
			}
			if status.Code(err) == codes.Unknown {
				t.Error("the status code is lost on the client")
			}
		})
	}
}

func TestTheWireCarriesErrorInfoAndBadRequest(t *testing.T) {
	r := serve(t, rpc.ServerConfig{Verifier: tokens{"good": {Role: rpc.RoleOperator, ID: "op"}}}, handlers{echo: func(context.Context, string) (string, error) {
		return "", fault.InvalidField("amount.minor_units", "must be above 0").WithMeta("least", "1")
	}})
	ctx := outgoing(within(t, 5*time.Second), "authorization", "Bearer good")
	_, err := call(ctx, r.raw(t), "x")
	st := status.Convert(err)
	if st.Code() != codes.InvalidArgument || st.Message() != "must be above 0" {
		t.Fatalf("got %v", st)
	}
	var info *errdetails.ErrorInfo
	var bad *errdetails.BadRequest
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.BadRequest:
			bad = d
		}
	}
	if info.GetDomain() != "armlet" || info.GetReason() != "INVALID_FIELD" || info.GetMetadata()["least"] != "1" {
		t.Errorf("ErrorInfo %v", info)
	}
	if v := bad.GetFieldViolations(); len(v) != 1 || v[0].GetField() != "amount.minor_units" || v[0].GetReason() != "INVALID_FIELD" {
		t.Errorf("BadRequest %v", bad)
	}
}

func TestWhatNobodyClassifiedLeaksNothing(t *testing.T) {
	const secret = "password=hunter2"
	for name, fail := range map[string]func() error{
		"plain error":         func() error { return errors.New(secret) },
		"panic":               func() error { panic(secret) },
		"fault of Internal":   func() error { return fault.New(fault.Internal, "BROKEN", secret) },
		"fault of no kind":    func() error { return fault.New(fault.Kind(99), "BROKEN", secret) },
		"status Unknown":      func() error { return status.Error(codes.Unknown, secret) },
		"status Internal":     func() error { return status.Error(codes.Internal, secret) },
		"status wrapped":      func() error { return fmt.Errorf("x: %w", status.Error(codes.NotFound, secret)) },
		"peer's status by us": func() error { return status.Error(codes.DataLoss, secret) },
	} {
		t.Run(name, func(t *testing.T) {
			r := serve(t, rpc.ServerConfig{}, handlers{
				echo: func(context.Context, string) (string, error) { return "", fail() },
				feed: func(string, grpc.ServerStream) error { return fail() },
			})
			cc := r.as(t, "friend")
			_, unaryErr := call(t.Context(), cc, "x")
			cs, err := openFeed(t.Context(), cc, "x")
			if err != nil {
				t.Fatal(err)
			}
			streamErr := cs.RecvMsg(new(wrapperspb.StringValue))
			for what, err := range map[string]error{"unary": unaryErr, "stream": streamErr} {
				f := wantFault(t, err, fault.Internal, rpc.ReasonInternal)
				if f.Message != "internal error" || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%s: leaked: %v", what, err)
				}
				id := f.Meta["error_id"]
				if len(id) != 16 || !strings.Contains(r.log.String(), id) {
					t.Errorf("%s: error id %q is not in the log", what, id)
				}
			}
			if log := r.log.String(); !strings.Contains(log, "hunter2") || !strings.Contains(log, "caller=\"service friend\"") {
				t.Errorf("the log does not say what and who: %s", log)
			}
			if name == "panic" && !strings.Contains(r.log.String(), "server_test.go") {
				t.Error("the log lacks the stack")
			}
			if _, err := call(t.Context(), cc, "x"); fault.ReasonOf(err) != rpc.ReasonInternal {
				t.Errorf("the server is gone after it: %v", err)
			}
		})
	}
}

func TestAnUnavailableStatusOfGRPCKeepsItsAddressesInside(t *testing.T) {
	r := serve(t, rpc.ServerConfig{}, handlers{echo: func(context.Context, string) (string, error) {
		return "", status.Error(codes.Unavailable, "dial tcp 10.1.2.3:5432")
	}})
	_, err := call(t.Context(), r.as(t, "friend"), "x")
	wantFault(t, err, fault.Unavailable, "UNAVAILABLE")
	if strings.Contains(err.Error(), "10.1.2.3") {
		t.Errorf("leaked: %v", err)
	}
}

func TestASlowDependencyIsNotTheCallersDeadline(t *testing.T) {
	r := serve(t, rpc.ServerConfig{}, handlers{echo: func(ctx context.Context, text string) (string, error) {
		if text == "own" {
			<-ctx.Done()
			return "", ctx.Err()
		}
		return "", fmt.Errorf("redis: %w", context.DeadlineExceeded)
	}})
	_, err := call(within(t, 5*time.Second), r.as(t, "friend"), "dependency")
	wantFault(t, err, fault.Unavailable, rpc.ReasonDependencyTimeout)
	_, err = call(within(t, 50*time.Millisecond), r.as(t, "friend"), "own")
	wantFault(t, err, fault.DeadlineExceeded, "DEADLINE_EXCEEDED")
}

func TestACallNeedsADeadline(t *testing.T) {
	r := serve(t, rpc.ServerConfig{Verifier: tokens{"good": {Role: rpc.RoleOperator, ID: "op"}}}, handlers{})
	cc := r.raw(t)
	ctx := outgoing(t.Context(), "authorization", "Bearer good")

	_, err := call(ctx, cc, "x")
	if st := status.Convert(err); st.Code() != codes.InvalidArgument || reasonOf(st) != rpc.ReasonDeadlineRequired {
		t.Errorf("without a deadline: %v", err)
	}
	if _, err := call(outgoing(within(t, 5*time.Second), "authorization", "Bearer good"), cc, "x"); err != nil {
		t.Errorf("with one: %v", err)
	}
	if _, err := healthpb.NewHealthClient(cc).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("health does not need one: %v", err)
	}
	cs, err := openFeed(ctx, cc, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := cs.RecvMsg(new(wrapperspb.StringValue)); err != nil {
		t.Errorf("streams do not need one: %v", err)
	}
}

func TestADistantDeadlineIsCut(t *testing.T) {
	left := make(chan time.Duration, 1)
	r := serve(t, rpc.ServerConfig{MaxTimeout: 3 * time.Second}, handlers{echo: func(ctx context.Context, _ string) (string, error) {
		d, _ := ctx.Deadline()
		left <- time.Until(d)
		return "", nil
	}})
	if _, err := call(within(t, time.Hour), r.as(t, "friend"), "x"); err != nil {
		t.Fatal(err)
	}
	if got := <-left; got > 3*time.Second {
		t.Errorf("the handler has %v left", got)
	}
}

func TestFieldRulesAreChecked(t *testing.T) {
	r := serve(t, rpc.ServerConfig{}, handlers{})
	cc := r.as(t, "friend")
	for name, c := range map[string]struct {
		name  string
		count int64
		field string
	}{
		"all good":        {"ok", 1, ""},
		"empty name":      {"", 1, "name"},
		"name too long":   {"far too long", 1, "name"},
		"zero inside":     {"ok", 0, "inner.count"},
		"negative inside": {"ok", -5, "inner.count"},
	} {
		t.Run(name, func(t *testing.T) {
			unaryErr := cc.Invoke(t.Context(), rule, newRuled(c.name, c.count), new(wrapperspb.StringValue))
			cs, err := cc.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, sink)
			if err != nil {
				t.Fatal(err)
			}
			if err := cs.SendMsg(newRuled(c.name, c.count)); err != nil {
				t.Fatal(err)
			}
			if err := cs.CloseSend(); err != nil {
				t.Fatal(err)
			}
			streamErr := cs.RecvMsg(new(wrapperspb.StringValue))
			for what, err := range map[string]error{"unary": unaryErr, "stream": streamErr} {
				if c.field == "" {
					if err != nil {
						t.Errorf("%s: refused: %v", what, err)
					}
					continue
				}
				if f := wantFault(t, err, fault.Invalid, fault.ReasonInvalidField); f.Field != c.field || f.Message == "" {
					t.Errorf("%s: got %+v", what, f)
				}
			}
		})
	}
}

func TestAnOversizedMessageIsRefused(t *testing.T) {
	r := serve(t, rpc.ServerConfig{MaxRecvBytes: 1000}, handlers{})
	_, err := call(t.Context(), r.as(t, "friend"), strings.Repeat("x", 2000))
	wantFault(t, err, fault.ResourceExhausted, "RESOURCE_EXHAUSTED")
	if _, err := call(t.Context(), r.as(t, "friend"), strings.Repeat("x", 900)); err != nil {
		t.Errorf("a smaller one: %v", err)
	}
}

func TestAnUnknownMethodIsUnimplemented(t *testing.T) {
	r := serve(t, rpc.ServerConfig{}, handlers{})
	err := r.as(t, "friend").Invoke(t.Context(), "/test.v1.Test/Nothing", wrapperspb.String("x"), new(wrapperspb.StringValue))
	wantFault(t, err, fault.Unimplemented, "UNIMPLEMENTED")
}

func TestAServerWithAMethodOutsideItsPolicyDoesNotStart(t *testing.T) {
	p := open()
	delete(p, feed)
	srv, err := rpc.NewServer(rpc.ServerConfig{Service: "test", Policy: p})
	if err != nil {
		t.Fatal(err)
	}
	srv.GRPC().RegisterService(handlers{}.desc(), nil)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Serve(lis); err == nil || !strings.Contains(err.Error(), feed) || strings.Contains(err.Error(), echo) {
		t.Errorf("got %v, want a refusal that names %s alone", err, feed)
	}
	if c, err := net.DialTimeout("tcp", lis.Addr().String(), time.Second); err == nil {
		_ = c.Close()
		t.Error("it listens all the same")
	}
	if err := srv.Serve(); err == nil {
		t.Error("it serves on nothing")
	}
}

func TestHealthFollowsReadiness(t *testing.T) {
	r := serve(t, rpc.ServerConfig{}, handlers{})
	hc := healthpb.NewHealthClient(r.raw(t))
	check := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for _, name := range []string{"", "test.v1.Test"} {
			got, err := hc.Check(within(t, 5*time.Second), &healthpb.HealthCheckRequest{Service: name})
			if err != nil || got.GetStatus() != want {
				t.Errorf("%q: got %v, %v, want %v", name, got.GetStatus(), err, want)
			}
		}
	}
	r.srv.SetReady(false)
	check(healthpb.HealthCheckResponse_NOT_SERVING)
	r.srv.SetReady(true)
	check(healthpb.HealthCheckResponse_SERVING)
}

func TestReflectionIsOpenToAll(t *testing.T) {
	r := serve(t, rpc.ServerConfig{}, handlers{})
	rc, err := reflectionpb.NewServerReflectionClient(r.raw(t)).ServerReflectionInfo(within(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := rc.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	got, err := rc.Recv()
	if err != nil || !strings.Contains(got.String(), "test.v1.Test") {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestStopLetsCallsFinishAndEndsStreams(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	r := serve(t, rpc.ServerConfig{}, handlers{
		echo: func(_ context.Context, text string) (string, error) {
			close(entered)
			<-release
			return text, nil
		},
		feed: func(_ string, ss grpc.ServerStream) error {
			if err := ss.SendMsg(wrapperspb.String("first")); err != nil {
				return err
			}
			<-ss.Context().Done()
			return ss.Context().Err()
		},
	})
	cc := r.as(t, "friend")
	cs, err := openFeed(t.Context(), cc, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := cs.RecvMsg(new(wrapperspb.StringValue)); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() {
		_, err := call(context.WithoutCancel(t.Context()), cc, "x")
		answer <- err
	}()
	<-entered
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.srv.Stop(context.WithoutCancel(t.Context()))
	}()

	wantFault(t, cs.RecvMsg(new(wrapperspb.StringValue)), fault.Unavailable, rpc.ReasonShuttingDown)
	select {
	case <-stopped:
		t.Fatal("it stopped in the middle of a call")
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := <-answer; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	<-stopped
	_, err = call(t.Context(), cc, "x")
	wantFault(t, err, fault.Unavailable, "UNAVAILABLE")
}

func TestStopBreaksOffWhatTakesTooLong(t *testing.T) {
	entered := make(chan struct{})
	r := serve(t, rpc.ServerConfig{}, handlers{echo: func(ctx context.Context, _ string) (string, error) {
		close(entered)
		<-ctx.Done()
		return "", ctx.Err()
	}})
	answer := make(chan error, 1)
	go func() {
		_, err := call(context.WithoutCancel(t.Context()), r.as(t, "friend"), "x")
		answer <- err
	}()
	<-entered
	began := time.Now()
	r.srv.Stop(within(t, 50*time.Millisecond))
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := <-answer; fault.KindOf(err) != fault.Unavailable && fault.KindOf(err) != fault.Canceled {
		t.Errorf("the call got %v", err)
	}
}

func TestAStreamEndsWithEOFOnTheClient(t *testing.T) {
	r := serve(t, rpc.ServerConfig{}, handlers{})
	cs, err := openFeed(t.Context(), r.as(t, "friend"), "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := cs.RecvMsg(new(wrapperspb.StringValue)); err != nil {
		t.Fatal(err)
	}
	if err := cs.RecvMsg(new(wrapperspb.StringValue)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}
