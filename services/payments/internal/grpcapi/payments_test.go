package grpcapi_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/armlet-pay/armlet/platform/fault"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/proto/wire"
)

func TestATapPays(t *testing.T) {
	a := newAPI(t)
	waiting := a.waiting(t)
	if waiting.GetState() != paymentsv1.PaymentState_PAYMENT_STATE_AWAITING_TAP || waiting.GetDevice() != band || waiting.GetTerminal() != a.terminal {
		t.Errorf("created: %v", waiting)
	}
	tap := waiting.GetTap()
	if string(tap.GetChallengeFrame()) != "challenge" || string(tap.GetPongKey()) != "pong" || !tap.GetExpireTime().AsTime().Equal(start.Add(time.Minute)) ||
		!cmp.Equal(tap.GetRequirements(), []string{"ON_WRIST", "GESTURE"}) {
		t.Errorf("the tap: %v", tap)
	}
	first, err := a.confirm(t.Context(), waiting)
	must(t, err)
	if p := first.GetPayment(); p.GetState() != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED || p.GetTap() != nil || string(first.GetResultFrame()) != "approved" {
		t.Errorf("confirmed: %v", first)
	}
	asked := a.auth.verified
	again, err := a.confirm(t.Context(), waiting)
	must(t, err)
	if diff := cmp.Diff(first, again, protocmp.Transform()); diff != "" || a.auth.verified != asked {
		t.Errorf("the repeat differs or auth was asked again: %s", diff)
	}
	if got := a.balance(t, "alice"); got != 3800 {
		t.Errorf("alice has %d, want 3800", got)
	}
	a.balanced(t)
}

func TestTheSameRequestIsTheSamePayment(t *testing.T) {
	a := newAPI(t)
	order := a.order()
	first, err := a.till.CreatePayment(t.Context(), order)
	must(t, err)
	again, err := a.till.CreatePayment(t.Context(), order)
	must(t, err)
	if diff := cmp.Diff(first, again, protocmp.Transform()); diff != "" {
		t.Errorf("the repeat differs: %s", diff)
	}
	changed := proto.Clone(order).(*paymentsv1.CreatePaymentRequest)
	changed.Amount = amount(1300, "CNY")
	_, err = a.till.CreatePayment(t.Context(), changed)
	wants{codes.FailedPrecondition, "REQUEST_ID_REUSED"}.check(t, "other content", err)
	order.Payer = &paymentsv1.CreatePaymentRequest_Account{Account: "accounts/alice"}
	other, err := a.alice.CreatePayment(t.Context(), order) // another caller may use the same id
	must(t, err)
	if other.GetName() == first.GetName() {
		t.Error("two callers got one payment")
	}
}

func TestAnAssertionThatDiffersInOneClaimMovesNothing(t *testing.T) {
	a := newAPI(t)
	second := func(d time.Duration) int64 { return start.Add(d).Unix() }
	for claim, value := range map[string]any{
		"iss": "https://other.test", "aud": "notify", "jti": "", "purpose": "VOUCHER", "account": "accounts/bob",
		"device": "partners/acme/devices/" + wire.NewRangeUID(partnerNo, 1, 43).String(), "partner": "partners/rival",
		"intent": noUUID, "amount": 1199, "currency": "EUR", "merchant": noUUID,
		"exp": second(31 * time.Second), "iat": second(6 * time.Second),
	} {
		t.Run(claim, func(t *testing.T) { a.refusesAssertion(t, func(c map[string]any) { c[claim] = value }) })
		t.Run("no "+claim, func(t *testing.T) { a.refusesAssertion(t, func(c map[string]any) { delete(c, claim) }) })
	}
	for name, spoil := range map[string]func(map[string]any){
		"an amount as text":        func(c map[string]any) { c["amount"] = "1200" },
		"an amount and a half":     func(c map[string]any) { c["amount"] = 1200.5 },
		"an amount beyond numbers": func(c map[string]any) { c["amount"] = 1e30 },
		"expired":                  func(c map[string]any) { c["iat"], c["exp"] = second(-40*time.Second), second(-10*time.Second) },
		"several audiences":        func(c map[string]any) { c["aud"] = []string{"payments", "notify"} },
	} {
		t.Run(name, func(t *testing.T) { a.refusesAssertion(t, spoil) })
	}
	t.Run("another type of token", func(t *testing.T) {
		a.auth.typ = "at+jwt"
		a.refusesAssertion(t, nil)
	})
	t.Run("another's signature", func(t *testing.T) {
		other := newSigner(t, a.clock.Now)
		a.auth.typ, a.auth.sign = other.typ, other.sign
		a.refusesAssertion(t, nil)
	})
	if got := a.balance(t, "alice"); got != 5000 {
		t.Errorf("alice has %d, want 5000", got)
	}
	a.balanced(t)
}

// refusesAssertion also checks that nothing changed.
func (a *api) refusesAssertion(t *testing.T, spoil func(map[string]any)) {
	t.Helper()
	p := a.waiting(t)
	a.auth.spoil = spoil
	defer func() { a.auth.spoil = nil }()
	_, err := a.confirm(t.Context(), p)
	wants{codes.FailedPrecondition, "ASSERTION_MISMATCH"}.check(t, "confirm", err)
	now, err := a.till.GetPayment(t.Context(), &paymentsv1.GetPaymentRequest{Name: p.GetName()})
	must(t, err)
	if diff := cmp.Diff(p, now, protocmp.Transform()); diff != "" {
		t.Errorf("the payment changed: %s", diff)
	}
}

func TestAmountsAndNamesAtTheEdges(t *testing.T) {
	a := newAPI(t)
	for name, c := range map[string]struct {
		change func(*paymentsv1.CreatePaymentRequest)
		want   wants
	}{
		"nothing":             {func(r *paymentsv1.CreatePaymentRequest) { r.Amount.MinorUnits = 0 }, wants{codes.InvalidArgument, "AMOUNT_NOT_POSITIVE"}},
		"less than nothing":   {func(r *paymentsv1.CreatePaymentRequest) { r.Amount.MinorUnits = -1 }, wants{codes.InvalidArgument, "AMOUNT_NOT_POSITIVE"}},
		"the least":           {func(r *paymentsv1.CreatePaymentRequest) { r.Amount.MinorUnits = math.MinInt64 }, wants{codes.InvalidArgument, "AMOUNT_NOT_POSITIVE"}},
		"no amount":           {func(r *paymentsv1.CreatePaymentRequest) { r.Amount = nil }, wants{codes.InvalidArgument, "INVALID_FIELD"}},
		"another currency":    {func(r *paymentsv1.CreatePaymentRequest) { r.Amount.CurrencyCode = "EUR" }, wants{codes.FailedPrecondition, "CURRENCY_MISMATCH"}},
		"no currency":         {func(r *paymentsv1.CreatePaymentRequest) { r.Amount.CurrencyCode = "" }, wants{codes.InvalidArgument, "INVALID_FIELD"}},
		"a small currency":    {func(r *paymentsv1.CreatePaymentRequest) { r.Amount.CurrencyCode = "cny" }, wants{codes.InvalidArgument, "INVALID_FIELD"}},
		"another's merchant":  {func(r *paymentsv1.CreatePaymentRequest) { r.Merchant = a.otherMerchant }, wants{codes.PermissionDenied, "CALLER_NOT_ALLOWED"}},
		"no merchant's name":  {func(r *paymentsv1.CreatePaymentRequest) { r.Merchant = "merchants/1" }, wants{codes.InvalidArgument, "INVALID_FIELD"}},
		"no payer":            {func(r *paymentsv1.CreatePaymentRequest) { r.Payer = nil }, wants{codes.InvalidArgument, "INVALID_FIELD"}},
		"no request_id":       {func(r *paymentsv1.CreatePaymentRequest) { r.RequestId = "" }, wants{codes.InvalidArgument, "INVALID_FIELD"}},
		"an unknown band":     {payer(&paymentsv1.CreatePaymentRequest_DeviceUid{DeviceUid: wire.NewRangeUID(9, 9, 9).String()}), wants{codes.NotFound, "DEVICE_NOT_FOUND"}},
		"a band beyond bands": {payer(&paymentsv1.CreatePaymentRequest_DeviceUid{DeviceUid: "zzzzzzzzzzzzzzzzzzzzzzzzzz"}), wants{codes.InvalidArgument, "INVALID_FIELD"}},
		"an unknown account":  {payer(&paymentsv1.CreatePaymentRequest_Account{Account: "accounts/nobody"}), wants{codes.NotFound, "ACCOUNT_NOT_FOUND"}},
		"eve's euros":         {payer(&paymentsv1.CreatePaymentRequest_Account{Account: "accounts/eve"}), wants{codes.FailedPrecondition, "CURRENCY_MISMATCH"}},
		"no account's name":   {payer(&paymentsv1.CreatePaymentRequest_Account{Account: "accounts/ALICE"}), wants{codes.InvalidArgument, "INVALID_FIELD"}},
	} {
		r := a.order()
		c.change(r)
		_, err := a.till.CreatePayment(t.Context(), r)
		c.want.check(t, name, err)
	}
	r := a.order()
	r.Merchant = "merchants/" + noUUID
	_, err := a.acme.CreatePayment(t.Context(), r)
	wants{codes.NotFound, "MERCHANT_NOT_FOUND"}.check(t, "an unknown merchant", err)
	_, err = a.strayTill.CreatePayment(t.Context(), a.order())
	wants{codes.NotFound, "TERMINAL_NOT_FOUND"}.check(t, "another merchant's terminal", err)
	if list, err := a.operator.ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{}); err != nil || len(list.GetPayments()) != 0 {
		t.Errorf("something was made: %v, %v", list, err)
	}

	r = a.order()
	r.Amount.MinorUnits = math.MaxInt64
	p, err := a.till.CreatePayment(t.Context(), r)
	must(t, err)
	got, err := a.confirm(t.Context(), p)
	must(t, err)
	if got.GetPayment().GetDeclineReason() != "INSUFFICIENT_FUNDS" || string(got.GetResultFrame()) != "declined" {
		t.Errorf("the largest amount: %v", got)
	}
	a.balanced(t)
}

func payer(p interface{}) func(*paymentsv1.CreatePaymentRequest) {
	return func(r *paymentsv1.CreatePaymentRequest) {
		switch p := p.(type) {
		case *paymentsv1.CreatePaymentRequest_DeviceUid:
			r.Payer = p
		case *paymentsv1.CreatePaymentRequest_Account:
			r.Payer = p
		}
	}
}

func TestABandOfAnUnknownWalletPaysNothing(t *testing.T) {
	a := newAPI(t)
	a.auth.account = "ghost"
	_, err := a.till.CreatePayment(t.Context(), a.order())
	wants{codes.NotFound, "ACCOUNT_NOT_FOUND"}.check(t, "bound to an account that payments does not have", err)
	a.auth.account = "eve"
	_, err = a.till.CreatePayment(t.Context(), a.order())
	wants{codes.FailedPrecondition, "CURRENCY_MISMATCH"}.check(t, "bound to euros", err)
}

// The number in a band's uid is checked before auth is asked, the name that auth answers after it.
func TestAPartnerWithTheRightNumberAndTheWrongNameGetsNothing(t *testing.T) {
	a := newAPI(t)
	_, err := a.twin.CreatePayment(t.Context(), a.order())
	wants{codes.NotFound, "DEVICE_NOT_FOUND"}.check(t, "another partner", err)
	if list, err := a.operator.ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{}); err != nil || len(list.GetPayments()) != 0 {
		t.Errorf("something was made: %v, %v", list, err)
	}
}

func TestWhatAuthRefusesForGoodDeclinesThePayment(t *testing.T) {
	a := newAPI(t)
	for _, reason := range []string{"TAP_DECLINED", "DEVICE_SUSPENDED", "DEVICE_NOT_BOUND", "CLONE_SUSPECTED"} {
		p := a.waiting(t)
		a.auth.refuse = fault.New(fault.FailedPrecondition, reason, "no")
		first, err := a.confirm(t.Context(), p)
		must(t, err)
		if got := first.GetPayment(); got.GetState() != paymentsv1.PaymentState_PAYMENT_STATE_DECLINED || got.GetDeclineReason() != reason || len(first.GetResultFrame()) != 0 {
			t.Errorf("%s: %v", reason, first)
		}
		a.auth.refuse = nil // were auth asked again, it would approve
		again, err := a.confirm(t.Context(), p)
		must(t, err)
		if diff := cmp.Diff(first, again, protocmp.Transform()); diff != "" {
			t.Errorf("%s: the repeat differs: %s", reason, diff)
		}
	}
	if got := a.balance(t, "alice"); got != 5000 {
		t.Errorf("alice has %d", got)
	}
}

func TestWhatAnotherTryCanMendLeavesThePayment(t *testing.T) {
	a := newAPI(t)
	p := a.waiting(t)
	for reason, c := range map[string]struct {
		kind fault.Kind
		code codes.Code
	}{
		"RESPONSE_REJECTED": {fault.PermissionDenied, codes.PermissionDenied}, "CHALLENGE_EXPIRED": {fault.FailedPrecondition, codes.FailedPrecondition},
		"CHALLENGE_USED": {fault.FailedPrecondition, codes.FailedPrecondition}, "CHALLENGE_SUPERSEDED": {fault.FailedPrecondition, codes.FailedPrecondition},
		"DEVICE_LOCKED": {fault.FailedPrecondition, codes.FailedPrecondition}, "REQUIREMENT_MISSING": {fault.FailedPrecondition, codes.FailedPrecondition},
		"CHALLENGE_STORE_UNAVAILABLE": {fault.Unavailable, codes.Unavailable},
	} {
		a.auth.refuse = fault.New(c.kind, reason, "no")
		_, err := a.confirm(t.Context(), p)
		wants{c.code, reason}.check(t, reason, err)
	}
	a.auth.refuse = nil
	got, err := a.confirm(t.Context(), p)
	must(t, err)
	if got.GetPayment().GetState() != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED {
		t.Errorf("after all these: %v", got)
	}
	for _, reason := range []string{"DEVICE_NOT_BOUND", "DEVICE_SUSPENDED", "CHALLENGE_BUSY"} {
		a.auth.refuseChallenge = fault.New(fault.FailedPrecondition, reason, "no")
		order := a.order()
		_, err := a.till.CreatePayment(t.Context(), order)
		wants{codes.FailedPrecondition, reason}.check(t, "a challenge", err)
		a.auth.refuseChallenge = nil
		_, err = a.till.CreatePayment(t.Context(), order)
		must(t, err)
	}
}

func TestWithoutMoneyTheBandIsTold(t *testing.T) {
	a := newAPI(t)
	a.auth.account = "bob"
	p := a.waiting(t)
	got, err := a.confirm(t.Context(), p)
	must(t, err)
	if got.GetPayment().GetState() != paymentsv1.PaymentState_PAYMENT_STATE_DECLINED || got.GetPayment().GetDeclineReason() != "INSUFFICIENT_FUNDS" ||
		string(got.GetResultFrame()) != "declined" {
		t.Errorf("got %v", got)
	}
	_, err = a.till.ConfirmPayment(t.Context(), &paymentsv1.ConfirmPaymentRequest{Name: p.GetName(), ResponseFrame: []byte("other")})
	wants{codes.FailedPrecondition, "PAYMENT_STATE"}.check(t, "another response", err)
	a.balanced(t)
}

func TestATapThatComesTooLate(t *testing.T) {
	a := newAPI(t)
	inGrace, late := a.waiting(t), a.waiting(t)
	a.clock.Advance(time.Minute + 30*time.Second)
	_, err := a.confirm(t.Context(), inGrace)
	must(t, err)
	a.clock.Advance(time.Second)
	_, err = a.confirm(t.Context(), late)
	wants{codes.FailedPrecondition, "CHALLENGE_EXPIRED"}.check(t, "confirm", err)
	got, err := a.till.GetPayment(t.Context(), &paymentsv1.GetPaymentRequest{Name: late.GetName()})
	must(t, err)
	if got.GetState() != paymentsv1.PaymentState_PAYMENT_STATE_EXPIRED || got.GetTap() != nil {
		t.Errorf("got %v", got)
	}
}
