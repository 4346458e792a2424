package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/armlet-pay/armlet/platform/conf"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/sqldb"
)

const dependencyTimeout = 5 * time.Second

// probe tests what one key names; it says what it found, and a [warning] is no failure. The value is never printed: it may hold
// a password.
type probe func(ctx context.Context, value string) (found string, err error)

// warning is what works today and needs somebody all the same.
type warning struct {
	name string // in capitals, for programs that read this
	text string
}

func (w *warning) Error() string { return w.name + ": " + w.text }

// check tests what every key of the configuration names, by the keys' names: it needs nothing of the service.
func (p process) check(ctx context.Context, name string, cfg any) error {
	failed := 0
	for _, key := range conf.Names(cfg) {
		test := p.probeOf(name, key, cfg)
		value := conf.Reveal(cfg, key)
		if test == nil || value == "" {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, dependencyTimeout)
		found, err := test(bounded, value)
		cancel()
		mark := "ok"
		var warn *warning
		switch {
		case errors.As(err, &warn):
			mark, found = "WARN", warn.Error()
		case err != nil:
			failed++
			mark, found = "FAIL", err.Error()
		}
		_, _ = fmt.Fprintf(p.stdout, "%-5s %-22s %s\n", mark, key, oneLine(found))
	}
	if failed > 0 {
		return fmt.Errorf("%d of the things it needs are not as they should be", failed)
	}
	return nil
}

// oneLine makes a line of what libraries say in several, each once: PostgreSQL's names an address for every way it was tried.
func oneLine(text string) string {
	var parts []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(parts, line) {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, " ")
}

func (p process) probeOf(service, key string, cfg any) probe {
	switch {
	case key == "db-url":
		return p.probeDB
	case key == "redis-url":
		return p.probeRedis
	case key == "public-nats-url": // partners' side, which has no password of ours
		return nil
	case strings.HasSuffix(key, "nats-url"), strings.HasPrefix(key, "nats-") && strings.HasSuffix(key, "-url"):
		return probeNATS(key == "nats-url" || key == "nats-edge-url")
	case key == "jwks-url":
		return probeJWKS
	case strings.HasSuffix(key, "-addr"):
		return func(ctx context.Context, addr string) (string, error) { return probePeer(ctx, addr, cfg) }
	case key == "tls-cert":
		return func(_ context.Context, file string) (string, error) { return p.probeCertificate(service, file, cfg) }
	case key == "https-cert":
		return func(_ context.Context, file string) (string, error) { return p.probeWebCertificate(file, cfg) }
	case key == "otlp-endpoint":
		return probeTCP
	case strings.HasSuffix(key, "-file"):
		return probeFile
	default:
		return nil
	}
}

func (p process) probeDB(ctx context.Context, value string) (string, error) {
	db, err := sqldb.Open(ctx, value)
	if err != nil {
		return "", fmt.Errorf("%s; is the server up, and are user, password and database right?", oneLine(err.Error()))
	}
	defer func() { _ = db.Close() }()
	if p.migrations == nil {
		return string(db.Dialect()) + " answers", nil
	}
	files, err := p.migrations()
	if err != nil {
		return "", err
	}
	schema, err := db.Schema(ctx, files)
	if err != nil {
		return "", err
	}
	switch {
	case schema.Applied < schema.Known:
		return "", fmt.Errorf("%s answers, but has %d of %d migrations: run the command migrate, or start the service",
			db.Dialect(), schema.Applied, schema.Known)
	case schema.Applied > schema.Known:
		return fmt.Sprintf("%s answers; a newer program has migrated it to %d, this one knows %d", db.Dialect(), schema.Applied, schema.Known),
			p.compareClocks(ctx, db)
	}
	return fmt.Sprintf("%s answers, migrated to %d", db.Dialect(), schema.Applied), p.compareClocks(ctx, db)
}

// compareClocks warns of a database on another machine that has another time; SQLite is this machine.
func (p process) compareClocks(ctx context.Context, db *sqldb.DB) error {
	if db.Dialect() != sqldb.Postgres {
		return nil
	}
	before := p.clock()
	var micros int64
	if err := db.QueryRowContext(ctx, `SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)`).Scan(&micros); err != nil {
		return err
	}
	return clockDiffers("the database", time.UnixMicro(micros), before, p.clock())
}

func probeNATS(jetStream bool) probe {
	return func(ctx context.Context, value string) (string, error) {
		nc, err := nats.Connect(value, nats.Timeout(dependencyTimeout), nats.NoReconnect())
		if err != nil {
			return "", fmt.Errorf("%w; is the server up, and are user and password right?", withoutURL(err))
		}
		defer nc.Close()
		found := "NATS " + nc.ConnectedServerVersion()
		if !jetStream {
			return found, nil
		}
		js, err := jetstream.New(nc)
		if err != nil {
			return "", err
		}
		info, err := js.AccountInfo(ctx)
		if err != nil {
			return "", fmt.Errorf("JetStream: %w; is it enabled for this account?", err)
		}
		return fmt.Sprintf("%s, JetStream with %d streams", found, info.Streams), nil
	}
}

// probeJWKS asks each replica of auth.
func probeJWKS(ctx context.Context, value string) (found string, err error) {
	for address := range strings.SplitSeq(value, ",") {
		if found, err = probeKeys(ctx, strings.TrimSpace(address)); err != nil {
			return "", err
		}
	}
	return found, nil
}

func probeKeys(ctx context.Context, value string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, value, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("%w; does auth run, and is this its address?", err)
	}
	defer func() { _ = resp.Body.Close() }()
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil || resp.StatusCode != http.StatusOK || len(set.Keys) == 0 {
		return "", fmt.Errorf("no key set there (%s)", resp.Status)
	}
	return fmt.Sprintf("%d keys", len(set.Keys)), nil
}

// probePeer asks another service for its health, with this one's certificate.
func probePeer(ctx context.Context, addr string, cfg any) (string, error) {
	var dial rpc.DialConfig
	if cert := conf.Value(cfg, "tls-cert"); cert != "" {
		var err error
		if dial.TLS, err = rpc.ClientTLS(cert, conf.Value(cfg, "tls-key"), conf.Value(cfg, "tls-ca")); err != nil {
			return "", fmt.Errorf("not asked: %w; see tls-cert, tls-key and tls-ca", err)
		}
	}
	conn, err := rpc.Dial(addr, dial)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	state, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return "", fmt.Errorf("%s: %w; does it run, and do both sides trust the same tls-ca?", addr, err)
	}
	if state.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		return "", fmt.Errorf("%s is %s; its own --check says what it waits for", addr, state.GetStatus())
	}
	return addr + " serves", nil
}

func probeTCP(ctx context.Context, value string) (string, error) {
	u, err := url.Parse(value)
	if err != nil {
		return "", errors.New("is not a URL")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return "", fmt.Errorf("%w; does the collector run? The service runs without it, unseen", err)
	}
	return u.Host + " accepts connections", conn.Close()
}

// probeFile wants a file that can be read, or a folder where it can be made.
func probeFile(_ context.Context, file string) (string, error) {
	f, err := os.Open(file)
	if err == nil {
		return file + " can be read", f.Close()
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".check-*")
	if err != nil {
		return "", fmt.Errorf("%s is missing and cannot be made: %w; make its folder, where this user may write", file, err)
	}
	return file + " will be made", errors.Join(tmp.Close(), os.Remove(tmp.Name()))
}

// withoutURL keeps a URL, which may hold a password, out of an error of parsing it.
func withoutURL(err error) error {
	var bad *url.Error
	if errors.As(err, &bad) {
		return errors.New("is not a URL")
	}
	return err
}
