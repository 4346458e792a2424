package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/armlet-pay/armlet/platform/telemetry"
)

func setup(t *testing.T, cfg telemetry.Config) (*telemetry.Telemetry, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	tel, err := telemetry.Setup(t.Context(), "test", cfg, &out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Shutdown(context.WithoutCancel(t.Context())) })
	return tel, &out
}

func TestARecordCarriesTheIDsOfItsSpanAtTheTop(t *testing.T) {
	tel, out := setup(t, telemetry.Config{LogFormat: "json"})
	ctx, span := tel.TracerProvider.Tracer("t").Start(t.Context(), "work")
	defer span.End()
	want := span.SpanContext().TraceID().String()
	for name, log := range map[string]*slog.Logger{
		"plain":                  tel.Log,
		"with attributes":        tel.Log.With("a", 1),
		"in a group":             tel.Log.With("a", 1).WithGroup("g").With("b", 2),
		"in a group in a group":  tel.Log.WithGroup("g").WithGroup("h"),
		"in a group of no name":  tel.Log.WithGroup(""),
		"attributes after group": tel.Log.WithGroup("g").With("b", 2),
	} {
		out.Reset()
		log.InfoContext(ctx, "hello", "k", "v")
		var got map[string]any
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v in %s", name, err, out)
		}
		if got["trace_id"] != want || got["span_id"] != span.SpanContext().SpanID().String() {
			t.Errorf("%s: %s", name, out)
		}
		if strings.HasPrefix(name, "in a group ") && strings.Contains(name, "in a group in") && got["g"].(map[string]any)["h"].(map[string]any)["k"] != "v" {
			t.Errorf("%s: the groups are lost: %s", name, out)
		}
		if name == "in a group" && (got["a"] != 1.0 || got["g"].(map[string]any)["b"] != 2.0 || got["g"].(map[string]any)["k"] != "v") {
			t.Errorf("%s: attributes are lost: %s", name, out)
		}
	}
	out.Reset()
	tel.Log.Info("hello")
	if strings.Contains(out.String(), "trace_id") {
		t.Errorf("a record without a span has ids: %s", out)
	}
}

func TestWithoutAnEndpointTracesHaveIDsAndPropagate(t *testing.T) {
	tel, _ := setup(t, telemetry.Config{})
	ctx, root := tel.TracerProvider.Tracer("t").Start(t.Context(), "root")
	if !root.SpanContext().IsValid() {
		t.Fatal("no ids")
	}
	_, child := tel.TracerProvider.Tracer("t").Start(ctx, "child")
	if child.SpanContext().TraceID() != root.SpanContext().TraceID() {
		t.Error("the child is in another trace")
	}
	for _, sampled := range []string{"00", "01"} {
		const id = "0af7651916cd43dd8448eb211c80319c"
		ctx := propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier{"traceparent": "00-" + id + "-b7ad6b7169203331-" + sampled})
		ctx, span := tel.TracerProvider.Tracer("t").Start(ctx, "server")
		carrier := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(ctx, carrier)
		span.End()
		if got := carrier["traceparent"]; !strings.HasPrefix(got, "00-"+id+"-") || !strings.HasSuffix(got, "-"+sampled) {
			t.Errorf("%s goes on as %s", sampled, got)
		}
	}
}

func TestLevelAndFormat(t *testing.T) {
	tel, out := setup(t, telemetry.Config{LogLevel: "warn"})
	tel.Log.Info("quiet")
	tel.Log.Warn("loud")
	if s := out.String(); strings.Contains(s, "quiet") || !strings.Contains(s, "level=WARN msg=loud") {
		t.Errorf("got %s", s)
	}
}

func TestAConfigurationThatIsNoGoodNamesItsKey(t *testing.T) {
	for key, cfg := range map[string]telemetry.Config{
		"log-level":     {LogLevel: "loud"},
		"log-format":    {LogFormat: "xml"},
		"otlp-endpoint": {OTLPEndpoint: "collector:4317"},
	} {
		if _, err := telemetry.Setup(t.Context(), "test", cfg, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: got %v", key, err)
		}
	}
}

// collector is an OTLP endpoint.
type collector struct {
	coltrace.UnimplementedTraceServiceServer
	got chan *coltrace.ExportTraceServiceRequest
}

func (c *collector) Export(_ context.Context, r *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	c.got <- r
	return &coltrace.ExportTraceServiceResponse{}, nil
}

func TestSpansReachTheCollector(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{got: make(chan *coltrace.ExportTraceServiceRequest, 1)}
	srv := grpc.NewServer()
	coltrace.RegisterTraceServiceServer(srv, c)
	go func() { _ = srv.Serve(lis) }()
	t.Cleanup(srv.Stop)

	var out bytes.Buffer
	tel, err := telemetry.Setup(t.Context(), "test", telemetry.Config{OTLPEndpoint: "http://" + lis.Addr().String(), ServiceVersion: "v9"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.TracerProvider.Tracer("t").Start(t.Context(), "tap")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_ = tel.Shutdown(ctx) // this collector takes no metrics
	select {
	case r := <-c.got:
		rs := r.GetResourceSpans()[0]
		if s := rs.GetResource().String(); !strings.Contains(s, "test") || !strings.Contains(s, "v9") {
			t.Errorf("resource %s", s)
		}
		if got := rs.GetScopeSpans()[0].GetSpans()[0].GetName(); got != "tap" {
			t.Errorf("span %q", got)
		}
	case <-ctx.Done():
		t.Fatal("nothing arrived")
	}
}

func TestRedactedShowsItselfNowhere(t *testing.T) {
	const secret = telemetry.Redacted("hunter2")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", secret, "in", struct{ S telemetry.Redacted }{secret})
	j, err := json.Marshal(map[string]any{"s": secret})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		secret.String(), fmt.Sprintf("%s %v %q %+v %#v", secret, secret, secret, secret, secret),
		fmt.Sprintf("%+v %#v", struct{ S telemetry.Redacted }{secret}, []telemetry.Redacted{secret}), string(j), log.String(),
	} {
		if strings.Contains(s, "hunter2") {
			t.Errorf("it is in %s", s)
		}
		if !strings.Contains(s, "***") {
			t.Errorf("nothing shows that it was there: %s", s)
		}
	}
	if string(secret) != "hunter2" {
		t.Error("its value is lost")
	}
}
