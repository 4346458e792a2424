package payments

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metricDifference is a gauge in minor units, by attrCurrency; deploy/metrics.yaml has all names in one place.
const (
	metricDifference = "armlet.ledger.difference"
	attrCurrency     = "armlet.currency"
)

// watchBooks measures whether the books balance, at each collection.
func watchBooks(meter metric.Meter, difference func(context.Context) (map[string]int64, error)) (stop func() error, err error) {
	gauge, err := meter.Int64ObservableGauge(metricDifference, metric.WithUnit("{minor_unit}"),
		metric.WithDescription("The sum of all balances of the books: zero."))
	if err != nil {
		return nil, fmt.Errorf("instruments: %w", err)
	}
	reg, err := meter.RegisterCallback(func(ctx context.Context, out metric.Observer) error {
		sums, err := difference(ctx)
		for currency, sum := range sums {
			out.ObserveInt64(gauge, sum, metric.WithAttributes(attribute.String(attrCurrency, currency)))
		}
		return err
	}, gauge)
	if err != nil {
		return nil, fmt.Errorf("instruments: %w", err)
	}
	return reg.Unregister, nil
}
