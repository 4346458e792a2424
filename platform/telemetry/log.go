package telemetry

import (
	"context"
	"io"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

func newLogger(w io.Writer, format string, level slog.Level) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(&traceHandler{inner: slog.NewJSONHandler(w, opts)})
	}
	return slog.New(&traceHandler{inner: slog.NewTextHandler(w, opts)})
}

// traceHandler adds the ids of the span in the record's context. They stand at the top level whatever groups a logger has
// opened, because collectors look for them there: what was opened or added since is replayed after them.
type traceHandler struct {
	inner slog.Handler
	// grouped is what the logger was given from its first group on; before that, inner has it already.
	grouped []func(slog.Handler) slog.Handler
}

func (h *traceHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.inner.Enabled(ctx, l)
}

func (h *traceHandler) Handle(ctx context.Context, r slog.Record) error {
	inner := h.inner
	sc := trace.SpanContextFromContext(ctx)
	if sc.IsValid() {
		ids := []slog.Attr{slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String())}
		if len(h.grouped) == 0 {
			r = r.Clone()
			r.AddAttrs(ids...)
			return inner.Handle(ctx, r)
		}
		inner = inner.WithAttrs(ids)
	}
	for _, f := range h.grouped {
		inner = f(inner)
	}
	return inner.Handle(ctx, r)
}

func (h *traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(h.grouped) == 0 {
		return &traceHandler{inner: h.inner.WithAttrs(attrs)}
	}
	return h.with(func(in slog.Handler) slog.Handler { return in.WithAttrs(attrs) })
}

func (h *traceHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.with(func(in slog.Handler) slog.Handler { return in.WithGroup(name) })
}

func (h *traceHandler) with(f func(slog.Handler) slog.Handler) *traceHandler {
	return &traceHandler{inner: h.inner, grouped: append(slices.Clip(h.grouped), f)}
}
