package journey

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

func TestTapsWithoutAConnectionAreClearedLater(t *testing.T) {
	t.Parallel()
	payOffline(t, newWorld(t, suite(t)))
}

// newGate opens a merchant of local transport with a gate, and a terminal to clear its taps.
func (w *world) newGate() (*virtual.Gate, *virtual.Terminal) {
	w.t.Helper()
	ctx := callCtx(w.t)
	m, err := w.operator.Payments.CreateMerchant(ctx, &paymentsv1.CreateMerchantRequest{
		Merchant: &paymentsv1.Merchant{DisplayName: "Metro", CategoryCode: 4111, CurrencyCode: "CNY"}, RequestId: id(),
	})
	must(w.t, err)
	name := func(where string) string {
		term, err := w.operator.Payments.CreateTerminal(ctx, &paymentsv1.CreateTerminalRequest{Merchant: m.GetName(), DisplayName: where, RequestId: id()})
		must(w.t, err)
		return term.GetName()
	}
	gate, office := name("Gate 1"), name("Office")
	s, err := w.operator.Auth.CreateTerminalSession(ctx, &authv1.CreateTerminalSessionRequest{Merchant: m.GetName(), Terminal: office})
	must(w.t, err)
	return &virtual.Gate{Name: gate, CategoryCode: 4111, Currency: "CNY"},
		&virtual.Terminal{Client: w.d.client(w.t, sdk.StaticToken(s.GetAccessToken())), Merchant: m.GetName()}
}

// payOffline has a band pay three fares with less money than they cost, and clears them in any order, twice.
func payOffline(t *testing.T, w *world) {
	account, phone := w.newWearer(1000)
	gate, office := w.newGate()
	phone.Band.Knock()
	must(t, phone.Refill(callCtx(t), cny(5000)))
	var taps []*paymentsv1.SubmitOfflineTapsRequest
	for range 3 {
		tap, err := gate.Tap(phone.Band, 1500)
		must(t, err)
		taps = append(taps, tap)
	}
	if _, err := gate.Tap(phone.Band, 1500); !errors.Is(err, virtual.ErrBandRefused) {
		t.Errorf("more than the grant: %v", err)
	}
	forged := proto.CloneOf(taps[0])
	forged.TapFrame[len(forged.TapFrame)-1] ^= 1
	forged.Sequence = 99
	want := func(status, reason string, answers []*paymentsv1.SubmitOfflineTapsResponse) {
		t.Helper()
		for _, a := range answers {
			if a.GetStatus().String() != "OFFLINE_TAP_STATUS_"+status || a.GetReason().String() != "OFFLINE_TAP_REASON_"+reason || a.GetProblem() != "" {
				t.Errorf("want %s %s: %v", status, reason, a)
			}
		}
	}
	submit := func(taps ...*paymentsv1.SubmitOfflineTapsRequest) []*paymentsv1.SubmitOfflineTapsResponse {
		t.Helper()
		answers, err := office.Submit(callCtx(t), taps...)
		must(t, err)
		return answers
	}
	want("REJECTED", "BAD_MAC", submit(forged))
	last := submit(taps[2])
	want("ACCEPTED", "UNSPECIFIED", last)
	first := submit(taps[0])
	want("ACCEPTED", "UNSPECIFIED", first)
	if first[0].GetMissingTaps() != 1 {
		t.Errorf("the gap is not reported: %v", first)
	}
	want("ACCEPTED", "UNSPECIFIED", submit(taps[1]))
	rand.Shuffle(len(taps), func(i, j int) { taps[i], taps[j] = taps[j], taps[i] })
	again := submit(taps...)
	want("DUPLICATE", "UNSPECIFIED", again)
	if again[0].GetPayment() == "" || again[0].GetMissingTaps() != 0 {
		t.Errorf("again: %v", again)
	}
	owes(t, w, account, phone)
}

// owes checks that the account owes 35.00, cannot pay online, and pays its debt with the next top-up.
func owes(t *testing.T, w *world, account string, phone *virtual.Phone) {
	t.Helper()
	ctx := callCtx(t)
	x, err := phone.Client.Payments.GetAccount(ctx, &paymentsv1.GetAccountRequest{Name: account})
	must(t, err)
	if x.GetBalance().GetMinorUnits() != -3500 {
		t.Errorf("the account: %v", x)
	}
	phone.Band.Knock()
	p, err := w.charge(ctx, phone.Band, 100)
	must(t, err)
	if p, err = w.till.Confirm(ctx, phone.Band, p); err != nil || p.GetDeclineReason() != "INSUFFICIENT_FUNDS" {
		t.Errorf("an online tap: %v, %v", p, err)
	}
	done, err := w.operator.Payments.TopUpAccount(ctx, &paymentsv1.TopUpAccountRequest{Name: account, Amount: cny(5000), RequestId: id()})
	must(t, err)
	if done.GetCollectedAmount().GetMinorUnits() != 3500 || done.GetAccount().GetBalance().GetMinorUnits() != 1500 {
		t.Errorf("the top-up: %v", done)
	}
	list, err := phone.Client.Payments.ListPayments(ctx, &paymentsv1.ListPaymentsRequest{States: []paymentsv1.PaymentState{paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED}})
	must(t, err)
	for _, p := range list.GetPayments() {
		if !p.GetOffline() || time.Since(p.GetTapTime().AsTime()) > time.Hour || p.GetDevice() == "" {
			t.Errorf("an offline payment: %v", p)
		}
	}
	if len(list.GetPayments()) != 3 {
		t.Errorf("%d payments", len(list.GetPayments()))
	}
	books, err := w.operator.Payments.GetTrialBalance(ctx, &paymentsv1.GetTrialBalanceRequest{})
	must(t, err)
	if !books.GetBalanced() {
		t.Errorf("the books: %v", books)
	}
}
