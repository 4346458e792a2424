package grpcapi_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/testkit"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/peers"
)

const (
	code      = "0123456789abcde"
	voucherID = "vouchers/01957a10-0000-7000-8000-000000000009"
)

// notifyServer is notify with one voucher that takes 2.00 off.
type notifyServer struct {
	notifyv1.UnimplementedNotifyServiceServer

	mu       sync.Mutex
	refuse   error
	off      int64
	reserved []*notifyv1.ReserveVoucherRequest
	done     chan string
}

// newNotify serves it as notify does and connects as payments does.
func (a *api) newNotify(t *testing.T) *peers.Notify {
	t.Helper()
	a.notify = &notifyServer{off: 200, done: make(chan string, 16)}
	policy := rpc.Policy{}
	for _, m := range notifyv1.NotifyService_ServiceDesc.Methods {
		policy["/"+notifyv1.NotifyService_ServiceDesc.ServiceName+"/"+m.MethodName] = rpc.Rule{Roles: []rpc.Role{rpc.RoleService}, Services: []string{"payments"}}
	}
	for _, m := range notifyv1.NotifyService_ServiceDesc.Streams {
		policy["/"+notifyv1.NotifyService_ServiceDesc.ServiceName+"/"+m.StreamName] = rpc.Rule{Roles: []rpc.Role{rpc.RoleOperator}}
	}
	srv, err := rpc.NewServer(rpc.ServerConfig{Service: "notify", Policy: policy, Verifier: testkit.Tokens{}})
	must(t, err)
	notifyv1.RegisterNotifyServiceServer(srv.GRPC(), a.notify)
	n := peers.NewNotify(testkit.Client(t, srv, "payments"))
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() { _ = n.Run(ctx) }()
	return n
}

func (n *notifyServer) set(refuse error, off int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuse, n.off = refuse, off
}

func (n *notifyServer) asked() []*notifyv1.ReserveVoucherRequest {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reserved
}

func (n *notifyServer) ReserveVoucher(_ context.Context, in *notifyv1.ReserveVoucherRequest) (*notifyv1.Redemption, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reserved = append(n.reserved, in)
	if n.refuse != nil {
		return nil, n.refuse
	}
	return &notifyv1.Redemption{Voucher: &notifyv1.Voucher{Name: voucherID}, Amount: amount(n.off, "CNY")}, nil
}

func (n *notifyServer) ConfirmRedemption(_ context.Context, in *notifyv1.ConfirmRedemptionRequest) (*notifyv1.Redemption, error) {
	n.done <- "confirm " + in.GetName()
	return &notifyv1.Redemption{}, nil
}

func (n *notifyServer) CancelRedemption(_ context.Context, in *notifyv1.CancelRedemptionRequest) (*notifyv1.Redemption, error) {
	n.done <- "cancel " + in.GetName()
	return &notifyv1.Redemption{}, nil
}

// heard is what notify was told next.
func (n *notifyServer) heard(t *testing.T) string {
	t.Helper()
	select {
	case s := <-n.done:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("notify was told nothing")
		return ""
	}
}

func (a *api) discounted() *paymentsv1.CreatePaymentRequest {
	o := a.order()
	o.VoucherCode = code
	return o
}

func TestAPaymentWithAVoucherInOneTap(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	o := a.discounted()
	p, err := a.till.CreatePayment(t.Context(), o)
	must(t, err)
	again, err := a.till.CreatePayment(t.Context(), o)
	must(t, err)
	redemption := "redemptions/" + p.GetName()[len("payments/"):]
	want := &paymentsv1.Discount{Voucher: voucherID, Redemption: voucherID + "/" + redemption, GrossAmount: amount(1200, "CNY"), Amount: amount(200, "CNY")}
	if diff := cmp.Diff(want, p.GetDiscount(), protocmp.Transform()); diff != "" || p.GetAmount().GetMinorUnits() != 1000 || again.GetName() != p.GetName() {
		t.Errorf("%v, repeated %v: %s", p, again, diff)
	}
	asked := a.notify.asked()
	if len(asked) != 1 {
		t.Fatalf("asked %d times", len(asked))
	}
	if diff := cmp.Diff(&notifyv1.ReserveVoucherRequest{
		Code: code, PurchaseAmount: amount(1200, "CNY"), Merchant: a.merchant, MerchantCategoryCode: 5812, Payment: p.GetName(),
		RequestId: p.GetName()[len("payments/"):], DeviceUid: bandUID, OnBehalfOf: "terminal/" + a.terminal[len("terminals/"):],
	}, asked[0], protocmp.Transform()); diff != "" {
		t.Errorf("asked for: %s", diff)
	}
	done, err := a.confirm(t.Context(), p)
	must(t, err)
	if done.GetPayment().GetState() != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED || a.balance(t, "alice") != 4000 || done.GetPayment().GetDiscount() == nil {
		t.Errorf("%v, alice has %d", done.GetPayment(), a.balance(t, "alice"))
	}
	if got := a.notify.heard(t); got != "confirm vouchers/-/"+redemption {
		t.Errorf("notify was told %q", got)
	}
	a.balanced(t)

	p, err = a.till.CreatePayment(t.Context(), a.discounted())
	must(t, err)
	_, err = a.till.VoidPayment(t.Context(), &paymentsv1.VoidPaymentRequest{Name: p.GetName(), RequestId: uuid.NewString()})
	must(t, err)
	if got := a.notify.heard(t); got != "cancel vouchers/-/redemptions/"+p.GetName()[len("payments/"):] {
		t.Errorf("notify was told %q", got)
	}
	plain := a.waiting(t)
	if plain.GetDiscount() != nil {
		t.Errorf("without a voucher: %v", plain)
	}
}

func TestWhyAVoucherIsRefusedIsPassedOn(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	before := a.waiting(t)
	for _, c := range []struct {
		refuse *fault.Error
		want   wants
	}{
		{fault.New(fault.NotFound, "VOUCHER_NOT_FOUND", "x"), wants{codes.NotFound, "VOUCHER_NOT_FOUND"}},
		{fault.New(fault.FailedPrecondition, "VOUCHER_EXPIRED", "x").WithMeta("reasons", "VOUCHER_EXPIRED,CAMPAIGN_NOT_ACTIVE"), wants{codes.FailedPrecondition, "VOUCHER_EXPIRED"}},
		{fault.New(fault.FailedPrecondition, "VOUCHER_NOT_FOR_PAYMENTS", "x"), wants{codes.FailedPrecondition, "VOUCHER_NOT_FOR_PAYMENTS"}},
		{fault.New(fault.FailedPrecondition, "VOUCHER_COVERS_PRICE", "x"), wants{codes.FailedPrecondition, "VOUCHER_COVERS_PRICE"}},
		{fault.New(fault.FailedPrecondition, "WEARER_UNKNOWN", "x"), wants{codes.FailedPrecondition, "WEARER_UNKNOWN"}},
		{fault.New(fault.ResourceExhausted, "VOUCHER_LOCKED_OUT", "x"), wants{codes.ResourceExhausted, "VOUCHER_LOCKED_OUT"}},
		{fault.New(fault.ResourceExhausted, "CAMPAIGN_BUDGET_EXHAUSTED", "x"), wants{codes.ResourceExhausted, "CAMPAIGN_BUDGET_EXHAUSTED"}},
		{fault.New(fault.Unavailable, "DATABASE_BUSY", "x"), wants{codes.Unavailable, "VOUCHERS_UNAVAILABLE"}},
		{fault.New(fault.DeadlineExceeded, "SLOW", "x"), wants{codes.Unavailable, "VOUCHERS_UNAVAILABLE"}},
		{fault.New(fault.PermissionDenied, "CALLER_NOT_ALLOWED", "x"), wants{codes.Internal, "INTERNAL"}},
		{fault.New(fault.FailedPrecondition, "REQUEST_ID_REUSED", "x"), wants{codes.Internal, "INTERNAL"}},
		{fault.New(fault.Invalid, "INVALID_ARGUMENT", "x"), wants{codes.Internal, "INTERNAL"}},
	} {
		a.notify.set(c.refuse, 200)
		_, err := a.till.CreatePayment(t.Context(), a.discounted())
		c.want.check(t, c.refuse.Reason, err)
		if f, ok := fault.As(err); ok && c.refuse.Reason == "VOUCHER_EXPIRED" && f.Meta["reasons"] != "VOUCHER_EXPIRED,CAMPAIGN_NOT_ACTIVE" {
			t.Errorf("the other reasons are lost: %v", f.Meta)
		}
	}
	a.notify.set(nil, 1200) // an answer that would leave nothing to pay
	_, err := a.till.CreatePayment(t.Context(), a.discounted())
	wants{codes.Internal, "INTERNAL"}.check(t, "all of it", err)
	list, err := a.operator.ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{})
	must(t, err)
	if len(list.GetPayments()) != 1 || list.GetPayments()[0].GetName() != before.GetName() || a.balance(t, "alice") != 5000 {
		t.Errorf("something was changed: %v", list)
	}
	for _, bad := range []string{"short", "0123456789abcdefghijklmnop", "0123456789abcd\x00"} {
		o := a.discounted()
		o.VoucherCode = bad
		_, err := a.till.CreatePayment(t.Context(), o)
		wants{codes.InvalidArgument, "INVALID_FIELD"}.check(t, bad, err)
	}
}
