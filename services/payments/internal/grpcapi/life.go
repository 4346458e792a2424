package grpcapi

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/rpc"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// watchEvery is how often a watched payment is looked at when this process has not changed it: another one may have.
const watchEvery = 500 * time.Millisecond

// AuthorizePayment takes an assertion.
func (s *Server) AuthorizePayment(ctx context.Context, in *paymentsv1.AuthorizePaymentRequest) (*paymentsv1.Payment, error) {
	c := caller(ctx)
	p, err := s.payments.Authorize(ctx, c, id(in.GetName()), in.GetAssertion(), s.now())
	if err != nil {
		return nil, err
	}
	return view(c, p), nil
}

// CapturePayment takes held money.
func (s *Server) CapturePayment(ctx context.Context, in *paymentsv1.CapturePaymentRequest) (*paymentsv1.CapturePaymentResponse, error) {
	c := caller(ctx)
	req, err := request(c, paymentsv1.PaymentsService_CapturePayment_FullMethodName, in)
	if err != nil {
		return nil, err
	}
	w := payment.Wish{Payment: id(in.GetName()), Amount: wished(in.GetAmount()), Final: in.GetFinal()}
	a, err := s.payments.Capture(ctx, c, req, w, s.now())
	if err != nil {
		return nil, err
	}
	return &paymentsv1.CapturePaymentResponse{Payment: view(c, a.Payment), Transaction: "transactions/" + a.Transaction}, nil
}

// VoidPayment gives a payment up.
func (s *Server) VoidPayment(ctx context.Context, in *paymentsv1.VoidPaymentRequest) (*paymentsv1.Payment, error) {
	c := caller(ctx)
	req, err := request(c, paymentsv1.PaymentsService_VoidPayment_FullMethodName, in)
	if err != nil {
		return nil, err
	}
	p, err := s.payments.Void(ctx, c, req, id(in.GetName()), s.now())
	if err != nil {
		return nil, err
	}
	return view(c, p), nil
}

// RefundPayment gives captured money back.
func (s *Server) RefundPayment(ctx context.Context, in *paymentsv1.RefundPaymentRequest) (*paymentsv1.RefundPaymentResponse, error) {
	c := caller(ctx)
	req, err := request(c, paymentsv1.PaymentsService_RefundPayment_FullMethodName, in)
	if err != nil {
		return nil, err
	}
	a, err := s.payments.Refund(ctx, c, req, payment.Wish{Payment: id(in.GetName()), Amount: wished(in.GetAmount())}, s.now())
	if err != nil {
		return nil, err
	}
	return &paymentsv1.RefundPaymentResponse{Payment: view(c, a.Payment), Transaction: "transactions/" + a.Transaction}, nil
}

// wished is nil for all there is.
func wished(m *typev1.Money) *payment.Money {
	if m == nil {
		return nil
	}
	out := fromMoney(m)
	return &out
}

// WatchPayment sends a payment as it is and after every change.
func (s *Server) WatchPayment(in *paymentsv1.WatchPaymentRequest, stream grpc.ServerStreamingServer[paymentsv1.Payment]) error {
	ctx := stream.Context()
	c, name := caller(ctx), id(in.GetName())
	changed, stop := s.books.Watch(name)
	defer stop()
	again := time.NewTicker(watchEvery)
	defer again.Stop()
	for sent := int64(0); ; {
		p, err := s.payments.Get(ctx, c, name, s.now())
		if err != nil {
			return err
		}
		if p.Revision > sent {
			sent = p.Revision
			if err := stream.Send(view(c, p)); err != nil {
				return err
			}
		}
		if p.State.Final() {
			return nil
		}
		select {
		case <-changed:
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ListPayments lists what the caller may see. It reads one more than it shows to know whether there is another page.
func (s *Server) ListPayments(ctx context.Context, in *paymentsv1.ListPaymentsRequest) (*paymentsv1.ListPaymentsResponse, error) {
	c, scope := caller(ctx), listScope(in)
	after, err := s.pages.open(c, scope, in.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := pageSize(in.GetPageSize())
	list, err := s.payments.List(ctx, c, filter(in), after, size+1, s.now())
	if err != nil {
		return nil, err
	}
	out := &paymentsv1.ListPaymentsResponse{}
	if len(list) > size {
		list = list[:size]
		out.NextPageToken = s.pages.seal(c, scope, list[size-1].Cursor())
	}
	for _, p := range list {
		out.Payments = append(out.Payments, view(c, p))
	}
	return out, nil
}

// listScope is what a list asks for, its pages aside.
func listScope(in *paymentsv1.ListPaymentsRequest) string {
	only, _ := proto.Clone(in).(*paymentsv1.ListPaymentsRequest)
	only.PageSize, only.PageToken = 0, ""
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(only)
	return fmt.Sprintf("payments %x %v", b, err)
}

func filter(in *paymentsv1.ListPaymentsRequest) payment.Filter {
	out := payment.Filter{
		Merchant: id(in.GetMerchant()), Terminal: id(in.GetTerminal()), Account: id(in.GetAccount()), Device: in.GetDevice(),
		Currency: in.GetCurrencyCode(), From: timeOf(in.GetStartTime()), To: timeOf(in.GetEndTime()),
	}
	for _, s := range in.GetStates() {
		out.States = append(out.States, stateOf(s))
	}
	return out
}

func caller(ctx context.Context) payment.Caller { return fromCaller(rpc.CallerFrom(ctx)) }
