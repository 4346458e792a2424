package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

// fortress is a NATS server that runs on the rendered configuration, with a responder that lets partner p in with the
// token "token-p", and the fabric that keeps its partners.
type fortress struct {
	t        *testing.T
	srv      *server.Server
	settings NATSSettings
	file     string
	reloads  atomic.Int32
	accounts *Accounts
	fabric   *Fabric
	subs     *partnerList
	edge     jetstream.JetStream
	edgeConn *nats.Conn
}

// partnerList is what the store says about subscriptions.
type partnerList struct {
	mu   sync.Mutex
	subs []subscription.Subscription
	gone []string
}

func (p *partnerList) Subscriptions(context.Context) ([]subscription.Subscription, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.subs), nil
}

func (p *partnerList) SubscribedPartners(context.Context) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, s := range p.subs {
		all = append(all, s.Partner)
	}
	return all, nil
}

func (p *partnerList) Offboarded(context.Context) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.gone), nil
}

// leave forgets a partner's subscriptions.
func (p *partnerList) leave(partner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subs = slices.DeleteFunc(p.subs, func(s subscription.Subscription) bool { return s.Partner == partner })
	p.gone = append(p.gone, partner)
}

func (p *partnerList) add(s subscription.Subscription) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subs = append(p.subs, s)
}

func newFortress(t *testing.T) *fortress {
	t.Helper()
	issuer, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	public, err := issuer.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := &fortress{t: t, file: filepath.Join(dir, "nats.conf"), subs: &partnerList{}, settings: NATSSettings{
		Listen: "127.0.0.1:-1", StoreDir: filepath.Join(dir, "js"), CalloutIssuer: public,
		SystemPassword: "system-password-1", AuthPassword: "auth-password-0001", CorePassword: "core-password-0001", EdgePassword: "edge-password-0001",
	}}
	if err := os.WriteFile(f.file, []byte(RenderNATS(f.settings)), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(f.file)
	if err != nil {
		t.Fatalf("the server does not take the configuration: %v\n%s", err, RenderNATS(f.settings))
	}
	opts.NoLog, opts.NoSigs = true, true
	if f.srv, err = server.NewServer(opts); err != nil {
		t.Fatal(err)
	}
	f.srv.Start()
	t.Cleanup(func() {
		f.srv.Shutdown()
		f.srv.WaitForShutdown()
	})
	if !f.srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	f.answer(issuer)
	f.edgeConn = f.connect(nats.UserInfo("edge", f.settings.EdgePassword))
	if f.edge, err = jetstream.New(f.edgeConn); err != nil {
		t.Fatal(err)
	}
	sys := f.connect(nats.UserInfo("sys", f.settings.SystemPassword))
	reload := SystemReload(sys)
	f.accounts = NewAccounts(f.file, f.settings, func(ctx context.Context) error {
		f.reloads.Add(1)
		return reload(ctx)
	})
	f.fabric = NewFabric(f.edge, f.accounts, f.subs, discard)
	return f
}

func (f *fortress) connect(opts ...nats.Option) *nats.Conn {
	f.t.Helper()
	nc, err := nats.Connect(f.srv.ClientURL(), append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(nc.Close)
	return nc
}

// answer is the least that auth's callout responder does, with the permissions that auth gives: wider than what the
// account imports, which has to hold alone.
func (f *fortress) answer(issuer nkeys.KeyPair) {
	f.t.Helper()
	nc := f.connect(nats.UserInfo("auth", f.settings.AuthPassword))
	_, err := nc.Subscribe("$SYS.REQ.USER.AUTH", func(msg *nats.Msg) {
		req, err := jwt.DecodeAuthorizationRequestClaims(string(msg.Data))
		if err != nil {
			return
		}
		res := jwt.NewAuthorizationResponseClaims(req.UserNkey)
		res.Audience = req.Server.ID
		if partner, ok := strings.CutPrefix(req.ConnectOptions.Token, "token-"); ok {
			user := jwt.NewUserClaims(req.UserNkey)
			user.Audience = PartnerAccount(partner)
			for _, api := range apiSubjects(partner) {
				user.Pub.Allow.Add(partnerAPI + "." + api)
			}
			user.Pub.Allow.Add("$JS.ACK.PE_"+partner+".>", "$JS.ACK.*.*.PE_"+partner+".>")
			user.Sub.Allow.Add("_INBOX.>")
			res.Jwt, _ = user.Encode(issuer)
		} else {
			res.Error = "no"
		}
		token, err := res.Encode(issuer)
		if err != nil {
			return
		}
		_ = msg.Respond([]byte(token))
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// subscribe makes a subscription as the service does.
func (f *fortress) subscribe(partner, id, secret string) subscription.Subscription {
	f.t.Helper()
	s := subscription.Subscription{Partner: partner, ID: id, Filters: []string{"live.>"}, Consumer: id + "-" + secret, State: subscription.Active}
	f.subs.add(s)
	if err := f.fabric.Ensure(f.t.Context(), s); err != nil {
		f.t.Fatal(err)
	}
	return s
}

func (f *fortress) publish(partner, text string) {
	f.t.Helper()
	subject := subscription.Subject(partner, "live", "payments", "payment", "captured")
	if _, err := f.edge.Publish(f.t.Context(), subject, []byte(text)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fortress) consumer(nc *nats.Conn, s subscription.Subscription) jetstream.Consumer {
	f.t.Helper()
	js, err := jetstream.NewWithAPIPrefix(nc, f.fabric.APIPrefix())
	if err != nil {
		f.t.Fatal(err)
	}
	c, err := js.Consumer(f.t.Context(), subscription.Stream(s.Partner), s.Consumer)
	if err != nil {
		f.t.Fatalf("the partner does not find its consumer: %v", err)
	}
	return c
}

func (f *fortress) info(s subscription.Subscription) *jetstream.ConsumerInfo {
	f.t.Helper()
	c, err := f.edge.Consumer(f.t.Context(), subscription.Stream(s.Partner), s.Consumer)
	if err != nil {
		f.t.Fatal(err)
	}
	info, err := c.Info(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return info
}

func TestAPartnerReceivesAndAcknowledgesItsOwnEvents(t *testing.T) {
	t.Parallel()
	f := newFortress(t)
	acme := f.subscribe("acme", "main", "k3y")
	bolt := f.subscribe("bolt-2", "main", "k3y2") // accounts are added while the server runs
	for _, s := range []subscription.Subscription{acme, bolt} {
		for i := range 3 {
			f.publish(s.Partner, fmt.Sprint(s.Partner, i))
		}
		c := f.consumer(f.connect(nats.Token("token-"+s.Partner)), s)
		batch, err := c.Fetch(3, jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for msg := range batch.Messages() {
			if got, want := string(msg.Data()), fmt.Sprint(s.Partner, n); got != want {
				t.Errorf("event %d is %q, want %q", n, got, want)
			}
			if err := msg.DoubleAck(t.Context()); err != nil {
				t.Errorf("the acknowledgement is not confirmed: %v", err)
			}
			n++
		}
		if n != 3 || batch.Error() != nil {
			t.Fatalf("%s got %d events, %v", s.Partner, n, batch.Error())
		}
		if info := f.info(s); info.AckFloor.Stream != 3 || info.NumAckPending != 0 {
			t.Errorf("%s: acknowledged to %d, %d pending", s.Partner, info.AckFloor.Stream, info.NumAckPending)
		}
	}
	if got := f.reloads.Load(); got != 4 {
		t.Errorf("two new accounts took %d reloads, want 2 each", got)
	}
	if err := f.fabric.Ensure(t.Context(), acme); err != nil || f.reloads.Load() != 4 {
		t.Errorf("ensured again: %v, %d reloads", err, f.reloads.Load())
	}
}

func TestWithoutAGoodTokenNobodyGetsIn(t *testing.T) {
	t.Parallel()
	f := newFortress(t)
	f.subscribe("acme", "main", "k3y")
	for name, opt := range map[string]nats.Option{
		"nothing":            nats.Name("nobody"),
		"a wrong token":      nats.Token("wrong"),
		"an unknown partner": nats.Token("token-nobody"),
		"a wrong password":   nats.UserInfo("edge", "wrong"),
		"the system's name":  nats.UserInfo("sys", ""),
	} {
		if nc, err := nats.Connect(f.srv.ClientURL(), opt); err == nil {
			nc.Close()
			t.Errorf("%s gets in", name)
		}
	}
}

// The attacker knows everything about its victim but the victim's token and the secret in its consumer's name.
func TestAPartnerCannotReachAnythingOfAnother(t *testing.T) {
	t.Parallel()
	f := newFortress(t)
	mallory, victim := f.subscribe("mallory", "main", "hers"), f.subscribe("victim", "main", "secret")
	f.publish("victim", "private")
	var violations atomic.Int32
	nc := f.connect(nats.Token("token-mallory"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			violations.Add(1)
		}
	}))
	before := f.streamState("victim")
	spy := f.spy()

	for _, subject := range []string{
		"pevt.v1.victim.>", "pevt.v1.>", "evt.>", ">", "$JS.ACK.>", "$JS.API.>", "armlet.api.>", "$SYS.>",
	} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
	}
	requests := []string{
		"$JS.API.STREAM.DELETE.PE_victim", "armlet.api.STREAM.DELETE.PE_victim", "$JS.API.STREAM.PURGE.PE_victim",
		"$JS.API.STREAM.MSG.GET.PE_victim", "$JS.API.DIRECT.GET.PE_victim", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.PE_victim",
		"$JS.API.CONSUMER.NAMES.PE_victim", "$JS.API.CONSUMER.CREATE.PE_victim.new", "$JS.API.CONSUMER.DURABLE.CREATE.PE_victim.new",
		"armlet.api.CONSUMER.CREATE.PE_mallory.new", "$JS.API.CONSUMER.CREATE.PE_mallory.new",
		"armlet.api.CONSUMER.MSG.NEXT.PE_victim." + victim.Consumer, "$JS.API.CONSUMER.MSG.NEXT.PE_victim." + victim.Consumer,
		"armlet.api.CONSUMER.INFO.PE_victim." + victim.Consumer, "$JS.API.CONSUMER.DELETE.PE_victim." + victim.Consumer,
		"$JS.API.CONSUMER.DELETE.PE_mallory." + mallory.Consumer, "pevt.v1.victim.live.payments.payment.captured",
		"evt.v1.live.payments.payment.captured.victim.1", "evt.v1.x", "$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.AUTH",
	}
	for _, subject := range requests {
		if msg, err := nc.Request(subject, []byte("{}"), 150*time.Millisecond); err == nil {
			t.Errorf("%s is answered: %s", subject, msg.Data)
		}
	}
	if got := int(violations.Load()); got != len(requests)+8 {
		t.Errorf("%d violations were reported, want %d", got, len(requests)+8)
	}
	if after := f.streamState("victim"); after != before {
		t.Errorf("the victim's stream went from %s to %s", before, after)
	}
	if got := spy(); len(got) > 0 {
		t.Errorf("reached the account of the streams: %v", got)
	}
}

// A pull names the subject that it is answered on. The server maps it into the partner's own account, but for subjects
// below $JS.ACK, which it refuses. Here the attacker even knows the secret name of the victim's consumer.
func TestAHijackedReplyReachesNothing(t *testing.T) {
	t.Parallel()
	f := newFortress(t)
	mallory, victim := f.subscribe("mallory", "main", "hers"), f.subscribe("victim", "main", "secret")
	f.publish("victim", "private")
	f.publish("mallory", "bait")
	c := f.consumer(f.connect(nats.Token("token-victim")), victim)
	batch, err := c.Fetch(1, jetstream.FetchMaxWait(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	pending := <-batch.Messages()
	if pending == nil || f.info(victim).NumAckPending != 1 {
		t.Fatal("the victim's event is not pending")
	}
	before := f.streamState("victim")
	spy := f.spy()
	nc := f.connect(nats.Token("token-mallory"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // refusals are expected
	meta, err := pending.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	ack := func(consumer string) string {
		return fmt.Sprintf("PE_victim.%s.1.%d.%d.%d.0", consumer, meta.Sequence.Stream, meta.Sequence.Consumer, meta.Timestamp.UnixNano())
	}
	for _, reply := range []string{
		"pevt.v1.victim.live.payments.payment.captured", "evt.v1.live.payments.payment.captured.victim.1",
		"$JS.API.STREAM.DELETE.PE_victim", "$JS.API.CONSUMER.DELETE.PE_victim." + victim.Consumer, "$SYS.REQ.SERVER.PING",
		"$JS.ACK." + ack(victim.Consumer), "$JS.ACK.PE_victim." + victim.Consumer + ".PE_mallory.1.1.1.0", "$JS.ACK." + ack("main"), "$JS.ACK." + ack("*"), "$JS.ACK." + ack(">"),
		"$JS.ACK._." + accountHash(AccountEdge) + "." + ack("main"), "$JS.ACK._." + accountHash(AccountEdge) + "." + ack("*"),
	} {
		for _, body := range []string{`{"batch":1,"no_wait":true}`, `{"batch":5,"no_wait":true}`, `nonsense`} {
			if err := nc.PublishRequest("armlet.api.CONSUMER.MSG.NEXT.PE_mallory."+mallory.Consumer, reply, []byte(body)); err != nil {
				t.Fatal(err)
			}
			if err := nc.PublishRequest("armlet.api.CONSUMER.INFO.PE_mallory."+mallory.Consumer, reply, []byte(body)); err != nil {
				t.Fatal(err)
			}
			if err := nc.PublishRequest("$JS.ACK.PE_mallory."+mallory.Consumer+".1.1.1.1.0", reply, []byte("+NXT "+body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The longer form of acknowledgements must not be a way to the shorter form of somebody else's.
	for _, subject := range []string{
		"$JS.ACK.PE_victim." + victim.Consumer + ".PE_mallory.1.1.1.0", "$JS.ACK." + ack(victim.Consumer),
	} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	info := f.info(victim)
	if info.NumAckPending != 1 || info.AckFloor.Stream != 0 {
		t.Errorf("mallory acknowledged the victim's event: %d pending, floor %d", info.NumAckPending, info.AckFloor.Stream)
	}
	if after := f.streamState("victim"); after != before {
		t.Errorf("the victim's stream went from %s to %s", before, after)
	}
	if got := spy(); len(got) > 0 {
		t.Errorf("reached the account of the streams: %v", got)
	}
	if err := pending.DoubleAck(t.Context()); err != nil {
		t.Errorf("the victim can no longer acknowledge: %v", err)
	}
}

func (f *fortress) streamState(partner string) string {
	f.t.Helper()
	s, err := f.edge.Stream(f.t.Context(), subscription.Stream(partner))
	if err != nil {
		return err.Error()
	}
	info, err := s.Info(f.t.Context())
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d messages, %d consumers", info.State.Msgs, info.State.Consumers)
}

// spy hears what is published to events' subjects on the account of the streams.
func (f *fortress) spy() func() []string {
	f.t.Helper()
	var heard []string
	var mu sync.Mutex
	for _, subject := range []string{"pevt.>", "evt.>"} {
		_, err := f.edgeConn.Subscribe(subject, func(m *nats.Msg) {
			mu.Lock()
			defer mu.Unlock()
			heard = append(heard, m.Subject)
		})
		if err != nil {
			f.t.Fatal(err)
		}
	}
	if err := f.edgeConn.Flush(); err != nil {
		f.t.Fatal(err)
	}
	return func() []string {
		_ = f.edgeConn.Flush()
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(heard)
	}
}

func TestTheConfigurationIsReplacedAtOnceAndPrivate(t *testing.T) {
	t.Parallel()
	f := newFortress(t)
	f.subscribe("acme", "main", "k3y")
	info, err := os.Stat(f.file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(f.file))
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	text, err := os.ReadFile(f.file)
	if err != nil || !strings.Contains(string(text), `"P_acme"`) {
		t.Errorf("the file does not have the account: %v", err)
	}
}

func TestAPartnerThatCannotHaveAnAccountIsRefused(t *testing.T) {
	settings := NATSSettings{
		Listen: "x", StoreDir: "x", SystemPassword: strings.Repeat("a", 16), AuthPassword: strings.Repeat("a", 16),
		CorePassword: strings.Repeat("a", 16), EdgePassword: strings.Repeat("a", 16),
	}
	if err := settings.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, partner := range []string{`x" }`, "A", "a.b", "", "a*", "_"} {
		bad := settings
		bad.Partners = []string{partner}
		if bad.Validate() == nil {
			t.Errorf("the partner %q gets an account", partner)
		}
	}
	for _, change := range []func(*NATSSettings){
		func(s *NATSSettings) { s.Listen = "" }, func(s *NATSSettings) { s.StoreDir = "" },
		func(s *NATSSettings) { s.CorePassword = "short" }, func(s *NATSSettings) { s.EdgePassword = strings.Repeat(`"`, 16) },
		func(s *NATSSettings) { s.TLSCert = "x" },
	} {
		bad := settings
		change(&bad)
		if bad.Validate() == nil {
			t.Errorf("taken: %+v", bad)
		}
	}
}

func TestTheHashOfAnAccountIsTheServers(t *testing.T) {
	t.Parallel()
	f := newFortress(t)
	s := f.subscribe("acme", "main", "k3y")
	// The server subscribes to the acknowledgements of every consumer in both forms.
	subjects := map[string]bool{}
	acc, err := f.srv.LookupAccount(AccountEdge)
	if err != nil {
		t.Fatal(err)
	}
	subz, err := f.srv.Subsz(&server.SubszOptions{Subscriptions: true, Account: acc.Name, Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range subz.Subs {
		subjects[sub.Subject] = true
	}
	if want := "$JS.ACK._." + accountHash(AccountEdge) + ".PE_acme." + s.Consumer + ".*.*.*.*.>"; !subjects[want] {
		t.Errorf("the server does not listen on %s but on %v", want, subjects)
	}
}
