package grpcapi_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/bus"
	"github.com/armlet-pay/armlet/services/notify/internal/custom"
	"github.com/armlet-pay/armlet/services/notify/internal/grpcapi"
	"github.com/armlet-pay/armlet/services/notify/internal/offboarding"
	"github.com/armlet-pay/armlet/services/notify/internal/peers"
	"github.com/armlet-pay/armlet/services/notify/internal/store"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

type client = notifyv1.NotifyServiceClient

const (
	noUUID    = "00000000-0000-4000-8000-000000000000"
	device    = "partners/acme/devices/0000000000000000000000000a"
	merchant  = "11111111-1111-4111-8111-111111111111"
	heartbeat = 200 * time.Millisecond
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var partnerScopes = []string{"alerts.send", "alerts.types", "vouchers.issue", "vouchers.verify", "vouchers.redeem", "events.subscribe", "events.publish"}

var tokens = testkit.Tokens{
	"operator":  {Role: rpc.RoleOperator, ID: "operator"},
	"acme":      {Role: rpc.RolePartner, ID: "acme-1", Partner: "acme", Mode: "live", Scopes: partnerScopes},
	"acme-test": {Role: rpc.RolePartner, ID: "acme-t", Partner: "acme", Mode: "test", Scopes: partnerScopes},
	"acme-bare": {Role: rpc.RolePartner, ID: "acme-0", Partner: "acme", Mode: "live"},
	"acme-one":  {Role: rpc.RolePartner, ID: "acme-o", Partner: "acme", Mode: "live", Scopes: []string{"custom:acme/sleep"}},
	"bolt":      {Role: rpc.RolePartner, ID: "bolt-1", Partner: "bolt", Mode: "live", Scopes: partnerScopes},
	"alice":     {Role: rpc.RoleWearer, ID: "alice", Account: "accounts/alice"},
	"bob":       {Role: rpc.RoleWearer, ID: "bob", Account: "bob"},
	"terminal":  {Role: rpc.RoleTerminal, ID: "t", Terminal: "0011223344556677", Merchant: "merchants/" + merchant},
}

// api is the service behind real interceptors on a real database; only signatures and NATS are stand-ins.
type api struct {
	t        *testing.T
	db       *sqldb.DB
	st       *store.Store
	hub      *alert.Hub
	clock    *testkit.FakeClock
	server   *rpc.Server
	proofs   *proofs
	fabric   *fabric
	vouchers *voucher.Service
}

// proofs are the assertions that verify.
type proofs struct {
	mu  sync.Mutex
	all map[string]voucher.Proof
}

func (p *proofs) Verify(_ context.Context, assertion string) (voucher.Proof, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if assertion == "unavailable" {
		return voucher.Proof{}, fault.New(fault.Unavailable, "KEYS_UNAVAILABLE", "no keys")
	}
	proof, ok := p.all[assertion]
	if !ok {
		return voucher.Proof{}, voucher.ErrProofInvalid
	}
	return proof, nil
}

type fabric struct {
	mu   sync.Mutex
	err  error
	made []subscription.Subscription
	// queue are the events that Pull gives, acked those that were acknowledged.
	queue []subscription.Delivery
	acked []string
}

func (f *fabric) Ensure(_ context.Context, s subscription.Subscription) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.made = append(f.made, s)
	}
	return f.err
}

func (f *fabric) Remove(_ context.Context, s subscription.Subscription) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made = slices.DeleteFunc(f.made, func(m subscription.Subscription) bool { return m.Consumer == s.Consumer })
	return f.err
}

// Pull gives what is in the queue; what is not acknowledged goes back.
func (f *fabric) Pull(_ context.Context, _ subscription.Subscription, limit int, _ time.Duration) ([]subscription.Pulled, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []subscription.Pulled
	for len(f.queue) > 0 && len(out) < limit {
		d := f.queue[0]
		f.queue = f.queue[1:]
		out = append(out, subscription.Pulled{
			Delivery: d,
			Ack:      func() error { f.mu.Lock(); defer f.mu.Unlock(); f.acked = append(f.acked, d.EventID); return nil },
			Nak:      func() error { f.mu.Lock(); defer f.mu.Unlock(); f.queue = append(f.queue, d); return nil },
		})
	}
	return out, f.err
}

// PartnerHoldings implements offboarding.Fabric.
func (f *fabric) PartnerHoldings(context.Context, string) (offboarding.NATS, error) {
	return offboarding.NATS{Account: true, Stream: true, StreamEvents: 3, Consumers: 1}, nil
}

// RemoveAccount implements offboarding.Fabric.
func (f *fabric) RemoveAccount(context.Context, string) error { return nil }

// RemoveStream implements offboarding.Fabric.
func (f *fabric) RemoveStream(context.Context, string) error { return nil }

// Ready implements custom.Streams.
func (f *fabric) Ready(string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err == nil
}

func (f *fabric) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{
		t: t, db: testkit.OpenDB(t, "sqlite:"+filepath.Join(t.TempDir(), "notify.db")), hub: alert.NewHub(), clock: testkit.Clock(noon),
		proofs: &proofs{all: map[string]voucher.Proof{}}, fabric: &fabric{},
	}
	if err := store.Migrate(t.Context(), a.db); err != nil {
		t.Fatal(err)
	}
	a.st = store.New(a.db, bus.Encode, a.hub.Wake)
	key := sha256.Sum256([]byte("test"))
	codes, err := voucher.NewCodes(key[:])
	if err != nil {
		t.Fatal(err)
	}
	a.vouchers = voucher.NewService(voucher.Stores{Campaigns: a.st, Vouchers: a.st, Batches: a.st, Redemptions: a.st}, codes, a.proofs, func() string { return uuid.Must(uuid.NewV7()).String() })
	if a.server, err = rpc.NewServer(rpc.ServerConfig{Service: "notify", Policy: grpcapi.Policy(), Verifier: tokens}); err != nil {
		t.Fatal(err)
	}
	notifyv1.RegisterNotifyServiceServer(a.server.GRPC(), grpcapi.New(grpcapi.Config{
		Alerts:        alert.NewService(a.st, peers.NewSchemas(), uuid.NewString),
		Vouchers:      a.vouchers,
		Subscriptions: subscription.NewService(a.st, a.fabric, func() string { return "secret" }, false),
		Custom:        custom.NewService(a.st, peers.NewSchemas(), a.fabric, func() string { return uuid.Must(uuid.NewV7()).String() }), EventTypes: a.st,
		Offboarding: offboarding.NewService(a.st, a.fabric), DeadLetters: a.st, Puller: a.fabric,
		Seeds: func(ctx context.Context, keys []subscription.KeyRef) (all [][]byte, err error) {
			for _, k := range keys {
				seed, err := a.st.Key(ctx, key[:], k.Name, noon)
				if err != nil {
					return nil, err
				}
				all = append(all, seed)
			}
			return all, nil
		},
		Reader: a.st, Inboxes: a.st, AlertReader: a.st, Acker: a.st, Topics: a.st, Hub: a.hub, PageKey: key[:], NATSURL: "nats://here:4222", APIPrefix: "armlet.api", Now: a.clock.Now,
		Heartbeat: heartbeat,
	}))
	testkit.Client(t, a.server, "") // the server lives as long as the test
	return a
}

// as is a client with the token of that name; "" is nobody.
func (a *api) as(token string) client {
	a.t.Helper()
	if token == "" || token == "payments" || token == "auth" { // services are known by their connection
		return notifyv1.NewNotifyServiceClient(testkit.Client(a.t, a.server, token))
	}
	return notifyv1.NewNotifyServiceClient(testkit.ClientWithToken(a.t, a.server, token))
}

func (a *api) count(query string) (n int) {
	a.t.Helper()
	if err := a.db.QueryRowContext(a.t.Context(), query).Scan(&n); err != nil {
		a.t.Fatal(err)
	}
	return n
}

// alert puts a plain message into an inbox.
func (a *api) alert(account, text string) {
	a.t.Helper()
	err := a.db.InTx(a.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := a.st.DeliverAll(ctx, tx, []alert.Alert{{CreatedAt: noon, Order: alert.Order{
			ID: uuid.NewString(), Account: account, Mode: "live", Kind: alert.Key{ID: alert.PartnerMessage},
			Payload: map[string]any{"band_text": text},
		}}}, nil, noon)
		return err
	})
	if err != nil {
		a.t.Error(err)
	}
}

func (a *api) bind(account, mode string) {
	a.t.Helper()
	err := a.db.InTx(a.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		return a.st.SetWearer(ctx, tx, alert.Wearer{Device: device, Partner: "acme", Account: account, Mode: mode}, 2, noon)
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

func campaignRequest(limit int64) *notifyv1.CreateCampaignRequest {
	return &notifyv1.CreateCampaignRequest{
		DisplayName: "Spring", Value: &typev1.Money{MinorUnits: 500, CurrencyCode: "CNY"}, VoucherLimit: limit,
		ExpireTime: timestamppb.New(noon.Add(time.Hour)), RequestId: uuid.NewString(),
	}
}

func (a *api) campaign(token string, limit int64) *notifyv1.Campaign {
	a.t.Helper()
	c, err := a.as(token).CreateCampaign(a.t.Context(), campaignRequest(limit))
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a *api) issue(token string, c *notifyv1.Campaign, account string) *notifyv1.IssueVoucherResponse {
	a.t.Helper()
	v, err := a.as(token).IssueVoucher(a.t.Context(), &notifyv1.IssueVoucherRequest{Campaign: c.GetName(), Account: account, RequestId: uuid.NewString()})
	if err != nil {
		a.t.Fatal(err)
	}
	return v
}

// proof makes an assertion of that name that is good for the voucher.
func (a *api) proof(name, account string, v *notifyv1.Voucher, change func(*voucher.Proof)) string {
	p := voucher.Proof{
		ID: "jti-" + name, Audience: "notify", Purpose: "VOUCHER", Account: account, Intent: strings.TrimPrefix(v.GetName(), "vouchers/"),
		IssuedAt: a.clock.Now(), ExpiresAt: a.clock.Now().Add(30 * time.Second),
	}
	if change != nil {
		change(&p)
	}
	a.proofs.mu.Lock()
	defer a.proofs.mu.Unlock()
	a.proofs.all[name] = p
	return name
}

// refused checks kind and reason of an error.
func refused(t *testing.T, what string, err error, kind fault.Kind, reason string) {
	t.Helper()
	if fault.KindOf(err) != kind || fault.ReasonOf(err) != reason {
		t.Errorf("%s: got %v, want %v %s", what, err, kind, reason)
	}
}

var errNATS = errors.New("NATS is away")
