package grpcapi_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/fault"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

var callers = []string{
	"operator", "support", "auditor", "alice", "bob", "till", "other till", "stray till", "acme", "acme reader", "acme clears", "acme test", "rival", "service", "nobody",
}

// Every RPC by every kind of caller. The payments are alice's, created by the till with acme's band; what was refused has changed
// nothing.
func TestWhoMayCallWhat(t *testing.T) {
	t.Parallel()
	const (
		ok    = ""
		no    = "CALLER_NOT_ALLOWED"
		scope = "SCOPE_MISSING"
		who   = "CALLER_UNKNOWN"
		none  = "PAYMENT_NOT_FOUND"
		dev   = "DEVICE_NOT_FOUND"
		acc   = "ACCOUNT_NOT_FOUND"
		led   = "LEDGER_ACCOUNT_NOT_FOUND"
		shop  = "MERCHANT_NOT_FOUND"
		term  = "TERMINAL_NOT_FOUND"
		set   = "SETTLEMENT_NOT_FOUND"
	)
	//                       operator support auditor alice bob   till  other stray acme  reader clears test   rival  service nobody
	operatorOnly := []string{ok, no, no, no, no, no, no, no, no, no, no, no, no, no, who}
	operatorReads := []string{ok, ok, ok, no, no, no, no, no, no, no, no, no, no, no, who}
	want := map[string][]string{
		"CreateAccount": operatorOnly, "TopUpAccount": operatorOnly, "WithdrawFromAccount": operatorOnly, "CloseAccount": operatorOnly,
		"UnfreezeAccount": operatorOnly, "FreezeAccount": {ok, ok, no, no, no, no, no, no, no, no, no, no, no, no, who},
		"GetBalance":     {ok, ok, ok, ok, led, led, led, led, no, no, no, no, no, no, who},
		"CreateMerchant": operatorOnly, "UpdateMerchant": operatorOnly, "SuspendMerchant": operatorOnly, "ResumeMerchant": operatorOnly,
		"CreateTerminal": operatorOnly, "SuspendTerminal": operatorOnly, "ResumeTerminal": operatorOnly, "SetLimitPolicy": operatorOnly,
		"DeleteLimitPolicy": operatorOnly, "PostTransfers": operatorOnly, "ReverseTransfer": operatorOnly,
		"ListMerchants": operatorReads, "GetLimitPolicy": operatorReads, "ListLimitPolicies": operatorReads, "GetTrialBalance": operatorReads,
		"VerifyLedger": operatorReads,
		"GetAccount":   {ok, ok, ok, ok, acc, no, no, no, no, no, no, no, no, no, who},
		"GetStatement": {ok, ok, ok, ok, acc, no, no, no, no, no, no, no, no, no, who},
		"GetMerchant":  {ok, ok, ok, no, no, ok, shop, ok, no, no, no, no, no, no, who},
		"GetTerminal":  {ok, ok, ok, no, no, ok, term, ok, no, no, no, no, no, no, who},
		// The operator's other roles read by Get, List, Watch and Verify only.
		// A terminal's claims name its merchant, whatever the terminal is; what it may do to payments is looked at more closely.
		"ListTerminals":          {ok, ok, ok, no, no, ok, shop, ok, no, no, no, no, no, no, who},
		"ListSettlements":        {ok, ok, ok, no, no, ok, ok, ok, no, no, no, no, no, no, who},
		"GetSettlement":          {ok, ok, ok, no, no, ok, set, ok, no, no, no, no, no, no, who},
		"ExportSettlementReport": {ok, no, no, no, no, ok, set, ok, no, no, no, no, no, no, who},
		"CreatePayment":          {no, no, no, ok, dev, ok, no, term, ok, scope, scope, no, dev, no, who},
		"ConfirmPayment":         {no, no, no, none, none, ok, none, none, none, scope, scope, none, none, no, who},
		"AuthorizePayment":       {no, no, no, none, none, ok, none, none, none, scope, scope, none, none, no, who},
		"CapturePayment":         {ok, no, no, no, no, ok, none, term, no, no, no, no, no, no, who},
		"VoidPayment":            {ok, no, no, none, none, ok, none, term, none, scope, scope, none, none, no, who},
		"RefundPayment":          {ok, no, no, no, no, ok, none, term, no, no, no, no, no, no, who},
		"GetPayment":             {ok, ok, ok, ok, none, ok, none, ok, ok, ok, scope, none, none, no, who},
		"WatchPayment":           {ok, ok, ok, ok, none, ok, none, ok, ok, ok, scope, none, none, no, who},
		"ListPayments":           {ok, ok, ok, ok, ok, ok, ok, ok, ok, ok, scope, ok, ok, no, who},
		"SubmitOfflineTaps":      {ok, no, no, no, no, ok, ok, term, scope, scope, ok, no, scope, no, who},
	}
	s := newStage(t)
	for _, name := range methods() {
		if len(want[name]) != len(callers) {
			t.Errorf("the table says nothing of %s", name)
			continue
		}
		try := func(allowed bool) {
			for i, caller := range callers {
				reason := want[name][i]
				if (reason == ok) != allowed {
					continue
				}
				err := call(t.Context(), s.conns[caller], name, s.requestFor(t, name, caller))
				if fault.ReasonOf(err) != reason || (err == nil) != allowed {
					t.Errorf("%s by %s: got %v, want %q", name, caller, err, reason)
				}
			}
		}
		before := s.snapshot(t)
		try(false)
		s.unchanged(t, name+" by those who may not", before)
		try(true)
	}
}

// requestFor is a good request, fresh for each caller who creates something.
func (s *stage) requestFor(t *testing.T, name, caller string) proto.Message {
	r := s.requests(t)[name]
	if in, ok := r.(*paymentsv1.CreatePaymentRequest); ok && caller == "alice" {
		in.Payer = &paymentsv1.CreatePaymentRequest_Account{Account: "accounts/alice"}
	}
	return r
}

// snapshot is every row of every table that holds anything of worth, and what the books come to.
func (a *api) snapshot(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for table, key := range map[string]string{
		"ledger_accounts": "id", "ledger_transactions": "id", "ledger_postings": "transaction_id, line", "ledger_holds": "id", "accounts": "id",
		"merchants": "id", "terminals": "id", "payments": "id", "assertions": "jti", "outbox": "id", "limit_policies": "currency", "settlements": "id",
		"ledger_chains": "1", "ledger_links": "1", "limit_counters": "id", "voucher_holds": "1", "inbox": "1",
	} {
		out[table] = a.dump(t, `SELECT * FROM `+table+` ORDER BY `+key)
	}
	// CreatePayment reserves an id before it asks auth, so that a repeat after a crash is the same payment.
	out["requests"] = a.dump(t, `SELECT * FROM requests WHERE method NOT LIKE '%/CreatePayment' ORDER BY caller, method, request_id`)
	return out
}
