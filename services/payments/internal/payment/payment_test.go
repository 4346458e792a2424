package payment

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
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
		if f, err := c.Filter(); fault.ReasonOf(err) != "CALLER_NOT_ALLOWED" {
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

func TestSettlingMovesTheMoneyOrDeclines(t *testing.T) {
	tx := ledger.Transaction{ID: "x1", Purpose: ledger.Capture, Reference: "p1", Postings: []ledger.Posting{
		{Debit: "wallet/alice", Credit: "merchant/m1", Amount: 1200, Currency: "CNY"},
	}}
	frames := Decision{ApprovedFrame: []byte("yes"), DeclinedFrame: []byte("no")}
	for name, c := range map[string]struct {
		balance int64
		state   State
		reason  string
		frame   string
		tx      string
		posted  bool
	}{
		"enough":          {1200, Captured, "", "yes", "x1", true},
		"one cent short":  {1199, Declined, "INSUFFICIENT_FUNDS", "no", "", false},
		"nothing at all":  {0, Declined, "INSUFFICIENT_FUNDS", "no", "", false},
		"more than needs": {5000, Captured, "", "yes", "x1", true},
	} {
		alice := ledger.Open(ledger.Wallet, "alice", "CNY")
		alice.PostedCredits = c.balance
		shop := ledger.Open(ledger.Merchant, "m1", "CNY")
		got, err := waiting().settle(ledger.Books{alice.ID: alice, shop.ID: shop}, tx, approval(), frames, []byte("digest"), noon)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p := got.Payment
		if p.State != c.state || p.DeclineReason != c.reason || string(p.ResultFrame) != c.frame || p.Transaction != c.tx || (got.Posted != nil) != c.posted {
			t.Errorf("%s: got %+v", name, got)
		}
		if got.Assertion != "j1" || len(got.Events) != 1 || p.Tap.PongKey != nil || !p.UpdateTime.Equal(noon) {
			t.Errorf("%s: the approval is kept, not told of, or its secret is: %+v", name, got)
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
