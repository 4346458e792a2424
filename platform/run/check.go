package run

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/armlet-pay/armlet/platform/conf"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/sqldb"
)

const (
	dependencyTimeout = 5 * time.Second
	// certificateWarning is how long before its end a certificate is complained of.
	certificateWarning = 12 * time.Hour
)

// probe tests what one key names; it says what it found. The value is never printed: it may hold a password.
type probe func(ctx context.Context, value string) (found string, err error)

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
		if err != nil {
			failed++
			_, _ = fmt.Fprintf(p.stdout, "FAIL  %-22s %v\n", key, err)
			continue
		}
		_, _ = fmt.Fprintf(p.stdout, "ok    %-22s %s\n", key, found)
	}
	if failed > 0 {
		return fmt.Errorf("%d of the things it needs are not as they should be", failed)
	}
	return nil
}

func (p process) probeOf(service, key string, cfg any) probe {
	switch {
	case key == "db-url":
		return p.probeDB
	case key == "redis-url":
		return probeRedis
	case key == "public-nats-url": // partners' side, which has no password of ours
		return nil
	case strings.HasSuffix(key, "nats-url"), strings.HasPrefix(key, "nats-") && strings.HasSuffix(key, "-url"):
		return probeNATS(key == "nats-url" || key == "nats-edge-url")
	case key == "jwks-url":
		return probeJWKS
	case strings.HasSuffix(key, "-addr"):
		return func(ctx context.Context, addr string) (string, error) { return probePeer(ctx, addr, cfg) }
	case key == "tls-cert":
		return func(_ context.Context, file string) (string, error) { return probeCertificate(service, file, cfg) }
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
		return "", fmt.Errorf("%w; is the server up, and are user, password and database right?", err)
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
		return fmt.Sprintf("%s answers; a newer program has migrated it to %d, this one knows %d", db.Dialect(), schema.Applied, schema.Known), nil
	}
	return fmt.Sprintf("%s answers, migrated to %d", db.Dialect(), schema.Applied), nil
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

// probeRedis speaks just enough of the protocol, so that it needs no client of its own. Every address is asked: a server, some
// nodes of a cluster, or sentinels, which have a user of their own.
func probeRedis(ctx context.Context, value string) (string, error) {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" {
		return "", errors.New("wants redis://user:password@host:6379/0")
	}
	hosts := append(strings.Split(u.Host, ","), u.Query()["addr"]...)
	user, kind := u.User, "Redis answers"
	if query := u.Query(); query.Has("master_name") {
		user, kind = nil, "Redis' sentinels answer"
		if password := query.Get("sentinel_password"); password != "" {
			user = url.UserPassword(query.Get("sentinel_username"), password)
		}
	}
	for _, host := range hosts {
		if err := pingRedis(ctx, u.Scheme, user, host); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s (%d)", kind, len(hosts)), nil
}

func pingRedis(ctx context.Context, scheme string, as *url.Userinfo, host string) error {
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(host, "6379")
	}
	var conn net.Conn
	var err error
	if strings.HasPrefix(scheme, "rediss") {
		conn, err = (&tls.Dialer{}).DialContext(ctx, "tcp", host)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", host)
	}
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	answers := bufio.NewReader(conn)
	ask := func(words ...string) (string, error) {
		var b strings.Builder
		fmt.Fprintf(&b, "*%d\r\n", len(words))
		for _, w := range words {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
		}
		if _, err := conn.Write([]byte(b.String())); err != nil {
			return "", err
		}
		line, err := answers.ReadString('\n')
		return strings.TrimSpace(line), err
	}
	if password, ok := as.Password(); ok {
		user := as.Username()
		if user == "" {
			user = "default"
		}
		if line, err := ask("AUTH", user, password); err != nil || line != "+OK" {
			return errors.Join(fmt.Errorf("%s does not accept user and password: %s", host, line), err)
		}
	}
	if line, err := ask("PING"); err != nil || line != "+PONG" {
		return errors.Join(fmt.Errorf("%s answers a PING with %q", host, line), err)
	}
	return nil
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
			return "", err
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
		return "", fmt.Errorf("%s is %s", addr, state.GetStatus())
	}
	return addr + " serves", nil
}

func probeCertificate(service, file string, cfg any) (string, error) {
	pair, err := tls.LoadX509KeyPair(file, conf.Value(cfg, "tls-key"))
	if err != nil {
		return "", err
	}
	leaf := pair.Leaf
	want := "spiffe://armlet/service/" + service
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != want {
		return "", fmt.Errorf("%s is not a certificate of %s", file, want)
	}
	if left := time.Until(leaf.NotAfter); left < certificateWarning {
		return "", fmt.Errorf("%s ends at %s: renew it", file, leaf.NotAfter.Format(time.RFC3339))
	}
	if ca := conf.Value(cfg, "tls-ca"); ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return "", fmt.Errorf("tls-ca: %w", err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(text)
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			return "", fmt.Errorf("%s was not signed by tls-ca: %w", file, err)
		}
	}
	return "good until " + leaf.NotAfter.Format(time.RFC3339), nil
}

func probeTCP(ctx context.Context, value string) (string, error) {
	u, err := url.Parse(value)
	if err != nil {
		return "", errors.New("is not a URL")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return "", err
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
		return "", fmt.Errorf("%s is missing and cannot be made: %w", file, err)
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
