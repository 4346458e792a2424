package notify

import (
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/armlet-pay/armlet/services/notify/internal/alert"
)

func TestTheMetricsCountAlertsByOutcomeAndOpenStreams(t *testing.T) {
	reader := metric.NewManualReader()
	hub := alert.NewHub()
	moved, resent, err := observe(metric.NewMeterProvider(metric.WithReader(reader)), hub)
	if err != nil {
		t.Fatal(err)
	}
	moved(alert.SentOut)
	moved(alert.SentOut)
	moved(alert.Dropped)
	resent()
	_, leave := hub.Join("alice", "phone")
	hub.Join("bob", "phone")
	leave()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok {
				t.Fatalf("%s is %T", m.Name, m.Data)
			}
			for _, p := range sum.DataPoints {
				outcome, _ := p.Attributes.Value("outcome")
				got[m.Name+" "+outcome.AsString()] = p.Value
			}
		}
	}
	for name, want := range map[string]int64{metricAlerts + " SENT": 2, metricAlerts + " DROPPED": 1, metricResends + " ": 1, metricStreams + " ": 1} {
		if got[name] != want {
			t.Errorf("%s is %d, want %d, of %v", name, got[name], want, got)
		}
	}
	if _, _, err := observe(nil, hub); err != nil {
		t.Error(err)
	}
}
