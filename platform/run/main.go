package run

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
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

// options are the keys of every service's program, beside those of the service.
type options struct {
	DrainDelay time.Duration `conf:"drain-delay" help:"how long a service that is told to stop still takes calls while it says that it is not ready, for load balancers that ask"`
}

// Validate implements conf's validator.
func (o options) Validate() error {
	if o.DrainDelay < 0 || o.DrainDelay > 5*time.Minute {
		return fmt.Errorf("drain-delay: %s is not between 0 and 5m", o.DrainDelay)
	}
	return nil
}

// configured is everything that can be set: conf looks into both.
type configured[C any] struct {
	Service C
	Run     options
}

// Main is the main function of a service's program: it loads the configuration over the defaults, sets up telemetry by the
// keys otlp-endpoint, log-format and log-level where the configuration has them, makes the service, and runs it until
// SIGINT or SIGTERM. A second signal ends the process at once, with ExitFailure. Main does not return.
//
// The first argument may be a command instead: migrate brings the database at db-url up to date, and health asks the program
// that runs with the same configuration whether it is ready. --check tests everything the configuration names, and
// --version says what was built.
func Main[C any](name string, def C, mk func(ctx context.Context, cfg C, env Env) (*Service, error), migrations Migrations) {
	TuneMemory()
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(ExitFailure)
	}()
	p := process{args: os.Args[1:], getenv: os.Getenv, stdout: os.Stdout, stderr: os.Stderr, migrations: migrations}
	os.Exit(mainWith(ctx, p, name, def, mk))
}

// process is what Main takes from the operating system, and from the service besides its configuration.
type process struct {
	args           []string
	getenv         func(string) string
	stdout, stderr io.Writer
	migrations     Migrations
	now            func() time.Time // nil is time.Now
}

func mainWith[C any](ctx context.Context, p process, name string, def C, mk func(context.Context, C, Env) (*Service, error)) int {
	command, args := commandOf(p.args)
	if command == commandVersion {
		_, _ = fmt.Fprintln(p.stdout, name, Build())
		return ExitOK
	}
	cfg := configured[C]{Service: def}
	done, err := conf.Load(name, &cfg, args, p.getenv, p.stdout)
	switch {
	case err != nil:
		_, _ = fmt.Fprintf(p.stderr, "%s: %v\n", name, err)
		return ExitUsage
	case done:
		if slices.ContainsFunc(args, isHelp) {
			_, _ = io.WriteString(p.stdout, commandsHelp)
		}
		return ExitOK
	case command != "":
		return p.run(ctx, name, command, &cfg)
	}
	return serve(ctx, p, name, cfg, mk)
}

func isHelp(arg string) bool {
	return strings.TrimLeft(arg, "-") == "help" || strings.TrimLeft(arg, "-") == "h"
}

func serve[C any](ctx context.Context, p process, name string, cfg configured[C], mk func(context.Context, C, Env) (*Service, error)) int {
	tel, err := telemetry.Setup(ctx, name, telemetry.Config{
		OTLPEndpoint: conf.Value(&cfg, "otlp-endpoint"), LogFormat: conf.Value(&cfg, "log-format"),
		LogLevel: conf.Value(&cfg, "log-level"), ServiceVersion: Build().Version,
	}, p.stderr)
	if err != nil {
		_, _ = fmt.Fprintf(p.stderr, "%s: %v\n", name, err)
		return ExitUsage
	}
	defer flush(ctx, tel)
	env := Env{Log: tel.Log, TracerProvider: tel.TracerProvider, MeterProvider: tel.MeterProvider, Now: time.Now}
	svc, err := mk(ctx, cfg.Service, env)
	if err == nil {
		err = Suite{Log: tel.Log, DrainDelay: cfg.Run.DrainDelay}.Run(ctx, svc)
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
