// Package grpcapi translates between armlet.payments.v1 and the domain. It decides nothing.
package grpcapi

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/rpc"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

const defaultPageSize = 50

// Books is what is read of the ledger as it stands.
type Books interface {
	TrialBalance(ctx context.Context) (ledger.TrialBalance, error)
	VerifyLedger(ctx context.Context) (ledger.Verification, error)
}

// Server implements the service.
type Server struct {
	paymentsv1.UnimplementedPaymentsServiceServer
	payments *payment.Service
	books    Books
	pages    pages
	now      func() time.Time
}

// New is the service. The key signs page tokens and is the same for all processes.
func New(payments *payment.Service, books Books, key []byte, now func() time.Time) *Server {
	return &Server{payments: payments, books: books, pages: pages{key: key}, now: now}
}

// CreateAccount opens a wallet.
func (s *Server) CreateAccount(ctx context.Context, in *paymentsv1.CreateAccountRequest) (*paymentsv1.Account, error) {
	req, err := request(caller(ctx), paymentsv1.PaymentsService_CreateAccount_FullMethodName, in)
	if err != nil {
		return nil, err
	}
	a, err := s.payments.CreateAccount(ctx, req, in.GetAccountId(), in.GetCurrencyCode(), s.now())
	if err != nil {
		return nil, err
	}
	return account(a), nil
}

// GetAccount reads a wallet.
func (s *Server) GetAccount(ctx context.Context, in *paymentsv1.GetAccountRequest) (*paymentsv1.Account, error) {
	a, err := s.payments.Account(ctx, caller(ctx), id(in.GetName()))
	if err != nil {
		return nil, err
	}
	return account(a), nil
}

// TopUpAccount puts money into a wallet.
func (s *Server) TopUpAccount(ctx context.Context, in *paymentsv1.TopUpAccountRequest) (*paymentsv1.TopUpAccountResponse, error) {
	req, err := request(caller(ctx), paymentsv1.PaymentsService_TopUpAccount_FullMethodName, in)
	if err != nil {
		return nil, err
	}
	t, err := s.payments.TopUp(ctx, req, id(in.GetName()), fromMoney(in.GetAmount()), s.now())
	if err != nil {
		return nil, err
	}
	return &paymentsv1.TopUpAccountResponse{Account: account(t.Account), Transaction: "transactions/" + t.Transaction}, nil
}

// CreateMerchant registers a merchant.
func (s *Server) CreateMerchant(ctx context.Context, in *paymentsv1.CreateMerchantRequest) (*paymentsv1.Merchant, error) {
	// What the contract says is ignored must not make a repeat look like another request.
	want := in.GetMerchant()
	counts := &paymentsv1.CreateMerchantRequest{RequestId: in.GetRequestId(), Merchant: &paymentsv1.Merchant{
		DisplayName: want.GetDisplayName(), CategoryCode: want.GetCategoryCode(), CurrencyCode: want.GetCurrencyCode(),
	}}
	req, err := request(caller(ctx), paymentsv1.PaymentsService_CreateMerchant_FullMethodName, counts)
	if err != nil {
		return nil, err
	}
	m, err := s.payments.CreateMerchant(ctx, req, payment.Merchant{
		DisplayName: want.GetDisplayName(), CategoryCode: want.GetCategoryCode(), Currency: want.GetCurrencyCode(),
	}, s.now())
	if err != nil {
		return nil, err
	}
	return merchant(m), nil
}

// GetMerchant reads a merchant.
func (s *Server) GetMerchant(ctx context.Context, in *paymentsv1.GetMerchantRequest) (*paymentsv1.Merchant, error) {
	m, err := s.payments.Merchant(ctx, caller(ctx), id(in.GetName()))
	if err != nil {
		return nil, err
	}
	return merchant(m), nil
}

// CreateTerminal registers a terminal.
func (s *Server) CreateTerminal(ctx context.Context, in *paymentsv1.CreateTerminalRequest) (*paymentsv1.Terminal, error) {
	req, err := request(caller(ctx), paymentsv1.PaymentsService_CreateTerminal_FullMethodName, in)
	if err != nil {
		return nil, err
	}
	t, err := s.payments.CreateTerminal(ctx, req, id(in.GetMerchant()), in.GetDisplayName())
	if err != nil {
		return nil, err
	}
	return &paymentsv1.Terminal{Name: "terminals/" + t.ID, Merchant: "merchants/" + t.Merchant, DisplayName: t.DisplayName}, nil
}

// CreatePayment stores an intent to pay and returns the challenge for the band.
func (s *Server) CreatePayment(ctx context.Context, in *paymentsv1.CreatePaymentRequest) (*paymentsv1.Payment, error) {
	c := caller(ctx)
	req, err := request(c, paymentsv1.PaymentsService_CreatePayment_FullMethodName, in)
	if err != nil {
		return nil, err
	}
	payer, err := payer(in)
	if err != nil {
		return nil, err
	}
	order := payment.Order{Merchant: id(in.GetMerchant()), Amount: fromMoney(in.GetAmount()), Payer: payer}
	p, err := s.payments.Create(ctx, c, req, order, s.now())
	if err != nil {
		return nil, err
	}
	return view(c, p), nil
}

// ConfirmPayment takes the band's response.
func (s *Server) ConfirmPayment(ctx context.Context, in *paymentsv1.ConfirmPaymentRequest) (*paymentsv1.ConfirmPaymentResponse, error) {
	c := caller(ctx)
	p, err := s.payments.Confirm(ctx, c, id(in.GetName()), in.GetResponseFrame(), s.now())
	if err != nil {
		return nil, err
	}
	return &paymentsv1.ConfirmPaymentResponse{Payment: view(c, p), ResultFrame: p.ResultFrame}, nil
}

// GetPayment reads a payment.
func (s *Server) GetPayment(ctx context.Context, in *paymentsv1.GetPaymentRequest) (*paymentsv1.Payment, error) {
	c := caller(ctx)
	p, err := s.payments.Get(ctx, c, id(in.GetName()), s.now())
	if err != nil {
		return nil, err
	}
	return view(c, p), nil
}

// ListPayments lists what the caller may see. It reads one more than it shows to know whether there is another page.
func (s *Server) ListPayments(ctx context.Context, in *paymentsv1.ListPaymentsRequest) (*paymentsv1.ListPaymentsResponse, error) {
	c := caller(ctx)
	after, err := s.pages.open(c, in.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := int(in.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	list, err := s.payments.List(ctx, c, after, size+1, s.now())
	if err != nil {
		return nil, err
	}
	out := &paymentsv1.ListPaymentsResponse{}
	if len(list) > size {
		list = list[:size]
		out.NextPageToken = s.pages.seal(c, list[size-1].Cursor())
	}
	for _, p := range list {
		out.Payments = append(out.Payments, view(c, p))
	}
	return out, nil
}

// GetTrialBalance sums the books.
func (s *Server) GetTrialBalance(ctx context.Context, _ *paymentsv1.GetTrialBalanceRequest) (*paymentsv1.GetTrialBalanceResponse, error) {
	t, err := s.books.TrialBalance(ctx)
	if err != nil {
		return nil, err
	}
	out := &paymentsv1.GetTrialBalanceResponse{Balanced: t.Balanced()}
	for _, l := range t.Lines {
		out.Lines = append(out.Lines, &paymentsv1.TrialBalanceLine{
			LedgerAccount: l.Account, CurrencyCode: l.Currency, Debits: l.Debits, Credits: l.Credits,
		})
	}
	for _, c := range t.Totals {
		out.Totals = append(out.Totals, &paymentsv1.TrialBalanceTotal{
			CurrencyCode: c.Currency, Difference: c.Difference, TransactionCount: c.Transactions,
		})
	}
	return out, nil
}

func caller(ctx context.Context) payment.Caller { return fromCaller(rpc.CallerFrom(ctx)) }
