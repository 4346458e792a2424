package grpcapi

import (
	"context"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/bus"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

// CreateCampaign implements notifyv1.NotifyServiceServer.
func (s *Server) CreateCampaign(ctx context.Context, req *notifyv1.CreateCampaignRequest) (*notifyv1.Campaign, error) {
	caller := rpc.CallerFrom(ctx)
	r, err := request(caller, "CreateCampaign", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	if err := req.GetExpireTime().CheckValid(); err != nil {
		return nil, fault.InvalidField("expire_time", "the time lies outside the years 1 to 9999")
	}
	now := s.cfg.Now()
	c, err := s.cfg.Vouchers.CreateCampaign(ctx, actor(caller), r, voucher.Campaign{
		DisplayName: req.GetDisplayName(),
		Value:       voucher.Money{MinorUnits: req.GetValue().GetMinorUnits(), Currency: req.GetValue().GetCurrencyCode()},
		Limit:       req.GetVoucherLimit(),
		ExpiresAt:   req.GetExpireTime().AsTime(),
	}, now)
	if err != nil {
		return nil, err
	}
	out := &notifyv1.Campaign{
		Name: "campaigns/" + c.ID, DisplayName: c.DisplayName, Value: bus.MoneyProto(c.Value), VoucherLimit: c.Limit,
		IssuedCount: c.Issued, RedeemedCount: c.Redeemed, ExpireTime: timestamppb.New(c.ExpiresAt),
		State: notifyv1.CampaignState_CAMPAIGN_STATE_ENDED,
	}
	if c.Partner != "" {
		out.Partner = "partners/" + c.Partner
	}
	if c.Active(now) {
		out.State = notifyv1.CampaignState_CAMPAIGN_STATE_ACTIVE
	}
	return out, nil
}

// IssueVoucher implements notifyv1.NotifyServiceServer.
func (s *Server) IssueVoucher(ctx context.Context, req *notifyv1.IssueVoucherRequest) (*notifyv1.IssueVoucherResponse, error) {
	caller := rpc.CallerFrom(ctx)
	r, err := request(caller, "IssueVoucher", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	v, code, err := s.cfg.Vouchers.Issue(ctx, actor(caller), r, lastID(req.GetCampaign()), lastID(req.GetAccount()), s.cfg.Now())
	if err != nil {
		return nil, err
	}
	return &notifyv1.IssueVoucherResponse{Voucher: bus.VoucherProto(v), Code: code}, nil
}

// VerifyVoucher implements notifyv1.NotifyServiceServer.
func (s *Server) VerifyVoucher(ctx context.Context, req *notifyv1.VerifyVoucherRequest) (*notifyv1.VerifyVoucherResponse, error) {
	by := actor(rpc.CallerFrom(ctx))
	verdict, err := s.cfg.Vouchers.Verify(ctx, by, req.GetCode(), s.cfg.Now())
	if err != nil {
		return nil, err
	}
	id, err := uuid.Parse(verdict.Voucher.ID)
	if err != nil {
		return nil, err
	}
	out := &notifyv1.VerifyVoucherResponse{
		Voucher: voucherFor(by, verdict.Campaign, bus.VoucherProto(verdict.Voucher)), Redeemable: len(verdict.Obstacles) == 0,
		AssertionRequired: verdict.Voucher.Account != "", IntentUid: id[:],
	}
	for _, obstacle := range verdict.Obstacles {
		out.Reasons = append(out.Reasons, obstacle.Reason)
	}
	return out, nil
}

// voucherFor hides whose voucher it is from everybody but those who run its campaign.
func voucherFor(by voucher.Actor, c voucher.Campaign, v *notifyv1.Voucher) *notifyv1.Voucher {
	if !by.Owns(c) {
		v.Account = ""
	}
	return v
}

// RedeemVoucher implements notifyv1.NotifyServiceServer.
func (s *Server) RedeemVoucher(ctx context.Context, req *notifyv1.RedeemVoucherRequest) (*notifyv1.Redemption, error) {
	caller := rpc.CallerFrom(ctx)
	r, err := request(caller, "RedeemVoucher", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	redemption, err := s.cfg.Vouchers.Redeem(ctx, actor(caller), r, req.GetCode(), req.GetAssertion(), s.cfg.Now())
	if err != nil {
		return nil, err
	}
	out := bus.RedemptionProto(redemption)
	out.Voucher.Account = "" // neither a terminal nor a redeeming partner is told whose it was
	return out, nil
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
		out.Vouchers = append(out.Vouchers, bus.VoucherProto(v))
	}
	return out, nil
}
