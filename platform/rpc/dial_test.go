package rpc_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/testkit"
)

func TestDialGivesCallsADeadline(t *testing.T) {
	left := make(chan time.Duration, 1)
	r := serve(t, rpc.ServerConfig{}, handlers{echo: func(ctx context.Context, _ string) (string, error) {
		d, _ := ctx.Deadline()
		left <- time.Until(d)
		return "", nil
	}})
	for name, c := range map[string]struct {
		timeout, own time.Duration
		want         time.Duration
	}{
		"the default":        {0, 0, rpc.DefaultTimeout},
		"the configured one": {3 * time.Second, 0, 3 * time.Second},
		"the caller's own":   {3 * time.Second, 20 * time.Second, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			cc := connected(t)(r.net.Dial("friend", "test", rpc.DialConfig{Timeout: c.timeout}))
			ctx := t.Context()
			if c.own > 0 {
				ctx = within(t, c.own)
			}
			if _, err := call(ctx, cc, "x"); err != nil {
				t.Fatal(err)
			}
			if got := <-left; got > c.want || got < c.want-2*time.Second {
				t.Errorf("the handler has %v left, want about %v", got, c.want)
			}
		})
	}
}

func TestATokenThatCannotBeHadFailsTheCall(t *testing.T) {
	r := serve(t, rpc.ServerConfig{}, handlers{})
	want := fault.New(fault.Unavailable, "NO_TOKEN", "try again")
	cc := connected(t)(r.net.Dial("", "test", rpc.DialConfig{Token: func(context.Context) (string, error) { return "", want }}))
	if _, err := call(t.Context(), cc, "x"); !errors.Is(err, want) {
		t.Errorf("unary: %v", err)
	}
	if _, err := openFeed(t.Context(), cc, "x"); !errors.Is(err, want) {
		t.Errorf("stream: %v", err)
	}
}

func TestAServiceThatIsAwayIsUnavailableWithoutItsAddress(t *testing.T) {
	cc := connected(t)(rpc.Dial("127.0.0.1:1", rpc.DialConfig{}))
	_, err := call(t.Context(), cc, "x")
	f := wantFault(t, err, fault.Unavailable, "UNAVAILABLE")
	if strings.Contains(f.Message, "127.0.0.1") {
		t.Errorf("the message names the address: %s", f.Message)
	}
	if !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("the log would not: %v", err)
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("code %s", status.Code(err))
	}
}

func TestAFaultOfAPeerPassesThroughAService(t *testing.T) {
	back := serve(t, rpc.ServerConfig{}, handlers{echo: func(_ context.Context, kind string) (string, error) {
		if kind == "internal" {
			return "", errors.New("disk full")
		}
		return "", fault.New(fault.NotFound, "GONE", "it is gone").WithMeta("k", "v")
	}})
	cc := back.as(t, "friend")
	front := serve(t, rpc.ServerConfig{}, handlers{echo: func(ctx context.Context, kind string) (string, error) { return call(ctx, cc, kind) }})

	_, err := call(t.Context(), front.as(t, "friend"), "gone")
	if f := wantFault(t, err, fault.NotFound, "GONE"); f.Meta["k"] != "v" || f.Message != "it is gone" {
		t.Errorf("got %+v", f)
	}
	_, err = call(t.Context(), front.as(t, "friend"), "internal")
	f := wantFault(t, err, fault.Internal, rpc.ReasonInternal)
	if id := f.Meta["error_id"]; !strings.Contains(front.log.String(), id) || strings.Contains(back.log.String(), id) {
		t.Errorf("the id %s is not the front service's own", id)
	}
}

func TestTheTraceGoesOnAcrossServices(t *testing.T) {
	for name, recording := range map[string]bool{"recorded": true, "without telemetry": false} {
		t.Run(name, func(t *testing.T) {
			spans := tracetest.NewSpanRecorder()
			tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
			var used trace.TracerProvider
			if recording {
				used = tp
			}
			seen := make(chan trace.SpanContext, 1)
			back := serve(t, rpc.ServerConfig{TracerProvider: used}, handlers{echo: func(ctx context.Context, _ string) (string, error) {
				seen <- trace.SpanContextFromContext(ctx)
				return "", nil
			}})
			cc := connected(t)(back.net.Dial("friend", "test", rpc.DialConfig{TracerProvider: used}))
			front := serve(t, rpc.ServerConfig{TracerProvider: used}, handlers{echo: func(ctx context.Context, x string) (string, error) { return call(ctx, cc, x) }})

			ctx, root := tp.Tracer("test").Start(t.Context(), "tap")
			if _, err := call(ctx, connected(t)(front.net.Dial("friend", "test", rpc.DialConfig{TracerProvider: used})), "x"); err != nil {
				t.Fatal(err)
			}
			root.End()
			if got := <-seen; got.TraceID() != root.SpanContext().TraceID() || !got.IsSampled() {
				t.Errorf("the second service is in trace %s, want %s", got.TraceID(), root.SpanContext().TraceID())
			}
			if recording {
				for i := 0; len(spans.Ended()) < 5 && i < 200; i++ { // the servers' spans end after their answers
					time.Sleep(5 * time.Millisecond)
				}
				if n := len(spans.Ended()); n != 5 {
					t.Errorf("%d spans, want the root and two for each call", n)
				}
			}
		})
	}
}

func TestAServiceMayBeginToListenAfterItWasDialed(t *testing.T) {
	n := rpc.NewNetwork()
	cc := connected(t)(n.Dial("friend", "test", rpc.DialConfig{}))
	_, err := call(t.Context(), cc, "x")
	wantFault(t, err, fault.Unavailable, "UNAVAILABLE")

	for range 2 { // started, stopped, and started again under the same name
		srv, err := rpc.NewServer(rpc.ServerConfig{Service: "test", Policy: open()})
		if err != nil {
			t.Fatal(err)
		}
		srv.GRPC().RegisterService(handlers{}.desc(), nil)
		done := make(chan error, 1)
		lis := n.Listen("test")
		go func() { done <- srv.Serve(lis) }()
		ctx := within(t, 5*time.Second)
		for {
			if _, err = call(ctx, cc, "x"); err == nil || ctx.Err() != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			t.Fatalf("never reached: %v", err)
		}
		srv.Stop(ctx)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestANameOnTheNetworkIsTakenOnce(t *testing.T) {
	n := rpc.NewNetwork()
	l := n.Listen("test")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the name was taken twice")
			}
		}()
		n.Listen("test")
	}()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Listen("test").Close(); err != nil {
		t.Errorf("the name is not free again: %v", err)
	}
}

func TestACertificateIsReadAgainWhenItsFilesChange(t *testing.T) {
	ca := testkit.PKI(t)
	serverCert, serverKey := ca.Service("test")
	serverTLS, err := rpc.ServerTLS(serverCert, serverKey, ca.File)
	if err != nil {
		t.Fatal(err)
	}
	r := serve(t, rpc.ServerConfig{TLS: serverTLS}, handlers{echo: whoAmI})

	oldCert, oldKey := ca.Service("stranger")
	newCert, newKey := ca.Service("friend")
	clientTLS, err := rpc.ClientTLS(oldCert, oldKey, ca.File)
	if err != nil {
		t.Fatal(err)
	}
	dial := func() (string, error) {
		return call(within(t, 5*time.Second), connected(t)(rpc.Dial(r.tcp, rpc.DialConfig{TLS: clientTLS})), "x")
	}
	_, err = dial()
	wantFault(t, err, fault.PermissionDenied, rpc.ReasonCallerNotAllowed)

	later := time.Now().Add(time.Minute)
	replace(t, newCert, oldCert, later) // the key does not match yet: the pair from before stays
	_, err = dial()
	wantFault(t, err, fault.PermissionDenied, rpc.ReasonCallerNotAllowed)
	replace(t, newKey, oldKey, later)
	if got, err := dial(); err != nil || got != "service friend" {
		t.Errorf("got %q, %v", got, err)
	}
}

func replace(t *testing.T, from, to string, when time.Time) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(to, when, when); err != nil {
		t.Fatal(err)
	}
}

func TestTLSFilesThatAreNoGoodAreNamed(t *testing.T) {
	ca := testkit.PKI(t)
	cert, key := ca.Service("test")
	empty := t.TempDir() + "/empty.pem"
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ cert, key, ca string }{
		"no key":             {cert, "", ca.File},
		"no certificate":     {"", key, ca.File},
		"missing":            {"/does/not/exist.pem", key, ca.File},
		"not a pair":         {key, cert, ca.File},
		"authority missing":  {cert, key, "/does/not/exist.pem"},
		"authority is empty": {cert, key, empty},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := rpc.ServerTLS(c.cert, c.key, c.ca); err == nil {
				t.Error("a server takes them")
			}
			if _, err := rpc.ClientTLS(c.cert, c.key, c.ca); err == nil {
				t.Error("a client takes them")
			}
		})
	}
}
