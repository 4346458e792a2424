// Package auth decides who is there: it registers partners and what they may do, keeps the keys, mints tokens, makes the
// challenges that bands sign and decides on the answers.
//
// Read internal/challenge first: challenge.go draws the states, verify.go is the decision. internal/keys has the secrets,
// internal/partner who may what, internal/token the access tokens. Around them internal/grpcapi translates the contract
// armlet.auth.v1 and serves HTTP, internal/peers asks the device registry, internal/store remembers, and internal/bus talks
// to NATS. This file is the only wiring.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/status"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	statusv1 "github.com/armlet-pay/armlet/proto/gen/armlet/status/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/bus"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/grpcapi"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/offline"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
	"github.com/armlet-pay/armlet/services/auth/internal/peers"
	"github.com/armlet-pay/armlet/services/auth/internal/revocation"
	"github.com/armlet-pay/armlet/services/auth/internal/store"
	"github.com/armlet-pay/armlet/services/auth/internal/store/live"
	"github.com/armlet-pay/armlet/services/auth/internal/token"
)

// Name is the service's name: on the network, in certificates and in logs.
const Name = "auth"

// operatorClient is the id of the client whose key is in operator-jwk-file.
const operatorClient = "operator"

// clonesEvery is how often the registry is told again of copies of bands that it has not confirmed.
const clonesEvery = 5 * time.Second

// keysEvery is how often the signing keys are looked after; it bounds how long another process signs with a key that was
// just replaced, which its verifiers go on to believe, or tainted, which they do not.
const keysEvery = 2 * time.Second

// refusalsEvery is how often it is put on record how many tokens were refused.
const refusalsEvery = 5 * time.Second

// calloutReconnect is how long the connection that decides on partners' connections waits between two attempts.
const calloutReconnect = 100 * time.Millisecond

// New makes the service with its database migrated and its keys made. It does not need the registry, Redis or NATS to be
// there yet.
func New(ctx context.Context, cfg Config, env run.Env) (_ *run.Service, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &builder{cfg: cfg, env: env}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close(ctx))
		}
	}()
	for _, step := range []func(context.Context) error{b.openStore, b.openKeys, b.openLive, b.openPeers, b.serve, b.connect} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	https, err := cfg.https()
	if err != nil {
		return nil, err
	}
	return &run.Service{
		Name: Name, Server: b.server, Listen: cfg.Listen, Network: env.Network, HTTP: b.http, HTTPListen: cfg.HTTPListen,
		HTTPSListen: cfg.HTTPSListen, HTTPS: https,
		Workers: b.workers, Check: b.check, Close: b.close,
	}, nil
}

// builder holds the parts while they are put together.
type builder struct {
	cfg Config
	env run.Env

	db         *sqldb.DB
	store      *store.Store
	ring       *keys.Ring
	live       challenge.LiveStore
	partners   *partner.Service
	lives      *keys.Service
	challenges *challenge.Service
	taps       *offline.Service
	http       *grpcapi.HTTP
	server     *rpc.Server
	tokens     *rpc.JWTVerifier
	workers    []run.Worker
	checks     []func(context.Context) error
	closers    []func() error
}

func (b *builder) openStore(ctx context.Context) (err error) {
	if b.db, err = b.env.OpenDB(ctx, b.cfg.DBURL); err != nil {
		return fmt.Errorf("db-url: %w", err)
	}
	b.closers = append(b.closers, b.db.Close)
	b.checks = append(b.checks, b.db.Ping)
	b.store, err = store.New(ctx, b.db, bus.Encode)
	return err
}

func (b *builder) openKeys(ctx context.Context) error {
	kek, err := keys.OpenLocal(b.cfg.KeyFile)
	if err != nil {
		return fmt.Errorf("key-file: %w", err)
	}
	if b.ring, err = keys.Open(ctx, b.store, kek, b.env.Now()); err != nil {
		return err
	}
	b.partners = partner.NewService(b.store, b.ring)
	b.lives = keys.NewService(b.store, b.ring, keys.Schedule{
		Life: b.cfg.SigningKeyLife, Ahead: b.cfg.SigningKeyAhead, Kept: token.TerminalLife + time.Hour,
	})
	if err := b.lives.Maintain(ctx, b.env.Now()); err != nil { // the next key is prepared from the beginning
		return err
	}
	b.workers = append(b.workers, run.Worker{Name: "keys", Run: b.maintainKeys})
	if b.cfg.OperatorJWK == "" {
		return nil
	}
	private, err := keys.CreateOnce(b.cfg.OperatorJWK, keys.NewPrivateJWK)
	if err != nil {
		return fmt.Errorf("operator-jwk-file: %w", err)
	}
	public, err := keys.PublicOf(private)
	if err != nil {
		return fmt.Errorf("operator-jwk-file: %w", err)
	}
	if err := b.partners.EnsureOperator(ctx, operatorClient, public, b.env.Now()); err != nil {
		return fmt.Errorf("operator-jwk-file: %w", err)
	}
	return nil
}

func (b *builder) openLive(context.Context) error {
	if b.cfg.RedisURL == "" {
		b.live = live.NewMemory()
		return nil
	}
	redis, err := live.OpenRedis(b.cfg.RedisURL, b.env.TracerProvider, b.env.MeterProvider)
	if err != nil {
		return fmt.Errorf("redis-url: %w", err)
	}
	// Redis is no part of readiness: without it claims and tokens still work, and taps say what is wrong.
	b.live, b.closers = redis, append(b.closers, redis.Close)
	return nil
}

func (b *builder) openPeers(context.Context) error {
	_, clientTLS, err := b.cfg.tls()
	if err != nil {
		return err
	}
	// The watch has a connection of its own: it tries all the time, and while one that is used for calls pauses between two
	// attempts the calls fail.
	var conns [2]*grpc.ClientConn
	for i := range conns {
		if conns[i], err = b.env.Conn(Name, "device-registry", b.cfg.RegistryAddr, clientTLS); err != nil {
			return fmt.Errorf("registry-addr: %w", err)
		}
		b.closers = append(b.closers, conns[i].Close)
	}
	limits, err := b.cfg.offlineLimits()
	if err != nil {
		return err
	}
	registry := peers.NewRegistry(conns[0])
	var devices challenge.Devices = registry
	var cache *peers.Cache
	if b.cfg.RegistryMode == registryCached {
		cache = peers.NewCache(registry, b.env.Now)
		devices = cache
	}
	b.challenges = challenge.NewService(challenge.Config{
		Devices: devices, Live: b.live, Store: b.store, Claims: b.store, Denials: b.store, Keys: b.ring,
		Issuer: b.cfg.TokenIssuer, Life: b.cfg.Life,
		Policy: challenge.Policy{MaxRTT: b.cfg.MaxRTT, MinWear: b.cfg.MinWear, Offline: limits, OfflineLife: b.cfg.OfflineLife},
	})
	b.taps = offline.NewService(b.store, devices, b.ring, b.challenges, b.cfg.TokenIssuer)
	b.workers = append(b.workers, run.Worker{Name: "clones", Run: func(ctx context.Context) error {
		return settleClones(ctx, b.challenges, b.env.Log, b.env.Now)
	}}, run.Worker{Name: "registry-watch", Run: peers.NewWatch(conns[1], cache, b.taps, b.env.Log, b.env.Now).Run})
	return nil
}

func (b *builder) serve(context.Context) error {
	cfg, env := b.cfg, b.env
	mint := token.NewMint(cfg.TokenIssuer, b.ring, b.store)
	audiences := []string{cfg.TokenIssuer, cfg.TokenIssuer + grpcapi.TokenPath, cfg.httpURL() + grpcapi.TokenPath}
	if cfg.HTTPSURL != "" {
		audiences = append(audiences, cfg.HTTPSURL+grpcapi.TokenPath)
	}
	endpoint := token.NewEndpoint(b.store, mint, audiences...)
	b.workers = append(b.workers, run.Worker{Name: "refusals", Run: func(ctx context.Context) error { return b.recordRefusals(ctx, endpoint) }})
	b.http = grpcapi.NewHTTP(endpoint, b.ring, revocation.NewFeed(b.store),
		grpcapi.Addresses{Issuer: cfg.TokenIssuer, URL: cfg.httpURL(), MTLS: cfg.HTTPSURL}, env.Log, env.Now)
	b.tokens = rpc.NewJWTVerifier(rpc.JWTConfig{
		Issuer: cfg.TokenIssuer, Audience: token.Audience, KeysURL: cfg.httpURL() + grpcapi.KeysPath,
		RevocationsURL: cfg.httpURL() + rpc.RevocationsPath, Client: &http.Client{Transport: b.http}, Now: env.Now,
	})
	serverTLS, _, err := cfg.tls()
	if err != nil {
		return err
	}
	b.server, err = rpc.NewServer(rpc.ServerConfig{
		Service: Name, Classify: sqldb.Classify, Policy: policy(), Verifier: b.tokens, TLS: serverTLS,
		Log: env.Log, TracerProvider: env.TracerProvider, MeterProvider: env.MeterProvider,
	})
	if err != nil {
		return err
	}
	authv1.RegisterAuthServiceServer(b.server.GRPC(), grpcapi.New(b.partners, b.challenges, b.taps, b.ring, b.lives, mint, b.store, b.store, env.Now))
	statusv1.RegisterStatusServiceServer(b.server.GRPC(), statusServer{source: status.Source{Service: Name, DB: b.db, Migrations: Migrations, Now: env.Now}})
	return b.server.Check()
}

func (b *builder) connect(ctx context.Context) error {
	conn, err := b.env.ConnectNATS(ctx, "CORE", b.cfg.NATSURL)
	if err != nil {
		return fmt.Errorf("nats-url: %w", err)
	}
	b.closeNATS(conn)
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("nats-url: %w", err)
	}
	b.workers = append(b.workers, run.Worker{Name: "outbox", Run: bus.NewRelay(b.db, events.Replicated(js, b.cfg.Replicas), b.env.Log).Run})
	if b.cfg.CalloutSeed == "" {
		return nil
	}
	seed, err := keys.CreateOnce(b.cfg.CalloutSeed, bus.NewCalloutSeed)
	if err != nil {
		return fmt.Errorf("nats-callout-seed-file: %w", err)
	}
	if b.env.NATS == nil && b.cfg.CalloutURL == "" {
		return errors.New("nats-callout-url: is needed with nats-callout-seed-file")
	}
	// While this connection is down no partner gets in, so it does not take its time to come back.
	decisions, err := b.env.ConnectNATS(ctx, "AUTH", b.cfg.CalloutURL, nats.ReconnectWait(calloutReconnect))
	if err != nil {
		return fmt.Errorf("nats-callout-url: %w", err)
	}
	b.closeNATS(decisions)
	callout, err := bus.NewCallout(decisions, b.tokens, seed, b.env.Log, b.env.Now)
	if err != nil {
		return fmt.Errorf("nats-callout-seed-file: %w", err)
	}
	b.workers = append(b.workers, run.Worker{Name: "nats-callout", Run: callout.Run})
	if b.env.NATS == nil && b.cfg.SysURL == "" {
		return nil // a connection then ends with its token, whatever is taken back before
	}
	system, err := b.env.ConnectNATS(ctx, "SYS", b.cfg.SysURL)
	if err != nil {
		return fmt.Errorf("nats-sys-url: %w", err)
	}
	b.closeNATS(system)
	b.workers = append(b.workers, run.Worker{Name: "nats-cut-off", Run: bus.NewCutOff(system, b.http.Revoked, b.env.Log).Run})
	return nil
}

func (b *builder) closeNATS(conn *nats.Conn) {
	b.closers = append(b.closers, func() error { conn.Close(); return nil })
}

func (b *builder) check(ctx context.Context) error {
	for _, check := range b.checks {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// close releases everything in the opposite order.
func (b *builder) close(context.Context) error {
	var errs []error
	for i := len(b.closers) - 1; i >= 0; i-- {
		errs = append(errs, b.closers[i]())
	}
	b.closers = nil
	return errors.Join(errs...)
}

// maintainKeys keeps the signing keys on schedule, and up to date with what other processes did.
func (b *builder) maintainKeys(ctx context.Context) error {
	tick := time.NewTicker(keysEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := b.lives.Maintain(ctx, b.env.Now()); err != nil && ctx.Err() == nil {
			b.env.Log.WarnContext(ctx, "the signing keys could not be looked after; it is tried again", "error", err)
		}
	}
}

// recordRefusals puts on record how many tokens were refused, and what is left when the service stops.
func (b *builder) recordRefusals(ctx context.Context, endpoint *token.Endpoint) error {
	tick := time.NewTicker(refusalsEvery)
	defer tick.Stop()
	for going := true; going; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			going = false
		}
		write, cancel := context.WithTimeout(context.WithoutCancel(ctx), refusalsEvery)
		err := b.store.RecordAudit(write, b.env.Now(), endpoint.Refused()...)
		cancel()
		if err != nil {
			b.env.Log.WarnContext(ctx, "refused tokens could not be put on record", "error", err)
		}
	}
	return nil
}

// settleClones tells the registry of copies of bands until it has heard of all.
func settleClones(ctx context.Context, challenges *challenge.Service, log *slog.Logger, now func() time.Time) error {
	tick := time.NewTicker(clonesEvery)
	defer tick.Stop()
	for {
		ask, cancel := context.WithTimeout(ctx, clonesEvery)
		if err := challenges.SettleClones(ask, now()); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "the registry could not be told of a cloned band; it is tried again", "error", err)
		}
		cancel()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
