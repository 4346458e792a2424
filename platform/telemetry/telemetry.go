// Package telemetry sets up what a program says about itself: structured logs (log/slog), and traces and metrics
// (OpenTelemetry) that are sent by OTLP when an endpoint is configured. Nothing is registered globally, with the one
// exception that Setup documents.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config says where to and how. It can be embedded in a service's configuration.
type Config struct {
	// OTLPEndpoint is a URL: http://host:4317 is plaintext, https://host:4317 is TLS; empty sends nothing.
	OTLPEndpoint string `conf:"otlp-endpoint" help:"OpenTelemetry collector, http://host:4317 or https://host:4317; empty: none"`
	// LogFormat is text or json; empty is text.
	LogFormat string `conf:"log-format" help:"text or json"`
	// LogLevel is debug, info, warn or error; empty is info.
	LogLevel string `conf:"log-level" help:"debug, info, warn or error"`
	// ServiceVersion is reported with traces and metrics.
	ServiceVersion string
}

// Validate names the first key that has a value it cannot have.
func (c Config) Validate() error {
	if _, err := c.level(); err != nil {
		return err
	}
	if c.LogFormat != "" && c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("log-format: %q is neither text nor json", c.LogFormat)
	}
	if e := c.OTLPEndpoint; e != "" && !strings.HasPrefix(e, "http://") && !strings.HasPrefix(e, "https://") {
		return errors.New("otlp-endpoint: wants http://host:port or https://host:port")
	}
	return nil
}

func (c Config) level() (slog.Level, error) {
	var l slog.Level
	if c.LogLevel == "" {
		return slog.LevelInfo, nil
	}
	if err := l.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return l, fmt.Errorf("log-level: %q is not one of debug, info, warn, error", c.LogLevel)
	}
	return l, nil
}

// Telemetry is what a program logs, traces and measures with.
type Telemetry struct {
	// Log writes records with the trace_id and span_id of their context.
	Log *slog.Logger
	// TracerProvider makes spans; they have ids and propagate even when nothing is sent.
	TracerProvider trace.TracerProvider
	// MeterProvider makes instruments; without an endpoint they do nothing.
	MeterProvider metric.MeterProvider

	shutdown []func(context.Context) error
}

// Setup makes the telemetry of a service, which logs to w. With an endpoint it also sets OpenTelemetry's error handler,
// which exists only globally, so that a collector that cannot be reached is logged like everything else.
func Setup(ctx context.Context, service string, cfg Config, w io.Writer) (*Telemetry, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	level, err := cfg.level()
	if err != nil {
		return nil, err
	}
	t := &Telemetry{Log: newLogger(w, cfg.LogFormat, level)}
	res := resource.NewSchemaless(attribute.String("service.name", service), attribute.String("service.version", cfg.ServiceVersion),
		attribute.String("service.instance.id", instance()))
	if cfg.OTLPEndpoint == "" {
		// Roots are not sampled, which makes spans nearly free; a caller's decision to sample is passed on as it is.
		tp := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
		t.TracerProvider, t.MeterProvider = tp, metricnoop.NewMeterProvider()
		t.shutdown = append(t.shutdown, tp.Shutdown)
		return t, nil
	}
	if err := t.export(ctx, cfg.OTLPEndpoint, res); err != nil {
		return nil, err
	}
	return t, nil
}

// instance tells replicas apart, also those on one machine. A container that is restarted keeps it.
func instance() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}

func (t *Telemetry) export(ctx context.Context, endpoint string, res *resource.Resource) error {
	spans, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint))
	if err != nil {
		return fmt.Errorf("otlp-endpoint: traces: %w", err)
	}
	points, err := otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpointURL(endpoint))
	if err != nil {
		return fmt.Errorf("otlp-endpoint: metrics: %w", errors.Join(err, spans.Shutdown(ctx)))
	}
	// The sampler is OpenTelemetry's own default, so OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG work.
	tp := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(spans))
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithResource(res), sdkmetric.WithReader(sdkmetric.NewPeriodicReader(points)))
	t.TracerProvider, t.MeterProvider = tp, mp
	t.shutdown = append(t.shutdown, tp.Shutdown, mp.Shutdown)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		t.Log.Warn("telemetry", "error", err)
	}))
	return nil
}

// Shutdown sends what has not been sent yet and stops; the context bounds it.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, f := range t.shutdown {
		errs = append(errs, f(ctx))
	}
	return errors.Join(errs...)
}

// Redacted is a string that prints and logs as *** so that it cannot be shown by accident; string(r) is its value.
type Redacted string

// String hides the value.
func (Redacted) String() string { return "***" }

// GoString hides the value from %#v.
func (Redacted) GoString() string { return "***" }

// LogValue hides the value from slog.
func (Redacted) LogValue() slog.Value { return slog.StringValue("***") }

// MarshalText hides the value from JSON and other encodings.
func (Redacted) MarshalText() ([]byte, error) { return []byte("***"), nil }
