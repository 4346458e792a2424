package grpcapi

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// PostTransfers moves money between ledger accounts.
func (s *Server) PostTransfers(ctx context.Context, in *paymentsv1.PostTransfersRequest) (*paymentsv1.PostTransfersResponse, error) {
	want := make([]payment.Transfer, len(in.GetTransfers()))
	for i, t := range in.GetTransfers() {
		want[i] = payment.Transfer{ID: t.GetTransferId(), Debit: t.GetDebitAccount(), Credit: t.GetCreditAccount(), Amount: fromMoney(t.GetAmount())}
	}
	done, err := s.payments.Transfer(ctx, caller(ctx), s.books, want, in.GetLinked(), s.now())
	if err != nil {
		return nil, err
	}
	out := &paymentsv1.PostTransfersResponse{Results: make([]*paymentsv1.TransferResult, len(done))}
	for i, d := range done {
		r := &paymentsv1.TransferResult{TransferId: want[i].ID}
		if d.Refused != nil {
			r.Reason, r.Problem = d.Refused.Reason, d.Refused.Message
		} else {
			r.Transaction, r.PostTime = "transactions/"+d.Transaction, timestamppb.New(d.Time)
		}
		out.Results[i] = r
	}
	return out, nil
}

// ReverseTransfer undoes a transfer.
func (s *Server) ReverseTransfer(ctx context.Context, in *paymentsv1.ReverseTransferRequest) (*paymentsv1.ReverseTransferResponse, error) {
	done, err := s.payments.Reverse(ctx, s.books, id(in.GetTransaction()), s.now())
	if err != nil {
		return nil, err
	}
	return &paymentsv1.ReverseTransferResponse{Transaction: "transactions/" + done.Transaction, PostTime: timestamppb.New(done.Time)}, nil
}
