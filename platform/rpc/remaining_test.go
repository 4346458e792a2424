package rpc_test

import (
	"context"
	"math"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/telemetry"
	"github.com/armlet-pay/armlet/platform/testkit"
)

func TestARenewedCertificateIsMeasuredAnew(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	pki := testkit.PKI(t)
	cert, key := pki.LeafUntil("notify", nil, time.Now().Add(time.Hour))
	cfg, err := rpc.ServerTLS(cert, key, pki.File)
	if err != nil {
		t.Fatal(err)
	}
	server, err := rpc.NewServer(rpc.ServerConfig{Service: "notify", TLS: cfg, MeterProvider: provider})
	if err != nil {
		t.Fatal(err)
	}
	want := func(left time.Duration) {
		t.Helper()
		if got, ok := remaining(t, reader); !ok || math.Abs(got-left.Seconds()) > 60 {
			t.Errorf("%v s are left (%v), want %v", got, ok, left)
		}
	}
	want(time.Hour)
	pki.LeafUntil("notify", nil, time.Now().Add(-3*time.Hour)) // into the same files
	want(-3 * time.Hour)
	server.Stop(t.Context())
	if got, ok := remaining(t, reader); ok {
		t.Errorf("after its end the server still tells of %v s", got)
	}
}

func remaining(t *testing.T, reader sdkmetric.Reader) (seconds float64, ok bool) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.WithoutCancel(t.Context()), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			gauge, is := m.Data.(metricdata.Gauge[float64])
			if m.Name == telemetry.CertificateRemaining && is && len(gauge.DataPoints) == 1 {
				return gauge.DataPoints[0].Value, true
			}
		}
	}
	return 0, false
}
