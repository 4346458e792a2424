package payments

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/telemetry"
)

// Config is everything an operator can set.
type Config struct {
	Listen      string        `conf:"listen" help:"TCP address to serve gRPC on; empty: in-process only"`
	HTTPListen  string        `conf:"http-listen" help:"TCP address of /healthz and /readyz; empty: none"`
	DBURL       string        `conf:"db-url" help:"sqlite:/path/file.db or postgres://user:password@host:5432/name" secret:"true"`
	NATSURL     string        `conf:"nats-url" help:"NATS server, or with commas several of a cluster, that events are published to, with the user and password of account CORE" secret:"true"`
	Replicas    int           `conf:"stream-replicas" help:"on how many nodes of a cluster of NATS servers each stream is kept: 1, 3 or 5; streams that are there are changed"`
	AuthAddr    string        `conf:"auth-addr" help:"gRPC address of auth, host:port; of replicas host:port,host:port or dns:///name:port"`
	NotifyAddr  string        `conf:"notify-addr" help:"gRPC address of notify, which knows vouchers; as auth-addr, and empty to take none"`
	TokenIssuer string        `conf:"token-issuer" help:"who issues access tokens and assertions: auth's token-issuer"`
	JWKSURL     string        `conf:"jwks-url" help:"where auth publishes its keys, https://host/.well-known/jwks.json; of replicas without a balancer, URLs with commas"`
	TLSCert     string        `conf:"tls-cert" help:"PEM file of this service's certificate; empty: plaintext, for a trusted network only"`
	TLSKey      string        `conf:"tls-key" help:"PEM file of its private key"`
	TLSCA       string        `conf:"tls-ca" help:"PEM file of the authority that signs the services' certificates"`
	Grace       time.Duration `conf:"confirm-grace" help:"how long after the tap's expiry a payment still waits for a confirmation under way"`
	HoldFor     time.Duration `conf:"authorization-lifetime" help:"how long the money of a payment that is captured later stays held"`
	ExpireEvery time.Duration `conf:"expire-every" help:"how often payments that nobody tapped or captured in time are looked for"`
	SettleEvery time.Duration `conf:"settle-every" help:"how often merchants whose cut-off has passed are looked for"`
	SettleAfter time.Duration `conf:"settle-after" help:"how long after the cut-off a day is settled, so that what was decided just before it is there"`
	Telemetry   telemetry.Config
}

// DefaultConfig is a service on one machine with its data in the working folder.
func DefaultConfig() Config {
	return Config{ //nolint:gosec // no credential: addresses for a first start
		Listen:      "127.0.0.1:7003",
		HTTPListen:  "127.0.0.1:8003",
		DBURL:       "sqlite:data/payments.db",
		NATSURL:     "nats://127.0.0.1:4222",
		Replicas:    1,
		AuthAddr:    "127.0.0.1:7002",
		NotifyAddr:  "127.0.0.1:7004",
		TokenIssuer: "http://127.0.0.1:8002",
		JWKSURL:     "http://127.0.0.1:8002/.well-known/jwks.json",
		Grace:       30 * time.Second,
		HoldFor:     7 * 24 * time.Hour,
		ExpireEvery: time.Second,
		SettleEvery: time.Minute,
		SettleAfter: time.Minute,
	}
}

// Validate names the first key that has a value it cannot have.
func (c Config) Validate() error {
	switch {
	case c.DBURL == "":
		return errors.New("db-url: is needed")
	case c.TokenIssuer == "":
		return errors.New("token-issuer: is needed")
	case !strings.HasPrefix(c.JWKSURL, "http://") && !strings.HasPrefix(c.JWKSURL, "https://"):
		return errors.New("jwks-url: wants http://… or https://…")
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return errors.New("tls-cert, tls-key: go together")
	case c.TLSCA != "" && c.TLSCert == "":
		return errors.New("tls-ca: is of use with tls-cert and tls-key only")
	case c.Grace < 0 || c.Grace > time.Hour:
		return fmt.Errorf("confirm-grace: %s is not between 0 and 1h", c.Grace)
	case c.HoldFor < time.Minute || c.HoldFor > 365*24*time.Hour:
		return fmt.Errorf("authorization-lifetime: %s is not between 1m and a year", c.HoldFor)
	case c.ExpireEvery < 10*time.Millisecond:
		return fmt.Errorf("expire-every: %s is less than 10ms", c.ExpireEvery)
	case c.SettleEvery < 10*time.Millisecond:
		return fmt.Errorf("settle-every: %s is less than 10ms", c.SettleEvery)
	case c.SettleAfter < 0 || c.SettleAfter > time.Hour:
		return fmt.Errorf("settle-after: %s is not between 0 and 1h", c.SettleAfter)
	}
	if err := events.CheckReplicas(c.Replicas); err != nil {
		return fmt.Errorf("stream-replicas: %w", err)
	}
	return c.Telemetry.Validate()
}
