package run_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/run"
)

const method = "/test.v1.Test/Do"

// server is an rpc.Server with one method, which friends may call.
func server(t *testing.T, do func(context.Context) error) *rpc.Server {
	t.Helper()
	srv, err := rpc.NewServer(rpc.ServerConfig{Service: "test", Policy: rpc.Policy{
		method: {Roles: []rpc.Role{rpc.RoleService}, Services: []string{"friend"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	srv.GRPC().RegisterService(&grpc.ServiceDesc{ServiceName: "test.v1.Test", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Do",
		Handler: func(s any, ctx context.Context, dec func(any) error, ic grpc.UnaryServerInterceptor) (any, error) {
			var req wrapperspb.StringValue
			if err := dec(&req); err != nil {
				return nil, err
			}
			return ic(ctx, &req, &grpc.UnaryServerInfo{Server: s, FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
				return &req, do(ctx)
			})
		},
	}}}, nil)
	return srv
}

func nothing(context.Context) error { return nil }

func do(ctx context.Context, cc *grpc.ClientConn) error {
	return cc.Invoke(ctx, method, wrapperspb.String("x"), new(wrapperspb.StringValue))
}

// journal is what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, a ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, a...))
}

func (j *journal) read() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines)
}

// Write makes it a log's output too.
func (j *journal) Write(p []byte) (int, error) {
	j.add("%s", bytes.TrimSpace(p))
	return len(p), nil
}

func (j *journal) log() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// told is a service that writes down what happens to it.
func told(t *testing.T, j *journal, name string) *run.Service {
	t.Helper()
	return &run.Service{
		Name: name, Server: server(t, nothing), Listen: "127.0.0.1:0",
		Workers: []run.Worker{{Name: "w", Run: func(ctx context.Context) error {
			<-ctx.Done()
			j.add("%s worker ends", name)
			return ctx.Err()
		}}},
		Check: func(context.Context) error {
			j.add("%s checked", name)
			return nil
		},
		Close: func(context.Context) error {
			j.add("%s closed", name)
			return nil
		},
	}
}

func stop(t *testing.T, r *run.Running) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func TestServicesStartInOrderAndStopInReverse(t *testing.T) {
	var j journal
	r, err := run.Start(t.Context(), told(t, &j, "a"), told(t, &j, "b"))
	if err != nil {
		t.Fatal(err)
	}
	stop(t, r)
	stop(t, r) // a second time does nothing
	want := []string{"a checked", "b checked", "b worker ends", "b closed", "a worker ends", "a closed"}
	if got := j.read(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if err := r.Wait(); err != nil {
		t.Errorf("Wait: %v", err)
	}
}

func TestAServiceWaitsForTheOneBefore(t *testing.T) {
	var j journal
	var tries atomic.Int32
	slow := told(t, &j, "slow")
	slow.Check = func(context.Context) error {
		if tries.Add(1) < 4 {
			return errors.New("not yet")
		}
		j.add("slow ready")
		return nil
	}
	r, err := run.Start(t.Context(), slow, told(t, &j, "next"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, r)
	if got := j.read(); !slices.Equal(got, []string{"slow ready", "next checked"}) {
		t.Errorf("got %q", got)
	}
}

func TestWhenOneCannotStartAllAreClosed(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for name, spoil := range map[string]func(*run.Service){
		"its port is taken":      func(s *run.Service) { s.Listen = taken.Addr().String() },
		"its HTTP port is taken": func(s *run.Service) { s.HTTPListen = taken.Addr().String() },
		"it is never ready":      func(s *run.Service) { s.Check = func(context.Context) error { return errors.New("no database") } },
	} {
		t.Run(name, func(t *testing.T) {
			var j journal
			services := []*run.Service{told(t, &j, "a"), told(t, &j, "b"), told(t, &j, "c")}
			spoil(services[1])
			_, err := run.Suite{StartTimeout: 200 * time.Millisecond}.Start(t.Context(), services...)
			if err == nil || !strings.Contains(err.Error(), "service b") {
				t.Errorf("got %v", err)
			}
			var closed []string
			for _, line := range j.read() {
				if strings.HasSuffix(line, "closed") {
					closed = append(closed, line)
				}
			}
			if want := []string{"c closed", "b closed", "a closed"}; !slices.Equal(closed, want) {
				t.Errorf("got %q", closed)
			}
		})
	}
}

func TestAServiceThatCannotBeRunStopsTheStartBeforeItBegins(t *testing.T) {
	incomplete, err := rpc.NewServer(rpc.ServerConfig{Service: "x"})
	if err != nil {
		t.Fatal(err)
	}
	incomplete.GRPC().RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.v1.Other", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "Open"}},
	}, nil)
	for name, c := range map[string]struct {
		bad  *run.Service
		want string
	}{
		"a method outside the policy": {&run.Service{Name: "x", Server: incomplete, Listen: "127.0.0.1:0"}, "/test.v1.Other/Open"},
		"nowhere to listen":           {&run.Service{Name: "x", Server: server(t, nothing)}, "nowhere to listen"},
		"no name":                     {&run.Service{}, "no name"},
		"a name twice":                {&run.Service{Name: "a"}, `"a"`},
	} {
		t.Run(name, func(t *testing.T) {
			var j journal
			_, err := run.Start(t.Context(), told(t, &j, "a"), c.bad)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if got := j.read(); !slices.Equal(got, []string{"a closed"}) {
				t.Errorf("the first was started: %q", got)
			}
		})
	}
}

func TestTogetherRunsUntilItIsToldToStop(t *testing.T) {
	var j journal
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan struct{})
	svc := told(t, &j, "a")
	svc.Workers = append(svc.Workers, run.Worker{Name: "signal", Run: func(context.Context) error { close(ready); return nil }})
	done := make(chan error, 1)
	go func() { done <- run.Together(ctx, nil, svc) }()
	<-ready
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := j.read(); got[len(got)-1] != "a closed" {
		t.Errorf("got %q", got)
	}
}

func TestToldToStopWhileStartingIsNoFailure(t *testing.T) {
	var j journal
	ctx, cancel := context.WithCancel(t.Context())
	svc := told(t, &j, "a")
	svc.Check = func(context.Context) error { cancel(); return errors.New("not yet") }
	if err := run.Together(ctx, nil, svc); err != nil {
		t.Error(err)
	}
	if got := j.read(); !slices.Contains(got, "a closed") {
		t.Errorf("got %q", got)
	}
}

func TestDrainLetsTheCallUnderWayFinish(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	network := rpc.NewNetwork()
	var j journal
	svc := told(t, &j, "a")
	svc.Listen = ""
	svc.Server = server(t, func(context.Context) error {
		close(entered)
		<-release
		j.add("call done")
		return nil
	})
	r, err := run.Suite{Network: network}.Start(t.Context(), svc)
	if err != nil {
		t.Fatal(err)
	}
	cc, err := run.Env{Network: network}.Conn("friend", "a", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }()
	answer := make(chan error, 1)
	go func() { answer <- do(context.WithoutCancel(t.Context()), cc) }()
	<-entered
	stopped := make(chan struct{})
	go func() { stop(t, r); close(stopped) }()
	time.Sleep(30 * time.Millisecond)
	close(release)
	if err := <-answer; err != nil {
		t.Errorf("the call: %v", err)
	}
	<-stopped
	if got, want := j.read(), []string{"a checked", "call done", "a worker ends", "a closed"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if err := do(t.Context(), cc); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("after it: %v", err)
	}
}

func TestAWorkerThatIgnoresTheEndIsReported(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	svc := &run.Service{Name: "a", Workers: []run.Worker{{Name: "deaf", Run: func(context.Context) error { <-hang; return nil }}}}
	r, err := run.Start(t.Context(), svc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.Stop(ctx); err == nil || !strings.Contains(err.Error(), "worker did not end") {
		t.Errorf("got %v", err)
	}
}

func TestAWorkerIsStartedAgain(t *testing.T) {
	for name, fail := range map[string]func() error{
		"after an error": func() error { return errors.New("boom") },
		"after a panic":  func() error { panic("boom") },
	} {
		t.Run(name, func(t *testing.T) {
			var j journal
			var runs atomic.Int32
			again := make(chan struct{})
			svc := &run.Service{Name: "a", Workers: []run.Worker{{Name: "relay", Run: func(ctx context.Context) error {
				if runs.Add(1) < 3 {
					return fail()
				}
				close(again)
				<-ctx.Done()
				return nil
			}}}}
			r, err := run.Suite{Log: j.log()}.Start(t.Context(), svc)
			if err != nil {
				t.Fatal(err)
			}
			defer stop(t, r)
			select {
			case <-again:
			case <-time.After(5 * time.Second):
				t.Fatalf("it ran %d times", runs.Load())
			}
			if log := strings.Join(j.read(), "\n"); strings.Count(log, "worker=relay") < 2 || !strings.Contains(log, "boom") {
				t.Errorf("the log says %s", log)
			}
		})
	}
	t.Run("but not when it has finished", func(t *testing.T) {
		var runs atomic.Int32
		r, err := run.Start(t.Context(), &run.Service{Name: "a", Workers: []run.Worker{{Name: "once", Run: func(context.Context) error {
			runs.Add(1)
			return nil
		}}}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		stop(t, r)
		if n := runs.Load(); n != 1 {
			t.Errorf("it ran %d times", n)
		}
	})
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestHTTPHasHealthAndTheServicesOwnPaths(t *testing.T) {
	var broken atomic.Bool
	svc := &run.Service{
		Name: "a", HTTPListen: "127.0.0.1:0", Server: server(t, nothing), Listen: "127.0.0.1:0",
		HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "own "+r.URL.Path) }),
		Check: func(context.Context) error {
			if broken.Load() {
				return errors.New("secret database is down")
			}
			return nil
		},
	}
	r, err := run.Start(t.Context(), svc)
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + r.HTTPAddr("a")
	want := func(path string, code int, body string) {
		t.Helper()
		if c, b := get(t, base+path); c != code || b != body {
			t.Errorf("%s: got %d %q, want %d %q", path, c, b, code, body)
		}
	}
	want("/healthz", 200, "ok\n")
	want("/readyz", 200, "ok\n")
	want("/keys", 200, "own /keys")
	broken.Store(true)
	want("/readyz", 503, "not ready\n")
	want("/healthz", 200, "ok\n")

	cc, err := rpc.Dial(r.Addr("a"), rpc.DialConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }()
	got, err := healthpb.NewHealthClient(cc).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("gRPC health: %v, %v", got, err)
	}
	stop(t, r)
	if _, err := net.DialTimeout("tcp", strings.TrimPrefix(base, "http://"), time.Second); err == nil {
		t.Error("HTTP is still there")
	}
	if r.Addr("b") != "" || r.HTTPAddr("b") != "" {
		t.Error("a service that does not run has addresses")
	}
}

func TestReadinessFollowsTheCheck(t *testing.T) {
	var broken atomic.Bool
	svc := &run.Service{Name: "a", Server: server(t, nothing), Listen: "127.0.0.1:0", Check: func(context.Context) error {
		if broken.Load() {
			panic("a check may go wrong in every way")
		}
		return nil
	}}
	r, err := run.Suite{CheckEvery: 10 * time.Millisecond}.Start(t.Context(), svc)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, r)
	cc, err := rpc.Dial(r.Addr("a"), rpc.DialConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }()
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{
		healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING, healthpb.HealthCheckResponse_SERVING,
	} {
		broken.Store(want == healthpb.HealthCheckResponse_NOT_SERVING)
		var got healthpb.HealthCheckResponse_ServingStatus
		for range 300 {
			resp, err := healthpb.NewHealthClient(cc).Check(t.Context(), &healthpb.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if got = resp.GetStatus(); got == want {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestConnNeedsAnAddressOutsideTheProcess(t *testing.T) {
	if _, err := (run.Env{}).Conn("a", "b", "", nil); err == nil || !strings.Contains(err.Error(), "b") {
		t.Errorf("got %v", err)
	}
	if _, err := (run.Env{}).ConnectNATS(t.Context(), "CORE", ""); err == nil {
		t.Error("NATS without an address")
	}
}
