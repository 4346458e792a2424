package run

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/armlet-pay/armlet/platform/conf"
	"github.com/armlet-pay/armlet/platform/telemetry"
)

// The exit codes of Main.
const (
	// ExitOK is a service that was told to stop and did.
	ExitOK = 0
	// ExitFailure is a service that could not start, failed or did not drain.
	ExitFailure = 1
	// ExitUsage is a configuration that makes no sense.
	ExitUsage = 2
)

// Main is the main function of a service's program: it loads the configuration over the defaults, sets up telemetry by the
// keys otlp-endpoint, log-format and log-level where the configuration has them, makes the service, and runs it until
// SIGINT or SIGTERM. A second signal ends the process at once, with
// ExitFailure. Main does not return.
func Main[C any](name string, def C, mk func(ctx context.Context, cfg C, env Env) (*Service, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(ExitFailure)
	}()
	p := process{args: os.Args[1:], getenv: os.Getenv, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(mainWith(ctx, p, name, def, mk))
}

// process is what Main takes from the operating system.
type process struct {
	args           []string
	getenv         func(string) string
	stdout, stderr io.Writer
}

func mainWith[C any](ctx context.Context, p process, name string, cfg C, mk func(context.Context, C, Env) (*Service, error)) int {
	done, err := conf.Load(name, &cfg, p.args, p.getenv, p.stdout)
	if err != nil {
		_, _ = fmt.Fprintf(p.stderr, "%s: %v\n", name, err)
		return ExitUsage
	}
	if done {
		return ExitOK
	}
	tel, err := telemetry.Setup(ctx, name, telemetry.Config{
		OTLPEndpoint: conf.Value(&cfg, "otlp-endpoint"), LogFormat: conf.Value(&cfg, "log-format"),
		LogLevel: conf.Value(&cfg, "log-level"), ServiceVersion: version(),
	}, p.stderr)
	if err != nil {
		_, _ = fmt.Fprintf(p.stderr, "%s: %v\n", name, err)
		return ExitUsage
	}
	defer flush(ctx, tel)
	env := Env{Log: tel.Log, TracerProvider: tel.TracerProvider, MeterProvider: tel.MeterProvider, Now: time.Now}
	svc, err := mk(ctx, cfg, env)
	if err == nil {
		err = Together(ctx, tel.Log, svc)
	}
	if err != nil {
		tel.Log.LogAttrs(ctx, slog.LevelError, "service failed", slog.String("service", name), slog.Any("error", err))
		return ExitFailure
	}
	return ExitOK
}

// flush sends the last spans; a collector that is away must not keep the process.
func flush(ctx context.Context, tel *telemetry.Telemetry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := tel.Shutdown(ctx); err != nil {
		tel.Log.Warn("telemetry was not sent completely", "error", err)
	}
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}
