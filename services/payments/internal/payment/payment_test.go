package payment

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func waiting() Payment {
	return Payment{
		ID: "p1", State: AwaitingTap, Amount: Money{Minor: 1200, Currency: "CNY"}, Merchant: "m1", Terminal: "t1",
		Device: "partners/acme/devices/d1", Partner: "acme", Account: "alice", Mode: Live, Creator: "terminal/t1",
		Tap: Tap{ExpireTime: noon.Add(time.Minute), PongKey: []byte("secret"), Requirements: []string{"GESTURE"}},
	}
}

func approval() Assertion {
	return Assertion{
		ID: "j1", Issuer: "https://auth", Audience: "payments", Purpose: "PAY", IssueTime: noon, ExpireTime: noon.Add(30 * time.Second),
		Account: "alice", Device: "partners/acme/devices/d1", Partner: "acme", Merchant: "m1", Payment: "p1",
		Amount: Money{Minor: 1200, Currency: "CNY"},
	}
}

func TestAnAssertionHasToMatchInEveryField(t *testing.T) {
	if err := waiting().match(approval(), "https://auth"); err != nil {
		t.Fatalf("the right one: %v", err)
	}
	for claim, spoil := range map[string]func(*Assertion){
		"jti":      func(a *Assertion) { a.ID = "" },
		"iss":      func(a *Assertion) { a.Issuer = "https://other" },
		"aud":      func(a *Assertion) { a.Audience = "notify" },
		"purpose":  func(a *Assertion) { a.Purpose = "VOUCHER" },
		"intent":   func(a *Assertion) { a.Payment = "p2" },
		"account":  func(a *Assertion) { a.Account = "bob" },
		"device":   func(a *Assertion) { a.Device = "partners/acme/devices/d2" },
		"partner":  func(a *Assertion) { a.Partner = "other" },
		"merchant": func(a *Assertion) { a.Merchant = "m2" },
		"currency": func(a *Assertion) { a.Amount.Currency = "JPY" },
		"amount":   func(a *Assertion) { a.Amount.Minor++ },
	} {
		a := approval()
		spoil(&a)
		err := waiting().match(a, "https://auth")
		f, _ := fault.As(err)
		if f == nil || f.Reason != "ASSERTION_MISMATCH" || f.Meta["claim"] != claim {
			t.Errorf("another %s: got %v", claim, err)
		}
	}
}

func TestTwoEmptyFieldsDoNotMatch(t *testing.T) {
	p, a := waiting(), approval()
	p.Account, a.Account = "", ""
	if err := p.match(a, "https://auth"); fault.ReasonOf(err) != "ASSERTION_MISMATCH" {
		t.Errorf("an empty account: %v", err)
	}
	a = approval()
	a.Issuer = ""
	if err := waiting().match(a, ""); fault.ReasonOf(err) != "ASSERTION_MISMATCH" {
		t.Errorf("an empty issuer: %v", err)
	}
}

func TestAnAssertionIsOfThisMoment(t *testing.T) {
	for name, c := range map[string]struct {
		issued, expires, now time.Duration
		good                 bool
	}{
		"fresh":                 {0, 30 * time.Second, 0, true},
		"from a clock ahead":    {4 * time.Second, 34 * time.Second, 0, true},
		"at the end":            {0, 30 * time.Second, 34 * time.Second, true},
		"over":                  {0, 30 * time.Second, 35 * time.Second, false},
		"from the future":       {6 * time.Second, 36 * time.Second, 0, false},
		"good for too long":     {0, 31 * time.Second, 0, false},
		"over before it begins": {0, -time.Second, 0, false},
	} {
		a := Assertion{IssueTime: noon.Add(c.issued), ExpireTime: noon.Add(c.expires)}
		if err := a.CheckTimes(noon.Add(c.now)); (err == nil) != c.good {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestWhoSeesAPayment(t *testing.T) {
	for name, c := range map[string]struct {
		caller             Caller
		sees, account, tap bool
	}{
		"an operator":                      {Caller{Role: Operator, ID: "op"}, true, true, false},
		"its wearer":                       {Caller{Role: Wearer, Account: "alice"}, true, true, false},
		"another wearer":                   {Caller{Role: Wearer, Account: "bob"}, false, true, false},
		"a wearer without an account":      {Caller{Role: Wearer}, false, true, false},
		"its terminal":                     {Caller{Role: Terminal, Merchant: "m1", Terminal: "t1"}, true, false, true},
		"another terminal of the merchant": {Caller{Role: Terminal, Merchant: "m1", Terminal: "t2"}, true, false, false},
		"another merchant's terminal":      {Caller{Role: Terminal, Merchant: "m2", Terminal: "t3"}, false, false, false},
		"its device's partner":             {Caller{Role: Partner, Partner: "acme", Mode: Live}, true, false, false},
		"its partner in test mode":         {Caller{Role: Partner, Partner: "acme", Mode: Test}, false, false, false},
		"another partner":                  {Caller{Role: Partner, Partner: "other", Mode: Live}, false, false, false},
		"a service":                        {Caller{Role: "service", ID: "auth"}, false, false, false},
		"nobody":                           {Caller{}, false, false, false},
	} {
		got := []bool{c.caller.Sees(waiting()), c.caller.SeesAccount(), c.caller.SeesTap(waiting())}
		if diff := cmp.Diff([]bool{c.sees, c.account, c.tap}, got); diff != "" {
			t.Errorf("%s: sees it, the account, the tap: %s", name, diff)
		}
	}
	captured := waiting()
	captured.State = Captured
	if (Caller{Role: Terminal, Merchant: "m1", Terminal: "t1"}).SeesTap(captured) {
		t.Error("the tap of a payment that is over is shown")
	}
}

func TestCallersThatSeeNothingGetNoList(t *testing.T) {
	for _, c := range []Caller{{}, {Role: Partner}, {Role: Wearer}, {Role: Terminal}, {Role: "service"}} {
		if f, err := c.Filter(Filter{}); fault.ReasonOf(err) != "CALLER_NOT_ALLOWED" {
			t.Errorf("%+v got the filter %+v, %v", c, f, err)
		}
	}
}

func TestWhoMayAskForAPayment(t *testing.T) {
	band := Order{Merchant: "m1", Amount: Money{1, "CNY"}, Payer: Payer{DeviceUID: "d1", DevicePartnerNo: 7}}
	wallet := Order{Merchant: "m1", Amount: Money{1, "CNY"}, Payer: Payer{Account: "alice"}}
	for name, c := range map[string]struct {
		caller Caller
		order  Order
		want   string
	}{
		"a terminal for its merchant":       {Caller{Role: Terminal, Merchant: "m1", Terminal: "t1"}, band, ""},
		"a terminal naming a wallet":        {Caller{Role: Terminal, Merchant: "m1", Terminal: "t1"}, wallet, ""},
		"a terminal for another merchant":   {Caller{Role: Terminal, Merchant: "m2", Terminal: "t1"}, band, "CALLER_NOT_ALLOWED"},
		"a wearer from their wallet":        {Caller{Role: Wearer, Account: "alice"}, wallet, ""},
		"a wearer from another's wallet":    {Caller{Role: Wearer, Account: "bob"}, wallet, "CALLER_NOT_ALLOWED"},
		"a partner with its band":           {Caller{Role: Partner, Partner: "acme", PartnerNo: 7}, band, ""},
		"a partner with another's band":     {Caller{Role: Partner, Partner: "acme", PartnerNo: 8}, band, "DEVICE_NOT_FOUND"},
		"a partner naming a wallet":         {Caller{Role: Partner, Partner: "acme", PartnerNo: 7}, wallet, "CALLER_NOT_ALLOWED"},
		"a partner in test mode":            {Caller{Role: Partner, Partner: "acme", PartnerNo: 7, Mode: Test}, band, "CALLER_NOT_ALLOWED"},
		"an operator":                       {Caller{Role: Operator}, band, "CALLER_NOT_ALLOWED"},
		"a terminal that has lost its name": {Caller{Role: Terminal}, band, "CALLER_NOT_ALLOWED"},
	} {
		if err := c.caller.mayOrder(c.order); fault.ReasonOf(err) != c.want {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// books are alice's wallet with so much, the shop and the fees.
func books(balance int64) ledger.Books {
	alice, shop, fees := ledger.Open(ledger.Wallet, "alice", "CNY"), ledger.Open(ledger.Merchant, "m1", "CNY"), ledger.Open(ledger.Fee, "CNY", "CNY")
	alice.PostedCredits = balance
	return ledger.Books{alice.ID: alice, shop.ID: shop, fees.ID: fees}
}

// after is the books with what was posted.
func after(b ledger.Books, c Change) ledger.Books {
	for _, p := range c.Posted {
		for _, a := range p.Accounts {
			b[a.ID] = a
		}
	}
	return b
}

func tap() tapped {
	return tapped{
		Assertion: approval(), frames: Decision{ApprovedFrame: []byte("yes"), DeclinedFrame: []byte("no")}, digest: []byte("digest"),
		now: noon, id: "x1", holdUntil: noon.Add(time.Hour),
	}
}

func TestAnApprovalMovesTheMoneyOrDeclines(t *testing.T) {
	for name, c := range map[string]struct {
		balance int64
		state   State
		reason  string
		frame   string
		tx      string
		posted  int
	}{
		"enough":          {1200, Captured, "", "yes", "x1", 1},
		"one cent short":  {1199, Declined, "INSUFFICIENT_FUNDS", "no", "", 0},
		"nothing at all":  {0, Declined, "INSUFFICIENT_FUNDS", "no", "", 0},
		"more than needs": {5000, Captured, "", "yes", "x1", 1},
	} {
		got, err := waiting().approve(Facts{Books: books(c.balance)}, tap())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p := got.Payment
		if p.State != c.state || p.DeclineReason != c.reason || string(p.ResultFrame) != c.frame || p.Transaction != c.tx || len(got.Posted) != c.posted {
			t.Errorf("%s: got %+v", name, got)
		}
		if len(got.Events) != 1 || p.Tap.PongKey != nil || !p.UpdateTime.Equal(noon) || p.Revision != 1 {
			t.Errorf("%s: not told of, or its secret is kept: %+v", name, got)
		}
	}
}

func TestASuspendedMerchantAndALimitDecline(t *testing.T) {
	strong := limit.Policy{Currency: "CNY", Strong: &limit.Strong{TapThreshold: 1000}}
	for name, c := range map[string]struct {
		policy    limit.Policy
		suspended bool
		assurance int
		want      string
	}{
		"a suspended merchant":        {limit.Policy{}, true, 3, "MERCHANT_SUSPENDED"},
		"more than a tap may be":      {limit.Policy{Currency: "CNY", TapLimit: 1199}, false, 3, "LIMIT_EXCEEDED"},
		"exactly what a tap may be":   {limit.Policy{Currency: "CNY", TapLimit: 1200}, false, 1, ""},
		"too weak a proof":            {strong, false, 1, "STRONG_AUTHENTICATION_REQUIRED"},
		"no proof said":               {strong, false, 0, "STRONG_AUTHENTICATION_REQUIRED"},
		"a strong proof":              {strong, false, 2, ""},
		"no limits, no proof is said": {limit.Policy{}, false, 0, ""},
	} {
		in := tap()
		in.policy, in.Assurance = c.policy, c.assurance
		got, err := waiting().approve(Facts{Books: books(5000), Merchant: Merchant{Suspended: c.suspended}}, in)
		if err != nil || got.Payment.DeclineReason != c.want || (len(got.Posted) == 0) != (c.want != "") {
			t.Errorf("%s: %+v, %v", name, got.Payment, err)
		}
	}
}

// held is a payment of 12.00 that is authorized, and the books with the hold.
func held(t *testing.T) (Payment, ledger.Books) {
	t.Helper()
	p := waiting()
	p.CaptureMode = Manual
	b := books(5000)
	c, err := p.approve(Facts{Books: b}, tap())
	if err != nil || c.Payment.State != Authorized {
		t.Fatalf("%+v, %v", c, err)
	}
	return c.Payment, after(b, c)
}

func TestHoldsAreCapturedInPartsAndRefundedInParts(t *testing.T) {
	p, b := held(t)
	fees := Merchant{Fees: FeeSchedule{BasisPoints: 100, FixedMinor: 3, ReturnedOnRefund: true}}
	part := func(minor int64) Wish { return Wish{Amount: &Money{minor, "CNY"}} }
	do := func(step func(Facts, Wish, string, time.Time) (Change, error), w Wish, state State) {
		t.Helper()
		c, err := step(Facts{Books: b, Merchant: fees}, w, "x", noon)
		if err != nil || c.Payment.State != state {
			t.Fatalf("want %s, got %+v, %v", state, c.Payment, err)
		}
		p, b = c.Payment, after(b, c)
	}
	refused := func(step func(Facts, Wish, string, time.Time) (Change, error), w Wish, reason string) {
		t.Helper()
		if c, err := step(Facts{Books: b, Merchant: fees}, w, "x", noon); fault.ReasonOf(err) != reason {
			t.Fatalf("want %s, got %+v, %v", reason, c.Payment, err)
		}
	}
	refused(p.capture, part(1201), "AMOUNT_EXCEEDS_AUTHORIZED")
	refused(p.capture, Wish{Amount: &Money{1, "EUR"}}, "CURRENCY_MISMATCH")
	refused(p.refund, part(1), "PAYMENT_STATE")
	do(p.capture, part(500), PartiallyCaptured) // fee 5 + 3
	refused(p.refund, part(1), "PAYMENT_STATE")
	do(p.capture, part(200), PartiallyCaptured) // fee 2
	final := part(100)
	final.Final = true
	do(p.capture, final, Captured) // fee 1, 400 released
	refused(p.capture, part(1), "PAYMENT_STATE")
	if p.CapturedMinor != 800 || p.ReleasedMinor != 400 || p.FeeMinor != 11 || !p.AuthorizationExpireTime.IsZero() {
		t.Errorf("after the captures: %+v", p)
	}
	refused(p.refund, part(801), "AMOUNT_EXCEEDS_CAPTURED")
	do(p.refund, part(300), PartiallyRefunded)
	do(p.refund, Wish{}, Refunded)
	refused(p.refund, part(1), "PAYMENT_STATE")
	for id, want := range map[string]int64{"wallet/alice": 5000, "merchant/m1": 0, "fee/CNY": 0} {
		if a := b[id]; a.Balance() != want || a.PendingDebits != 0 || a.PendingCredits != 0 {
			t.Errorf("%s: %+v, want %d", id, a, want)
		}
	}
	if p.FeeBackMinor != 11 {
		t.Errorf("the fee came back as %d of 11", p.FeeBackMinor)
	}
}

func TestIllegalStepsNameTheState(t *testing.T) {
	for _, s := range []State{AwaitingTap, Authorized, PartiallyCaptured, Captured, PartiallyRefunded, Refunded, Declined, Expired, Voided} {
		p := waiting()
		p.State, p.CapturedMinor = s, 600
		for name, c := range map[string]struct {
			step  func() error
			legal []State
		}{
			"refund": {func() error { _, err := p.refund(Facts{Books: books(0)}, Wish{}, "x", noon); return err }, []State{Captured, PartiallyRefunded}},
			"capture": {func() error {
				_, err := p.capture(Facts{Books: books(0)}, Wish{}, "x", noon.Add(time.Hour))
				return err
			}, nil},
			"void": {func() error { _, err := p.void(Facts{Books: books(0)}, "x", noon); return err }, []State{AwaitingTap, Authorized, PartiallyCaptured, Voided}},
		} {
			err := c.step()
			f, _ := fault.As(err)
			refused := f != nil && f.Reason == "PAYMENT_STATE" && f.Meta["state"] == string(s)
			if refused == slices.Contains(c.legal, s) {
				t.Errorf("%s when %s: %v", name, s, err)
			}
		}
	}
}

func TestFeesAreRoundedHalfUpAndNeverMoreThanTheCapture(t *testing.T) {
	const most = 1<<63 - 1
	for name, c := range map[string]struct {
		fees   FeeSchedule
		amount int64
		first  bool
		want   int64
	}{
		"none":                    {FeeSchedule{}, 1200, true, 0},
		"half a cent is one":      {FeeSchedule{BasisPoints: 100}, 50, true, 1},
		"less than half is none":  {FeeSchedule{BasisPoints: 100}, 49, true, 0},
		"the fixed part":          {FeeSchedule{BasisPoints: 100, FixedMinor: 10}, 1000, true, 20},
		"the fixed part but once": {FeeSchedule{BasisPoints: 100, FixedMinor: 10}, 1000, false, 10},
		"no more than all":        {FeeSchedule{BasisPoints: 100, FixedMinor: 10}, 5, true, 5},
		"all of the most":         {FeeSchedule{BasisPoints: 10_000, FixedMinor: most}, most, true, most},
		"one of the most":         {FeeSchedule{FixedMinor: most}, 1, true, 1},
	} {
		if got := c.fees.of(c.amount, c.first); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestAPaymentIsDueOnlyAfterTheGrace(t *testing.T) {
	end := noon.Add(time.Minute + 30*time.Second)
	if waiting().due(30*time.Second, end) {
		t.Error("due at the end of the grace")
	}
	if !waiting().due(30*time.Second, end.Add(time.Microsecond)) {
		t.Error("not due after it")
	}
	for _, s := range []State{Captured, Declined, Expired} {
		p := waiting()
		p.State = s
		if p.due(0, end.Add(time.Hour)) {
			t.Errorf("a payment that is %s is due", s)
		}
	}
}

func TestMerchantNamesFitTheBand(t *testing.T) {
	for name, good := range map[string]bool{
		"": false, "Noodles": true, "一二三四五六七八": true, "一二三四五六七八九": false, "24 bytes exactly, see it": true,
		"25 bytes exactly, see it!": false, "bell\a": false, "two\nlines": false, "bad\xff": false,
	} {
		if err := checkDisplayName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}
