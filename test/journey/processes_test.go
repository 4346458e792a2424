package journey

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/armlet-pay/armlet/platform/testkit"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/test/programs"
)

// TestFourProcessesPassTheSameJourney starts each service as a program of its own,
// with mutual TLS between them, and NATS and Redis as servers of their own.
func TestFourProcessesPassTheSameJourney(t *testing.T) {
	t.Parallel()
	for name, db := range map[string]func(t *testing.T, dir, service string) string{
		"SQLite":     func(_ *testing.T, dir, service string) string { return "sqlite:" + filepath.Join(dir, service+".db") },
		"PostgreSQL": func(t *testing.T, _, _ string) string { return testkit.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			watched := newCollector(t)
			d := startProcesses(t, func(dir, service string) string { return db(t, dir, service) }, watched.follow)
			w := newWorld(t, d)
			tapAndPay(t, w)
			payWithVoucher(t, w)
			payOffline(t, w)
			strangersStayOut(t, w)
			if name == "SQLite" { // what NATS does is the same
				isolated(t, w)
				cutOff(t, w)
			}
			oneTraceFromTapToWrist(t, watched)
			everyMetricIsCatalogued(t, watched)
			if name == "SQLite" {
				offboarded(t, w, func(offboard func()) { // notify is killed, hears of it when it is back, and is killed again in the middle
					d.parts.all[0].Kill() // notify was the first to be started
					offboard()
					p := d.parts.launchWith("notify", d.parts.web, nil)
					time.Sleep(500 * time.Millisecond)
					p.Kill()
					d.parts.launchWith("notify", d.parts.web, nil)
				})
			}
		})
	}
}

// strangersStayOut calls what only a service may, with everything but a service's certificate.
func strangersStayOut(t *testing.T, w *world) {
	_, err := w.operator.Devices.CheckDevice(callCtx(t), &devicesv1.CheckDeviceRequest{Subject: &devicesv1.CheckDeviceRequest_Account{Account: "accounts/x"}})
	wantRefused(t, err, codes.PermissionDenied, "CALLER_NOT_ALLOWED")
	bare, err := sdk.Dial(w.d.at)
	must(t, err)
	defer bare.Close()
	_, err = bare.Auth.GetPartner(callCtx(t), &authv1.GetPartnerRequest{Name: w.name})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a client without TLS got %v", err)
	}
}

// processes are four services and what they need.
type processes struct {
	t      testing.TB
	dir    string
	pki    *testkit.Authority
	at     sdk.Endpoints
	grpc   map[string]string // service → address
	redis  string
	nats   string
	server *testkit.NATSProcess
	users  map[string]string // NATS user → password
	db     func(dir, service string) string
	set    map[string]map[string]string
	all    []*programs.Process
	web    string                      // address of auth's HTTP
	binary func(service string) string // what services are started from; nil is this commit's program
}

// startProcesses starts them all; set has keys of services that are to be other than usual, by service and key.
func startProcesses(t testing.TB, db func(dir, service string) string, set ...func(s *processes) map[string]map[string]string) *deployment {
	t.Helper()
	s := &processes{t: t, dir: t.TempDir(), pki: testkit.PKI(t), grpc: map[string]string{}, redis: testkit.Redis(t), db: db}
	for _, m := range programs.Services {
		s.grpc[m] = testkit.Addr(t)
	}
	web := testkit.Addr(t)
	s.web = web
	s.nats = testkit.Addr(t)
	s.at = sdk.Endpoints{
		Devices: s.grpc["device-registry"], Auth: s.grpc["auth"], Payments: s.grpc["payments"], Notify: s.grpc["notify"],
		TokenURL: "http://" + web + "/oauth2/token", JWKSURL: "http://" + web + "/.well-known/jwks.json", NATSURL: "nats://" + s.nats,
	}
	s.users = programs.NATSSettings(t, s.dir, s.nats)
	for _, more := range set {
		s.set = more(s)
	}
	// notify writes NATS's configuration and waits for the server to come; so it is first, and the order of the others
	// does not matter either.
	for i := len(programs.Services) - 1; i >= 0; i-- {
		s.launch(programs.Services[i], web)
	}
	s.startNATS()
	s.await("http://" + web)
	operator, err := sdk.LoadKey(filepath.Join(s.dir, "operator.jwk.json"))
	must(t, err)
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(s.pki.File)
	must(t, err)
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	return &deployment{at: s.at, operator: operator, dir: s.dir, options: []sdk.Option{sdk.WithTLS(config)}, transport: credentials.NewTLS(config), parts: s}
}

func (s *processes) launch(service, web string) { s.launchWith(service, web, nil) }

// launchWith starts a process with keys that are its own.
func (s *processes) launchWith(service, web string, keys map[string]string) *programs.Process {
	s.t.Helper()
	if s.binary != nil {
		return s.start(s.binary(service), service, web, keys)
	}
	return s.start(programs.Service(s.t, service), service, web, keys)
}

// start starts a process of the service from the binary.
func (s *processes) start(binary, service, web string, more map[string]string) *programs.Process {
	s.t.Helper()
	p := programs.Launch(s.t, s.env(service, web, more), binary)
	s.all = append(s.all, p)
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("%s:\n%s", service, p.Output())
		}
		if p.Ended() {
			return
		}
		if err := p.Stop(); err != nil {
			s.t.Error(err)
		}
	})
	return p
}

// env is the environment of a process.
func (s *processes) env(service, web string, more map[string]string) []string {
	cert, key := s.pki.Service(service)
	file := func(name string) string { return filepath.Join(s.dir, name) }
	natsURL := func(user string) string { return fmt.Sprintf("nats://%s:%s@%s", user, s.users[user], s.nats) }
	config := map[string]string{
		"listen": s.grpc[service], "http-listen": "127.0.0.1:0", "db-url": s.db(s.dir, service),
		"token-issuer": "http://" + web, "jwks-url": s.at.JWKSURL,
		"nats-url": natsURL("core"), "tls-cert": cert, "tls-key": key, "tls-ca": s.pki.File, "log-level": "info",
	}
	own := map[string]map[string]string{
		"device-registry": {},
		"auth": {
			"http-listen": web, "registry-addr": s.grpc["device-registry"], "redis-url": "redis://" + s.redis,
			"key-file": file("master.key"), "operator-jwk-file": file("operator.jwk.json"),
			"nats-callout-seed-file": file("callout.seed"), "nats-callout-url": natsURL("auth"), "nats-sys-url": natsURL("sys"),
		},
		"payments": {"auth-addr": s.grpc["auth"], "notify-addr": s.grpc["notify"]},
		"notify": {
			"nats-edge-url": natsURL("edge"), "nats-sys-url": natsURL("sys"), "public-nats-url": "nats://" + s.nats,
			"nats-accounts-file": file("nats.conf"), "nats-settings-file": file("nats-settings.json"), "code-key-file": file("code.key"),
		},
	}[service]
	set := map[string]string{}
	for _, keys := range []map[string]string{config, own, s.set[service], more} {
		maps.Copy(set, keys)
	}
	return append(programs.Env(service, set), "OTEL_METRIC_EXPORT_INTERVAL=500", "OTEL_BSP_SCHEDULE_DELAY=200")
}

// startNATS starts a nats-server process on the file that notify writes.
func (s *processes) startNATS() {
	file := filepath.Join(s.dir, "nats.conf")
	s.until("notify writes the configuration of NATS", func() error {
		_, err := os.Stat(file)
		return err
	})
	s.server = testkit.NewNATSProcess(s.t, file, s.nats)
}

func (s *processes) await(web string) {
	s.until("auth serves its keys", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, web+"/.well-known/jwks.json", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	for name, addr := range s.grpc {
		s.until(name+" listens", func() error {
			c, err := net.DialTimeout("tcp", addr, time.Second)
			if err != nil {
				return err
			}
			return c.Close()
		})
	}
}

// until waits for what must come within a minute; a process that ends says why.
func (s *processes) until(what string, check func() error) {
	s.t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
		for _, p := range s.all {
			if p.Exited() && !p.Ended() {
				s.t.Fatalf("%s ended while waiting until %s:\n%s", p.Name, what, p.Output())
			}
		}
	}
	for _, p := range s.all {
		s.t.Logf("%s:\n%s", p.Name, p.Output())
	}
	s.t.Fatalf("waited a minute until %s: %v", what, err)
}
