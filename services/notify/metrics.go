package notify

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/armlet-pay/armlet/services/notify/internal/alert"
)

// The metrics of this service beside those of its RPCs. Labels come from fixed lists: no account, partner or type is one.
const (
	// metricAlerts counts what became of alerts, by outcome: SENT, HELD, SCHEDULED, DROPPED or EXPIRED.
	metricAlerts = "armlet.notify.alerts"
	// metricResends counts how often CRITICAL alerts were sent again because no surface had acknowledged them.
	metricResends = "armlet.notify.alerts.resent"
	// metricStreams is how many inbox streams are open at this process.
	metricStreams = "armlet.notify.inbox.streams"
)

// observe makes the instruments; moved and resent are to be told after each commit.
func observe(provider metric.MeterProvider, hub *alert.Hub) (moved func(alert.Delivery), resent func(), err error) {
	if provider == nil {
		provider = noop.NewMeterProvider()
	}
	meter := provider.Meter("armlet/notify")
	alerts, err1 := meter.Int64Counter(metricAlerts, metric.WithDescription("What became of alerts, by outcome"))
	resends, err2 := meter.Int64Counter(metricResends, metric.WithDescription("CRITICAL alerts sent again"))
	_, err3 := meter.Int64ObservableUpDownCounter(metricStreams, metric.WithDescription("Inbox streams that are open"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(hub.Streams()))
			return nil
		}))
	moved = func(d alert.Delivery) {
		alerts.Add(context.Background(), 1, metric.WithAttributes(attribute.String("outcome", string(d))))
	}
	return moved, func() { resends.Add(context.Background(), 1) }, errors.Join(err1, err2, err3)
}
