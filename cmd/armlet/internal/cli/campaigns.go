package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
)

func (a *app) campaignsCommand() *cobra.Command {
	c := &cobra.Command{Use: "campaigns", Short: "Open, change, pause and end the campaigns that vouchers belong to"}
	change := func(use, short string, do func(context.Context, notifyv1.NotifyServiceClient, string) (*notifyv1.Campaign, error)) *cobra.Command {
		return notifying(a, use+" CAMPAIGN", short, cobra.ExactArgs(1), func(ctx context.Context, notify notifyv1.NotifyServiceClient, args []string) (*notifyv1.Campaign, error) {
			return do(ctx, notify, named("campaigns/", args[0]))
		}, showCampaign)
	}
	c.AddCommand(a.campaignsCreate(), a.campaignsList(),
		change("get", "Show one", func(ctx context.Context, notify notifyv1.NotifyServiceClient, name string) (*notifyv1.Campaign, error) {
			return notify.GetCampaign(ctx, &notifyv1.GetCampaignRequest{Name: name})
		}),
		change("activate", "Open a draft or a paused one", func(ctx context.Context, notify notifyv1.NotifyServiceClient, name string) (*notifyv1.Campaign, error) {
			return notify.ActivateCampaign(ctx, &notifyv1.ActivateCampaignRequest{Name: name, RequestId: sandbox.RequestID()})
		}),
		change("pause", "Stop issuing and redeeming for a while", func(ctx context.Context, notify notifyv1.NotifyServiceClient, name string) (*notifyv1.Campaign, error) {
			return notify.PauseCampaign(ctx, &notifyv1.PauseCampaignRequest{Name: name, RequestId: sandbox.RequestID()})
		}),
		change("end", "End one for good", func(ctx context.Context, notify notifyv1.NotifyServiceClient, name string) (*notifyv1.Campaign, error) {
			return notify.EndCampaign(ctx, &notifyv1.EndCampaignRequest{Name: name, RequestId: sandbox.RequestID()})
		}))
	return c
}

// offer is what a campaign's vouchers are to be, as flags say.
type offer struct {
	kind, value, cap, budget, entitlement string
	percent                               float64
	uses                                  int32
	limit                                 int64
	lasts                                 time.Duration
	categories                            []uint
	draft, band                           bool
}

func (o *offer) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.kind, "kind", "fixed", "fixed, percent, stored or entitlement")
	f.StringVar(&o.value, "value", "", "fixed: what a voucher takes off, stored: what it holds, in CNY")
	f.Float64Var(&o.percent, "percent", 0, "percent: how much it takes off, such as 12.5")
	f.StringVar(&o.cap, "cap", "", "percent: at most this much, in CNY")
	f.StringVar(&o.entitlement, "entitlement", "", "entitlement: what it gives, in words")
	f.StringVar(&o.budget, "budget", "", "what all redemptions may be worth together, in CNY; empty is without bound")
	f.Int32Var(&o.uses, "uses", 0, "how often each voucher can be redeemed; 0 is once")
	f.Int64Var(&o.limit, "limit", 1000, "how many vouchers there may be")
	f.DurationVar(&o.lasts, "lasts", 30*24*time.Hour, "how long the campaign runs")
	f.UintSliceVar(&o.categories, "category", nil, "only at merchants of these categories (ISO 18245)")
	f.BoolVar(&o.band, "band", false, "bearers too must redeem with a band")
	f.BoolVar(&o.draft, "draft", false, "make it a draft; nothing can be issued before it is activated")
}

var offerKinds = map[string]notifyv1.VoucherKind{
	"fixed": notifyv1.VoucherKind_VOUCHER_KIND_FIXED_AMOUNT, "percent": notifyv1.VoucherKind_VOUCHER_KIND_PERCENT,
	"stored": notifyv1.VoucherKind_VOUCHER_KIND_STORED_VALUE, "entitlement": notifyv1.VoucherKind_VOUCHER_KIND_ENTITLEMENT,
}

func (o *offer) request(name string) (*notifyv1.CreateCampaignRequest, error) {
	kind, ok := offerKinds[o.kind]
	if !ok {
		return nil, usageError{fmt.Errorf("--kind takes fixed, percent, stored or entitlement, not %q", o.kind)}
	}
	req := &notifyv1.CreateCampaignRequest{
		DisplayName: name, Kind: kind, Entitlement: o.entitlement, VoucherLimit: o.limit, UsesPerVoucher: o.uses, AssertionRequired: o.band,
		Draft: o.draft, ExpireTime: timestamppb.New(time.Now().Add(o.lasts)), RequestId: sandbox.RequestID(),
	}
	for _, category := range o.categories {
		req.MerchantCategoryCodes = append(req.MerchantCategoryCodes, uint32(category))
	}
	if o.percent > 0 || o.cap != "" {
		req.Percent = &notifyv1.PercentOff{BasisPoints: int32(o.percent*100 + 0.5)}
		if err := optionalAmount(o.cap, &req.Percent.Cap); err != nil {
			return nil, err
		}
	}
	if err := optionalAmount(o.value, &req.Value); err != nil {
		return nil, err
	}
	return req, optionalAmount(o.budget, &req.Budget)
}

func optionalAmount(text string, into **typev1.Money) (err error) {
	if text != "" {
		*into, err = parseAmount(text, sandbox.Currency)
	}
	return err
}

func (a *app) campaignsCreate() *cobra.Command {
	var o offer
	c := notifying(a, "create NAME", "Open a campaign", cobra.ExactArgs(1), func(ctx context.Context, notify notifyv1.NotifyServiceClient, args []string) (*notifyv1.Campaign, error) {
		req, err := o.request(args[0])
		if err != nil {
			return nil, err
		}
		return notify.CreateCampaign(ctx, req)
	}, showCampaign)
	c.Example = "  armlet vouchers campaigns create 'Summer' --value 5.00 --budget 1000.00\n  armlet vouchers campaigns create 'A quarter' --kind percent --percent 25 --cap 10.00 --category 5812"
	o.flags(c)
	return c
}

func (a *app) campaignsList() *cobra.Command {
	var token string
	var size int32
	c := notifying(a, "list", "List campaigns, newest first", nil, func(ctx context.Context, notify notifyv1.NotifyServiceClient, _ []string) (*notifyv1.ListCampaignsResponse, error) {
		return notify.ListCampaigns(ctx, &notifyv1.ListCampaignsRequest{PageSize: size, PageToken: token})
	}, func(w io.Writer, page *notifyv1.ListCampaignsResponse) {
		rows := make([][]string, 0, len(page.GetCampaigns()))
		for _, one := range page.GetCampaigns() {
			rows = append(rows, campaignRow(one))
		}
		table(w, campaignHead, rows)
		more(w, page.GetNextPageToken())
	})
	pageFlags(c, &size, &token)
	return c
}

var campaignHead = []string{"CAMPAIGN", "NAME", "STATE", "OFFER", "ISSUED", "REDEEMED", "BUDGET", "ENDS"}

func campaignRow(c *notifyv1.Campaign) []string {
	offered := money(c.GetValue())
	switch {
	case c.GetPercent() != nil:
		offered = fmt.Sprintf("%g%%, at most %s", float64(c.GetPercent().GetBasisPoints())/100, money(c.GetPercent().GetCap()))
	case c.GetEntitlement() != "":
		offered = c.GetEntitlement()
	}
	budget := "-"
	if c.GetBudget() != nil {
		budget = money(c.GetBudget())
	}
	return []string{
		c.GetName(), c.GetDisplayName(), state(c.GetState().String(), "CAMPAIGN_STATE_"), offered, fmt.Sprint(c.GetIssuedCount()),
		fmt.Sprint(c.GetRedeemedCount()), budget, clock(c.GetExpireTime()),
	}
}

func showCampaign(w io.Writer, c *notifyv1.Campaign) {
	table(w, campaignHead, [][]string{campaignRow(c)})
}

// vouchersAssign gives a bearer voucher to an account or a band.
func (a *app) vouchersAssign() *cobra.Command {
	var account, device string
	c := notifying(a, "assign VOUCHER", "Give a bearer voucher to an account or a band", cobra.ExactArgs(1),
		func(ctx context.Context, notify notifyv1.NotifyServiceClient, args []string) (*notifyv1.Voucher, error) {
			req := &notifyv1.AssignVoucherRequest{Name: named("vouchers/", args[0]), Device: device, RequestId: sandbox.RequestID()}
			if account != "" {
				req.Account = named("accounts/", account)
			}
			return notify.AssignVoucher(ctx, req)
		}, func(w io.Writer, v *notifyv1.Voucher) {
			fmt.Fprintf(w, "%s is %s's\n", v.GetName(), strings.Trim(v.GetAccount()+" "+v.GetDevice(), " "))
		})
	c.Flags().StringVar(&account, "account", "", "the account")
	c.Flags().StringVar(&device, "device", "", "full name of the band")
	return c
}
