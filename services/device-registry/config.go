package deviceregistry

import (
	"errors"
	"fmt"
	"strings"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/telemetry"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
)

// Config is everything an operator can set.
type Config struct {
	Listen       string `conf:"listen" help:"TCP address to serve gRPC on; empty: in-process only"`
	HTTPListen   string `conf:"http-listen" help:"TCP address of /healthz and /readyz; empty: none"`
	DBURL        string `conf:"db-url" help:"sqlite:/path/file.db or postgres://user:password@host:5432/name" secret:"true"`
	NATSURL      string `conf:"nats-url" help:"NATS server, or with commas several of a cluster, that events are published to, with the user and password of account CORE" secret:"true"`
	Replicas     int    `conf:"stream-replicas" help:"on how many nodes of a cluster of NATS servers each stream is kept: 1, 3 or 5; streams that are there are changed"`
	TokenIssuer  string `conf:"token-issuer" help:"who issues access tokens: auth's token-issuer"`
	JWKSURL      string `conf:"jwks-url" help:"where auth publishes its keys, https://host/.well-known/jwks.json; of replicas without a balancer, URLs with commas"`
	TLSCert      string `conf:"tls-cert" help:"PEM file of this service's certificate; empty: plaintext, for a trusted network only"`
	TLSKey       string `conf:"tls-key" help:"PEM file of its private key"`
	TLSCA        string `conf:"tls-ca" help:"PEM file of the authority that signs the services' certificates"`
	DeviceLimit  int    `conf:"device-limit" help:"how many devices one account may have, 1 to 1000"`
	QuotaModels  int64  `conf:"quota-models" help:"how many models one partner may have; 0: any number"`
	QuotaLots    int64  `conf:"quota-lots" help:"how many lots one partner may have; 0: any number"`
	QuotaDevices int64  `conf:"quota-devices" help:"how many devices one partner may have; 0: any number"`
	AuditKeyFile string `conf:"audit-key-file" help:"PEM file of the Ed25519 private key that signs audit checkpoints, made when it is not there; empty: no checkpoints"`
	Telemetry    telemetry.Config
}

func (c Config) quota() quota.Amounts {
	return quota.Amounts{Models: c.QuotaModels, Lots: c.QuotaLots, Devices: c.QuotaDevices}
}

const maxDeviceLimit = 1000

// DefaultConfig is a service on one machine with its data in the working folder.
func DefaultConfig() Config {
	return Config{ //nolint:gosec // addresses of one machine, no credentials
		Listen:      "127.0.0.1:7001",
		HTTPListen:  "127.0.0.1:8001",
		DBURL:       "sqlite:data/device-registry.db",
		NATSURL:     "nats://127.0.0.1:4222",
		Replicas:    1,
		TokenIssuer: "http://127.0.0.1:8002",
		JWKSURL:     "http://127.0.0.1:8002/.well-known/jwks.json",
		DeviceLimit: 5,
		QuotaModels: 1000, QuotaLots: 100_000, QuotaDevices: 10_000_000_000,
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
	case c.DeviceLimit < 1 || c.DeviceLimit > maxDeviceLimit:
		return fmt.Errorf("device-limit: %d is not from 1 to %d", c.DeviceLimit, maxDeviceLimit)
	case c.QuotaModels < 0 || c.QuotaLots < 0 || c.QuotaDevices < 0:
		return errors.New("quota-models, quota-lots, quota-devices: cannot be below 0")
	}
	if err := events.CheckReplicas(c.Replicas); err != nil {
		return fmt.Errorf("stream-replicas: %w", err)
	}
	return c.Telemetry.Validate()
}
