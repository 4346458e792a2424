package notify_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/notify"
)

// world is what surrounds the service: auth's keys, and a NATS server that runs on the rendered configuration.
type world struct {
	t      testing.TB
	signer jose.Signer
	cfg    notify.Config
	core   jetstream.JetStream
	db     *sqldb.DB
}

const issuer = "https://auth.test"

func newWorld(t testing.TB) *world { return newWorldOn(t, sqldb.SQLite) }

func newWorldOn(t testing.TB, dialect sqldb.Dialect) *world {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t}
	w.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: private, KeyID: "k1"}},
		(&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	keys := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "k1", Algorithm: "EdDSA", Use: "sig"}}}
	jwks := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(out).Encode(keys) }))
	t.Cleanup(jwks.Close)

	dir := t.TempDir()
	settings := notify.NATSSettings{
		Listen: "127.0.0.1:-1", StoreDir: filepath.Join(dir, "nats"), SystemPassword: "system-password-1", AuthPassword: "auth-password-0001",
		CorePassword: "core-password-0001", EdgePassword: "edge-password-0001",
	}
	w.cfg = notify.DefaultConfig()
	w.cfg.Listen, w.cfg.HTTPListen = "127.0.0.1:0", "127.0.0.1:0"
	w.cfg.DBURL = "sqlite:" + filepath.Join(dir, "notify.db")
	if dialect == sqldb.Postgres {
		w.cfg.DBURL = testkit.Postgres(t)
	}
	w.cfg.CodeKeyFile = filepath.Join(dir, "keys", "code.key")
	w.cfg.TokenIssuer, w.cfg.JWKSURL = issuer, jwks.URL
	w.cfg.NATSAccountsFile, w.cfg.NATSSettingsFile = filepath.Join(dir, "nats.conf"), filepath.Join(dir, "nats.json")
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.cfg.NATSSettingsFile, string(text))
	write(t, w.cfg.NATSAccountsFile, notify.NATSConfig(settings))
	host := startNATS(t, w.cfg.NATSAccountsFile)
	w.cfg.NATSURL = "nats://core:" + settings.CorePassword + "@" + host
	w.cfg.NATSEdgeURL = "nats://edge:" + settings.EdgePassword + "@" + host
	w.cfg.NATSSysURL = "nats://sys:" + settings.SystemPassword + "@" + host
	w.core = testkit.JetStream(t, w.cfg.NATSURL)
	w.payments(dir, dialect)
	return w
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func startNATS(t testing.TB, file string) (host string) {
	t.Helper()
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoLog, opts.NoSigs = true, true
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS does not start")
	}
	return strings.TrimPrefix(srv.ClientURL(), "nats://")
}

// payments is another service: a database with an outbox and its relay.
func (w *world) payments(dir string, dialect sqldb.Dialect) {
	w.t.Helper()
	url := "sqlite:" + filepath.Join(dir, "payments.db")
	if dialect == sqldb.Postgres {
		url = testkit.Postgres(w.t)
	}
	w.db = testkit.OpenDB(w.t, url)
	for _, statement := range strings.SplitAfter(events.Schema(dialect), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := w.db.ExecContext(w.t.Context(), statement); err != nil {
			w.t.Fatal(err)
		}
	}
	relay := events.NewRelay(events.RelayConfig{
		Outbox: events.NewOutbox(w.db), JetStream: w.core, Log: slog.New(slog.DiscardHandler),
		Stream: jetstream.StreamConfig{Name: "EVT_PAYMENTS", Subjects: []string{"evt.v1.*.payments.>"}},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = relay.Run(ctx)
	}()
	w.t.Cleanup(func() {
		cancel()
		<-done
	})
}

func (w *world) pay(account string) { w.payAmount(account, 1200) }

func (w *world) payAmount(account string, minor int64) {
	w.t.Helper()
	err := w.db.InTx(w.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		subject := events.Subject{Mode: "live", Domain: "payments", Entity: "payment", Verb: "captured", Partner: "acme", ID: "p"}
		ev, err := events.New("/services/payments", subject.String(), "payments/p", time.Now(), &paymentsv1.PaymentCaptured{
			Payment: &paymentsv1.PaymentFacts{Account: "accounts/" + account, Amount: &typev1.Money{MinorUnits: minor, CurrencyCode: "CNY"}},
		}, ctx)
		if err != nil {
			return err
		}
		return events.Append(ctx, tx, ev)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) token(claims map[string]any) string {
	w.t.Helper()
	for k, v := range map[string]any{
		"iss": issuer, "aud": "armlet", "sub": "somebody", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
	} {
		claims[k] = v
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		w.t.Fatal(err)
	}
	jws, err := w.signer.Sign(payload)
	if err != nil {
		w.t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

func env() run.Env {
	return run.Env{
		Log: slog.New(slog.DiscardHandler), Now: time.Now, TracerProvider: tracenoop.NewTracerProvider(), MeterProvider: metricnoop.NewMeterProvider(),
	}
}

// start runs the service until the returned function stops it.
func (w *world) start() (addr string, stop func()) {
	w.t.Helper()
	svc, err := notify.New(w.t.Context(), w.cfg, env())
	if err != nil {
		w.t.Fatal(err)
	}
	running, err := run.Start(w.t.Context(), svc)
	if err != nil {
		w.t.Fatal(err)
	}
	return running.Addr(notify.Name), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := running.Stop(ctx); err != nil {
			w.t.Error(err)
		}
	}
}

func (w *world) dial(addr string, claims map[string]any) notifyv1.NotifyServiceClient {
	w.t.Helper()
	token := w.token(claims)
	conn, err := rpc.Dial(addr, rpc.DialConfig{Token: func(context.Context) (string, error) { return token, nil }})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return notifyv1.NewNotifyServiceClient(conn)
}

func TestAPaymentReachesTheWearerAndThePartnersStream(t *testing.T) {
	w := newWorld(t)
	addr, stop := w.start()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	partner := map[string]any{"role": "partner", "partner": "acme", "mode": "live", "scope": "events.subscribe vouchers.issue vouchers.verify"}
	acme := w.dial(addr, partner)
	sub, err := acme.CreateSubscription(ctx, &notifyv1.CreateSubscriptionRequest{Parent: "partners/acme", SubscriptionId: "main", RequestId: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if sub.GetApiPrefix() != "armlet.api" || !strings.HasPrefix(sub.GetConsumer(), "main-") || len(sub.GetConsumer()) < len("main-")+20 {
		t.Errorf("the subscription is %v", sub)
	}
	if text, err := os.ReadFile(w.cfg.NATSAccountsFile); err != nil || !strings.Contains(string(text), `"P_acme"`) {
		t.Errorf("the partner has no account (%v)", err)
	}
	stream, err := w.dial(addr, map[string]any{"role": "wearer", "account": "alice"}).StreamInbox(ctx, &notifyv1.StreamInboxRequest{
		Account: "accounts/alice", ClientId: "phone", Surface: notifyv1.Surface_SURFACE_PHONE,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.pay("alice")
	step, err := stream.Recv()
	for err == nil && step.GetUpsert() == nil {
		step, err = stream.Recv()
	}
	if err != nil || step.GetUpsert().GetBandText() != "Paid ¥12.00" || step.GetUpsert().GetSequence() != 1 {
		t.Fatalf("the wearer gets %v, %v", step, err)
	}
	edge := testkit.JetStream(t, w.cfg.NATSEdgeURL)
	consumer, err := edge.Consumer(ctx, sub.GetStream(), sub.GetConsumer())
	if err != nil {
		t.Fatal(err)
	}
	msg, err := consumer.Next(jetstream.FetchMaxWait(20 * time.Second))
	if err != nil || !strings.HasPrefix(msg.Subject(), "pevt.v1.acme.live.") || strings.Contains(string(msg.Data()), "alice") {
		t.Errorf("the partner gets %v, %v", msg, err)
	}
	stop()
	if _, err := stream.Recv(); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a stream of a stopping service ends with %v", err)
	}
}

func TestCodesSurviveARestartAndTheKeyFileIsNeeded(t *testing.T) {
	w := newWorld(t)
	addr, stop := w.start()
	partner := map[string]any{"role": "partner", "partner": "acme", "mode": "live", "scope": "vouchers.issue vouchers.verify"}
	acme := w.dial(addr, partner)
	c, err := acme.CreateCampaign(t.Context(), &notifyv1.CreateCampaignRequest{
		DisplayName: "Spring", Value: &typev1.Money{MinorUnits: 500, CurrencyCode: "CNY"}, VoucherLimit: 1,
		ExpireTime: timestamppb.New(time.Now().Add(time.Hour)), RequestId: "c",
	})
	if err != nil {
		t.Fatal(err)
	}
	issue := &notifyv1.IssueVoucherRequest{Campaign: c.GetName(), RequestId: "i"}
	v, err := acme.IssueVoucher(t.Context(), issue)
	if err != nil {
		t.Fatal(err)
	}
	stop()

	addr, stop = w.start()
	acme = w.dial(addr, partner)
	if again, err := acme.IssueVoucher(t.Context(), issue); err != nil || again.GetCode() != v.GetCode() {
		t.Errorf("after a restart the code is another (%v)", err)
	}
	if _, err := acme.VerifyVoucher(t.Context(), &notifyv1.VerifyVoucherRequest{Code: v.GetCode()}); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	stop()
	for _, file := range []string{"notify.db", "notify.db-wal"} {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(w.cfg.NATSAccountsFile), file))
		if err == nil && strings.Contains(string(data), v.GetCode()) {
			t.Errorf("%s has the code in it", file)
		}
	}
	info, err := os.Stat(w.cfg.CodeKeyFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file's mode: %v, %v", info, err)
	}
	refusedToStart := func(what string) {
		t.Helper()
		if _, err := notify.New(t.Context(), w.cfg, env()); err == nil || !strings.HasPrefix(err.Error(), "code-key-file:") {
			t.Errorf("%s: %v", what, err)
		}
	}
	key, err := os.ReadFile(w.cfg.CodeKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(w.cfg.CodeKeyFile, 0o640); err != nil {
		t.Fatal(err)
	}
	refusedToStart("a key file that others can read")
	if err := os.Remove(w.cfg.CodeKeyFile); err != nil {
		t.Fatal(err)
	}
	refusedToStart("a lost key file")
	write(t, w.cfg.CodeKeyFile, "nonsense")
	refusedToStart("nonsense in the key file")
	write(t, w.cfg.CodeKeyFile, string(key))
	_, stop = w.start()
	stop()
}

func TestTheServiceStartsWithoutAuthAndNATS(t *testing.T) {
	dir := t.TempDir()
	cfg := notify.DefaultConfig()
	cfg.Listen, cfg.HTTPListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.DBURL, cfg.CodeKeyFile = "sqlite:"+filepath.Join(dir, "notify.db"), filepath.Join(dir, "code.key")
	cfg.NATSURL = "nats://127.0.0.1:1"
	svc, err := notify.New(t.Context(), cfg, env())
	if err != nil {
		t.Fatal(err)
	}
	running, err := run.Start(t.Context(), svc)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := rpc.Dial(running.Addr(notify.Name), rpc.DialConfig{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = notifyv1.NewNotifyServiceClient(conn).ListAlerts(t.Context(), &notifyv1.ListAlertsRequest{Parent: "accounts/alice"})
	if fault.ReasonOf(err) != "CALLER_UNKNOWN" {
		t.Errorf("a stranger got %v", err)
	}
	_ = conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := running.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func TestAWrongKeyOfTheConfigurationIsNamed(t *testing.T) {
	if err := notify.DefaultConfig().Validate(); err != nil {
		t.Fatalf("the defaults: %v", err)
	}
	for key, spoil := range map[string]func(*notify.Config){
		"db-url":             func(c *notify.Config) { c.DBURL = "" },
		"token-issuer":       func(c *notify.Config) { c.TokenIssuer = "" },
		"jwks-url":           func(c *notify.Config) { c.JWKSURL = "auth:8002" },
		"tls-cert":           func(c *notify.Config) { c.TLSCert = "cert.pem" },
		"tls-ca":             func(c *notify.Config) { c.TLSCA = "ca.pem" },
		"redeliver-after":    func(c *notify.Config) { c.RedeliverAfter = 0 },
		"alert-resend-after": func(c *notify.Config) { c.ResendAfter = 0 },
		"alert-keep":         func(c *notify.Config) { c.KeepAlerts = time.Minute },
		"alert-records-keep": func(c *notify.Config) { c.KeepRecords = time.Hour },
		"code-key-file":      func(c *notify.Config) { c.CodeKeyFile = "" },
		"nats-settings-file": func(c *notify.Config) { c.NATSAccountsFile, c.NATSSysURL = "x", nats.DefaultURL },
		"nats-sys-url":       func(c *notify.Config) { c.NATSAccountsFile, c.NATSSettingsFile = "x", "y" },
		"log-level":          func(c *notify.Config) { c.Telemetry.LogLevel = "loud" },
	} {
		cfg := notify.DefaultConfig()
		spoil(&cfg)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("%s: got %v", key, err)
		}
		if svc, err := notify.New(t.Context(), cfg, run.Env{}); err == nil || svc != nil {
			t.Errorf("%s: a service was made", key)
		}
	}
}
