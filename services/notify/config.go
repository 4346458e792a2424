package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/telemetry"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/bus"
)

// Config is everything an operator can set.
type Config struct {
	Listen           string        `conf:"listen" help:"TCP address to serve gRPC on; empty: in-process only"`
	HTTPListen       string        `conf:"http-listen" help:"TCP address of /healthz and /readyz; empty: none"`
	DBURL            string        `conf:"db-url" help:"sqlite:/path/file.db or postgres://user:password@host:5432/name" secret:"true"`
	NATSURL          string        `conf:"nats-url" help:"NATS server, or with commas several of a cluster, that events are read from and published to, with the user and password of account CORE" secret:"true"`
	Replicas         int           `conf:"stream-replicas" help:"on how many nodes of a cluster of NATS servers each stream is kept: 1, 3 or 5; streams that are there are changed"`
	NATSEdgeURL      string        `conf:"nats-edge-url" help:"the same server with the user and password of account EDGE, where partners' streams are; empty: nats-url" secret:"true"`
	NATSSysURL       string        `conf:"nats-sys-url" help:"the same server with the user and password of account SYS, to make it read nats-accounts-file again" secret:"true"`
	NATSAccountsFile string        `conf:"nats-accounts-file" help:"configuration file of the NATS server, written by this service; empty: partners get no accounts of their own, for development"`
	NATSSettingsFile string        `conf:"nats-settings-file" help:"JSON file with the settings that nats-accounts-file is made from; see the README"`
	PublicNATSURL    string        `conf:"public-nats-url" help:"where partners connect to NATS, comma separated URLs without passwords"`
	TokenIssuer      string        `conf:"token-issuer" help:"who issues access tokens and assertions: auth's token-issuer"`
	JWKSURL          string        `conf:"jwks-url" help:"where auth publishes its keys, https://host/.well-known/jwks.json; of replicas without a balancer, URLs with commas"`
	TLSCert          string        `conf:"tls-cert" help:"PEM file of this service's certificate; empty: plaintext, for a trusted network only"`
	TLSKey           string        `conf:"tls-key" help:"PEM file of its private key"`
	TLSCA            string        `conf:"tls-ca" help:"PEM file of the authority that signs the services' certificates"`
	RedeliverAfter   time.Duration `conf:"redeliver-after" help:"how long the handling of an event may take before another replica gets it, or this one after a crash"`
	CodeKeyFile      string        `conf:"code-key-file" help:"file with the key that voucher codes are protected by; made when missing, the same for all replicas"`
	ResendAfter      time.Duration `conf:"alert-resend-after" help:"how long a CRITICAL alert waits for an acknowledgement before it is sent again"`
	KeepAlerts       time.Duration `conf:"alert-keep" help:"how long alerts stay in inboxes and keep their texts"`
	KeepRecords      time.Duration `conf:"alert-records-keep" help:"how long it is remembered what was decided about alerts and what was acknowledged"`
	WebhookLoopback  bool          `conf:"webhook-loopback" help:"let webhooks reach this machine, by http too; for development and tests"`
	Telemetry        telemetry.Config

	// NATS are the settings that nats-settings-file would have, for a program that runs the server itself.
	NATS *NATSSettings
	// ReloadNATS makes the server read its configuration again, for a program that runs the server itself.
	ReloadNATS func(ctx context.Context) error
}

// DefaultConfig is a service on one machine with its data in the working folder.
func DefaultConfig() Config {
	return Config{ //nolint:gosec // the URLs have no passwords in them
		Listen:        "127.0.0.1:7004",
		HTTPListen:    "127.0.0.1:8004",
		DBURL:         "sqlite:data/notify.db",
		NATSURL:       "nats://127.0.0.1:4222",
		Replicas:      1,
		PublicNATSURL: "nats://127.0.0.1:4222",
		TokenIssuer:   "http://127.0.0.1:8002",
		JWKSURL:       "http://127.0.0.1:8002/.well-known/jwks.json",
		CodeKeyFile:   "data/notify-code.key", RedeliverAfter: 30 * time.Second,
		ResendAfter: alert.DefaultTerms().ResendAfter, KeepAlerts: alert.DefaultTerms().KeepAlerts, KeepRecords: alert.DefaultTerms().KeepRecords,
	}
}

func (c Config) terms() alert.Terms {
	t := alert.DefaultTerms()
	t.ResendAfter, t.KeepAlerts, t.KeepRecords = c.ResendAfter, c.KeepAlerts, c.KeepRecords
	t.KeepSteps = min(t.KeepSteps, t.KeepRecords) // a step needs its alert
	return t
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
	case c.RedeliverAfter < time.Second:
		return errors.New("redeliver-after: wants a second or more")
	case c.ResendAfter <= 0:
		return errors.New("alert-resend-after: wants a time such as 20s")
	case c.KeepAlerts < time.Hour:
		return errors.New("alert-keep: wants an hour or more")
	case c.KeepRecords < c.KeepAlerts:
		return errors.New("alert-records-keep: wants alert-keep or more")
	case c.CodeKeyFile == "":
		return errors.New("code-key-file: is needed")
	case c.NATSAccountsFile != "" && c.NATS == nil && c.NATSSettingsFile == "":
		return errors.New("nats-settings-file: is needed with nats-accounts-file")
	case c.NATSAccountsFile != "" && c.ReloadNATS == nil && c.NATSSysURL == "":
		return errors.New("nats-sys-url: is needed with nats-accounts-file")
	}
	if err := events.CheckReplicas(c.Replicas); err != nil {
		return fmt.Errorf("stream-replicas: %w", err)
	}
	return c.Telemetry.Validate()
}

// NATSSettings is what the configuration of the NATS server depends on.
type NATSSettings = bus.NATSSettings

// NATSConfig is the text of the NATS server's complete configuration: the accounts SYS, AUTH, CORE and EDGE with the users
// sys, auth, core and edge, an account P_<partner> for each partner, and auth callout. It is used for an embedded and an
// external server alike. Validate the settings first.
func NATSConfig(s NATSSettings) string { return bus.RenderNATS(s) }
