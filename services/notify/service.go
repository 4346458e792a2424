// Package notify tells wearers and partners what happened, and redeems vouchers.
//
// Read internal/alert first, which has what a wearer is told, then internal/voucher, which has the rules of campaigns and
// codes, and internal/subscription, which has partners' event streams. Around them internal/grpcapi translates the contract
// armlet.notify.v1, internal/store remembers in SQL, internal/bus consumes all services' events and makes partners'
// accounts and streams on NATS, and internal/peers reads what auth has signed. This file is the only wiring.
package notify

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/status"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	statusv1 "github.com/armlet-pay/armlet/proto/gen/armlet/status/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/bus"
	"github.com/armlet-pay/armlet/services/notify/internal/custom"
	"github.com/armlet-pay/armlet/services/notify/internal/grpcapi"
	"github.com/armlet-pay/armlet/services/notify/internal/offboarding"
	"github.com/armlet-pay/armlet/services/notify/internal/peers"
	"github.com/armlet-pay/armlet/services/notify/internal/senders"
	"github.com/armlet-pay/armlet/services/notify/internal/store"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

// Name is the service's name: on the network, in certificates and in logs.
const Name = "notify"

const (
	tokenAudience = "armlet"
	codeKey       = "voucher-codes"
	pageKey       = "page-tokens"
	releaseEvery  = 5 * time.Second
	releaseBatch  = 200
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
	conns := &connections{}
	release := func(context.Context) error {
		conns.close()
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
	if err := conns.open(ctx, cfg, env); err != nil {
		return nil, err
	}
	hub := alert.NewHub()
	waker := bus.NewWaker(hub, conns.core.Conn(), newSecret(), env.Now, env.Log)
	st := store.New(db, bus.Encode, waker.Wake)
	st.SetTerms(cfg.terms())
	moved, resent, err := observe(env.MeterProvider, hub)
	if err != nil {
		return nil, err
	}
	st.OnAlerts(moved, resent)
	clerk := bus.NewClerk(st, env.Now, env.Log)
	st.OnBroadcast(clerk.Hurry)
	accounts, err := newAccounts(cfg, conns)
	if err != nil {
		return nil, err
	}
	fabric := bus.NewFabric(conns.edge, accounts, st, env.Log)
	wrapping, err := keyFile(cfg.CodeKeyFile)
	if err != nil {
		return nil, err
	}
	verifier := newVerifier(cfg, env)
	api, err := newAPI(ctx, cfg, env, st, fabric, wrapping, peers.NewAssertions(verifier, cfg.TokenIssuer))
	if err != nil {
		return nil, err
	}
	api.Hub, api.Joined = hub, waker.Joined
	server, err := newServer(cfg, env, verifier, api, status.Source{
		Service: Name, DB: db, Migrations: Migrations, JetStream: []jetstream.JetStream{conns.core, conns.edge}, Now: env.Now,
	})
	if err != nil {
		return nil, err
	}
	webhooks := &bus.Webhooks{
		Edge: conns.edge, Store: st, Poster: senders.NewWebhooks(cfg.WebhookLoopback), Seeds: api.Seeds,
		Retries: subscription.Retries, Now: env.Now, Log: env.Log,
	}
	return &run.Service{
		Name: Name, Server: server, Listen: cfg.Listen, Network: env.Network, HTTPListen: cfg.HTTPListen,
		Workers: workers(cfg, env, db, conns, st, waker, clerk, fabric, webhooks, api), Check: db.Ping, Close: release,
	}, nil
}

func workers(cfg Config, env run.Env, db *sqldb.DB, conns *connections, st *store.Store, waker *bus.Waker, clerk *bus.Clerk, fabric *bus.Fabric, webhooks *bus.Webhooks,
	api grpcapi.Config,
) []run.Worker {
	offboarder := bus.NewOffboarder(st, api.Offboarding, env.Now, env.Log)
	all := []run.Worker{
		{Name: "outbox", Run: bus.NewRelay(db, conns.core, conns.edge, env.Log).Run},
		{Name: "fabric", Run: fabric.Run},
		{Name: "webhooks", Run: webhooks.Run},
		{Name: "waker", Run: func(ctx context.Context) error { return waker.Run(ctx, st) }},
		{Name: "offboarding", Run: offboarder.Run},
		{Name: "broadcasts", Run: clerk.Broadcasts}, {Name: "due", Run: clerk.Due}, {Name: "retention", Run: clerk.Retention},
		{Name: "voucher-holds", Run: func(ctx context.Context) error { return release(ctx, api.Vouchers, env.Now, env.Log) }},
	}
	src := bus.Source{JetStream: conns.core, DB: db, Log: env.Log, Tracer: env.TracerProvider, AckWait: cfg.RedeliverAfter}
	for _, c := range bus.NewAlerter(st, env.Now, newID).Consumers(src) {
		all = append(all, run.Worker{Name: "alerts", Run: c.Run})
	}
	for _, c := range bus.NewFollower(st, env.Now).Consumers(src) {
		all = append(all, run.Worker{Name: "redemptions", Run: c.Run})
	}
	for _, c := range offboarder.Consumers(src) {
		all = append(all, run.Worker{Name: "offboarding-events", Run: c.Run})
	}
	for _, c := range bus.NewEgress(fabric, st).Consumers(src) {
		all = append(all, run.Worker{Name: "egress", Run: c.Run})
	}
	return all
}

// newVerifier checks tokens and assertions.
func newVerifier(cfg Config, env run.Env) *rpc.JWTVerifier {
	return rpc.NewJWTVerifier(rpc.JWTConfig{
		Issuer: cfg.TokenIssuer, Audience: tokenAudience, KeysURL: cfg.JWKSURL, RevocationsURL: rpc.RevocationsURL(cfg.JWKSURL), Now: env.Now,
	})
}

func newAPI(ctx context.Context, cfg Config, env run.Env, st *store.Store, fabric *bus.Fabric, wrapping []byte,
	proofs *peers.Assertions,
) (grpcapi.Config, error) {
	codes, pages, err := keys(ctx, wrapping, env, st)
	if err != nil {
		return grpcapi.Config{}, err
	}
	return grpcapi.Config{
		Alerts:        alert.NewService(st, peers.NewSchemas(), newID),
		Vouchers:      voucher.NewService(voucher.Stores{Campaigns: st, Vouchers: st, Batches: st, Redemptions: st}, codes, proofs, newID),
		Subscriptions: subscription.NewService(st, fabric, newSecret, cfg.WebhookLoopback),
		Custom:        custom.NewService(st, peers.NewSchemas(), fabric, newID), EventTypes: st,
		Offboarding: offboarding.NewService(st, fabric), DeadLetters: st, Puller: fabric, Seeds: seeds(st, wrapping, env),
		Reader: st, Inboxes: st, AlertReader: st, Acker: st, Topics: st, PageKey: pages,
		NATSURL: cfg.PublicNATSURL, APIPrefix: fabric.APIPrefix(), Now: env.Now,
	}, nil
}

func newServer(cfg Config, env run.Env, verifier rpc.Verifier, api grpcapi.Config, source status.Source) (*rpc.Server, error) {
	var serverTLS *tls.Config
	if cfg.TLSCert != "" {
		var err error
		if serverTLS, err = rpc.ServerTLS(cfg.TLSCert, cfg.TLSKey, cfg.TLSCA); err != nil {
			return nil, err
		}
	}
	server, err := rpc.NewServer(rpc.ServerConfig{
		Service: Name, Classify: sqldb.Classify, Policy: policy(), TLS: serverTLS, Verifier: verifier,
		Log: env.Log, TracerProvider: env.TracerProvider, MeterProvider: env.MeterProvider,
	})
	if err != nil {
		return nil, err
	}
	notifyv1.RegisterNotifyServiceServer(server.GRPC(), grpcapi.New(api))
	statusv1.RegisterStatusServiceServer(server.GRPC(), statusServer{source: source})
	return server, server.Check()
}

// release ends holds on vouchers whose time is over, again and again. A full batch is followed by the next one at once.
func release(ctx context.Context, vouchers *voucher.Service, now func() time.Time, log *slog.Logger) error {
	tick := time.NewTicker(releaseEvery)
	defer tick.Stop()
	for {
		n, err := vouchers.ExpireDue(ctx, releaseBatch, now())
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			log.WarnContext(ctx, "holds on vouchers could not be ended; it is tried again", "error", err)
		case n == releaseBatch:
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// keys are kept in the database, wrapped with the key in the key file.
func keys(ctx context.Context, wrapping []byte, env run.Env, st *store.Store) (codes *voucher.Codes, pages []byte, err error) {
	key, err := st.Key(ctx, wrapping, codeKey, env.Now())
	if err != nil {
		return nil, nil, fmt.Errorf("code-key-file: %w", err)
	}
	if codes, err = voucher.NewCodes(key); err != nil {
		return nil, nil, err
	}
	pages, err = st.Key(ctx, wrapping, pageKey, env.Now())
	return codes, pages, err
}

// seeds gives the signing keys of webhooks.
func seeds(st *store.Store, wrapping []byte, env run.Env) func(context.Context, []subscription.KeyRef) ([][]byte, error) {
	return func(ctx context.Context, keys []subscription.KeyRef) ([][]byte, error) {
		all := make([][]byte, len(keys))
		for i, key := range keys {
			var err error
			if all[i], err = st.Key(ctx, wrapping, key.Name, env.Now()); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
}

// newAccounts is nil when partners get no accounts of their own.
func newAccounts(cfg Config, conns *connections) (*bus.Accounts, error) {
	if cfg.NATSAccountsFile == "" {
		return nil, nil //nolint:nilnil // a nil *bus.Accounts keeps no accounts
	}
	settings, err := natsSettings(cfg)
	if err != nil {
		return nil, err
	}
	reload := cfg.ReloadNATS
	if reload == nil {
		reload = bus.SystemReload(conns.system)
	}
	return bus.NewAccounts(cfg.NATSAccountsFile, settings, reload), nil
}

// connections are those to the accounts of NATS.
type connections struct {
	all        []*nats.Conn
	core, edge jetstream.JetStream
	system     *nats.Conn
}

func (c *connections) open(ctx context.Context, cfg Config, env run.Env) (err error) {
	edgeURL := cfg.NATSEdgeURL
	if edgeURL == "" {
		edgeURL = cfg.NATSURL
	}
	if c.core, err = c.jetStream(ctx, cfg, env, bus.AccountCore, cfg.NATSURL); err != nil {
		return fmt.Errorf("nats-url: %w", err)
	}
	if c.edge, err = c.jetStream(ctx, cfg, env, bus.AccountEdge, edgeURL); err != nil {
		return fmt.Errorf("nats-edge-url: %w", err)
	}
	if cfg.NATSAccountsFile == "" || cfg.ReloadNATS != nil {
		return nil
	}
	if c.system, err = env.ConnectNATS(ctx, bus.AccountSystem, cfg.NATSSysURL); err != nil {
		return fmt.Errorf("nats-sys-url: %w", err)
	}
	c.all = append(c.all, c.system)
	return nil
}

func (c *connections) jetStream(ctx context.Context, cfg Config, env run.Env, account, url string) (jetstream.JetStream, error) {
	nc, err := env.ConnectNATS(ctx, account, url)
	if err != nil {
		return nil, err
	}
	c.all = append(c.all, nc)
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return events.Replicated(js, cfg.Replicas), nil
}

func (c *connections) close() {
	for _, nc := range c.all {
		nc.Close()
	}
}

// newID is a UUID that sorts by time.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// newSecret has 130 bits.
func newSecret() string { return strings.ToLower(rand.Text()) }
