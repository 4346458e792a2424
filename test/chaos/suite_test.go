// Package chaos breaks a running suite on purpose while bands tap: it kills each service and each server with -9, cuts each pair of
// them apart and slows it down, and wants everything to be well afterwards. What well is, package checker decides, which
// knows nothing of the services but the contract.
package chaos

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver "pgx"

	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/test/programs"
)

// suite are the four services and what they need, all as processes of their own, every connection between them through a proxy.
type suite struct {
	t        testing.TB
	dir      string
	pki      *testkit.Authority
	links    *links
	grpc     map[string]string // service → address
	web      string            // auth's HTTP
	users    map[string]string // NATS user → password
	natsAddr string

	processes         map[string]*programs.Process
	postgres, standby *testkit.OwnPostgres
	// Of several of each server nodes and sentinel are used, and else nats and redis.
	redis    *testkit.RedisProcess
	sentinel *testkit.RedisSentinel
	nats     *testkit.NATSProcess
	nodes    []*testkit.NATSProcess
	// nodeAddrs is where the nodes listen.
	nodeAddrs []string
}

// startSuite starts all with one NATS server and one Redis, or with three nodes and a primary with a replica and a sentinel, which
// no proxy is in front of: they name each other. PostgreSQL has a standby in either case.
func startSuite(t testing.TB, several bool) *suite {
	t.Helper()
	s := &suite{
		t: t, dir: t.TempDir(), pki: testkit.PKI(t), links: newLinks(t), grpc: map[string]string{}, web: testkit.Addr(t),
		natsAddr: testkit.Addr(t), processes: map[string]*programs.Process{}, postgres: testkit.NewPostgres(t),
	}
	s.databases()
	s.standby = s.postgres.NewStandby()
	if several {
		s.severalServers()
	} else {
		s.users, s.redis = programs.NATSSettings(t, s.dir, s.natsAddr), testkit.NewRedisProcess(t)
	}
	for _, service := range programs.Services {
		s.grpc[service] = testkit.Addr(t)
	}
	for _, service := range programs.Services {
		s.launch(service)
	}
	s.until("notify writes the configuration of NATS", func() error { _, err := os.Stat(s.natsConfig()); return err })
	if several {
		s.nodes = testkit.NewNATSCluster(t, s.natsConfig(), s.nodeAddrs...)
	} else {
		s.nats = testkit.NewNATSProcess(t, s.natsConfig(), s.natsAddr)
	}
	s.until("the services are ready", s.ready)
	return s
}

// natsConfig is what notify writes.
func (s *suite) natsConfig() string { return filepath.Join(s.dir, "nats.conf") }

// databases makes one database for each service.
func (s *suite) databases() {
	s.t.Helper()
	db, err := sql.Open("pgx", s.postgres.URL())
	must(s.t, err)
	defer func() { _ = db.Close() }()
	for _, service := range programs.Services {
		_, err := db.ExecContext(s.t.Context(), "CREATE DATABASE "+database(service))
		must(s.t, err)
	}
}

func database(service string) string { return strings.ReplaceAll(service, "-", "_") }

// dsn is the URL of a service's database on whichever of the servers takes writes.
func (s *suite) dsn(service string, addrs ...string) string {
	u, err := url.Parse(s.postgres.URL())
	must(s.t, err)
	u.Path, u.Host = "/"+database(service), strings.Join(addrs, ",")
	return u.String() + "&target_session_attrs=read-write"
}

// postgresAddrs are the addresses of the primary and the standby.
func (s *suite) postgresAddrs() (addrs []string) {
	for _, server := range []*testkit.OwnPostgres{s.postgres, s.standby} {
		u, err := url.Parse(server.URL())
		must(s.t, err)
		addrs = append(addrs, u.Host)
	}
	return addrs
}

func (s *suite) launch(service string) {
	s.t.Helper()
	cert, key := s.pki.Service(service)
	file := func(name string) string { return filepath.Join(s.dir, name) }
	link := func(to, target string) string { return s.links.to(service+"-"+to, target) }
	atPostgres := s.postgresAddrs()
	for i := range atPostgres {
		atPostgres[i] = link("postgres", atPostgres[i])
	}
	atNATS := []string{link("nats", s.natsAddr)}
	if s.several() {
		atNATS = s.nodeAddrs
	}
	natsURL := func(user string) string {
		as := fmt.Sprintf("nats://%s:%s@", user, s.users[user])
		return as + strings.Join(atNATS, ","+as)
	}
	config := map[string]string{
		"listen": s.grpc[service], "http-listen": "127.0.0.1:0", "db-url": s.dsn(service, atPostgres...),
		"token-issuer": "http://" + s.web, "nats-url": natsURL("core"),
		"tls-cert": cert, "tls-key": key, "tls-ca": s.pki.File, "log-level": "warn",
	}
	if service != "auth" {
		config["jwks-url"] = "http://" + link("auth", s.web) + "/.well-known/jwks.json"
	}
	switch service {
	case "auth":
		config["http-listen"], config["jwks-url"] = s.web, "http://"+s.web+"/.well-known/jwks.json"
		config["registry-addr"] = link("device-registry", s.grpc["device-registry"])
		config["redis-url"] = s.redisURL(link)
		config["key-file"], config["operator-jwk-file"] = file("master.key"), file("operator.jwk.json")
		config["nats-callout-seed-file"] = file("callout.seed")
		config["nats-callout-url"], config["nats-sys-url"] = natsURL("auth"), natsURL("sys")
	case "payments":
		config["auth-addr"], config["notify-addr"] = link("auth", s.grpc["auth"]), link("notify", s.grpc["notify"])
	case "notify":
		config["nats-edge-url"], config["nats-sys-url"], config["public-nats-url"] = natsURL("edge"), natsURL("sys"), "nats://"+s.natsAddr
		config["nats-accounts-file"], config["nats-settings-file"] = file("nats.conf"), file("nats-settings.json")
		config["code-key-file"] = file("code.key")
		if !full() {
			config["redeliver-after"] = "1s" // what notify had in hand when it was killed need not take 30 s in the short form
		}
	}
	if s.several() {
		config["stream-replicas"] = "3"
	}
	p := programs.Launch(s.t, programs.Env(service, config), programs.Service(s.t, service))
	s.processes[service] = p
	s.t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			s.t.Error(err)
		}
		if s.t.Failed() {
			s.t.Logf("%s:\n%s", service, p.Output())
		}
	})
}

// ready says whether all four listen.
func (s *suite) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.web+"/.well-known/jwks.json", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	errs := []error{resp.Body.Close()}
	for _, addr := range s.grpc {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			err = c.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// until waits for what must come within a minute.
func (s *suite) until(what string, check func() error) {
	s.t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	s.t.Fatalf("waited a minute until %s: %v", what, err)
}

// endpoints is where clients go, without a proxy.
func (s *suite) endpoints() (sdk.Endpoints, *tls.Config, sdk.Key) {
	s.t.Helper()
	operator, err := sdk.LoadKey(filepath.Join(s.dir, "operator.jwk.json"))
	must(s.t, err)
	pem, err := os.ReadFile(s.pki.File)
	must(s.t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return sdk.Endpoints{
		Devices: s.grpc["device-registry"], Auth: s.grpc["auth"], Payments: s.grpc["payments"], Notify: s.grpc["notify"],
		TokenURL: "http://" + s.web + "/oauth2/token", JWKSURL: "http://" + s.web + "/.well-known/jwks.json", NATSURL: "nats://" + s.natsAddr,
	}, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}, operator
}
