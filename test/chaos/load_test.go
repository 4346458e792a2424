package chaos

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/sdk/virtual"
	"github.com/armlet-pay/armlet/test/chaos/checker"
)

const (
	money     = 1_000_000_00
	firstTap  = 1_00
	tapPause  = 20 * time.Millisecond
	oneCall   = 5 * time.Second // after which a terminal repeats
	wholeTap  = 40 * time.Second
	partnerID = "chaos"
)

// load is a shop where bands tap all the time, and what its till and the wearers' accounts were told.
type load struct {
	t        testing.TB
	operator *sdk.Client
	till     *virtual.Terminal
	history  *checker.History

	// gate is held for reading by each tap that is under way.
	gate    sync.RWMutex
	running sync.WaitGroup
	leave   context.CancelFunc

	bands []*tapper
	// acknowledged counts taps, and answers counts calls that had an error by what it was.
	acknowledged atomic.Int64
	mu           sync.Mutex
	errors       map[string]int
}

// tapper is one band.
type tapper struct {
	account string
	band    *virtual.Band
	amount  int64
	last    atomic.Int64 // when its last tap was acknowledged, in Unix nanoseconds
}

func id() string { return uuid.NewString() }

func cny(minor int64) *typev1.Money { return &typev1.Money{MinorUnits: minor, CurrencyCode: "CNY"} }

func callCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// startLoad registers a partner with a factory, a shop, and wearers, and has them tap until the test ends.
func startLoad(s *suite, wearers int) *load {
	t := s.t
	t.Helper()
	at, tlsConfig, key := s.endpoints()
	client := func(tokens sdk.TokenSource) *sdk.Client {
		c, err := sdk.Dial(at, sdk.WithTLS(tlsConfig), sdk.WithTokens(tokens), sdk.WithTimeout(30*time.Second))
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	l := &load{t: t, history: checker.NewHistory(), errors: map[string]int{}}
	l.operator = client(sdk.ClientCredentials(at.TokenURL, "operator", key))
	partner := client(l.newPartner(at.TokenURL))
	lot, factory := newLot(t, partner)
	l.newShop(client)
	first, err := wire.ParseUID(lot.GetFirstUid())
	must(t, err)
	for n := range wearers {
		band, err := factory.Make(wire.NewRangeUID(first.PartnerNo(), first.LotNo(), first.Serial()+uint64(n)), wire.Suite(lot.GetSuite()))
		must(t, err)
		band.Wear()
		l.bands = append(l.bands, &tapper{account: l.newWearer(fmt.Sprintf("wearer%d", n), band, client), band: band, amount: firstTap})
	}
	// The partner's stream is made with its first subscription.
	s.until("the partner can subscribe", func() error {
		_, err := partner.Notify.CreateSubscription(callCtx(t), &notifyv1.CreateSubscriptionRequest{
			Parent: "partners/" + partnerID, SubscriptionId: "all", RequestId: "subscribe",
		})
		return err
	})
	ctx, leave := context.WithCancel(context.Background())
	l.leave = leave
	t.Cleanup(func() { leave(); l.running.Wait() })
	for _, b := range l.bands {
		l.running.Go(func() { l.run(ctx, b) })
	}
	return l
}

func (l *load) newPartner(tokenURL string) sdk.TokenSource {
	l.t.Helper()
	ctx := callCtx(l.t)
	name := "partners/" + partnerID
	_, err := l.operator.Auth.CreatePartner(ctx, &authv1.CreatePartnerRequest{PartnerId: partnerID, DisplayName: "Bands for chaos", RequestId: id()})
	must(l.t, err)
	for _, scope := range []string{"devices.provision", "devices.read", "payments.read", "events.subscribe"} {
		_, err := l.operator.Auth.CreateGrant(ctx, &authv1.CreateGrantRequest{Parent: name, Scope: scope, RequestId: id()})
		must(l.t, err)
	}
	key, err := sdk.NewKey()
	must(l.t, err)
	public, err := key.PublicJWK()
	must(l.t, err)
	_, err = l.operator.Auth.CreateClient(ctx, &authv1.CreateClientRequest{
		ClientId: "chaos", Role: authv1.ClientRole_CLIENT_ROLE_PARTNER, Partner: name, PublicJwk: public, RequestId: id(),
	})
	must(l.t, err)
	return sdk.ClientCredentials(tokenURL, "chaos", key)
}

func newLot(t testing.TB, partner *sdk.Client) (*devicesv1.Lot, *virtual.Factory) {
	t.Helper()
	ctx := callCtx(t)
	name := "partners/" + partnerID
	_, err := partner.Devices.CreateModel(ctx, &devicesv1.CreateModelRequest{
		Parent: name, ModelId: "m1", RequestId: id(),
		Model: &devicesv1.Model{DisplayName: "Band", Suites: []devicesv1.Suite{devicesv1.Suite_SUITE_HMAC_SHA256}, HasDisplay: true, HasWristDetection: true},
	})
	must(t, err)
	lot, err := partner.Devices.CreateLot(ctx, &devicesv1.CreateLotRequest{
		Parent: name, LotNo: 1, Model: name + "/models/m1", Suite: devicesv1.Suite_SUITE_HMAC_SHA256,
		KeyEpoch: 1, FirstSerial: 1, DeviceCount: 1000, RequestId: id(),
	})
	must(t, err)
	factory, err := virtual.NewFactory()
	must(t, err)
	recipient, err := factory.RecipientJWK()
	must(t, err)
	key, err := partner.Auth.ExportMasterKey(ctx, &authv1.ExportMasterKeyRequest{Partner: name, KeyEpoch: 1, RecipientJwk: recipient})
	must(t, err)
	must(t, factory.Load(key.GetJwe(), 1))
	return lot, factory
}

func (l *load) newShop(client func(sdk.TokenSource) *sdk.Client) {
	l.t.Helper()
	ctx := callCtx(l.t)
	m, err := l.operator.Payments.CreateMerchant(ctx, &paymentsv1.CreateMerchantRequest{
		Merchant: &paymentsv1.Merchant{DisplayName: "Hua's Dumplings", CategoryCode: 5812, CurrencyCode: "CNY"}, RequestId: id(),
	})
	must(l.t, err)
	term, err := l.operator.Payments.CreateTerminal(ctx, &paymentsv1.CreateTerminalRequest{Merchant: m.GetName(), DisplayName: "Till", RequestId: id()})
	must(l.t, err)
	session, err := l.operator.Auth.CreateTerminalSession(ctx, &authv1.CreateTerminalSessionRequest{Merchant: m.GetName(), Terminal: term.GetName()})
	must(l.t, err)
	l.till = &virtual.Terminal{Client: client(sdk.StaticToken(session.GetAccessToken())), Merchant: m.GetName()}
}

// newWearer opens an account with money and claims the band for it.
func (l *load) newWearer(name string, band *virtual.Band, client func(sdk.TokenSource) *sdk.Client) (account string) {
	l.t.Helper()
	ctx := callCtx(l.t)
	account = "accounts/" + name
	_, err := l.operator.Payments.CreateAccount(ctx, &paymentsv1.CreateAccountRequest{AccountId: name, CurrencyCode: "CNY", RequestId: id()})
	must(l.t, err)
	_, err = l.operator.Payments.TopUpAccount(ctx, &paymentsv1.TopUpAccountRequest{Name: account, Amount: cny(money), RequestId: id()})
	must(l.t, err)
	l.history.Deposited(account, money)
	session, err := l.operator.Auth.CreateWearerSession(ctx, &authv1.CreateWearerSessionRequest{Account: account})
	must(l.t, err)
	band.Knock()
	_, err = (&virtual.Phone{Client: client(sdk.StaticToken(session.GetAccessToken())), Band: band}).Claim(ctx)
	must(l.t, err)
	return account
}

func (l *load) run(ctx context.Context, b *tapper) {
	for ctx.Err() == nil {
		l.gate.RLock()
		l.tap(ctx, b)
		l.gate.RUnlock()
		time.Sleep(tapPause)
	}
}

// tap repeats both calls, the same to the letter, until they are answered, and notes what came of it.
func (l *load) tap(ctx context.Context, b *tapper) {
	ctx, cancel := context.WithTimeout(ctx, wholeTap)
	defer cancel()
	order := &paymentsv1.CreatePaymentRequest{Amount: cny(b.amount), RequestId: id()}
	l.history.Sent(b.account, order.GetRequestId(), b.amount)
	b.amount++
	var p *paymentsv1.Payment
	if !l.repeat(ctx, func(ctx context.Context) (err error) {
		p, err = l.till.Charge(ctx, b.band.UID(), proto.CloneOf(order))
		return err
	}) {
		return
	}
	l.history.Named(order.GetRequestId(), p.GetName())
	b.band.Knock()
	response, err := (&virtual.Phone{Band: b.band}).Relay(p.GetTap().GetChallengeFrame(), p.GetTap().GetPongKey())
	if err != nil {
		l.note("the band: " + err.Error())
		return
	}
	var done *paymentsv1.ConfirmPaymentResponse
	if !l.repeat(ctx, func(ctx context.Context) (err error) {
		done, err = l.till.Client.Payments.ConfirmPayment(ctx, &paymentsv1.ConfirmPaymentRequest{Name: p.GetName(), ResponseFrame: response})
		return err
	}) {
		return
	}
	switch p := done.GetPayment(); p.GetState() {
	case paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED:
		l.history.Settled(order.GetRequestId(), checker.Acknowledged)
		l.acknowledged.Add(1)
		b.last.Store(time.Now().UnixNano())
	default:
		l.history.Settled(order.GetRequestId(), checker.Refused)
		l.note(p.GetState().String() + " " + p.GetDeclineReason())
	}
}

// repeat makes a call until it is answered or refused for good, and says whether it was answered.
func (l *load) repeat(ctx context.Context, call func(ctx context.Context) error) bool {
	for {
		one, cancel := context.WithTimeout(ctx, oneCall)
		err := call(one)
		cancel()
		switch {
		case err == nil:
			return true
		case ctx.Err() != nil:
			return false
		case !sdk.Retryable(err):
			l.note(sdk.Reason(err) + " " + err.Error())
			return false
		}
		time.Sleep(tapPause)
	}
}

func (l *load) note(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors[what]++
}

// refusals are what taps ended with other than being captured, since the last time somebody asked.
func (l *load) refusals() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for what, n := range l.errors {
		out = append(out, fmt.Sprintf("%d × %s", n, what))
	}
	clear(l.errors)
	return strings.Join(out, "; ")
}

// untilMore waits for more taps.
func (l *load) untilMore(n int64) error {
	want := l.acknowledged.Load() + n
	for deadline := time.Now().Add(time.Minute); l.acknowledged.Load() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("only %d more taps in a minute", l.acknowledged.Load()-want+n)
		}
	}
	return nil
}

// recovered waits until every band had a tap acknowledged after the moment, and returns how long after that was.
func (l *load) recovered(moment time.Time) (time.Duration, error) {
	var last time.Duration
	for _, b := range l.bands {
		for b.last.Load() <= moment.UnixNano() {
			if time.Since(moment) > time.Minute {
				return 0, fmt.Errorf("%s pays nothing for a minute", b.account)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	last = time.Since(moment)
	return last, nil
}
