package grpcapi

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/bus"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

// CreateCampaign implements notifyv1.NotifyServiceServer.
func (s *Server) CreateCampaign(ctx context.Context, req *notifyv1.CreateCampaignRequest) (*notifyv1.Campaign, error) {
	caller := rpc.CallerFrom(ctx)
	r, err := request(caller, "CreateCampaign", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	c, err := campaignFrom(req)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	if c, err = s.cfg.Vouchers.CreateCampaign(ctx, actor(caller), r, c, now); err != nil {
		return nil, err
	}
	return bus.CampaignProto(c, now), nil
}

// campaignFrom reads what is asked for; what it may be the domain decides.
func campaignFrom(req *notifyv1.CreateCampaignRequest) (voucher.Campaign, error) {
	c := voucher.Campaign{
		DisplayName: req.GetDisplayName(), State: voucher.Active, Kind: kind(req.GetKind()),
		Value: req.GetValue().GetMinorUnits(), BasisPoints: int64(req.GetPercent().GetBasisPoints()), Cap: req.GetPercent().GetCap().GetMinorUnits(),
		Entitlement: req.GetEntitlement(), Budget: req.GetBudget().GetMinorUnits(), Limit: req.GetVoucherLimit(), Uses: int64(req.GetUsesPerVoucher()),
		ProofRequired: req.GetAssertionRequired(), Rules: voucher.Rules{Categories: req.GetMerchantCategoryCodes()},
	}
	if req.GetDraft() {
		c.State = voucher.Draft
	}
	for _, m := range req.GetMerchants() {
		c.Rules.Merchants = append(c.Rules.Merchants, lastID(m))
	}
	for _, l := range req.GetLimits() {
		c.Rules.Limits = append(c.Rules.Limits, voucher.Limit{
			Scope:  voucher.Scope(strings.TrimPrefix(l.GetScope().String(), "LIMIT_SCOPE_")),
			Metric: voucher.Metric(strings.TrimPrefix(l.GetMetric().String(), "LIMIT_METRIC_")),
			Period: voucher.Period(strings.TrimPrefix(l.GetPeriod().String(), "LIMIT_PERIOD_")), Value: l.GetValue(),
		})
	}
	if req.GetBudget() != nil && c.Budget == 0 {
		return c, fault.InvalidField("budget.minor_units", "a budget is positive; leave it out for none")
	}
	var err error
	if c.Currency, err = oneCurrency(req.GetValue(), req.GetPercent().GetCap(), req.GetBudget()); err != nil {
		return c, err
	}
	if c.StartsAt, err = instant("start_time", req.GetStartTime()); err != nil {
		return c, err
	}
	c.ExpiresAt, err = instant("expire_time", req.GetExpireTime())
	return c, err
}

func kind(k notifyv1.VoucherKind) voucher.Kind {
	if k == notifyv1.VoucherKind_VOUCHER_KIND_UNSPECIFIED {
		return voucher.FixedAmount
	}
	return voucher.Kind(strings.TrimPrefix(k.String(), "VOUCHER_KIND_"))
}

// oneCurrency is that of all amounts that are given.
func oneCurrency(all ...*typev1.Money) (string, error) {
	currency := ""
	for _, m := range all {
		if m == nil {
			continue
		}
		if currency != "" && m.GetCurrencyCode() != currency {
			return "", fault.InvalidField("budget.currency_code", "all amounts of a campaign are in one currency")
		}
		currency = m.GetCurrencyCode()
	}
	return currency, nil
}

// instant is the zero time for none.
func instant(field string, t *timestamppb.Timestamp) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if err := t.CheckValid(); err != nil {
		return time.Time{}, fault.InvalidField(field, "the time lies outside the years 1 to 9999")
	}
	return t.AsTime(), nil
}

// GetCampaign implements notifyv1.NotifyServiceServer.
func (s *Server) GetCampaign(ctx context.Context, req *notifyv1.GetCampaignRequest) (*notifyv1.Campaign, error) {
	c, err := s.cfg.Vouchers.Campaign(ctx, actor(rpc.CallerFrom(ctx)), lastID(req.GetName()))
	if err != nil {
		return nil, err
	}
	return bus.CampaignProto(c, s.cfg.Now()), nil
}

// ListCampaigns implements notifyv1.NotifyServiceServer.
func (s *Server) ListCampaigns(ctx context.Context, req *notifyv1.ListCampaignsRequest) (*notifyv1.ListCampaignsResponse, error) {
	by := actor(rpc.CallerFrom(ctx))
	list := "campaigns/" + by.Key() + "/" + by.Mode
	before, err := s.pages.cursor(list, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := pageSize(req.GetPageSize())
	campaigns, err := s.cfg.Reader.CampaignsBefore(ctx, by, before, size+1) // one more tells whether there is a next page
	if err != nil {
		return nil, err
	}
	out := &notifyv1.ListCampaignsResponse{}
	if len(campaigns) > size {
		campaigns = campaigns[:size]
		out.NextPageToken = s.pages.next(list, campaigns[size-1].ID)
	}
	now := s.cfg.Now()
	for _, c := range campaigns {
		out.Campaigns = append(out.Campaigns, bus.CampaignProto(c, now))
	}
	return out, nil
}

// UpdateCampaign implements notifyv1.NotifyServiceServer.
func (s *Server) UpdateCampaign(ctx context.Context, req *notifyv1.UpdateCampaignRequest) (*notifyv1.Campaign, error) {
	u, err := updateFrom(req)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	caller := rpc.CallerFrom(ctx)
	r, err := request(caller, "UpdateCampaign", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	c, err := s.cfg.Vouchers.UpdateCampaign(ctx, actor(caller), r, lastID(req.GetCampaign().GetName()), u, now)
	if err != nil {
		return nil, err
	}
	return bus.CampaignProto(c, now), nil
}

func updateFrom(req *notifyv1.UpdateCampaignRequest) (u voucher.CampaignUpdate, err error) {
	c := req.GetCampaign()
	if !strings.HasPrefix(c.GetName(), "campaigns/") {
		return u, fault.InvalidField("campaign.name", "give the name of the campaign, campaigns/{uuid}")
	}
	if len(req.GetUpdateMask().GetPaths()) == 0 {
		return u, fault.InvalidField("update_mask", "name at least one field")
	}
	for _, path := range req.GetUpdateMask().GetPaths() {
		switch path {
		case "display_name":
			if n := len([]rune(c.GetDisplayName())); n < 1 || n > 80 {
				return u, fault.InvalidField("campaign.display_name", "give 1 to 80 characters")
			}
			u.DisplayName = &c.DisplayName
		case "voucher_limit":
			if c.GetVoucherLimit() < 1 || c.GetVoucherLimit() > 100_000_000 {
				return u, fault.InvalidField("campaign.voucher_limit", "give 1 to 100,000,000")
			}
			u.Limit = &c.VoucherLimit
		case "budget":
			u.Budget, u.Currency = new(int64), c.GetBudget().GetCurrencyCode()
			*u.Budget = c.GetBudget().GetMinorUnits()
		case "expire_time":
			at, err := instant("campaign.expire_time", c.GetExpireTime())
			if err != nil {
				return u, err
			}
			u.ExpiresAt = &at
		default:
			return u, fault.InvalidField("update_mask", "%s cannot be changed; display_name, voucher_limit, budget and expire_time can", path)
		}
	}
	return u, nil
}

// ActivateCampaign implements notifyv1.NotifyServiceServer.
func (s *Server) ActivateCampaign(ctx context.Context, req *notifyv1.ActivateCampaignRequest) (*notifyv1.Campaign, error) {
	r, err := request(rpc.CallerFrom(ctx), "ActivateCampaign", req.GetRequestId(), req)
	return s.moveCampaign(ctx, r, err, req.GetName(), voucher.Active)
}

// PauseCampaign implements notifyv1.NotifyServiceServer.
func (s *Server) PauseCampaign(ctx context.Context, req *notifyv1.PauseCampaignRequest) (*notifyv1.Campaign, error) {
	r, err := request(rpc.CallerFrom(ctx), "PauseCampaign", req.GetRequestId(), req)
	return s.moveCampaign(ctx, r, err, req.GetName(), voucher.Paused)
}

// EndCampaign implements notifyv1.NotifyServiceServer.
func (s *Server) EndCampaign(ctx context.Context, req *notifyv1.EndCampaignRequest) (*notifyv1.Campaign, error) {
	r, err := request(rpc.CallerFrom(ctx), "EndCampaign", req.GetRequestId(), req)
	return s.moveCampaign(ctx, r, err, req.GetName(), voucher.Ended)
}

func (s *Server) moveCampaign(ctx context.Context, r once.Request, err error, name string, to voucher.CampaignState) (*notifyv1.Campaign, error) {
	if err != nil {
		return nil, err
	}
	now := s.cfg.Now()
	c, err := s.cfg.Vouchers.MoveCampaign(ctx, actor(rpc.CallerFrom(ctx)), r, lastID(name), to, now)
	if err != nil {
		return nil, err
	}
	return bus.CampaignProto(c, now), nil
}
