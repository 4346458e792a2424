// Package grpcapi translates between armlet.payments.v1 and the domain. It decides nothing.
package grpcapi

import (
	"context"
	"time"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

const defaultPageSize = 50

// Books is what is read of the ledger as it stands.
type Books interface {
	payment.Books
	payment.Poster
	TrialBalance(ctx context.Context) (ledger.TrialBalance, error)
	// Merchants lists merchants, newest first.
	Merchants(ctx context.Context, after *payment.Cursor, limit int) ([]payment.Merchant, error)
	// Policies are all limits, by currency.
	Policies(ctx context.Context) ([]limit.Policy, error)
	DeletePolicy(ctx context.Context, req payment.Request, currency string) error
	// Watch gives a signal after each change of a payment that this process makes, until stop is called.
	Watch(id string) (changed <-chan struct{}, stop func())
	VerifyLedger(ctx context.Context) (ledger.Verification, error)
}

// Server implements the service.
type Server struct {
	paymentsv1.UnimplementedPaymentsServiceServer
	payments    *payment.Service
	books       Books
	settlements Settlements
	pages       pages
	now         func() time.Time
}

// New is the service. The key signs page tokens and is the same for all processes.
func New(payments *payment.Service, books Books, settlements Settlements, key []byte, now func() time.Time) *Server {
	return &Server{
		payments: payments, books: books, settlements: settlements, pages: pages{key: key},
		// As exact as the databases keep it, so that a first answer and its repeat are the same.
		now: func() time.Time { return now().Truncate(time.Microsecond) },
	}
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
	order := payment.Order{Merchant: id(in.GetMerchant()), Amount: fromMoney(in.GetAmount()), Payer: payer, CaptureMode: payment.Automatic, VoucherCode: in.GetVoucherCode()}
	if in.GetCaptureMode() == paymentsv1.CaptureMode_CAPTURE_MODE_MANUAL {
		order.CaptureMode = payment.Manual
	}
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
