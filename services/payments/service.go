// Package payments moves money: wallets, merchants, payments that a band approves, and the double-entry ledger beneath.
//
// Read internal/payment first, which has the rules of a payment, and internal/ledger, which has those of the books. Around
// them internal/grpcapi translates the contract armlet.payments.v1, internal/peers asks auth, internal/store remembers in
// SQL, and internal/bus publishes what happened. This file is the only wiring.
package payments

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"
	_ "time/tzdata" // days of limits and settlements end by clocks of many places, also where the system knows none

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/status"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	statusv1 "github.com/armlet-pay/armlet/proto/gen/armlet/status/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/bus"
	"github.com/armlet-pay/armlet/services/payments/internal/grpcapi"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
	"github.com/armlet-pay/armlet/services/payments/internal/peers"
	"github.com/armlet-pay/armlet/services/payments/internal/settlement"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

// Name is the service's name: on the network, in certificates and in logs.
const Name = "payments"

const (
	tokenAudience = "armlet"
	pageKey       = "page-tokens"
	expireBatch   = 200
	settleBatch   = 200
)

// New makes the service with its database migrated. It does not need auth or NATS to be there yet.
func New(ctx context.Context, cfg Config, env run.Env) (_ *run.Service, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	var open closers
	defer func() {
		if err != nil {
			err = errors.Join(err, open.close(ctx))
		}
	}()
	serverTLS, clientTLS, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	db, err := env.OpenDB(ctx, cfg.DBURL)
	if err != nil {
		return nil, fmt.Errorf("db-url: %w", err)
	}
	open.add(db.Close)
	if err := db.Migrate(ctx, store.Migrations()); err != nil {
		return nil, err
	}
	conn, err := env.Conn(Name, "auth", cfg.AuthAddr, clientTLS)
	if err != nil {
		return nil, fmt.Errorf("auth-addr: %w", err)
	}
	open.add(conn.Close)
	vouchers, err := cfg.vouchers(env, clientTLS, &open)
	if err != nil {
		return nil, err
	}
	core, err := env.ConnectNATS(ctx, "CORE", cfg.NATSURL)
	if err != nil {
		return nil, fmt.Errorf("nats-url: %w", err)
	}
	open.add(func() error { core.Close(); return nil })

	verifier := rpc.NewJWTVerifier(rpc.JWTConfig{Issuer: cfg.TokenIssuer, Audience: tokenAudience, KeysURL: cfg.JWKSURL, RevocationsURL: rpc.RevocationsURL(cfg.JWKSURL), Now: env.Now})
	books := store.New(db, bus.Encode, env.Now)
	unwatch, err := watchBooks(db.Meter(), books.Difference)
	if err != nil {
		return nil, err
	}
	open.add(unwatch)
	rules := payment.NewService(books, directory(books, vouchers), peers.NewAuth(conn, verifier, env.Now), payment.Config{
		Grace: cfg.Grace, HoldFor: cfg.HoldFor, Issuer: cfg.TokenIssuer, NewID: newID, NewTerminalID: newTerminalID,
	})
	server, err := newServer(ctx, env, db, verifier, serverTLS, rules, books)
	if err != nil {
		return nil, err
	}
	workers, err := newWorkers(cfg, env, db, core, rules, settlement.NewService(books, books, newID, cfg.SettleAfter))
	if err != nil {
		return nil, err
	}
	if vouchers != nil {
		workers = append(workers, run.Worker{Name: "vouchers", Run: vouchers.Run}, run.Worker{Name: "voucher-holds", Run: func(ctx context.Context) error {
			return again(ctx, cfg.ExpireEvery, env.Log, "vouchers that were reserved in vain could not be released", func(ctx context.Context) (int, error) {
				return rules.AbandonDue(ctx, expireBatch, env.Now())
			})
		}})
	}
	return &run.Service{
		Name: Name, Server: server, Listen: cfg.Listen, Network: env.Network, HTTPListen: cfg.HTTPListen,
		Workers: workers, Check: db.Ping, Close: open.close,
	}, nil
}

func newServer(ctx context.Context, env run.Env, db *sqldb.DB, verifier rpc.Verifier, tlsConfig *tls.Config, rules *payment.Service, books *store.Store) (*rpc.Server, error) {
	key, err := books.Key(ctx, pageKey)
	if err != nil {
		return nil, err
	}
	server, err := rpc.NewServer(rpc.ServerConfig{
		Service: Name, Classify: sqldb.Classify, Policy: policy(), Verifier: verifier, TLS: tlsConfig,
		Log: env.Log, TracerProvider: env.TracerProvider, MeterProvider: env.MeterProvider,
	})
	if err != nil {
		return nil, err
	}
	paymentsv1.RegisterPaymentsServiceServer(server.GRPC(), grpcapi.New(rules, books, books, key, env.Now))
	statusv1.RegisterStatusServiceServer(server.GRPC(), statusServer{source: status.Source{Service: Name, DB: db, Migrations: Migrations, Now: env.Now}})
	if err := server.Check(); err != nil {
		return nil, err
	}
	return server, nil
}

func newWorkers(cfg Config, env run.Env, db *sqldb.DB, conn *nats.Conn, rules *payment.Service, days *settlement.Service) ([]run.Worker, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	return []run.Worker{
		{Name: "outbox", Run: bus.NewRelay(db, events.Replicated(js, cfg.Replicas), env.Log).Run},
		{Name: "expiry", Run: func(ctx context.Context) error { return expire(ctx, cfg.ExpireEvery, rules, env.Now, env.Log) }},
		{Name: "settlement", Run: func(ctx context.Context) error { return settle(ctx, cfg.SettleEvery, days, env.Now, env.Log) }},
	}, nil
}

// settle settles merchants whose cut-off has passed, again and again.
func settle(ctx context.Context, every time.Duration, days *settlement.Service, now func() time.Time, log *slog.Logger) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if _, err := days.SettleDue(ctx, settleBatch, now()); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "merchants could not be settled; it is tried again", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// expire ends payments that nobody tapped, again and again.
func expire(ctx context.Context, every time.Duration, rules *payment.Service, now func() time.Time, log *slog.Logger) error {
	return again(ctx, every, log, "payments could not be expired", func(ctx context.Context) (int, error) {
		return rules.ExpireDue(ctx, expireBatch, now())
	})
}

// again does what there is to do, again and again. A full batch is followed by the next one at once.
func again(ctx context.Context, every time.Duration, log *slog.Logger, failed string, do func(context.Context) (int, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		n, err := do(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			log.WarnContext(ctx, failed+"; it is tried again", "error", err)
		case n == expireBatch:
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// vouchers is notify as payments know it, nil where none is configured.
func (c Config) vouchers(env run.Env, clientTLS *tls.Config, open *closers) (*peers.Notify, error) {
	if c.NotifyAddr == "" && env.Network == nil {
		return nil, nil
	}
	conn, err := env.Conn(Name, "notify", c.NotifyAddr, clientTLS)
	if err != nil {
		return nil, fmt.Errorf("notify-addr: %w", err)
	}
	open.add(conn.Close)
	return peers.NewNotify(conn), nil
}

func directory(books *store.Store, vouchers *peers.Notify) payment.Directory {
	d := payment.Directory{Wallets: books, Merchants: books, Limits: books, Holds: books}
	if vouchers != nil { // a nil pointer in an interface is not nil
		d.Vouchers = vouchers
	}
	return d
}

// tls is for serving and for calling, both nil when no certificate is configured.
func (c Config) tls() (server, client *tls.Config, err error) {
	if c.TLSCert == "" {
		return nil, nil, nil
	}
	if server, err = rpc.ServerTLS(c.TLSCert, c.TLSKey, c.TLSCA); err != nil {
		return nil, nil, err
	}
	client, err = rpc.ClientTLS(c.TLSCert, c.TLSKey, c.TLSCA)
	return server, client, err
}

// newID is a UUIDv7: ids that sort by time keep indexes small and inserts at their end.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

func newTerminalID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// closers are closed in the reverse of the order in which they were opened.
type closers struct{ list []func() error }

func (c *closers) add(f func() error) { c.list = append(c.list, f) }

func (c *closers) close(context.Context) error {
	var errs []error
	for i := len(c.list) - 1; i >= 0; i-- {
		errs = append(errs, c.list[i]())
	}
	return errors.Join(errs...)
}
