package auth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/services/auth"
	"github.com/armlet-pay/armlet/services/auth/internal/bus"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func config(dir string) auth.Config {
	c := auth.DefaultConfig()
	c.Listen, c.HTTPListen = "127.0.0.1:0", "127.0.0.1:0"
	c.DBURL = "sqlite:" + filepath.Join(dir, "auth.db")
	c.KeyFile, c.OperatorJWK = filepath.Join(dir, "keyset.json"), filepath.Join(dir, "operator.jwk")
	c.NATSURL = "nats://127.0.0.1:1" // nobody is there
	return c
}

func env() run.Env {
	return run.Env{Log: slog.New(slog.DiscardHandler), Now: time.Now}
}

// start runs the service and says where its HTTP is.
func start(t *testing.T, c auth.Config) (url string, stop func()) {
	t.Helper()
	svc, err := auth.New(t.Context(), c, env())
	must(t, err)
	running, err := run.Start(t.Context(), svc)
	must(t, err)
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		must(t, running.Stop(ctx))
	}
	t.Cleanup(stop)
	return "http://" + running.HTTPAddr(auth.Name), stop
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s", url, resp.Status, text)
	}
	return string(text)
}

func TestItStartsAloneAndKeepsItsKeysAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	url, stop := start(t, config(dir))
	if got := get(t, url+"/readyz"); !strings.Contains(got, "ok") {
		t.Errorf("readyz: %s", got)
	}
	first := get(t, url+"/.well-known/jwks.json")
	operator, err := os.ReadFile(filepath.Join(dir, "operator.jwk"))
	must(t, err)
	stop()
	url, _ = start(t, config(dir))
	if got := get(t, url+"/.well-known/jwks.json"); got != first {
		t.Errorf("the keys changed from %s to %s", first, got)
	}
	again, err := os.ReadFile(filepath.Join(dir, "operator.jwk"))
	must(t, err)
	var jwk struct{ D string }
	must(t, json.Unmarshal(again, &jwk))
	if string(again) != string(operator) || jwk.D == "" {
		t.Error("the operator's key changed or is not private")
	}
	for _, file := range []string{"operator.jwk", "keyset.json", "auth.db"} {
		info, err := os.Stat(filepath.Join(dir, file))
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s", file, info.Mode())
		}
	}
}

func TestALostKeyFileIsNoticedAtTheStart(t *testing.T) {
	dir := t.TempDir()
	_, stop := start(t, config(dir))
	stop()
	must(t, os.Remove(filepath.Join(dir, "keyset.json")))
	if _, err := auth.New(t.Context(), config(dir), env()); err == nil || !strings.Contains(err.Error(), "key file") {
		t.Errorf("got %v", err)
	}
}

func TestAWrongConfigurationNamesItsKey(t *testing.T) {
	for key, change := range map[string]func(c *auth.Config){
		"db-url":           func(c *auth.Config) { c.DBURL = "" },
		"key-file":         func(c *auth.Config) { c.KeyFile = "" },
		"token-issuer":     func(c *auth.Config) { c.TokenIssuer = "auth" },
		"http-url":         func(c *auth.Config) { c.HTTPURL = "http://x/" },
		"challenge-life":   func(c *auth.Config) { c.Life = time.Second },
		"tls-cert":         func(c *auth.Config) { c.TLSCert = "x" },
		"https-cert":       func(c *auth.Config) { c.HTTPSListen = "127.0.0.1:0" },
		"https-key":        func(c *auth.Config) { c.HTTPSCert = "x" },
		"https-url":        func(c *auth.Config) { c.HTTPSURL = "http://x" },
		"https-client-ca":  func(c *auth.Config) { c.HTTPSURL = "https://x" },
		"registry-mode":    func(c *auth.Config) { c.RegistryMode = "sometimes" },
		"redis-url":        func(c *auth.Config) { c.RedisURL = "http://user:secret@x" },
		"registry-addr":    func(c *auth.Config) { c.RegistryAddr = "" },
		"nats-callout-url": func(c *auth.Config) { c.CalloutSeed = filepath.Join(t.TempDir(), "seed") },
	} {
		c := config(t.TempDir())
		change(&c)
		_, err := auth.New(t.Context(), c, env())
		if err == nil || !strings.Contains(err.Error(), key) || strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestWhatHappensReachesTheStream(t *testing.T) {
	_, url := testkit.NATS(t)
	js := testkit.JetStream(t, url)
	dir := t.TempDir()
	c := config(dir)
	c.NATSURL = url
	start(t, c)
	db := testkit.OpenDB(t, c.DBURL)
	ev, err := bus.Encode(t.Context(), partner.Created{Partner: partner.Partner{ID: "acme", CreatedAt: time.Now()}}, time.Now())
	must(t, err)
	must(t, db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error { return events.Append(ctx, tx, ev) }))
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if message, err := lastOf(t.Context(), js, ev.Subject); err == nil {
			if got := message.Header.Get("ce-id"); got != ev.ID {
				t.Errorf("id %s, want %s", got, ev.ID)
			}
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("the event did not arrive")
}

func lastOf(ctx context.Context, js jetstream.JetStream, subject string) (*jetstream.RawStreamMsg, error) {
	stream, err := js.Stream(ctx, bus.Stream)
	if err != nil {
		return nil, err
	}
	return stream.GetLastMsgForSubject(ctx, subject)
}
