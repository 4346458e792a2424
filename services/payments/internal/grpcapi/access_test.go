package grpcapi_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

type client = paymentsv1.PaymentsServiceClient

func TestWhatEachCallerSeesOfAPayment(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	p := a.waiting(t)
	for name, c := range map[string]struct {
		client             client
		sees, account, tap bool
	}{
		"operator":           {a.operator, true, true, false},
		"its wearer":         {a.alice, true, true, false},
		"another wearer":     {a.bob, false, false, false},
		"its terminal":       {a.till, true, false, true},
		"another terminal":   {a.otherTill, false, false, false},
		"its partner":        {a.acme, true, false, false},
		"its partner's test": {a.acmeTest, false, false, false},
		"another partner":    {a.rival, false, false, false},
	} {
		got, err := c.client.GetPayment(t.Context(), &paymentsv1.GetPaymentRequest{Name: p.GetName()})
		list, listErr := c.client.ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{})
		must(t, listErr)
		if !c.sees {
			wants{codes.NotFound, "PAYMENT_NOT_FOUND"}.check(t, name, err)
			if len(list.GetPayments()) != 0 {
				t.Errorf("%s lists it", name)
			}
		} else {
			must(t, err)
			if (got.GetAccount() == "accounts/alice") != c.account || (got.GetAccount() == "") == c.account || (got.GetTap() != nil) != c.tap {
				t.Errorf("%s sees %v", name, got)
			}
			if len(list.GetPayments()) != 1 || !cmp.Equal(got, list.GetPayments()[0], protocmp.Transform()) {
				t.Errorf("%s lists %v", name, list)
			}
		}
	}
}

func TestAPartnersGrantBoundsWhatItMayCharge(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	order := a.order()
	for name, c := range map[string]struct {
		amounts map[string]int64
		want    codes.Code
	}{
		"no bound":            {nil, codes.OK},
		"exactly as much":     {map[string]int64{"CNY": order.GetAmount().GetMinorUnits()}, codes.OK},
		"one less":            {map[string]int64{"CNY": order.GetAmount().GetMinorUnits() - 1}, codes.ResourceExhausted},
		"in another currency": {map[string]int64{"EUR": 1 << 40}, codes.ResourceExhausted},
	} {
		bounded := a.tokens["acme"]
		if c.amounts != nil {
			bounded.Amounts = map[string]map[string]int64{"payments.initiate": c.amounts}
		}
		a.tokens["acme"] = bounded
		order.RequestId = uuid.NewString()
		_, err := a.acme.CreatePayment(t.Context(), order)
		if c.want == codes.OK {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else {
			wants{c.want, "GRANT_LIMIT_EXCEEDED"}.check(t, name, err)
		}
		bounded.Amounts = nil
		a.tokens["acme"] = bounded
	}
}

// Nobody but its creator confirms a payment, and a stranger does not even learn that it exists.
func TestOnlyTheCreatorConfirms(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	wearers := a.order()
	wearers.Payer = &paymentsv1.CreatePaymentRequest_Account{Account: "accounts/alice"}
	creators := map[string]struct {
		client client
		order  *paymentsv1.CreatePaymentRequest
	}{"till": {a.till, a.order()}, "alice": {a.alice, wearers}, "acme": {a.acme, a.order()}}
	for creator, c := range creators {
		p, err := c.client.CreatePayment(t.Context(), c.order)
		must(t, err)
		if p.GetTap() == nil || (p.GetTerminal() != "") != (creator == "till") {
			t.Errorf("%s made %v", creator, p)
		}
		confirm := &paymentsv1.ConfirmPaymentRequest{Name: p.GetName(), ResponseFrame: []byte("response")}
		for other, o := range map[string]client{"till": a.till, "alice": a.alice, "acme": a.acme, "bob": a.bob, "stray": a.strayTill, "rival": a.rival} {
			if other == creator {
				continue
			}
			_, err := o.ConfirmPayment(t.Context(), confirm)
			wants{codes.NotFound, "PAYMENT_NOT_FOUND"}.check(t, other+" confirms the payment of "+creator, err)
		}
		got, err := c.client.ConfirmPayment(t.Context(), confirm)
		must(t, err)
		if got.GetPayment().GetState() != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED {
			t.Errorf("%s: %v", creator, got)
		}
	}
	a.balanced(t)
}

func TestPagesBelongToWhoGotThem(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	var names []string
	for range 5 {
		names = append([]string{a.waiting(t).GetName()}, names...)
	}
	var got []string
	var token, first string
	for {
		page, err := a.till.ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{PageSize: 2, PageToken: token})
		must(t, err)
		for _, p := range page.GetPayments() {
			got = append(got, p.GetName())
		}
		if token = page.GetNextPageToken(); token == "" {
			break
		}
		if first == "" {
			first = token
		}
	}
	if diff := cmp.Diff(names, got); diff != "" {
		t.Errorf("the pages: %s", diff)
	}
	flipped := []byte(first)
	flipped[4] ^= 1
	for name, c := range map[string]struct {
		client client
		token  string
	}{
		"another caller's": {a.operator, first}, "a changed one": {a.till, string(flipped)}, "half of one": {a.till, first[:len(first)/2]},
		"nonsense": {a.till, "nonsense"}, "no base64": {a.till, "%%%"}, "a long one": {a.till, strings.Repeat("A", 512)},
	} {
		_, err := c.client.ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{PageToken: c.token})
		wants{codes.InvalidArgument, "PAGE_TOKEN_INVALID"}.check(t, name, err)
	}
	for _, size := range []int32{-1, 1001} {
		_, err := a.till.ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{PageSize: size})
		wants{codes.InvalidArgument, "INVALID_FIELD"}.check(t, "a page of an impossible size", err)
	}
}

func TestAccountsAndTopUps(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	create := func(id, currency string) error {
		_, err := a.operator.CreateAccount(t.Context(), &paymentsv1.CreateAccountRequest{AccountId: id, CurrencyCode: currency, RequestId: uuid.NewString()})
		return err
	}
	wants{codes.AlreadyExists, "ACCOUNT_EXISTS"}.check(t, "alice again", create("alice", "CNY"))
	for _, id := range []string{"", "Alice", "-a", "a/b", "a b", strings.Repeat("a", 64)} {
		wants{codes.InvalidArgument, "INVALID_FIELD"}.check(t, "the account "+id, create(id, "CNY"))
	}
	wants{codes.InvalidArgument, "INVALID_FIELD"}.check(t, "a long currency", create("carol", "CNYY"))
	must(t, create("a.b_c-d", "CNY"))
	req := &paymentsv1.TopUpAccountRequest{Name: "accounts/a.b_c-d", Amount: amount(10, "CNY"), RequestId: "once"}
	for range 2 {
		got, err := a.operator.TopUpAccount(t.Context(), req)
		must(t, err)
		if got.GetAccount().GetBalance().GetMinorUnits() != 10 || !strings.HasPrefix(got.GetTransaction(), "transactions/") {
			t.Errorf("got %v", got)
		}
	}
	for name, c := range map[string]struct {
		name  string
		minor int64
		cur   string
		want  wants
	}{
		"other content": {"accounts/alice", 11, "CNY", wants{codes.FailedPrecondition, "REQUEST_ID_REUSED"}},
		"an unknown":    {"accounts/nobody", 1, "CNY", wants{codes.NotFound, "ACCOUNT_NOT_FOUND"}},
		"euros":         {"accounts/alice", 1, "EUR", wants{codes.FailedPrecondition, "CURRENCY_MISMATCH"}},
		"nothing":       {"accounts/alice", 0, "CNY", wants{codes.InvalidArgument, "AMOUNT_NOT_POSITIVE"}},
		"less":          {"accounts/alice", -1, "CNY", wants{codes.InvalidArgument, "AMOUNT_NOT_POSITIVE"}},
		"too much":      {"accounts/alice", math.MaxInt64, "CNY", wants{codes.FailedPrecondition, "BALANCE_OVERFLOW"}},
		"no currency":   {"accounts/alice", 1, "", wants{codes.InvalidArgument, "INVALID_FIELD"}},
	} {
		r := &paymentsv1.TopUpAccountRequest{Name: c.name, Amount: amount(c.minor, c.cur), RequestId: uuid.NewString()}
		if name == "other content" {
			r.RequestId = "once"
		}
		_, err := a.operator.TopUpAccount(t.Context(), r)
		c.want.check(t, name, err)
	}
	if got := a.balance(t, "alice"); got != 5000 {
		t.Errorf("alice has %d", got)
	}
	a.balanced(t)
}

func TestMerchantsAndTerminals(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	shop := func(id, name string, code uint32, currency string) (*paymentsv1.Merchant, error) {
		return a.operator.CreateMerchant(t.Context(), &paymentsv1.CreateMerchantRequest{
			RequestId: id, Merchant: &paymentsv1.Merchant{Name: "ignored" + uuid.NewString(), DisplayName: name, CategoryCode: code, CurrencyCode: currency},
		})
	}
	first, err := shop("once", "Bakery", 5462, "JPY")
	must(t, err)
	again, err := shop("once", "Bakery", 5462, "JPY")
	must(t, err)
	if diff := cmp.Diff(first, again, protocmp.Transform()); diff != "" {
		t.Errorf("the repeat differs: %s", diff)
	}
	_, err = shop("once", "Bakery", 5463, "JPY")
	wants{codes.FailedPrecondition, "REQUEST_ID_REUSED"}.check(t, "other content", err)
	for name, c := range map[string]struct {
		name     string
		code     uint32
		currency string
	}{
		"no name": {"", 1, "CNY"}, "a long name": {strings.Repeat("x", 25), 1, "CNY"}, "no code": {"M", 0, "CNY"}, "a large code": {"M", 10000, "CNY"},
		"no currency": {"M", 1, ""}, "a bad currency": {"M", 1, "C1Y"},
	} {
		_, err := shop(uuid.NewString(), c.name, c.code, c.currency)
		wants{codes.InvalidArgument, "INVALID_FIELD"}.check(t, name, err)
	}
	_, err = a.operator.CreateTerminal(t.Context(), &paymentsv1.CreateTerminalRequest{Merchant: "merchants/" + noUUID, DisplayName: "T", RequestId: "t"})
	wants{codes.NotFound, "MERCHANT_NOT_FOUND"}.check(t, "a terminal of nobody", err)
	_, err = a.operator.GetMerchant(t.Context(), &paymentsv1.GetMerchantRequest{Name: "merchants/" + noUUID})
	wants{codes.NotFound, "MERCHANT_NOT_FOUND"}.check(t, "nobody", err)
}
