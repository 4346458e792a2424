package story

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Spans keeps the finished spans of the demo, so that the tap's steps can be
// shown as they were measured.
type Spans struct {
	mu  sync.Mutex
	all []sdktrace.ReadOnlySpan
}

// maxSpans bounds the memory; the demo makes some hundreds.
const maxSpans = 20_000

// OnStart does nothing.
func (*Spans) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd keeps the span.
func (s *Spans) OnEnd(span sdktrace.ReadOnlySpan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) < maxSpans {
		s.all = append(s.all, span)
	}
}

// Shutdown does nothing.
func (*Spans) Shutdown(context.Context) error { return nil }

// ForceFlush does nothing.
func (*Spans) ForceFlush(context.Context) error { return nil }

// hop is one step of a trace as it is shown.
type hop struct {
	depth int
	what  string
	took  time.Duration
}

// hops are the server and consumer spans of a trace, in the order they began,
// each below the one that caused it.
func (s *Spans) hops(id trace.TraceID) []hop {
	s.mu.Lock()
	spans := make(map[trace.SpanID]sdktrace.ReadOnlySpan)
	for _, span := range s.all {
		if span.SpanContext().TraceID() == id {
			spans[span.SpanContext().SpanID()] = span
		}
	}
	s.mu.Unlock()
	order := make([]sdktrace.ReadOnlySpan, 0, len(spans))
	for _, span := range spans {
		if shownSpan(span) {
			order = append(order, span)
		}
	}
	slices.SortFunc(order, func(a, b sdktrace.ReadOnlySpan) int {
		return cmp.Or(a.StartTime().Compare(b.StartTime()), -a.EndTime().Compare(b.EndTime()))
	})
	out := make([]hop, 0, len(order))
	for _, span := range order {
		out = append(out, hop{depth(span, spans), label(span.Name()), span.EndTime().Sub(span.StartTime())})
	}
	return out
}

func shownSpan(s sdktrace.ReadOnlySpan) bool {
	return s.SpanKind() == trace.SpanKindServer || s.SpanKind() == trace.SpanKindConsumer
}

func depth(s sdktrace.ReadOnlySpan, spans map[trace.SpanID]sdktrace.ReadOnlySpan) int {
	d := 0
	for parent, ok := spans[s.Parent().SpanID()]; ok; parent, ok = spans[parent.Parent().SpanID()] {
		if shownSpan(parent) {
			d++
		}
	}
	return d
}

// label turns "armlet.auth.v1.AuthService/CreateChallenge" into "auth CreateChallenge".
func label(name string) string {
	service, method, ok := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	if !ok {
		return name
	}
	parts := strings.Split(service, ".")
	if len(parts) < 2 {
		return name
	}
	if parts[1] == "devices" {
		parts[1] = "device-registry"
	}
	return parts[1] + " " + method
}
