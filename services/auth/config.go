package auth

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/telemetry"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

// Config is everything an operator can set.
type Config struct {
	Listen          string        `conf:"listen" help:"TCP address to serve gRPC on; empty: in-process only"`
	HTTPListen      string        `conf:"http-listen" help:"TCP address of the token endpoint, the public keys, /healthz and /readyz; empty: none"`
	HTTPURL         string        `conf:"http-url" help:"what the addresses of the HTTP endpoint begin with, as clients see them; empty: token-issuer"`
	HTTPSListen     string        `conf:"https-listen" help:"TCP address of the same over TLS, where clients may authenticate with a certificate (RFC 8705); empty: none"`
	HTTPSURL        string        `conf:"https-url" help:"what the addresses of https-listen begin with, as clients see them; empty: they are told of no certificates"`
	HTTPSCert       string        `conf:"https-cert" help:"PEM file of the certificate of https-listen, read again when it changes; empty: tls-cert"`
	HTTPSKey        string        `conf:"https-key" help:"PEM file of its private key; empty: tls-key"`
	HTTPSClientCA   string        `conf:"https-client-ca" help:"PEM file of the authority that signs clients' certificates; empty: tls-ca"`
	DBURL           string        `conf:"db-url" help:"sqlite:/path/file.db or postgres://user:password@host:5432/name" secret:"true"`
	RedisURL        string        `conf:"redis-url" help:"where live challenges are, redis://user:password@host:6379/0; of a cluster with ?addr=host:port for more of its nodes, by sentinels with ?master_name=NAME and addr= for more sentinels; empty: in memory, for a single process" secret:"true"`
	NATSURL         string        `conf:"nats-url" help:"NATS server, or with commas several of a cluster, that events are published to, with the user and password of account CORE" secret:"true"`
	Replicas        int           `conf:"stream-replicas" help:"on how many nodes of a cluster of NATS servers each stream is kept: 1, 3 or 5; streams that are there are changed"`
	CalloutURL      string        `conf:"nats-callout-url" help:"the same server with the user and password of account AUTH, where partners' connections are decided on; empty: they are not" secret:"true"`
	CalloutSeed     string        `conf:"nats-callout-seed-file" help:"file of the account nkey seed (SA…) that signs those decisions, made when missing; empty: partners' connections are not decided on"`
	SysURL          string        `conf:"nats-sys-url" help:"the same server with the user and password of account SYS, by which partners' connections are cut off when their tokens are taken back; empty: they end with the token, five minutes at most" secret:"true"`
	RegistryAddr    string        `conf:"registry-addr" help:"gRPC address of the device registry, host:port; of replicas host:port,host:port or dns:///name:port"`
	RegistryMode    string        `conf:"registry-mode" help:"strict: the registry is asked about a device each time; cached: answers are remembered while its watch lives, so that a device reported lost may pay for under a second more, and for up to 30s when the network keeps the news away"`
	TokenIssuer     string        `conf:"token-issuer" help:"who issues access tokens and assertions, a URL"`
	KeyFile         string        `conf:"key-file" help:"tink keyset that encrypts all keys in the database, made when missing; keep a copy apart from the database"`
	OperatorJWK     string        `conf:"operator-jwk-file" help:"private JWK of the client named operator, made when missing; empty: no such client is registered"`
	SigningKeyLife  time.Duration `conf:"signing-key-life" help:"how long a key signs tokens before the next takes its place, 1h to 8760h"`
	SigningKeyAhead time.Duration `conf:"signing-key-ahead" help:"how long a signing key is published before it signs, at most half of signing-key-life"`
	Life            time.Duration `conf:"challenge-life" help:"how long a band has for its answer, 5s to 10m"`
	MinWear         time.Duration `conf:"min-wear" help:"how long a band must have been worn where wearing it is required, 0 to 24h"`
	MaxRTT          time.Duration `conf:"max-rtt" help:"longest round trip between phone and band for payments with bands that can measure it, up to 6s; 0: it is not measured"`
	Offline         string        `conf:"offline-limits" help:"what an offline grant may be worth, as CURRENCY:TAP/SUM/TAPS in minor units, for example CNY:2000/10000/20,EUR:500/2500/20; empty: no grants"`
	OfflineLife     time.Duration `conf:"offline-life" help:"how long an offline grant is good, 1m to 24h"`
	TLSCert         string        `conf:"tls-cert" help:"PEM file of this service's certificate; empty: plaintext, for a trusted network only"`
	TLSKey          string        `conf:"tls-key" help:"PEM file of its private key"`
	TLSCA           string        `conf:"tls-ca" help:"PEM file of the authority that signs the services' certificates"`
	Telemetry       telemetry.Config
}

// The values of registry-mode.
const (
	registryStrict = "strict"
	registryCached = "cached"
)

// DefaultConfig is a service on one machine with its data in the working folder.
func DefaultConfig() Config {
	return Config{ //nolint:gosec // addresses, no credentials
		Listen:          "127.0.0.1:7002",
		HTTPListen:      "127.0.0.1:8002",
		DBURL:           "sqlite:data/auth.db",
		NATSURL:         "nats://127.0.0.1:4222",
		Replicas:        1,
		RegistryAddr:    "127.0.0.1:7001",
		RegistryMode:    registryStrict,
		TokenIssuer:     "http://127.0.0.1:8002",
		KeyFile:         "data/auth-keyset.json",
		OperatorJWK:     "data/operator.jwk",
		Life:            time.Minute,
		Offline:         "CNY:2000/10000/20,EUR:500/2500/20,USD:500/2500/20",
		OfflineLife:     24 * time.Hour,
		SigningKeyLife:  30 * 24 * time.Hour,
		SigningKeyAhead: 24 * time.Hour,
	}
}

// Validate names the first key that has a value it cannot have.
func (c Config) Validate() error {
	switch {
	case c.DBURL == "":
		return errors.New("db-url: is needed")
	case c.KeyFile == "":
		return errors.New("key-file: is needed")
	case c.RegistryMode != registryStrict && c.RegistryMode != registryCached:
		return fmt.Errorf("registry-mode: %q is neither strict nor cached", c.RegistryMode)
	case c.Life < 5*time.Second || c.Life > 10*time.Minute:
		return fmt.Errorf("challenge-life: %s is not between 5s and 10m", c.Life)
	case c.MinWear < 0 || c.MinWear > 24*time.Hour:
		return fmt.Errorf("min-wear: %s is not between 0 and 24h", c.MinWear)
	case c.MaxRTT < 0 || c.MaxRTT > 6*time.Second:
		return fmt.Errorf("max-rtt: %s is not between 0 and 6s", c.MaxRTT)
	case c.OfflineLife < time.Minute || c.OfflineLife > challenge.MaxGrantLife:
		return fmt.Errorf("offline-life: %s is not between 1m and 24h", c.OfflineLife)
	case c.SigningKeyLife < time.Hour || c.SigningKeyLife > 8760*time.Hour:
		return fmt.Errorf("signing-key-life: %s is not between 1h and 8760h", c.SigningKeyLife)
	case c.SigningKeyAhead < 0 || c.SigningKeyAhead > c.SigningKeyLife/2:
		return fmt.Errorf("signing-key-ahead: %s is not between 0 and half of signing-key-life", c.SigningKeyAhead)
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return errors.New("tls-cert, tls-key: go together")
	case (c.HTTPSCert == "") != (c.HTTPSKey == ""):
		return errors.New("https-cert, https-key: go together")
	case c.HTTPSListen != "" && c.HTTPSCert == "" && c.TLSCert == "":
		return errors.New("https-cert: is needed with https-listen")
	case c.HTTPSURL != "" && !strings.HasPrefix(c.HTTPSURL, "https://"):
		return errors.New("https-url: wants https://…")
	case c.HTTPSURL != "" && c.HTTPSClientCA == "" && c.TLSCA == "":
		return errors.New("https-client-ca: is needed with https-url")
	case c.TLSCA != "" && c.TLSCert == "":
		return errors.New("tls-ca: is of use with tls-cert and tls-key only")
	}
	if _, err := c.offlineLimits(); err != nil {
		return err
	}
	if err := webURL("token-issuer", c.TokenIssuer); err != nil {
		return err
	}
	if err := webURL("http-url", c.httpURL()); err != nil {
		return err
	}
	if c.HTTPSURL != "" {
		if err := webURL("https-url", c.HTTPSURL); err != nil {
			return err
		}
	}
	if err := events.CheckReplicas(c.Replicas); err != nil {
		return fmt.Errorf("stream-replicas: %w", err)
	}
	return c.Telemetry.Validate()
}

var offlineLimit = regexp.MustCompile(`^([A-Z]{3}):([0-9]{1,9})/([0-9]{1,9})/([0-9]{1,4})$`)

// offlineLimits reads what offline grants may be worth.
func (c Config) offlineLimits() (map[string]challenge.OfflineLimit, error) {
	limits := map[string]challenge.OfflineLimit{}
	for text := range strings.SplitSeq(c.Offline, ",") {
		if c.Offline == "" {
			break
		}
		parts := offlineLimit.FindStringSubmatch(strings.TrimSpace(text))
		if parts == nil {
			return nil, fmt.Errorf("offline-limits: %q is not of the form CURRENCY:TAP/SUM/TAPS", text)
		}
		var n [3]int
		for i := range n {
			n[i], _ = strconv.Atoi(parts[i+2]) // the pattern allows nothing else
		}
		if n[0] == 0 || n[1] < n[0] || n[2] == 0 {
			return nil, fmt.Errorf("offline-limits: %q wants a positive tap, a sum that is not less, and a positive number of taps", text)
		}
		limits[parts[1]] = challenge.OfflineLimit{MaxTap: uint32(n[0]), Cumulative: uint32(n[1]), MaxTaps: uint16(n[2])}
	}
	return limits, nil
}

func webURL(key, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.HasSuffix(text, "/") || u.RawQuery != "" {
		return fmt.Errorf("%s: wants http://… or https://… without a slash at the end", key)
	}
	return nil
}

func (c Config) httpURL() string {
	if c.HTTPURL != "" {
		return c.HTTPURL
	}
	return c.TokenIssuer
}

// https is for https-listen, nil when there is none.
func (c Config) https() (*tls.Config, error) {
	if c.HTTPSListen == "" {
		return nil, nil //nolint:nilnil // it is off
	}
	cert, key, ca := c.HTTPSCert, c.HTTPSKey, c.HTTPSClientCA
	if cert == "" {
		cert, key = c.TLSCert, c.TLSKey
	}
	if ca == "" {
		ca = c.TLSCA
	}
	cfg, err := rpc.ServerTLS(cert, key, ca)
	if err != nil {
		return nil, fmt.Errorf("https-cert, https-key, https-client-ca: %w", err)
	}
	return cfg, nil
}

// tls is for serving and for calling, both nil when no certificate is configured.
func (c Config) tls() (server, client *tls.Config, err error) {
	if c.TLSCert == "" {
		return nil, nil, nil
	}
	if server, err = rpc.ServerTLS(c.TLSCert, c.TLSKey, c.TLSCA); err != nil {
		return nil, nil, fmt.Errorf("tls-cert, tls-key, tls-ca: %w", err)
	}
	if client, err = rpc.ClientTLS(c.TLSCert, c.TLSKey, c.TLSCA); err != nil {
		return nil, nil, fmt.Errorf("tls-cert, tls-key, tls-ca: %w", err)
	}
	return server, client, nil
}
