package journey

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"

	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	metricsv1 "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/grpc"

	"github.com/armlet-pay/armlet/test/programs"
)

// collector takes what programs send by OTLP and keeps which services made the spans of a trace, and which metrics exist.
type collector struct {
	coltrace.UnimplementedTraceServiceServer
	addr string

	mu      sync.Mutex
	traces  map[string][]madeSpan
	metrics map[string]seenMetric
}

type madeSpan struct{ service, name string }

type seenMetric struct {
	unit, kind string
	attributes map[string]bool
	services   map[string]bool
	exemplars  bool
	worst      int64 // the value farthest from zero, of gauges of whole numbers
}

type metricsReceiver struct {
	colmetrics.UnimplementedMetricsServiceServer
	c *collector
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	c := &collector{addr: listener.Addr().String(), traces: map[string][]madeSpan{}, metrics: map[string]seenMetric{}}
	server := grpc.NewServer()
	coltrace.RegisterTraceServiceServer(server, c)
	colmetrics.RegisterMetricsServiceServer(server, &metricsReceiver{c: c})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return c
}

// follow has every service send to the collector; it is an option of startProcesses.
func (c *collector) follow(*processes) map[string]map[string]string {
	set := map[string]map[string]string{}
	for _, service := range programs.Services {
		set[service] = map[string]string{"otlp-endpoint": "http://" + c.addr}
	}
	return set
}

func (c *collector) Export(_ context.Context, req *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range req.GetResourceSpans() {
		for _, scope := range r.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				id := string(s.GetTraceId())
				c.traces[id] = append(c.traces[id], madeSpan{serviceOf(r.GetResource()), s.GetName()})
			}
		}
	}
	return &coltrace.ExportTraceServiceResponse{}, nil
}

func (m *metricsReceiver) Export(_ context.Context, req *colmetrics.ExportMetricsServiceRequest) (*colmetrics.ExportMetricsServiceResponse, error) {
	m.c.mu.Lock()
	defer m.c.mu.Unlock()
	for _, r := range req.GetResourceMetrics() {
		for _, scope := range r.GetScopeMetrics() {
			for _, metric := range scope.GetMetrics() {
				m.c.keep(serviceOf(r.GetResource()), metric)
			}
		}
	}
	return &colmetrics.ExportMetricsServiceResponse{}, nil
}

func (c *collector) keep(service string, metric *metricsv1.Metric) {
	seen, ok := c.metrics[metric.GetName()]
	if !ok {
		seen = seenMetric{unit: metric.GetUnit(), attributes: map[string]bool{}, services: map[string]bool{}}
	}
	seen.services[service] = true
	note := func(attributes []*commonv1.KeyValue) {
		for _, a := range attributes {
			seen.attributes[a.GetKey()] = true
		}
	}
	number := func(p *metricsv1.NumberDataPoint) {
		note(p.GetAttributes())
		if v := p.GetAsInt(); v*v > seen.worst*seen.worst {
			seen.worst = v
		}
	}
	switch data := metric.GetData().(type) {
	case *metricsv1.Metric_Gauge:
		seen.kind = "gauge"
		for _, p := range data.Gauge.GetDataPoints() {
			number(p)
		}
	case *metricsv1.Metric_Sum:
		seen.kind = "updowncounter"
		if data.Sum.GetIsMonotonic() {
			seen.kind = "counter"
		}
		for _, p := range data.Sum.GetDataPoints() {
			number(p)
		}
	case *metricsv1.Metric_Histogram:
		seen.kind = "histogram"
		for _, p := range data.Histogram.GetDataPoints() {
			note(p.GetAttributes())
			seen.exemplars = seen.exemplars || len(p.GetExemplars()) > 0
		}
	}
	c.metrics[metric.GetName()] = seen
}

func serviceOf(r *resourcev1.Resource) string {
	for _, a := range r.GetAttributes() {
		if a.GetKey() == "service.name" {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

// traceThrough tells whether one trace has all these spans.
func (c *collector) traceThrough(want ...madeSpan) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, spans := range c.traces {
		missing := slices.ContainsFunc(want, func(w madeSpan) bool { return !slices.Contains(spans, w) })
		if !missing {
			return true
		}
	}
	return false
}

// metric is what was seen of one.
func (c *collector) metric(name string) (seenMetric, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, ok := c.metrics[name]
	return m, ok
}
