package grpcapi_test

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

var edgeSchema = testkit.NewTemplate(store.Migrations())

// edge is a request that is good in form and refused for what there is.
type edge struct {
	what, rpc string
	by        *grpc.ClientConn
	in        proto.Message
	reason    string
	// field is the one that the refusal names; empty where it is about no field.
	field string
}

// Whatever an amount, an account, a merchant or a terminal is that a call cannot have: the documented reason with the field
// that is at fault, and no table is other than it was, on both databases.
func TestTheEdgesOfAmountsAndStatesChangeNothing(t *testing.T) {
	t.Parallel()
	edgeSchema.DBs(t, func(t *testing.T, db *sqldb.DB) {
		s := newStageOn(t, newAPIOn(t, db))
		edges := append(s.amountEdges(t), s.stateEdges(t)...)
		before := s.snapshot(t)
		for _, e := range edges {
			what := e.rpc + ": " + e.what
			err := call(t.Context(), e.by, e.rpc, e.in)
			f, _ := fault.As(err)
			if f == nil || f.Reason != e.reason || f.Field != e.field {
				t.Errorf("%s: got %v of field %q, want %s of %q", what, err, fieldOf(f), e.reason, e.field)
			}
			if now := s.snapshot(t); !maps.EqualFunc(before, now, slices.Equal[[]string]) {
				s.unchanged(t, what, before)
				before = now
			}
		}
		s.refusedTransfers(t)
		s.unchanged(t, "refused transfers", before)
		s.balanced(t)
	})
}

// amountEdges are the amounts that no call can have, for every call that takes one.
func (s *stage) amountEdges(t *testing.T) (out []edge) {
	largest := map[string]string{
		"TopUpAccount": "BALANCE_OVERFLOW", "WithdrawFromAccount": "BALANCE_OVERFLOW",
		"CapturePayment": "AMOUNT_EXCEEDS_AUTHORIZED", "RefundPayment": "AMOUNT_EXCEEDS_CAPTURED",
	}
	for _, name := range []string{"CreatePayment", "CapturePayment", "RefundPayment", "TopUpAccount", "WithdrawFromAccount"} {
		add := func(what, path string, value any, reason string) {
			in := s.requests(t)[name]
			set(in.ProtoReflect(), path, value)
			field := path
			if reason == "BALANCE_OVERFLOW" {
				field = "" // it is about the balance
			}
			out = append(out, edge{what, name, s.conns[by(name)], in, reason, field})
		}
		const minor = "amount.minor_units"
		add("nothing", minor, int64(0), "AMOUNT_NOT_POSITIVE")
		add("less than nothing", minor, int64(-1), "AMOUNT_NOT_POSITIVE")
		add("the least there is", minor, int64(math.MinInt64), "AMOUNT_NOT_POSITIVE")
		add("another currency", "amount.currency_code", "EUR", "CURRENCY_MISMATCH")
		if reason := largest[name]; reason != "" {
			add("the largest there is", minor, int64(math.MaxInt64), reason)
		}
	}
	return out
}

// stateEdges are calls about what is closed, suspended or not there. The stage is changed for them first.
func (s *stage) stateEdges(t *testing.T) []edge {
	s.wallet(t, "shut", "CNY", 0)
	_, err := s.operator.CloseAccount(t.Context(), &paymentsv1.CloseAccountRequest{Name: "accounts/shut", RequestId: "shut"})
	must(t, err)
	_, err = s.operator.SuspendMerchant(t.Context(), &paymentsv1.SuspendMerchantRequest{Name: s.otherMerchant, RequestId: "suspend"})
	must(t, err)
	srv, _ := s.serve(t, s.db)
	s.tokens["ghost"] = rpc.Caller{Role: rpc.RoleTerminal, ID: "ghost", Merchant: s.merchant, Terminal: "terminals/0123456789abcdef"}
	ghost := testkit.ClientWithToken(t, srv, "ghost")
	till, other, operator := s.conns["till"], s.conns["other till"], s.conns["operator"]
	ofShut, elsewhere := s.order(), s.order()
	ofShut.Payer = &paymentsv1.CreatePaymentRequest_Account{Account: "accounts/shut"}
	elsewhere.Merchant = s.otherMerchant
	one := amount(1, "CNY")
	out := []edge{
		{"a closed account", "CreatePayment", till, ofShut, "ACCOUNT_CLOSED", ""},
		{"a closed account", "TopUpAccount", operator, &paymentsv1.TopUpAccountRequest{Name: "accounts/shut", Amount: one, RequestId: uuid.NewString()}, "ACCOUNT_CLOSED", ""},
		{"a closed account", "WithdrawFromAccount", operator, &paymentsv1.WithdrawFromAccountRequest{Name: "accounts/shut", Amount: one, RequestId: uuid.NewString()}, "ACCOUNT_CLOSED", ""},
		{"a suspended merchant", "CreatePayment", other, elsewhere, "MERCHANT_SUSPENDED", ""},
	}
	for name, reason := range map[string]string{ // a payment is another's for who did not create it
		"CreatePayment": "TERMINAL_NOT_FOUND", "ConfirmPayment": "PAYMENT_NOT_FOUND", "AuthorizePayment": "PAYMENT_NOT_FOUND",
		"CapturePayment": "TERMINAL_NOT_FOUND", "RefundPayment": "TERMINAL_NOT_FOUND",
	} {
		out = append(out, edge{"an unknown terminal", name, ghost, s.requests(t)[name], reason, ""})
	}
	return out
}

// refusedTransfers posts transfers of which each is refused, with the reason in its answer.
func (s *stage) refusedTransfers(t *testing.T) {
	euro := move("edge-euro", "wallet/alice", "suspense/CNY", 1)
	euro.Amount = amount(1, "EUR")
	got := s.api.transfer(t, false, euro,
		move("edge-0", "wallet/alice", "suspense/CNY", 0), move("edge--1", "wallet/alice", "suspense/CNY", -1),
		move("edge-least", "wallet/alice", "suspense/CNY", math.MinInt64), move("edge-largest", "funding/CNY", "wallet/alice", math.MaxInt64),
		move("edge-closed", "wallet/alice", "wallet/shut", 1), move("edge-unknown", "wallet/alice", "wallet/nobody", 1))
	want := []string{
		"CURRENCY_MISMATCH", "AMOUNT_NOT_POSITIVE", "AMOUNT_NOT_POSITIVE", "AMOUNT_NOT_POSITIVE", "BALANCE_OVERFLOW",
		"LEDGER_ACCOUNT_CLOSED", "LEDGER_ACCOUNT_NOT_FOUND",
	}
	if !slices.Equal(reasons(got), want) {
		t.Errorf("the transfers are answered %v, want %v", reasons(got), want)
	}
}

func fieldOf(f *fault.Error) string {
	if f == nil {
		return ""
	}
	return f.Field
}
