package payments_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/run"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/services/payments"
)

func TestTheServiceStartsWithoutAuthAndNATSAndStartsAgain(t *testing.T) {
	cfg := payments.DefaultConfig()
	cfg.Listen, cfg.HTTPListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.DBURL = "sqlite:" + filepath.Join(t.TempDir(), "payments.db")
	cfg.NATSURL, cfg.AuthAddr = "nats://127.0.0.1:1", "127.0.0.1:1"
	log := slog.New(slog.DiscardHandler)
	env := run.Env{Log: log, Now: time.Now, TracerProvider: tracenoop.NewTracerProvider(), MeterProvider: metricnoop.NewMeterProvider()}
	for range 2 {
		svc, err := payments.New(t.Context(), cfg, env)
		if err != nil {
			t.Fatal(err)
		}
		suite := run.Suite{Log: log}
		running, err := suite.Start(t.Context(), svc)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := rpc.Dial(running.Addr(payments.Name), rpc.DialConfig{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = paymentsv1.NewPaymentsServiceClient(conn).GetTrialBalance(t.Context(), &paymentsv1.GetTrialBalanceRequest{})
		if fault.ReasonOf(err) != "CALLER_UNKNOWN" {
			t.Errorf("a stranger got %v", err)
		}
		_ = conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := running.Stop(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
}

func TestAWrongKeyOfTheConfigurationIsNamed(t *testing.T) {
	if err := payments.DefaultConfig().Validate(); err != nil {
		t.Fatalf("the defaults: %v", err)
	}
	for key, spoil := range map[string]func(*payments.Config){
		"db-url":        func(c *payments.Config) { c.DBURL = "" },
		"token-issuer":  func(c *payments.Config) { c.TokenIssuer = "" },
		"jwks-url":      func(c *payments.Config) { c.JWKSURL = "auth:8002" },
		"tls-cert":      func(c *payments.Config) { c.TLSCert = "cert.pem" },
		"tls-ca":        func(c *payments.Config) { c.TLSCA = "ca.pem" },
		"confirm-grace": func(c *payments.Config) { c.Grace = -time.Second },
		"settle-after":  func(c *payments.Config) { c.SettleAfter = -time.Second },
		"expire-every":  func(c *payments.Config) { c.ExpireEvery = 0 },
		"log-level":     func(c *payments.Config) { c.Telemetry.LogLevel = "loud" },
	} {
		cfg := payments.DefaultConfig()
		spoil(&cfg)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("%s: got %v", key, err)
		}
		if svc, err := payments.New(t.Context(), cfg, run.Env{}); err == nil || svc != nil {
			t.Errorf("%s: a service was made", key)
		}
	}
}
