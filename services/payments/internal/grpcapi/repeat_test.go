package grpcapi_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

// Every RPC with a request_id: the same request again gets the first answer and changes nothing, and other content under the
// same id is refused. What was undone in between stays undone.
func TestARepeatedRequestGetsTheFirstAnswerWhateverHasHappenedSince(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	other := map[string]struct {
		path  string
		value any
	}{
		"CreateAccount": {"currency_code", "EUR"}, "TopUpAccount": {"amount.minor_units", int64(2)}, "WithdrawFromAccount": {"amount.minor_units", int64(2)},
		"FreezeAccount": {"reason", "other"}, "UnfreezeAccount": {"name", "accounts/bob"}, "CloseAccount": {"name", "accounts/bob"}, "CreateMerchant": {"merchant.display_name", "O"}, "UpdateMerchant": {"merchant.display_name", "O"},
		"SuspendMerchant": {"name", s.merchant}, "ResumeMerchant": {"name", s.otherMerchant}, "CreateTerminal": {"display_name", "O"},
		"SuspendTerminal": {"name", s.terminal}, "ResumeTerminal": {"name", s.otherTerminal}, "CreatePayment": {"amount.minor_units", int64(2)},
		"CapturePayment": {"amount.minor_units", int64(2)}, "VoidPayment": {"name", s.held.GetName()}, "RefundPayment": {"amount.minor_units", int64(2)},
		"SetLimitPolicy": {"policy.tap_limit", int64(5)}, "DeleteLimitPolicy": {"name", "limitPolicies/GBP"},
	}
	tried := 0
	for _, name := range methods() {
		in := s.requests(t)[name]
		if in.ProtoReflect().Descriptor().Fields().ByName("request_id") == nil {
			continue
		}
		tried++
		first, err := answer(t.Context(), s.conns[by(name)], name, in)
		must(t, err)
		s.undo(t, name)
		before := s.snapshot(t)
		again, err := answer(t.Context(), s.conns[by(name)], name, in)
		must(t, err)
		if diff := cmp.Diff(first, again, protocmp.Transform()); diff != "" {
			t.Errorf("%s: the repeat differs: %s", name, diff)
		}
		set(in.ProtoReflect(), other[name].path, other[name].value)
		wants{codes.FailedPrecondition, "REQUEST_ID_REUSED"}.check(t, name+" with other content", call(t.Context(), s.conns[by(name)], name, in))
		s.unchanged(t, name+" again", before)
	}
	if tried != len(other) {
		t.Errorf("%d RPCs have a request_id, the table has %d", tried, len(other))
	}
	s.balanced(t)
}

// undo does the opposite of some calls, so that a repeat would be seen.
func (s *stage) undo(t *testing.T, name string) {
	t.Helper()
	opposite := map[string]string{"FreezeAccount": "UnfreezeAccount", "SuspendMerchant": "ResumeMerchant", "SuspendTerminal": "ResumeTerminal", "SetLimitPolicy": "DeleteLimitPolicy"}[name]
	if opposite == "" {
		return
	}
	what := map[string]any{"FreezeAccount": "accounts/cold", "SuspendMerchant": s.spareMerchant, "SuspendTerminal": s.spareTerminal, "SetLimitPolicy": "limitPolicies/JPY"}[name]
	in := s.requests(t)[opposite]
	set(in.ProtoReflect(), "name", what)
	must(t, call(t.Context(), s.conns["operator"], opposite, in))
}

// A mutation without a request_id is one that its own content makes repeatable, and says so in its comment.
func TestEveryMutationCanBeRepeated(t *testing.T) {
	t.Parallel()
	reads := map[string]bool{
		"GetAccount": true, "GetStatement": true, "GetBalance": true, "GetMerchant": true, "ListMerchants": true, "GetTerminal": true, "ListTerminals": true,
		"GetPayment": true, "WatchPayment": true, "ListPayments": true, "GetLimitPolicy": true, "ListLimitPolicies": true,
		"ListSettlements": true, "GetSettlement": true, "ExportSettlementReport": true, "GetTrialBalance": true, "VerifyLedger": true,
	}
	byContent := map[string]bool{"ConfirmPayment": true, "AuthorizePayment": true, "SubmitOfflineTaps": true, "PostTransfers": true, "ReverseTransfer": true}
	for _, name := range methods() {
		has := service.Methods().ByName(protoreflect.Name(name)).Input().Fields().ByName("request_id") != nil
		if has == (reads[name] || byContent[name]) {
			t.Errorf("%s has a request_id: %v", name, has)
		}
	}
}

// A terminal that confirms a tap again, with the same bytes, gets the first answer; so does one with the same assertion.
func TestARepeatedTapIsKnownByItsBytes(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, name := range []string{"ConfirmPayment", "AuthorizePayment", "PostTransfers", "ReverseTransfer"} {
		in := s.requests(t)[name]
		first, err := answer(t.Context(), s.conns[by(name)], name, in)
		must(t, err)
		before := s.snapshot(t)
		again, err := answer(t.Context(), s.conns[by(name)], name, in)
		must(t, err)
		if diff := cmp.Diff(first, again, protocmp.Transform()); diff != "" {
			t.Errorf("%s: the repeat differs: %s", name, diff)
		}
		s.unchanged(t, name+" again", before)
	}
	var taps []*paymentsv1.SubmitOfflineTapsResponse
	for range 2 {
		got, err := submit(t.Context(), s.till, offlineTap(t, s.terminal, 1, 100))
		must(t, err)
		taps = append(taps, got...)
	}
	if taps[0].GetPayment() != taps[1].GetPayment() || taps[1].GetStatus() != paymentsv1.OfflineTapStatus_OFFLINE_TAP_STATUS_DUPLICATE {
		t.Errorf("got %v", taps)
	}
	s.balanced(t)
}
