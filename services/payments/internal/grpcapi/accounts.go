package grpcapi

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

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
	m, err := s.payments.TopUp(ctx, req, id(in.GetName()), fromMoney(in.GetAmount()), s.now())
	if err != nil {
		return nil, err
	}
	out := &paymentsv1.TopUpAccountResponse{Account: account(m.Account), Transaction: "transactions/" + m.Transaction}
	if m.Collected.Minor > 0 {
		out.CollectedAmount = money(m.Collected)
	}
	return out, nil
}

// WithdrawFromAccount pays money out of a wallet.
func (s *Server) WithdrawFromAccount(ctx context.Context, in *paymentsv1.WithdrawFromAccountRequest) (*paymentsv1.WithdrawFromAccountResponse, error) {
	req, err := request(caller(ctx), paymentsv1.PaymentsService_WithdrawFromAccount_FullMethodName, in)
	if err != nil {
		return nil, err
	}
	m, err := s.payments.Withdraw(ctx, req, id(in.GetName()), fromMoney(in.GetAmount()), s.now())
	if err != nil {
		return nil, err
	}
	return &paymentsv1.WithdrawFromAccountResponse{Account: account(m.Account), Transaction: "transactions/" + m.Transaction}, nil
}

// CloseAccount ends an empty wallet.
func (s *Server) CloseAccount(ctx context.Context, in *paymentsv1.CloseAccountRequest) (*paymentsv1.Account, error) {
	req, err := request(caller(ctx), paymentsv1.PaymentsService_CloseAccount_FullMethodName, in)
	if err != nil {
		return nil, err
	}
	a, err := s.payments.CloseAccount(ctx, req, id(in.GetName()), s.now())
	if err != nil {
		return nil, err
	}
	return account(a), nil
}

// FreezeAccount keeps a wallet from giving money.
func (s *Server) FreezeAccount(ctx context.Context, in *paymentsv1.FreezeAccountRequest) (*paymentsv1.Account, error) {
	req, err := request(caller(ctx), paymentsv1.PaymentsService_FreezeAccount_FullMethodName, in)
	if err != nil {
		return nil, err
	}
	a, err := s.payments.FreezeAccount(ctx, req, id(in.GetName()), in.GetReason(), s.now())
	if err != nil {
		return nil, err
	}
	return account(a), nil
}

// UnfreezeAccount lets a wallet give money again.
func (s *Server) UnfreezeAccount(ctx context.Context, in *paymentsv1.UnfreezeAccountRequest) (*paymentsv1.Account, error) {
	req, err := request(caller(ctx), paymentsv1.PaymentsService_UnfreezeAccount_FullMethodName, in)
	if err != nil {
		return nil, err
	}
	a, err := s.payments.UnfreezeAccount(ctx, req, id(in.GetName()), s.now())
	if err != nil {
		return nil, err
	}
	return account(a), nil
}

// GetBalance reads a ledger account at a moment.
func (s *Server) GetBalance(ctx context.Context, in *paymentsv1.GetBalanceRequest) (*paymentsv1.GetBalanceResponse, error) {
	now := s.now()
	b, err := s.payments.BalanceAt(ctx, caller(ctx), s.books, in.GetLedgerAccount(), timeOf(in.GetAtTime()))
	if err != nil {
		return nil, err
	}
	at := in.GetAtTime()
	if at == nil {
		at = timestamppb.New(now)
	}
	of := func(minor int64) *typev1.Money { return &typev1.Money{MinorUnits: minor, CurrencyCode: b.Currency} }
	return &paymentsv1.GetBalanceResponse{
		LedgerAccount: in.GetLedgerAccount(), Balance: of(b.Posted), Held: of(b.Held), Available: of(b.Available()), EntryCount: b.Entries, AtTime: at,
	}, nil
}

// GetStatement lists what was posted to a wallet.
func (s *Server) GetStatement(ctx context.Context, in *paymentsv1.GetStatementRequest) (*paymentsv1.GetStatementResponse, error) {
	c := caller(ctx)
	period := payment.Period{From: timeOf(in.GetStartTime()), To: timeOf(in.GetEndTime())}
	scope := fmt.Sprintf("statement %s %d %d", in.GetName(), period.From.UnixMicro(), period.To.UnixMicro())
	at, err := s.pages.open(c, scope, in.GetPageToken())
	if err != nil {
		return nil, err
	}
	var after *payment.Place
	if at != nil {
		after = &payment.Place{}
		if _, err := fmt.Sscanf(at.ID, "%d:%d", &after.Number, &after.Balance); err != nil {
			return nil, errPageToken
		}
	}
	st, err := s.payments.Statement(ctx, c, s.books, id(in.GetName()), period, after, pageSize(in.GetPageSize()))
	if err != nil {
		return nil, err
	}
	out := &paymentsv1.GetStatementResponse{OpeningBalance: money(st.Opening), ClosingBalance: money(st.Closing)}
	for _, e := range st.Entries {
		entry := &paymentsv1.StatementEntry{
			Transaction: "transactions/" + e.Transaction, Purpose: e.Purpose, Amount: money(e.Amount), Balance: money(e.Balance),
			PostTime: timestamppb.New(e.Time),
		}
		if e.Payment != "" {
			entry.Payment = "payments/" + e.Payment
		}
		out.Entries = append(out.Entries, entry)
	}
	if st.More {
		last := st.Entries[len(st.Entries)-1]
		out.NextPageToken = s.pages.seal(c, scope, payment.Cursor{CreateTime: last.Time, ID: fmt.Sprintf("%d:%d", last.Number, last.Balance.Minor)})
	}
	return out, nil
}

func pageSize(asked int32) int {
	if asked == 0 {
		return defaultPageSize
	}
	return int(asked)
}

// timeOf is the zero time where none is given.
func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
