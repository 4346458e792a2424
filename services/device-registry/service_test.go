package deviceregistry_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/conf"
	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	deviceregistry "github.com/armlet-pay/armlet/services/device-registry"
	"github.com/armlet-pay/armlet/services/device-registry/internal/bus"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
	"github.com/armlet-pay/armlet/services/device-registry/internal/store"
)

// stock puts a lot into the database before the service starts, since partners' tokens come from auth, which is not there.
func stock(t *testing.T, url string) lot.Lot {
	t.Helper()
	db, err := sqldb.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := store.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	st, now := store.New(db, bus.Outbox{}, quota.Amounts{}), time.Now()
	by := device.Actor{Role: device.RolePartner, ID: "acme", Partner: "acme", PartnerNo: 7}
	model := device.Model{Partner: "acme", ID: "w1", DisplayName: "W1", Suites: []device.Suite{device.HMACSHA256}}
	if _, err := device.NewService(st).CreateModel(t.Context(), by, model, now); err != nil {
		t.Fatal(err)
	}
	l, err := lot.NewService(st).Create(t.Context(), by, lot.Lot{
		Kind: lot.Range, State: device.LotReleased, Partner: "acme", No: 3, ModelID: "w1", Suite: device.HMACSHA256, KeyEpoch: 1, Count: 1000,
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTheServiceBindsADeviceAndPublishesIt(t *testing.T) {
	ctx := t.Context()
	_, natsURL := testkit.NATS(t)
	cfg := deviceregistry.DefaultConfig()
	cfg.Listen, cfg.HTTPListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.DBURL, cfg.NATSURL = "sqlite:"+filepath.Join(t.TempDir(), "r.db"), natsURL
	ca := testkit.PKI(t)
	cfg.TLSCert, cfg.TLSKey = ca.Service(deviceregistry.Name)
	cfg.TLSCA = ca.File
	l := stock(t, cfg.DBURL)

	svc, err := deviceregistry.New(ctx, cfg, run.Env{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	running, err := run.Start(ctx, svc)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := running.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	client := dial(t, ca, "auth", running.Addr(deviceregistry.Name))
	uid := wire.UID(l.UID(5)).String()
	pending, err := client.BeginBinding(ctx, &devicesv1.BeginBindingRequest{Uid: uid, Account: "accounts/alice", RequestId: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.ConfirmBinding(ctx, &devicesv1.ConfirmBindingRequest{BindingId: pending.GetBindingId()}); err != nil {
		t.Fatal(err)
	}
	other := dial(t, ca, "payments", running.Addr(deviceregistry.Name))
	check := &devicesv1.CheckDeviceRequest{Subject: &devicesv1.CheckDeviceRequest_Uid{Uid: uid}}
	if _, err := other.CheckDevice(ctx, check); fault.ReasonOf(err) != "CALLER_NOT_ALLOWED" {
		t.Errorf("another service's certificate: %v", err)
	}
	if got, err := client.CheckDevice(ctx, check); err != nil || !got.GetCanPay() {
		t.Errorf("%v %v", got, err)
	}

	created, bound := &devicesv1.LotCreated{}, &devicesv1.DeviceBound{}
	published(t, natsURL, "evt.v1.live.devices.lot.created.acme.3", created)
	published(t, natsURL, "evt.v1.live.devices.device.bound.acme."+uid, bound)
	if created.GetLot().GetName() != "partners/acme/lots/3" || created.GetLot().GetDeviceCount() != 1000 {
		t.Errorf("%v", created)
	}
	if bound.GetDevice() != "partners/acme/devices/"+uid || bound.GetAccount() != "accounts/alice" || bound.GetAuthEpoch() != 2 ||
		string(bound.GetBindingId()) != string(pending.GetBindingId()) {
		t.Errorf("%v", bound)
	}
}

func dial(t *testing.T, ca *testkit.Authority, service, addr string) devicesv1.DeviceRegistryServiceClient {
	t.Helper()
	cert, key := ca.Service(service)
	tlsConfig, err := rpc.ClientTLS(cert, key, ca.File)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := rpc.Dial(addr, rpc.DialConfig{TLS: tlsConfig})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return devicesv1.NewDeviceRegistryServiceClient(conn)
}

// published waits for the last event on the subject and decodes it.
func published(t *testing.T, url, subject string, into proto.Message) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		var msg *jetstream.RawStreamMsg
		stream, err := js.Stream(ctx, bus.Stream)
		if err == nil {
			msg, err = stream.GetLastMsgForSubject(ctx, subject)
		}
		if err == nil {
			if got, want := msg.Header.Get("ce-type"), string(into.ProtoReflect().Descriptor().FullName()); got != want {
				t.Errorf("ce-type is %s, want %s", got, want)
			}
			if err := proto.Unmarshal(msg.Data, into); err != nil {
				t.Fatal(err)
			}
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s was not published: %v", subject, err)
		}
	}
}

func TestConfigNamesTheKeyThatIsWrong(t *testing.T) {
	if err := deviceregistry.DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for key, spoil := range map[string]func(*deviceregistry.Config){
		"db-url":       func(c *deviceregistry.Config) { c.DBURL = "" },
		"token-issuer": func(c *deviceregistry.Config) { c.TokenIssuer = "" },
		"jwks-url":     func(c *deviceregistry.Config) { c.JWKSURL = "file:///keys" },
		"tls-key":      func(c *deviceregistry.Config) { c.TLSCert = "cert.pem" },
		"tls-ca":       func(c *deviceregistry.Config) { c.TLSCA = "ca.pem" },
		"device-limit": func(c *deviceregistry.Config) { c.DeviceLimit = 0 },
		"log-format":   func(c *deviceregistry.Config) { c.Telemetry.LogFormat = "xml" },
	} {
		cfg := deviceregistry.DefaultConfig()
		spoil(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestEveryKeyIsInTheREADME(t *testing.T) {
	cfg := deviceregistry.DefaultConfig()
	var help strings.Builder
	if _, err := conf.Load(deviceregistry.Name, &cfg, []string{"--help"}, func(string) string { return "" }, &help); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(help.String(), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] == "--config" || !strings.HasPrefix(fields[0], "--") || !strings.HasPrefix(fields[2], "ARMLET_") {
			continue
		}
		if key := "`" + strings.TrimPrefix(fields[0], "--") + "`"; !strings.Contains(string(text), key) {
			t.Errorf("README.md does not mention %s", key)
		}
	}
}
