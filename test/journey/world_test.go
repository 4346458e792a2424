package journey

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

var scopes = []string{
	"devices.provision", "devices.read", "payments.initiate", "payments.read", "alerts.send",
	"vouchers.issue", "vouchers.verify", "vouchers.redeem", "events.subscribe", "presence.verify",
}

// world is one partner with a lot, and a shop; accounts and bands as a journey needs them.
type world struct {
	t        testing.TB
	d        *deployment
	operator *sdk.Client
	partner  *sdk.Client
	tokens   sdk.TokenSource
	name     string // partners/…
	lot      *devicesv1.Lot
	factory  *virtual.Factory
	bands    uint64

	merchant string
	terminal string
	till     *virtual.Terminal
}

func id() string { return uuid.NewString() }

func short() string { return strings.ReplaceAll(uuid.NewString(), "-", "")[:10] }

func callCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (d *deployment) client(t testing.TB, tokens sdk.TokenSource) *sdk.Client {
	t.Helper()
	opts := append([]sdk.Option{}, d.options...)
	if tokens != nil {
		opts = append(opts, sdk.WithTokens(tokens))
	}
	c, err := sdk.Dial(d.at, append(opts, sdk.WithTimeout(30*time.Second))...)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func newWorld(t testing.TB, d *deployment) *world {
	t.Helper()
	w := &world{t: t, d: d, name: "partners/p" + short()}
	w.operator = d.client(t, sdk.ClientCredentials(d.at.TokenURL, "operator", d.operator))
	w.tokens = w.newPartner(w.name, scopes...)
	w.partner = d.client(t, w.tokens)
	w.lot = w.newLot(1, devicesv1.Suite_SUITE_HMAC_SHA256)
	w.factory = w.newFactory()
	w.merchant, w.terminal, w.till = w.newShop("Hua's Dumplings", "CNY")
	return w
}

func (w *world) newPartner(name string, granted ...string) sdk.TokenSource {
	w.t.Helper()
	ctx := callCtx(w.t)
	_, err := w.operator.Auth.CreatePartner(ctx, &authv1.CreatePartnerRequest{
		PartnerId: strings.TrimPrefix(name, "partners/"), DisplayName: "Bands for journeys", RequestId: id(),
	})
	must(w.t, err)
	for _, scope := range granted {
		_, err := w.operator.Auth.CreateGrant(ctx, &authv1.CreateGrantRequest{Parent: name, Scope: scope, RequestId: id()})
		must(w.t, err)
	}
	return w.addClient(name)
}

// addClient gives a partner one more program with a key of its own.
func (w *world) addClient(name string) sdk.TokenSource {
	w.t.Helper()
	key, err := sdk.NewKey()
	must(w.t, err)
	public, err := key.PublicJWK()
	must(w.t, err)
	client := "c" + short()
	_, err = w.operator.Auth.CreateClient(callCtx(w.t), &authv1.CreateClientRequest{
		ClientId: client, Role: authv1.ClientRole_CLIENT_ROLE_PARTNER, Partner: name, PublicJwk: public, RequestId: id(),
	})
	must(w.t, err)
	return sdk.ClientCredentials(w.d.at.TokenURL, client, key)
}

func (w *world) newLot(number uint32, suite devicesv1.Suite) *devicesv1.Lot {
	w.t.Helper()
	ctx := callCtx(w.t)
	model := fmt.Sprintf("m%d", number)
	_, err := w.partner.Devices.CreateModel(ctx, &devicesv1.CreateModelRequest{
		Parent: w.name, ModelId: model, RequestId: id(),
		Model: &devicesv1.Model{DisplayName: "Band", Suites: []devicesv1.Suite{suite}, HasDisplay: true, HasWristDetection: true},
	})
	must(w.t, err)
	lot, err := w.partner.Devices.CreateLot(ctx, &devicesv1.CreateLotRequest{
		Parent: w.name, LotNo: number, Model: w.name + "/models/" + model, Suite: suite,
		KeyEpoch: 1, FirstSerial: 1, DeviceCount: 1_000_000, RequestId: id(),
	})
	must(w.t, err)
	return lot
}

func (w *world) newFactory() *virtual.Factory {
	w.t.Helper()
	f, err := virtual.NewFactory()
	must(w.t, err)
	recipient, err := f.RecipientJWK()
	must(w.t, err)
	key, err := w.partner.Auth.ExportMasterKey(callCtx(w.t), &authv1.ExportMasterKeyRequest{Partner: w.name, KeyEpoch: 1, RecipientJwk: recipient})
	must(w.t, err)
	must(w.t, f.Load(key.GetJwe(), 1))
	return f
}

func (w *world) newBand(lot *devicesv1.Lot) *virtual.Band {
	w.t.Helper()
	first, err := wire.ParseUID(lot.GetFirstUid())
	must(w.t, err)
	band, err := w.factory.Make(wire.NewRangeUID(first.PartnerNo(), first.LotNo(), first.Serial()+w.bands), wire.Suite(lot.GetSuite()))
	must(w.t, err)
	w.bands++
	band.Wear()
	return band
}

func (w *world) newShop(name, currency string) (merchant, terminal string, till *virtual.Terminal) {
	w.t.Helper()
	ctx := callCtx(w.t)
	m, err := w.operator.Payments.CreateMerchant(ctx, &paymentsv1.CreateMerchantRequest{
		Merchant: &paymentsv1.Merchant{DisplayName: name, CategoryCode: 5812, CurrencyCode: currency}, RequestId: id(),
	})
	must(w.t, err)
	term, err := w.operator.Payments.CreateTerminal(ctx, &paymentsv1.CreateTerminalRequest{Merchant: m.GetName(), DisplayName: "Till", RequestId: id()})
	must(w.t, err)
	s, err := w.operator.Auth.CreateTerminalSession(ctx, &authv1.CreateTerminalSessionRequest{Merchant: m.GetName(), Terminal: term.GetName()})
	must(w.t, err)
	return m.GetName(), term.GetName(), &virtual.Terminal{Client: w.d.client(w.t, sdk.StaticToken(s.GetAccessToken())), Merchant: m.GetName()}
}

// session is a new one of the shop's terminal.
func (w *world) session() string {
	w.t.Helper()
	s, err := w.operator.Auth.CreateTerminalSession(callCtx(w.t), &authv1.CreateTerminalSessionRequest{Merchant: w.merchant, Terminal: w.terminal})
	must(w.t, err)
	return s.GetAccessToken()
}

// newWearer opens an account with money and gives its owner a claimed band.
func (w *world) newWearer(money int64) (account string, phone *virtual.Phone) {
	w.t.Helper()
	account = "accounts/a" + short()
	_, err := w.operator.Payments.CreateAccount(callCtx(w.t), &paymentsv1.CreateAccountRequest{
		AccountId: strings.TrimPrefix(account, "accounts/"), CurrencyCode: "CNY", RequestId: id(),
	})
	must(w.t, err)
	if money > 0 {
		w.topUp(account, money)
	}
	return account, w.claim(account, w.newBand(w.lot))
}

func (w *world) topUp(account string, money int64) {
	w.t.Helper()
	_, err := w.operator.Payments.TopUpAccount(callCtx(w.t), &paymentsv1.TopUpAccountRequest{Name: account, Amount: cny(money), RequestId: id()})
	must(w.t, err)
}

func (w *world) wearer(account string) *sdk.Client {
	w.t.Helper()
	s, err := w.operator.Auth.CreateWearerSession(callCtx(w.t), &authv1.CreateWearerSessionRequest{Account: account})
	must(w.t, err)
	return w.d.client(w.t, sdk.StaticToken(s.GetAccessToken()))
}

func (w *world) claim(account string, band *virtual.Band) *virtual.Phone {
	w.t.Helper()
	phone := &virtual.Phone{Client: w.wearer(account), Band: band}
	band.Knock()
	_, err := phone.Claim(callCtx(w.t))
	must(w.t, err)
	return phone
}

// charge creates a payment of the shop for a band.
func (w *world) charge(ctx context.Context, band *virtual.Band, minor int64) (*paymentsv1.Payment, error) {
	return w.till.Charge(ctx, band.UID(), &paymentsv1.CreatePaymentRequest{Amount: cny(minor)})
}

// signed creates a payment and returns it with the band's response.
func (w *world) signed(band *virtual.Band, minor int64) (*paymentsv1.Payment, []byte) {
	w.t.Helper()
	p, err := w.charge(callCtx(w.t), band, minor)
	must(w.t, err)
	band.Knock()
	response, err := (&virtual.Phone{Band: band}).Relay(p.GetTap().GetChallengeFrame(), p.GetTap().GetPongKey())
	must(w.t, err)
	return p, response
}

func (w *world) confirm(ctx context.Context, p *paymentsv1.Payment, response []byte) (*paymentsv1.ConfirmPaymentResponse, error) {
	return w.till.Client.Payments.ConfirmPayment(ctx, &paymentsv1.ConfirmPaymentRequest{Name: p.GetName(), ResponseFrame: response})
}

func (w *world) balance(account string) int64 {
	w.t.Helper()
	a, err := w.operator.Payments.GetAccount(callCtx(w.t), &paymentsv1.GetAccountRequest{Name: account})
	must(w.t, err)
	return a.GetBalance().GetMinorUnits()
}

func (w *world) booksBalance() {
	w.t.Helper()
	books, err := w.operator.Payments.GetTrialBalance(callCtx(w.t), &paymentsv1.GetTrialBalanceRequest{})
	must(w.t, err)
	if !books.GetBalanced() {
		w.t.Errorf("the books do not balance: %v", books)
	}
	for _, total := range books.GetTotals() {
		if total.GetDifference() != 0 {
			w.t.Errorf("%s is off by %d", total.GetCurrencyCode(), total.GetDifference())
		}
	}
}

func cny(minor int64) *typev1.Money { return &typev1.Money{MinorUnits: minor, CurrencyCode: "CNY"} }

// wantRefused checks code and reason of an error.
func wantRefused(t testing.TB, err error, code codes.Code, reason string) {
	t.Helper()
	if status.Code(err) != code || sdk.Reason(err) != reason {
		t.Errorf("got %v with reason %q, want %v with %q", err, sdk.Reason(err), code, reason)
	}
}
