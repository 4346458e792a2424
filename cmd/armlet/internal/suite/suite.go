// Package suite runs the four services in one process on embedded stores: SQLite,
// challenges in memory, an embedded NATS server, and gRPC without a network
// between the services.
package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/services/auth"
	deviceregistry "github.com/armlet-pay/armlet/services/device-registry"
	"github.com/armlet-pay/armlet/services/notify"
	"github.com/armlet-pay/armlet/services/payments"
)

// EndpointsFile is the file in the data folder that says where the suite listens.
const EndpointsFile = "endpoints.json"

// Options say how to run the suite.
type Options struct {
	Data           string // folder of everything that must survive
	Host           string // address to listen on; empty is 127.0.0.1
	PortBase       int    // see choosePorts; 0 takes free ports
	Log            *slog.Logger
	TracerProvider trace.TracerProvider // nil traces nothing
}

// Suite is a running suite.
type Suite struct {
	at      sdk.Endpoints
	lock    io.Closer
	broker  *broker
	running *run.Running
	failed  chan error
}

// Start starts everything and writes EndpointsFile. It returns when all services
// are ready.
func Start(ctx context.Context, o Options) (_ *Suite, err error) {
	o = o.withDefaults()
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return nil, fmt.Errorf("the data folder: %w", err)
	}
	s := &Suite{failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
		}
	}()
	held, err := lock(o.Data)
	if err != nil {
		return nil, err
	}
	s.lock = held
	p, err := choosePorts(o.Host, o.PortBase)
	if err != nil {
		return nil, err
	}
	s.at = p.endpoints()
	settings, err := s.startBroker(o, p)
	if err != nil {
		return nil, err
	}
	services, err := s.services(ctx, o, p, settings)
	if err != nil {
		return nil, err
	}
	if s.running, err = (run.Suite{Log: o.Log}).Start(ctx, services...); err != nil {
		return nil, err
	}
	go func() {
		if err := s.running.Wait(); err != nil {
			s.failed <- err
		}
	}()
	return s, writeJSON(filepath.Join(o.Data, EndpointsFile), s.at)
}

func (o Options) withDefaults() Options {
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.TracerProvider == nil {
		o.TracerProvider = tracenoop.NewTracerProvider()
	}
	return o
}

// Endpoints say where the suite listens.
func (s *Suite) Endpoints() sdk.Endpoints { return s.at }

// Failed gets the error of a server that ended by itself.
func (s *Suite) Failed() <-chan error { return s.failed }

// Stop drains the services, then stops NATS. It can be called on a suite that
// started only in part.
func (s *Suite) Stop(ctx context.Context) error {
	var errs []error
	if s.running != nil {
		errs = append(errs, s.running.Stop(ctx))
	}
	if s.broker != nil {
		s.broker.stop()
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

func (s *Suite) startBroker(o Options, p ports) (notify.NATSSettings, error) {
	keys, err := loadSecrets(filepath.Join(o.Data, "nats-secrets.json"))
	if err != nil {
		return notify.NATSSettings{}, err
	}
	issuer, err := keys.calloutIssuer()
	if err != nil {
		return notify.NATSSettings{}, err
	}
	seed := filepath.Join(o.Data, "nats-callout.seed")
	if err := os.WriteFile(seed, []byte(keys.CalloutSeed+"\n"), 0o600); err != nil {
		return notify.NATSSettings{}, err
	}
	settings := notify.NATSSettings{
		Listen: p.addr(p.nats), ServerName: "armlet", StoreDir: filepath.Join(o.Data, "nats"), CalloutIssuer: issuer,
		SystemPassword: keys.System, AuthPassword: keys.Auth, CorePassword: keys.Core, EdgePassword: keys.Edge,
	}
	if err := settings.Validate(); err != nil {
		return settings, err
	}
	file := filepath.Join(o.Data, "nats.conf")
	if err := os.WriteFile(file, []byte(notify.NATSConfig(settings)), 0o600); err != nil {
		return settings, err
	}
	s.broker, err = startNATS(file, map[string]string{"CORE": keys.Core, "EDGE": keys.Edge, "AUTH": keys.Auth, "SYS": keys.System}, o.Log)
	return settings, err
}

// services makes the four in the order in which they are started: who is called
// comes before who calls.
func (s *Suite) services(ctx context.Context, o Options, p ports, settings notify.NATSSettings) (made []*run.Service, err error) {
	defer func() {
		if err == nil {
			return
		}
		for _, svc := range made {
			err = errors.Join(err, svc.Close(context.WithoutCancel(ctx)))
		}
		made = nil
	}()
	env := run.Env{
		TracerProvider: o.TracerProvider, MeterProvider: noop.NewMeterProvider(),
		Now: time.Now, Network: rpc.NewNetwork(), NATS: s.broker.connect,
	}
	c := configs(o.Data, p, s.at)
	c.notify.NATS, c.notify.ReloadNATS = &settings, s.broker.reload
	for _, make := range []func(run.Env) (*run.Service, error){
		func(e run.Env) (*run.Service, error) { return deviceregistry.New(ctx, c.devices, e) },
		func(e run.Env) (*run.Service, error) { return auth.New(ctx, c.auth, e) },
		func(e run.Env) (*run.Service, error) { return payments.New(ctx, c.payments, e) },
		func(e run.Env) (*run.Service, error) { return notify.New(ctx, c.notify, e) },
	} {
		e := env
		e.Log = o.Log
		svc, err := make(e)
		if err != nil {
			return made, err
		}
		made = append(made, svc)
	}
	return made, nil
}
