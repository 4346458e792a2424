package grpcapi

import (
	"context"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

// VerifyLedger walks through the chains.
func (s *Server) VerifyLedger(ctx context.Context, _ *paymentsv1.VerifyLedgerRequest) (*paymentsv1.VerifyLedgerResponse, error) {
	v, err := s.books.VerifyLedger(ctx)
	if err != nil {
		return nil, err
	}
	out := &paymentsv1.VerifyLedgerResponse{Intact: v.Intact(), TransactionCount: v.Transactions, Discrepancies: v.Wrong}
	if b := v.Broken; b != nil {
		out.Problem, out.BrokenChain, out.BrokenLink = b.String(), int32(b.Chain), b.Height
		if b.Transaction != "" {
			out.BrokenTransaction = "transactions/" + b.Transaction
		}
	}
	return out, nil
}
