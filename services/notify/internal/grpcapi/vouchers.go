package grpcapi

import (
	"context"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/bus"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

// IssueVoucher implements notifyv1.NotifyServiceServer.
func (s *Server) IssueVoucher(ctx context.Context, req *notifyv1.IssueVoucherRequest) (*notifyv1.IssueVoucherResponse, error) {
	caller := rpc.CallerFrom(ctx)
	r, err := request(caller, "IssueVoucher", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	to := voucher.Recipient{Account: lastID(req.GetAccount()), Device: req.GetDevice()}
	v, c, code, err := s.cfg.Vouchers.Issue(ctx, actor(caller), r, lastID(req.GetCampaign()), to, s.cfg.Now())
	if err != nil {
		return nil, err
	}
	return &notifyv1.IssueVoucherResponse{Voucher: bus.VoucherProto(v, c), Code: code}, nil
}

// AssignVoucher implements notifyv1.NotifyServiceServer.
func (s *Server) AssignVoucher(ctx context.Context, req *notifyv1.AssignVoucherRequest) (*notifyv1.Voucher, error) {
	caller := rpc.CallerFrom(ctx)
	r, err := request(caller, "AssignVoucher", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	to := voucher.Recipient{Account: lastID(req.GetAccount()), Device: req.GetDevice()}
	v, c, err := s.cfg.Vouchers.Assign(ctx, actor(caller), r, lastID(req.GetName()), to, s.cfg.Now())
	if err != nil {
		return nil, err
	}
	return bus.VoucherProto(v, c), nil
}

// GenerateVouchers implements notifyv1.NotifyServiceServer. Where a stream is resumed is not part of what its request is.
func (s *Server) GenerateVouchers(req *notifyv1.GenerateVouchersRequest, stream grpc.ServerStreamingServer[notifyv1.GenerateVouchersResponse]) error {
	ctx := stream.Context()
	caller := rpc.CallerFrom(ctx)
	bare := &notifyv1.GenerateVouchersRequest{Campaign: req.GetCampaign(), Count: req.GetCount()}
	r, err := request(caller, "GenerateVouchers", req.GetRequestId(), bare)
	if err != nil {
		return err
	}
	return s.cfg.Vouchers.Generate(ctx, actor(caller), r, lastID(req.GetCampaign()), int(req.GetCount()), int(req.GetAfter()), s.cfg.Now(),
		func(codes []string, generated int) error {
			return stream.Send(&notifyv1.GenerateVouchersResponse{
				Codes: codes, GeneratedCount: int32(generated), TotalCount: req.GetCount(),
			})
		})
}

// VerifyVoucher implements notifyv1.NotifyServiceServer.
func (s *Server) VerifyVoucher(ctx context.Context, req *notifyv1.VerifyVoucherRequest) (*notifyv1.VerifyVoucherResponse, error) {
	by := actor(rpc.CallerFrom(ctx))
	price, err := positive("purchase_amount", req.GetPurchaseAmount())
	if err != nil {
		return nil, err
	}
	verdict, err := s.cfg.Vouchers.Verify(ctx, by, req.GetCode(), price, s.cfg.Now())
	if err != nil {
		return nil, err
	}
	id, err := uuid.Parse(verdict.Voucher.ID)
	if err != nil {
		return nil, err
	}
	out := &notifyv1.VerifyVoucherResponse{
		Voucher: bus.VoucherProto(verdict.Voucher, verdict.Campaign), Redeemable: len(verdict.Reasons) == 0, Reasons: verdict.Reasons,
		AssertionRequired: verdict.Campaign.NeedsProof(verdict.Voucher), IntentUid: id[:],
	}
	if verdict.Known {
		out.Amount = &typev1.Money{MinorUnits: verdict.Amount.MinorUnits, CurrencyCode: verdict.Amount.Currency}
	}
	if !by.Owns(verdict.Campaign) {
		bus.ClearWearer(out.GetVoucher())
	}
	return out, nil
}

// positive is an amount that is either left out or above zero.
func positive(field string, m *typev1.Money) (voucher.Money, error) {
	if m != nil && m.GetMinorUnits() <= 0 {
		return voucher.Money{}, fault.InvalidField(field+".minor_units", "give a positive amount, or none")
	}
	return voucher.Money{MinorUnits: m.GetMinorUnits(), Currency: m.GetCurrencyCode()}, nil
}

// ListVouchers implements notifyv1.NotifyServiceServer.
func (s *Server) ListVouchers(ctx context.Context, req *notifyv1.ListVouchersRequest) (*notifyv1.ListVouchersResponse, error) {
	c, err := s.cfg.Vouchers.Campaign(ctx, actor(rpc.CallerFrom(ctx)), lastID(req.GetParent()))
	if err != nil {
		return nil, err
	}
	list := "vouchers/" + c.ID
	before, err := s.pages.cursor(list, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := pageSize(req.GetPageSize())
	vouchers, err := s.cfg.Reader.VouchersBefore(ctx, c, before, size+1) // one more tells whether there is a next page
	if err != nil {
		return nil, err
	}
	out := &notifyv1.ListVouchersResponse{}
	if len(vouchers) > size {
		vouchers = vouchers[:size]
		out.NextPageToken = s.pages.next(list, vouchers[size-1].ID)
	}
	for _, v := range vouchers {
		out.Vouchers = append(out.Vouchers, bus.VoucherProto(v, c))
	}
	return out, nil
}
