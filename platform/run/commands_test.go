package run

import (
	"context"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/testkit"
)

// dependent is a configuration that names something of everything.
type dependent struct {
	DBURL      string `conf:"db-url" secret:"true"`
	RedisURL   string `conf:"redis-url" secret:"true"`
	NATSURL    string `conf:"nats-url" secret:"true"`
	AuthAddr   string `conf:"auth-addr"`
	JWKSURL    string `conf:"jwks-url"`
	TLSCert    string `conf:"tls-cert"`
	TLSKey     string `conf:"tls-key"`
	TLSCA      string `conf:"tls-ca"`
	KeyFile    string `conf:"key-file"`
	Endpoint   string `conf:"otlp-endpoint"`
	HTTPListen string `conf:"http-listen"`
}

func oneTable() (fs.FS, error) {
	file := &fstest.MapFile{Data: []byte("CREATE TABLE a (n BIGINT);")}
	return fstest.MapFS{"sqlite/0001_a.sql": file, "postgres/0001_a.sql": file}, nil
}

func command(t *testing.T, cfg dependent, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return commandAt(t, 0, cfg, args...)
}

// commandAt is a command on a machine whose clock is wrong by so much.
func commandAt(t *testing.T, off time.Duration, cfg dependent, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs buffer
	p := process{
		args: args, getenv: func(string) string { return "" }, stdout: &out, stderr: &errs, migrations: oneTable,
		now: func() time.Time { return time.Now().Add(off) },
	}
	code = mainWith(t.Context(), p, "payments", cfg, func(context.Context, dependent, Env) (*Service, error) {
		t.Error("the service was made")
		return nil, context.Canceled
	})
	return code, out.String(), errs.String()
}

// peer is another service with mutual TLS.
func peer(t *testing.T, ca *testkit.Authority) string {
	t.Helper()
	cert, key := ca.Service("auth")
	tlsConfig, err := rpc.ServerTLS(cert, key, ca.File)
	if err != nil {
		t.Fatal(err)
	}
	server, err := rpc.NewServer(rpc.ServerConfig{Service: "auth", TLS: tlsConfig})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	server.SetReady(true)
	t.Cleanup(func() { server.Stop(context.WithoutCancel(t.Context())) })
	return l.Addr().String()
}

func TestCheckTestsEveryDependencyAndSaysWhatIsWrong(t *testing.T) {
	ca := testkit.PKI(t)
	_, natsURL := testkit.NATS(t)
	identity := &url.URL{Scheme: "spiffe", Host: "armlet", Path: "/service/payments"}
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[{}]}`)) }))
	t.Cleanup(keys.Close)
	good := dependent{
		DBURL: testkit.Postgres(t), RedisURL: "redis://" + testkit.Redis(t), NATSURL: natsURL, AuthAddr: peer(t, ca), JWKSURL: keys.URL,
		TLSCA: ca.File, KeyFile: filepath.Join(t.TempDir(), "key"), Endpoint: keys.URL,
	}
	good.TLSCert, good.TLSKey = ca.LeafUntil("payments", identity, time.Now().Add(30*24*time.Hour))

	if code, out, _ := command(t, good, "--check"); code != ExitFailure || !strings.Contains(out, "FAIL  db-url") || !strings.Contains(out, "0 of 1 migrations") {
		t.Errorf("before the migration: exit %d\n%s", code, out)
	}
	if code, out, errs := command(t, good, "migrate"); code != ExitOK || out != "migrated from version 0 to 1\n" {
		t.Errorf("migrate: exit %d, %s%s", code, out, errs)
	}
	code, out, errs := command(t, good, "--check")
	if code != ExitOK || strings.Count(out, "ok ") != 8 {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}

	nowhere := testkit.Addr(t)
	for key, spoil := range map[string]func(*dependent){
		"db-url": func(c *dependent) { c.DBURL = "postgres://someone:hunter2@" + nowhere + "/x?sslmode=disable" },
		"redis-url": func(c *dependent) {
			c.RedisURL = "redis://someone:hunter2@" + strings.TrimPrefix(good.RedisURL, "redis://")
		},
		"nats-url":      func(c *dependent) { c.NATSURL = "nats://someone:hunter2@" + nowhere },
		"auth-addr":     func(c *dependent) { c.AuthAddr = nowhere },
		"jwks-url":      func(c *dependent) { c.JWKSURL = "http://" + nowhere },
		"tls-cert":      func(c *dependent) { c.TLSCert, c.TLSKey = ca.Service("notify") },
		"key-file":      func(c *dependent) { c.KeyFile = "/does/not/exist/key" },
		"otlp-endpoint": func(c *dependent) { c.Endpoint = "http://" + nowhere },
	} {
		t.Run(key, func(t *testing.T) {
			cfg := good
			spoil(&cfg)
			code, out, errs := command(t, cfg, "--check")
			if code != ExitFailure || strings.Count(out, "FAIL") != 1 || !strings.Contains(out, "FAIL  "+key) || strings.Contains(out+errs, "hunter2") {
				t.Errorf("exit %d\n%s%s", code, out, errs)
			}
		})
	}
}

func TestCheckWarnsOfClocksAndCertificates(t *testing.T) {
	const day = 24 * time.Hour
	ca := testkit.PKI(t)
	redis, db := "redis://"+testkit.Redis(t), testkit.Postgres(t)
	if code, _, errs := command(t, dependent{DBURL: db}, "migrate"); code != ExitOK {
		t.Fatal(errs)
	}
	identity := &url.URL{Scheme: "spiffe", Host: "armlet", Path: "/service/payments"}
	until := func(left time.Duration) dependent {
		var c dependent
		c.TLSCert, c.TLSKey = ca.LeafUntil(left.String(), identity, time.Now().Add(left))
		return c
	}
	for name, c := range map[string]struct {
		cfg  dependent
		off  time.Duration
		code int
		want string
	}{
		"clocks agree":        {dependent{DBURL: db, RedisURL: redis}, 0, ExitOK, "ok    db-url"},
		"the database's":      {dependent{DBURL: db}, 3 * time.Second, ExitOK, "WARN  db-url                 CLOCK_DIFFERS: the database answers, but its clock is 3s behind"},
		"Redis'":              {dependent{RedisURL: redis}, -3 * time.Second, ExitOK, "WARN  redis-url              CLOCK_DIFFERS"},
		"it has long to go":   {until(15 * day), 0, ExitOK, "ok    tls-cert"},
		"it ends soon":        {until(13 * day), 0, ExitOK, "WARN  tls-cert               CERTIFICATE_ENDS_SOON"},
		"it ends now":         {until(11 * time.Hour), 0, ExitFailure, "FAIL  tls-cert               CERTIFICATE_ENDS_NOW"},
		"it has ended":        {until(15 * day), 16 * day, ExitFailure, "FAIL  tls-cert               CERTIFICATE_EXPIRED"},
		"it is not yet valid": {until(15 * day), -day, ExitFailure, "FAIL  tls-cert               CERTIFICATE_NOT_YET_VALID"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := commandAt(t, c.off, c.cfg, "--check")
			if code != c.code || !strings.Contains(out, c.want) {
				t.Errorf("exit %d, want %d and %q\n%s%s", code, c.code, c.want, out, errs)
			}
		})
	}
}

func TestHealthAsksTheProgramThatRuns(t *testing.T) {
	addr := testkit.Addr(t)
	if code, _, errs := command(t, dependent{HTTPListen: addr}, "health"); code != ExitFailure || errs == "" {
		t.Errorf("nobody is there: exit %d, %s", code, errs)
	}
	ready := make(chan struct{})
	svc := &Service{Name: "x", HTTPListen: addr, Check: func(context.Context) error {
		select {
		case <-ready:
			return nil
		default:
			return context.DeadlineExceeded
		}
	}}
	started := make(chan *Running, 1)
	go func() {
		r, err := Start(context.WithoutCancel(t.Context()), svc)
		if err != nil {
			t.Error(err)
		}
		started <- r
	}()
	get := func(path string) int {
		resp, err := http.Get("http://" + addr + path)
		if err != nil {
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for deadline := time.Now().Add(20 * time.Second); get("/healthz") != http.StatusOK && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if code, _, errs := command(t, dependent{HTTPListen: addr}, "health"); code != ExitFailure || !strings.Contains(errs, "not ready") || get("/startupz") != http.StatusServiceUnavailable {
		t.Errorf("while it starts: exit %d, %s", code, errs)
	}
	close(ready)
	r := <-started
	if code, _, errs := command(t, dependent{HTTPListen: strings.Replace(addr, "127.0.0.1", "0.0.0.0", 1)}, "health"); code != ExitOK || get("/startupz") != http.StatusOK || get("/version") != http.StatusOK {
		t.Errorf("when it runs: exit %d, %s", code, errs)
	}
	r.leave(time.Millisecond)
	if code, _, _ := command(t, dependent{HTTPListen: addr}, "health"); code != ExitFailure || get("/startupz") != http.StatusOK || get("/healthz") != http.StatusOK {
		t.Errorf("while it leaves it still is ready (exit %d), or does not live", code)
	}
	if err := r.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestVersionAndHelpNameTheCommands(t *testing.T) {
	if code, out, _ := command(t, dependent{}, "--version"); code != ExitOK || !strings.HasPrefix(out, "payments ") || !strings.Contains(out, "go1.") {
		t.Errorf("exit %d, %s", code, out)
	}
	_, out, _ := command(t, dependent{}, "--help")
	for _, want := range []string{"migrate", "health", "--check", "--version", "--drain-delay"} {
		if !strings.Contains(out, want) {
			t.Errorf("the help does not name %s:\n%s", want, out)
		}
	}
	if code, _, errs := command(t, dependent{}, "--drain-delay", "-1s"); code != ExitUsage || !strings.Contains(errs, "drain-delay") {
		t.Errorf("exit %d, %s", code, errs)
	}
}
