package grpcapi_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

// service is the contract.
var service = paymentsv1.File_armlet_payments_v1_payments_proto.Services().ByName("PaymentsService")

// methods are the names of all RPCs.
func methods() (names []string) {
	for i := range service.Methods().Len() {
		names = append(names, string(service.Methods().Get(i).Name()))
	}
	return names
}

// call calls any RPC with one message; of a stream it waits for the first answer.
func call(ctx context.Context, conn *grpc.ClientConn, name string, in proto.Message) error {
	_, err := answer(ctx, conn, name, in)
	return err
}

func answer(ctx context.Context, conn *grpc.ClientConn, name string, in proto.Message) (proto.Message, error) {
	m := service.Methods().ByName(protoreflect.Name(name))
	full := "/" + string(service.FullName()) + "/" + name
	kind, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	if err != nil {
		return nil, err
	}
	out := kind.New().Interface()
	if !m.IsStreamingServer() {
		return out, conn.Invoke(ctx, full, in, out)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: m.IsStreamingClient()}, full)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(in); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	_ = stream.CloseSend()
	if err := stream.RecvMsg(out); !errors.Is(err, io.EOF) {
		return out, err
	}
	return out, nil
}

// stage has a payment in each state that a call can start from.
type stage struct {
	*api
	waiting, forAssertion, held, spare, captured *paymentsv1.Payment
	settlement, spareMerchant, spareTerminal     string
	transfer                                     string // of 0.01 from suspense to funding
}

func newStage(t *testing.T) *stage {
	t.Helper()
	return newStageOn(t, newAPI(t))
}

func newStageOn(t *testing.T, a *api) *stage {
	t.Helper()
	a.clock.Advance(789 * time.Nanosecond) // more exact than what the databases keep
	s := &stage{api: a}
	order := func(mode paymentsv1.CaptureMode) *paymentsv1.Payment {
		o := s.order()
		o.Amount, o.CaptureMode = amount(100, "CNY"), mode
		p, err := s.till.CreatePayment(t.Context(), o)
		must(t, err)
		return p
	}
	tapped := func(mode paymentsv1.CaptureMode) *paymentsv1.Payment {
		p := order(mode)
		_, err := s.confirm(t.Context(), p)
		must(t, err)
		return p
	}
	automatic, manual := paymentsv1.CaptureMode_CAPTURE_MODE_AUTOMATIC, paymentsv1.CaptureMode_CAPTURE_MODE_MANUAL
	s.waiting, s.forAssertion, s.held, s.spare, s.captured = order(automatic), order(automatic), tapped(manual), tapped(manual), tapped(automatic)
	s.wallet(t, "empty", "CNY", 0)
	s.wallet(t, "cold", "CNY", 0)
	s.settlement = s.settle(t)
	s.spareMerchant, s.spareTerminal = s.shop(t, "Spare", "CNY")
	s.transfer = s.api.transfer(t, false, move("staged", "suspense/CNY", "funding/CNY", 1))[0].GetTransaction()
	_, err := s.operator.SetLimitPolicy(t.Context(), &paymentsv1.SetLimitPolicyRequest{
		Name: "limitPolicies/EUR", Preset: paymentsv1.LimitPreset_LIMIT_PRESET_EU, RequestId: "preset",
	})
	must(t, err)
	return s
}

// requests is a good request of every RPC. Each names things that the caller in brackets may use: the operator where nothing
// is said.
func (s *stage) requests(t testing.TB) map[string]proto.Message {
	id := uuid.NewString
	held := s.held.GetName()
	return map[string]proto.Message{
		"CreateAccount":       &paymentsv1.CreateAccountRequest{AccountId: "new", CurrencyCode: "CNY", RequestId: id()},
		"GetAccount":          &paymentsv1.GetAccountRequest{Name: "accounts/alice"},
		"TopUpAccount":        &paymentsv1.TopUpAccountRequest{Name: "accounts/alice", Amount: amount(1, "CNY"), RequestId: id()},
		"WithdrawFromAccount": &paymentsv1.WithdrawFromAccountRequest{Name: "accounts/alice", Amount: amount(1, "CNY"), RequestId: id()},
		"CloseAccount":        &paymentsv1.CloseAccountRequest{Name: "accounts/empty", RequestId: id()},
		"FreezeAccount":       &paymentsv1.FreezeAccountRequest{Name: "accounts/cold", Reason: "odd taps", RequestId: id()},
		"UnfreezeAccount":     &paymentsv1.UnfreezeAccountRequest{Name: "accounts/cold", RequestId: id()},
		"GetBalance":          &paymentsv1.GetBalanceRequest{LedgerAccount: "wallet/alice"},
		"GetStatement":        &paymentsv1.GetStatementRequest{Name: "accounts/alice"},
		"CreateMerchant": &paymentsv1.CreateMerchantRequest{RequestId: id(), Merchant: &paymentsv1.Merchant{
			DisplayName: "M", CategoryCode: 1, CurrencyCode: "CNY", FeeSchedule: &paymentsv1.FeeSchedule{}, Settlement: &paymentsv1.SettlementSchedule{},
		}},
		"GetMerchant":   &paymentsv1.GetMerchantRequest{Name: s.merchant},
		"ListMerchants": &paymentsv1.ListMerchantsRequest{},
		"UpdateMerchant": &paymentsv1.UpdateMerchantRequest{
			Merchant: &paymentsv1.Merchant{
				Name: s.merchant, DisplayName: "N", CategoryCode: 5812, FeeSchedule: &paymentsv1.FeeSchedule{}, Settlement: &paymentsv1.SettlementSchedule{},
			},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name", "category_code", "fee_schedule", "settlement"}}, RequestId: id(),
		},
		"SuspendMerchant":   &paymentsv1.SuspendMerchantRequest{Name: s.spareMerchant, RequestId: id()},
		"ResumeMerchant":    &paymentsv1.ResumeMerchantRequest{Name: s.merchant, RequestId: id()},
		"CreateTerminal":    &paymentsv1.CreateTerminalRequest{Merchant: s.merchant, DisplayName: "T", RequestId: id()},
		"GetTerminal":       &paymentsv1.GetTerminalRequest{Name: s.terminal},
		"ListTerminals":     &paymentsv1.ListTerminalsRequest{Merchant: s.merchant},
		"SuspendTerminal":   &paymentsv1.SuspendTerminalRequest{Name: s.spareTerminal, RequestId: id()},
		"ResumeTerminal":    &paymentsv1.ResumeTerminalRequest{Name: s.terminal, RequestId: id()},
		"CreatePayment":     s.order(),                                                                                                      // till
		"ConfirmPayment":    &paymentsv1.ConfirmPaymentRequest{Name: s.waiting.GetName(), ResponseFrame: []byte("response")},                // till
		"AuthorizePayment":  &paymentsv1.AuthorizePaymentRequest{Name: s.forAssertion.GetName(), Assertion: s.assertion(t, s.forAssertion)}, // till
		"CapturePayment":    &paymentsv1.CapturePaymentRequest{Name: held, Amount: amount(10, "CNY"), RequestId: id()},
		"VoidPayment":       &paymentsv1.VoidPaymentRequest{Name: s.spare.GetName(), RequestId: id()},
		"RefundPayment":     &paymentsv1.RefundPaymentRequest{Name: s.captured.GetName(), Amount: amount(10, "CNY"), RequestId: id()},
		"GetPayment":        &paymentsv1.GetPaymentRequest{Name: held},
		"WatchPayment":      &paymentsv1.WatchPaymentRequest{Name: held},
		"ListPayments":      &paymentsv1.ListPaymentsRequest{},
		"SubmitOfflineTaps": offlineTap(t, s.terminal, 1, 100),
		"SetLimitPolicy": &paymentsv1.SetLimitPolicyRequest{Name: "limitPolicies/JPY", RequestId: id(), Policy: &paymentsv1.LimitPolicy{
			CategoryLimits:       []*paymentsv1.CategoryLimit{{FirstCategoryCode: 1, LastCategoryCode: 2}},
			StrongAuthentication: &paymentsv1.StrongAuthentication{},
		}},
		"GetLimitPolicy":         &paymentsv1.GetLimitPolicyRequest{Name: "limitPolicies/EUR"},
		"ListLimitPolicies":      &paymentsv1.ListLimitPoliciesRequest{},
		"DeleteLimitPolicy":      &paymentsv1.DeleteLimitPolicyRequest{Name: "limitPolicies/USD", RequestId: id()},
		"ListSettlements":        &paymentsv1.ListSettlementsRequest{},
		"GetSettlement":          &paymentsv1.GetSettlementRequest{Name: s.settlement},
		"ExportSettlementReport": &paymentsv1.ExportSettlementReportRequest{Name: s.settlement},
		"PostTransfers":          &paymentsv1.PostTransfersRequest{Transfers: []*paymentsv1.Transfer{move(id(), "funding/CNY", "suspense/CNY", 1)}},
		"ReverseTransfer":        &paymentsv1.ReverseTransferRequest{Transaction: s.transfer},
		"GetTrialBalance":        &paymentsv1.GetTrialBalanceRequest{},
		"VerifyLedger":           &paymentsv1.VerifyLedgerRequest{},
	}
}

// by is who makes the good request of an RPC.
func by(rpc string) string {
	switch rpc {
	case "CreatePayment", "ConfirmPayment", "AuthorizePayment":
		return "till"
	}
	return "operator"
}
