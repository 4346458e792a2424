package rpc

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/armlet-pay/armlet/platform/telemetry"
)

// watchCertificate reports for how long the certificate is good that a server shows to its callers, until the function it
// returns is called.
func watchCertificate(meter metric.Meter, cfg *tls.Config, now func() time.Time) (stop func(), err error) {
	if cfg == nil || cfg.GetCertificate == nil {
		return func() {}, nil
	}
	remaining, err := meter.Float64ObservableGauge(telemetry.CertificateRemaining, metric.WithUnit("s"),
		metric.WithDescription("For how long the certificate that the service shows is good; below zero when it has ended."))
	if err != nil {
		return nil, fmt.Errorf("rpc: instruments: %w", err)
	}
	reg, err := meter.RegisterCallback(func(_ context.Context, out metric.Observer) error {
		cert, err := cfg.GetCertificate(&tls.ClientHelloInfo{})
		if err != nil {
			return err
		}
		out.ObserveFloat64(remaining, cert.Leaf.NotAfter.Sub(now()).Seconds())
		return nil
	}, remaining)
	if err != nil {
		return nil, fmt.Errorf("rpc: instruments: %w", err)
	}
	return func() { _ = reg.Unregister() }, nil
}
