// Package deviceregistry knows every band: who made it, which key material it answers with, to whose account it is bound,
// and what stops it from paying.
//
// Read internal/device first, which has the life of a device, then internal/lot, which has the arithmetic of range lots, and
// internal/binding, which ties devices to accounts. Around them internal/grpcapi translates the contract armlet.devices.v1,
// internal/store remembers in SQL, and internal/bus publishes what happened. This file is the only wiring.
package deviceregistry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/status"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	statusv1 "github.com/armlet-pay/armlet/proto/gen/armlet/status/v1"
	"github.com/armlet-pay/armlet/services/device-registry/internal/binding"
	"github.com/armlet-pay/armlet/services/device-registry/internal/bus"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/grpcapi"
	"github.com/armlet-pay/armlet/services/device-registry/internal/imports"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
	"github.com/armlet-pay/armlet/services/device-registry/internal/store"
)

// Name is the service's name: on the network, in certificates and in logs.
const Name = "device-registry"

const (
	tokenAudience = "armlet"
	pageKey       = "page-tokens"
)

// New makes the service with its database migrated. It does not need auth or NATS to be there yet.
func New(ctx context.Context, cfg Config, env run.Env) (_ *run.Service, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	db, err := env.OpenDB(ctx, cfg.DBURL)
	if err != nil {
		return nil, fmt.Errorf("db-url: %w", err)
	}
	var events *nats.Conn
	release := func(context.Context) error {
		if events != nil {
			events.Close()
		}
		return db.Close()
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, release(ctx))
		}
	}()
	if err := store.Migrate(ctx, db); err != nil {
		return nil, err
	}
	if events, err = env.ConnectNATS(ctx, "CORE", cfg.NATSURL); err != nil {
		return nil, fmt.Errorf("nats-url: %w", err)
	}
	relay, err := bus.NewRelay(db, events, cfg.Replicas, env.Log)
	if err != nil {
		return nil, err
	}
	st := store.New(db, bus.Outbox{}, cfg.quota())
	server, err := newServer(ctx, cfg, env, db, st)
	if err != nil {
		return nil, err
	}
	return &run.Service{
		Name: Name, Server: server, Listen: cfg.Listen, Network: env.Network, HTTPListen: cfg.HTTPListen,
		Workers: []run.Worker{{Name: "outbox", Run: relay.Run}, {Name: "audit-log", Run: st.KeepLog}}, Check: db.Ping, Close: release,
	}, nil
}

func newServer(ctx context.Context, cfg Config, env run.Env, db *sqldb.DB, st *store.Store) (*rpc.Server, error) {
	key, err := st.Secret(ctx, pageKey)
	if err != nil {
		return nil, err
	}
	notary, err := cfg.notary()
	if err != nil {
		return nil, err
	}
	var serverTLS *tls.Config
	if cfg.TLSCert != "" {
		if serverTLS, err = rpc.ServerTLS(cfg.TLSCert, cfg.TLSKey, cfg.TLSCA); err != nil {
			return nil, err
		}
	}
	server, err := rpc.NewServer(rpc.ServerConfig{
		Service: Name, Classify: sqldb.Classify, Policy: policy(), TLS: serverTLS,
		Verifier: rpc.NewJWTVerifier(rpc.JWTConfig{Issuer: cfg.TokenIssuer, Audience: tokenAudience, KeysURL: cfg.JWKSURL, RevocationsURL: rpc.RevocationsURL(cfg.JWKSURL), Now: env.Now}),
		Log:      env.Log, TracerProvider: env.TracerProvider, MeterProvider: env.MeterProvider,
	})
	if err != nil {
		return nil, err
	}
	devicesv1.RegisterDeviceRegistryServiceServer(server.GRPC(), grpcapi.New(grpcapi.Config{
		Devices: device.NewService(st), Lots: lot.NewService(st), Bindings: binding.NewService(st, cfg.DeviceLimit),
		Imports: imports.NewService(st, grpcapi.ParseUID, grpcapi.ParseKey),
		Catalog: st, Reader: st, Record: st, Feed: st, Notary: notary, Repeater: st, PageKey: key, Now: env.Now,
	}))
	statusv1.RegisterStatusServiceServer(server.GRPC(), statusServer{source: status.Source{Service: Name, DB: db, Migrations: Migrations, Now: env.Now}})
	if err := server.Check(); err != nil {
		return nil, err
	}
	return server, nil
}
