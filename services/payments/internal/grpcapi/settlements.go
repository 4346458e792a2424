package grpcapi

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
	"github.com/armlet-pay/armlet/services/payments/internal/settlement"
)

// Settlements is what is read of settlements.
type Settlements interface {
	settlement.Statements
	// Settlement returns SETTLEMENT_NOT_FOUND.
	Settlement(ctx context.Context, id string) (settlement.Settlement, error)
	// Settlements lists them, newest first, of one merchant or of all.
	Settlements(ctx context.Context, merchant string, after *payment.Cursor, limit int) ([]settlement.Settlement, error)
}

// ListSettlements lists what the caller may see.
func (s *Server) ListSettlements(ctx context.Context, in *paymentsv1.ListSettlementsRequest) (*paymentsv1.ListSettlementsResponse, error) {
	c, merchant := caller(ctx), id(in.GetMerchant())
	if c.Role != payment.Operator {
		if merchant != "" && merchant != c.Merchant {
			return nil, fault.New(fault.PermissionDenied, "CALLER_NOT_ALLOWED", "a terminal sees the settlements of its own merchant only")
		}
		merchant = c.Merchant
	}
	scope := "settlements/" + merchant
	after, err := s.pages.open(c, scope, in.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := int(in.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	list, err := s.settlements.Settlements(ctx, merchant, after, size+1)
	if err != nil {
		return nil, err
	}
	out := &paymentsv1.ListSettlementsResponse{}
	if len(list) > size {
		list = list[:size]
		out.NextPageToken = s.pages.seal(c, scope, payment.Cursor{CreateTime: list[size-1].CreateTime, ID: list[size-1].ID})
	}
	for _, x := range list {
		out.Settlements = append(out.Settlements, settled(c, x))
	}
	return out, nil
}

// GetSettlement reads one.
func (s *Server) GetSettlement(ctx context.Context, in *paymentsv1.GetSettlementRequest) (*paymentsv1.Settlement, error) {
	c := caller(ctx)
	x, err := s.settlement(ctx, c, id(in.GetName()))
	if err != nil {
		return nil, err
	}
	return settled(c, x), nil
}

// ExportSettlementReport sends one as CSV.
func (s *Server) ExportSettlementReport(in *paymentsv1.ExportSettlementReportRequest, out grpc.ServerStreamingServer[paymentsv1.ExportSettlementReportResponse]) error {
	ctx := out.Context()
	x, err := s.settlement(ctx, caller(ctx), id(in.GetName()))
	if err != nil {
		return err
	}
	return settlement.Report(ctx, s.books, x, func(piece []byte) error {
		return out.Send(&paymentsv1.ExportSettlementReportResponse{Csv: piece})
	})
}

// settlement reads one that the caller may see: terminals see their merchant's.
func (s *Server) settlement(ctx context.Context, c payment.Caller, id string) (settlement.Settlement, error) {
	x, err := s.settlements.Settlement(ctx, id)
	if err == nil && c.Role != payment.Operator && c.Merchant != x.Merchant {
		err = fault.New(fault.NotFound, "SETTLEMENT_NOT_FOUND", "there is no such settlement, or the caller may not see it")
	}
	return x, err
}

func settled(c payment.Caller, x settlement.Settlement) *paymentsv1.Settlement {
	amount := func(minor int64) payment.Money { return payment.Money{Minor: minor, Currency: x.Currency} }
	out := &paymentsv1.Settlement{
		Name: "settlements/" + x.ID, Merchant: "merchants/" + x.Merchant,
		StartTime: timestamppb.New(x.Start), EndTime: timestamppb.New(x.End), CreateTime: timestamppb.New(x.CreateTime),
		CarriedIn: money(amount(x.CarriedIn)), Captured: money(amount(x.Captured)), Refunded: money(amount(x.Refunded)),
		Fees: money(amount(x.Fees)), PaidOut: money(amount(x.PaidOut)), CarriedOut: money(amount(x.CarriedOut)), EntryCount: x.Count,
	}
	if x.Transaction != "" {
		out.Transaction = "transactions/" + x.Transaction
	}
	if c.Role == payment.Operator {
		out.PayoutAccount = x.PayoutAccount
	}
	return out
}
