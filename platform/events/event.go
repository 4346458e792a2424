package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/protobuf/proto"
)

// The headers of an event on NATS. NATS compares header names with their case.
const (
	HeaderSpecVersion = "ce-specversion"
	HeaderID          = "ce-id"
	HeaderSource      = "ce-source"
	HeaderType        = "ce-type"
	HeaderTime        = "ce-time"
	HeaderSubject     = "ce-subject"
	HeaderContentType = "content-type"
	HeaderTraceParent = "traceparent"

	specVersion = "1.0"
	contentType = "application/protobuf"
)

// Event is a fact that was true when it was written.
type Event struct {
	// ID is unique for ever; the duplicates of an event have the same one. [New] makes a UUIDv7.
	ID string
	// Type is the full name of the proto message in Data.
	Type string
	// Source names the service that says so, such as "/services/payments".
	Source string
	// Subject is the NATS subject, usually a [Subject]'s String.
	Subject string
	// Time is when the fact became true.
	Time time.Time
	// Data is the proto message in binary.
	Data []byte
	// TraceParent is the W3C trace context of the request that caused it, or empty.
	TraceParent string
	// Key is the resource name of what the event is about (ce-subject), or empty. Events with the same Key are handled one
	// after the other by a [Consumer].
	Key string
}

// New makes an event of msg that happened at now. The subject must be one to publish on; source and key must be visible
// ASCII. The trace context of ctx goes with the event.
func New(source, subject, key string, now time.Time, msg proto.Message, ctx context.Context) (Event, error) { //nolint:revive // ctx is read for the trace only and never bounds anything
	id, err := uuid.NewV7()
	if err != nil {
		return Event{}, fmt.Errorf("events: make an id: %w", err)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg)
	if err != nil {
		return Event{}, fmt.Errorf("events: marshal: %w", err)
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	ev := Event{
		ID:          id.String(),
		Type:        string(msg.ProtoReflect().Descriptor().FullName()),
		Source:      source,
		Subject:     subject,
		Time:        now.UTC(),
		Data:        data,
		TraceParent: carrier.Get(HeaderTraceParent),
		Key:         key,
	}
	return ev, ev.check()
}

func (ev Event) check() error {
	if ev.ID == "" || ev.Type == "" || ev.Source == "" || ev.Time.IsZero() {
		return errors.New("events: an event needs an id, a type, a source and a time")
	}
	for _, h := range ev.headers() {
		if !isHeaderValue(h.value) {
			return fmt.Errorf("events: %s %q must be visible ASCII", h.name, h.value)
		}
	}
	return checkSubject(ev.Subject)
}

type header struct{ name, value string }

// headers are in the order of their names, as encoding/json would write a map.
func (ev Event) headers() []header {
	h := append(make([]header, 0, 8),
		header{HeaderID, ev.ID}, header{HeaderSource, ev.Source}, header{HeaderSpecVersion, specVersion})
	if ev.Key != "" {
		h = append(h, header{HeaderSubject, ev.Key})
	}
	h = append(h, header{HeaderTime, ev.Time.UTC().Format(time.RFC3339Nano)}, header{HeaderType, ev.Type},
		header{HeaderContentType, contentType})
	if ev.TraceParent != "" {
		h = append(h, header{HeaderTraceParent, ev.TraceParent})
	}
	return h
}

// headersJSON is a JSON object of the headers, whose values are visible ASCII.
func (ev Event) headersJSON() []byte {
	b := append(make([]byte, 0, 384), '{')
	for i, h := range ev.headers() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), h.name...), `":"`...)
		for _, c := range []byte(h.value) {
			if c == '"' || c == '\\' {
				b = append(b, '\\')
			}
			b = append(b, c)
		}
		b = append(b, '"')
	}
	return append(b, '}')
}

// Decode reads an event from the subject, headers and body of a NATS message; header returns a header's first value.
func Decode(subject string, header func(name string) string, data []byte) (Event, error) {
	if v := header(HeaderSpecVersion); v != specVersion {
		return Event{}, fmt.Errorf("events: %s is %q, want %s", HeaderSpecVersion, v, specVersion)
	}
	if ct := header(HeaderContentType); ct != contentType {
		return Event{}, fmt.Errorf("events: %s is %q, want %s", HeaderContentType, ct, contentType)
	}
	at, err := time.Parse(time.RFC3339Nano, header(HeaderTime))
	if err != nil {
		return Event{}, fmt.Errorf("events: %s: %w", HeaderTime, err)
	}
	ev := Event{
		ID:          header(HeaderID),
		Type:        header(HeaderType),
		Source:      header(HeaderSource),
		Subject:     subject,
		Time:        at.UTC(),
		Data:        data,
		TraceParent: header(HeaderTraceParent),
		Key:         header(HeaderSubject),
	}
	return ev, ev.check()
}

// WithTrace returns ctx with the trace context that the event carries as the remote parent.
func (ev Event) WithTrace(ctx context.Context) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{HeaderTraceParent: ev.TraceParent})
}

func isHeaderValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
