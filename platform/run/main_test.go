package run

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets this test program be a service's program: see TestASignal….
func TestMain(m *testing.M) {
	if mode := os.Getenv("RUN_TEST_MODE"); mode != "" {
		Main("test", mainConfig{Name: mode}, signalled, nil)
	}
	os.Exit(m.Run())
}

// signalled says "up" when it runs; in the mode "deaf" it does not close before it is killed.
func signalled(_ context.Context, c mainConfig, _ Env) (*Service, error) {
	return &Service{
		Name:    "test",
		Workers: []Worker{{Name: "say", Run: func(context.Context) error { _, err := io.WriteString(os.Stdout, "up\n"); return err }}},
		Close: func(context.Context) error {
			_, err := io.WriteString(os.Stdout, "closing\n")
			if c.Name == "deaf" {
				select {}
			}
			return err
		},
	}, nil
}

func TestASignalDrainsAndASecondOneKills(t *testing.T) {
	for mode, signals := range map[string][]syscall.Signal{
		"SIGTERM": {syscall.SIGTERM}, "SIGINT": {syscall.SIGINT}, "deaf": {syscall.SIGTERM, syscall.SIGTERM},
	} {
		t.Run(mode, func(t *testing.T) {
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, exe)
			cmd.Env = append(os.Environ(), "RUN_TEST_MODE="+mode)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line := make([]byte, 64)
			for _, s := range signals { // one after each thing it says: up, then closing
				if n, err := out.Read(line); err != nil || n == 0 {
					t.Fatalf("it says nothing: %v", err)
				}
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			rest, err := io.ReadAll(out)
			if err != nil {
				t.Fatal(err)
			}
			err = cmd.Wait()
			if mode == "deaf" {
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != ExitFailure {
					t.Errorf("the second signal did not end it: %v", err)
				}
			} else if err != nil || string(rest) != "closing\n" {
				t.Errorf("got %v, %q", err, rest)
			}
		})
	}
}

type mainConfig struct {
	Name     string `conf:"name" help:"what to say"`
	Token    string `conf:"token" secret:"true"`
	LogLevel string `conf:"log-level"`
}

func (c mainConfig) Validate() error {
	if c.Name == "" {
		return errors.New("name: say something")
	}
	return nil
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func mainRun(ctx context.Context, mk func(context.Context, mainConfig, Env) (*Service, error), args ...string) (code int, stdout, stderr string) {
	var out, errs buffer
	p := process{args: args, getenv: func(string) string { return "" }, stdout: &out, stderr: &errs}
	code = mainWith(ctx, p, "test", mainConfig{Name: "hello", Token: "hunter2"}, mk)
	return code, out.String(), errs.String()
}

func never(t *testing.T) func(context.Context, mainConfig, Env) (*Service, error) {
	return func(context.Context, mainConfig, Env) (*Service, error) {
		t.Error("the service was made")
		return nil, errors.New("no")
	}
}

func TestMainHelpAndConfigStartNothing(t *testing.T) {
	for _, c := range []struct{ flag, want string }{{"--help", "ARMLET_TEST_NAME"}, {"--print-config", `name: "hello"`}} {
		code, out, errs := mainRun(t.Context(), never(t), c.flag)
		if code != ExitOK || !strings.Contains(out, c.want) || errs != "" || strings.Contains(out, "hunter2") {
			t.Errorf("%s: exit %d, %s, %s", c.flag, code, out, errs)
		}
	}
}

func TestMainRefusesAConfigurationThatMakesNoSense(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown flag": {"--nonsense", "x"}, "not valid": {"--name", ""}, "not a level": {"--log-level", "loud"}, "argument": {"serve"},
	} {
		code, out, errs := mainRun(t.Context(), never(t), args...)
		if code != ExitUsage || out != "" || !strings.HasPrefix(errs, "test: ") {
			t.Errorf("%s: exit %d, %q, %q", name, code, out, errs)
		}
	}
}

func TestMainFailsWhenTheServiceCannotStart(t *testing.T) {
	code, _, errs := mainRun(t.Context(), func(context.Context, mainConfig, Env) (*Service, error) { return nil, errors.New("no disk") })
	if code != ExitFailure || !strings.Contains(errs, "no disk") {
		t.Errorf("exit %d, %s", code, errs)
	}
	code, _, errs = mainRun(t.Context(), func(context.Context, mainConfig, Env) (*Service, error) {
		return &Service{Name: "test", HTTPListen: "256.0.0.1:1"}, nil
	})
	if code != ExitFailure || !strings.Contains(errs, "http-listen") {
		t.Errorf("exit %d, %s", code, errs)
	}
}

func TestMainRunsUntilItIsToldToStopAndDrains(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	closed := false
	began := time.Now()
	code, _, errs := mainRun(ctx, func(_ context.Context, c mainConfig, env Env) (*Service, error) {
		if c.Name != "bye" || env.Log == nil || env.TracerProvider == nil || env.MeterProvider == nil || env.Now().Before(began) || env.Network != nil {
			t.Errorf("got %+v, %+v", c, env)
		}
		return &Service{
			Name:    "test",
			Workers: []Worker{{Name: "stop", Run: func(context.Context) error { cancel(); return nil }}},
			Close:   func(context.Context) error { closed = true; return nil },
		}, nil
	}, "--name", "bye")
	if code != ExitOK || !closed {
		t.Errorf("exit %d, closed %v: %s", code, closed, errs)
	}
}

func TestMainFailsWhenTheServiceDoesNotCloseWell(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	code, _, errs := mainRun(ctx, func(context.Context, mainConfig, Env) (*Service, error) {
		return &Service{
			Name:    "test",
			Workers: []Worker{{Name: "stop", Run: func(context.Context) error { cancel(); return nil }}},
			Close:   func(context.Context) error { return errors.New("unsaved") },
		}, nil
	})
	if code != ExitFailure || !strings.Contains(errs, "unsaved") {
		t.Errorf("exit %d, %s", code, errs)
	}
}
