package grpcapi_test

import (
	"context"
	"crypto/ed25519"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/device-registry/internal/binding"
	"github.com/armlet-pay/armlet/services/device-registry/internal/bus"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/grpcapi"
	"github.com/armlet-pay/armlet/services/device-registry/internal/imports"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
	"github.com/armlet-pay/armlet/services/device-registry/internal/store"
)

// The callers of the tests; the name of each is its token.
var tokens = testkit.Tokens{
	"operator": {Role: rpc.RoleOperator, ID: "desk"},
	"support":  {Role: rpc.RoleOperator, ID: "helper", Operator: rpc.OperatorSupport},
	"auditor":  {Role: rpc.RoleOperator, ID: "auditor", Operator: rpc.OperatorAuditor},
	"acme": {
		Role: rpc.RolePartner, ID: "acme-1", Partner: "acme", PartnerNo: 7, Scopes: []string{"devices.read", "devices.provision"},
	},
	"acme reading":        {Role: rpc.RolePartner, ID: "acme-4", Partner: "acme", PartnerNo: 7, Scopes: []string{"devices.read"}},
	"acme provisioning":   {Role: rpc.RolePartner, ID: "acme-5", Partner: "acme", PartnerNo: 7, Scopes: []string{"devices.provision"}},
	"acme without scopes": {Role: rpc.RolePartner, ID: "acme-2", Partner: "acme", PartnerNo: 7, Scopes: []string{"events.subscribe"}},
	"acme without number": {Role: rpc.RolePartner, ID: "acme-3", Partner: "acme", Scopes: []string{"devices.provision"}},
	"zenith": {
		Role: rpc.RolePartner, ID: "zenith-1", Partner: "zenith", PartnerNo: 8, Scopes: []string{"devices.read", "devices.provision"},
	},
	"alice":    {Role: rpc.RoleWearer, ID: "alice", Account: "alice"},
	"bob":      {Role: rpc.RoleWearer, ID: "accounts/bob", Account: "accounts/bob"}, // the claim as a name is understood too
	"terminal": {Role: rpc.RoleTerminal, ID: "t", Merchant: "m", Terminal: "t"},
}

var notaryKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

const (
	service = "service " // and its name
	nobody  = ""
)

// world is a server over a real database with one model and one lot of acme's.
type world struct {
	t      testing.TB
	store  *store.Store
	server *rpc.Server
	db     *sqldb.DB
	url    string // of the database
	clock  *testkit.FakeClock
	conns  map[string]*grpc.ClientConn
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOn(t, sqldb.SQLite, quota.Amounts{})
}

func newWorldOn(t testing.TB, dialect sqldb.Dialect, limits quota.Amounts) *world {
	t.Helper()
	w := newWorldAt(t, testkit.DBURL(t, dialect), bus.Outbox{}, limits)
	must(w, w.as("acme").CreateModel, modelRequest("w1", "m1"))
	must(w, w.as("acme").CreateLot, lotRequest(3, "l1"))
	return w
}

// newWorldAt is a server over a database that may have another one already, which stands for a process of its own.
func newWorldAt(t testing.TB, url string, outbox store.Outbox, limits quota.Amounts) *world {
	t.Helper()
	db := testkit.OpenDB(t, url)
	if err := store.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	st := store.New(db, outbox, limits)
	key, err := st.Secret(t.Context(), "page-tokens")
	if err != nil {
		t.Fatal(err)
	}
	server, err := rpc.NewServer(rpc.ServerConfig{Service: "device-registry", Policy: grpcapi.Policy(), Verifier: tokens})
	if err != nil {
		t.Fatal(err)
	}
	clock := testkit.Clock(time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC))
	devicesv1.RegisterDeviceRegistryServiceServer(server.GRPC(), grpcapi.New(grpcapi.Config{
		Devices: device.NewService(st), Lots: lot.NewService(st), Bindings: binding.NewService(st, 2),
		Imports: imports.NewService(st, grpcapi.ParseUID, grpcapi.ParseKey),
		Catalog: st, Reader: st, Record: st, Feed: st, Notary: device.NewNotary(notaryKey), Repeater: st, PageKey: key, Now: clock.Now,
	}))
	w := &world{t: t, store: st, server: server, db: db, url: url, clock: clock, conns: map[string]*grpc.ClientConn{}}
	testkit.Client(t, server, nobody) // the first client starts the server and has to outlive subtests
	return w
}

// conn connects as a caller, once: the name of a token, "service NAME", or nobody.
func (w *world) conn(caller string) *grpc.ClientConn {
	w.t.Helper()
	if w.conns[caller] == nil {
		w.conns[caller] = w.connect(caller)
	}
	return w.conns[caller]
}

func (w *world) connect(caller string) *grpc.ClientConn {
	w.t.Helper()
	if len(caller) > len(service) && caller[:len(service)] == service {
		return testkit.Client(w.t, w.server, caller[len(service):])
	}
	if caller == nobody {
		return testkit.Client(w.t, w.server, "")
	}
	return testkit.ClientWithToken(w.t, w.server, caller)
}

func (w *world) as(caller string) devicesv1.DeviceRegistryServiceClient {
	w.t.Helper()
	return devicesv1.NewDeviceRegistryServiceClient(w.conn(caller))
}

func (w *world) auth() devicesv1.DeviceRegistryServiceClient { return w.as("service auth") }

type call[Req, Resp any] func(ctx context.Context, req Req, opts ...grpc.CallOption) (Resp, error)

func must[Req, Resp any](w *world, c call[Req, Resp], req Req) Resp {
	w.t.Helper()
	resp, err := c(w.t.Context(), req)
	if err != nil {
		w.t.Fatalf("%T: %v", req, err)
	}
	return resp
}

// refuse asserts the kind and the reason of a refusal, and its field when one is named.
func refuse[Req, Resp any](w *world, c call[Req, Resp], req Req, kind fault.Kind, reason string, field ...string) {
	w.t.Helper()
	_, err := c(w.t.Context(), req)
	f, _ := fault.As(err)
	if f == nil || f.Kind != kind || f.Reason != reason {
		w.t.Errorf("%T %v: %v, want %s %s", req, req, err, kind, reason)
		return
	}
	if len(field) > 0 && f.Field != field[0] {
		w.t.Errorf("%T: field is %q, want %q", req, f.Field, field[0])
	}
}

func modelRequest(id, requestID string) *devicesv1.CreateModelRequest {
	return &devicesv1.CreateModelRequest{
		Parent: "partners/acme", ModelId: id, RequestId: requestID,
		Model: &devicesv1.Model{
			DisplayName: "W1 woven band", HasDisplay: true, HasWristDetection: true, MinSvn: 2,
			Suites: []devicesv1.Suite{devicesv1.Suite_SUITE_HMAC_SHA256, devicesv1.Suite_SUITE_ECDSA_P256, devicesv1.Suite_SUITE_ED25519},
		},
	}
}

func lotRequest(no uint32, requestID string) *devicesv1.CreateLotRequest {
	return &devicesv1.CreateLotRequest{
		Parent: "partners/acme", LotNo: no, Model: "partners/acme/models/w1", Suite: devicesv1.Suite_SUITE_HMAC_SHA256, KeyEpoch: 4,
		FirstSerial: 1000, DeviceCount: 1000, RequestId: requestID,
	}
}

// uid is the text form of a device of lot 3.
func uid(serial uint64) string { return wire.NewRangeUID(7, 3, serial).String() }

func name(serial uint64) string { return "partners/acme/devices/" + uid(serial) }

// bind binds a device of lot 3.
func (w *world) bind(serial uint64, account string) *devicesv1.Binding {
	w.t.Helper()
	b := must(w, w.auth().BeginBinding, &devicesv1.BeginBindingRequest{
		Uid: uid(serial), Account: "accounts/" + account, RequestId: "b-" + account + uid(serial),
	})
	return must(w, w.auth().ConfirmBinding, &devicesv1.ConfirmBindingRequest{BindingId: b.GetBindingId()})
}

func with[M proto.Message](m M, change func(M)) M {
	c := proto.Clone(m).(M)
	change(c)
	return c
}
