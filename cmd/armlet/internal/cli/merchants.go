package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

func (a *app) merchantsCommand() *cobra.Command {
	c := &cobra.Command{Use: "merchants", Short: "Register merchants, change, suspend and resume them"}
	c.AddCommand(a.merchantsCreate(), a.merchantsUpdate(), a.merchantsList(),
		operating(a, "get MERCHANT", "Show one merchant", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Merchant, error) {
			return p.GetMerchant(ctx, &paymentsv1.GetMerchantRequest{Name: named("merchants/", args[0])})
		}, showMerchant),
		a.merchantsSuspend(), a.merchantsResume())
	return c
}

var merchantHead = []string{"MERCHANT", "NAME", "CATEGORY", "CURRENCY", "FEE", "CUT-OFF", "SUSPENDED"}

func merchantRow(m *paymentsv1.Merchant) []string {
	fee, cut := "-", "00:00 UTC"
	if f := m.GetFeeSchedule(); f != nil {
		fee = fmt.Sprintf("%d bp + %d", f.GetBasisPoints(), f.GetFixedMinorUnits())
	}
	if s := m.GetSettlement(); s != nil {
		cut = either(s.GetCutOff(), "00:00") + " " + either(s.GetTimeZone(), "UTC")
	}
	return []string{m.GetName(), m.GetDisplayName(), fmt.Sprint(m.GetCategoryCode()), m.GetCurrencyCode(), fee, cut, yes(m.GetSuspended())}
}

func showMerchant(w io.Writer, m *paymentsv1.Merchant) {
	table(w, merchantHead, [][]string{merchantRow(m)})
}

func (a *app) merchantsList() *cobra.Command {
	var token string
	var size int32
	c := operating(a, "list", "List merchants, newest first", cobra.NoArgs, func(ctx context.Context, p paymentsv1.PaymentsServiceClient, _ []string) (*paymentsv1.ListMerchantsResponse, error) {
		return p.ListMerchants(ctx, &paymentsv1.ListMerchantsRequest{PageSize: size, PageToken: token})
	}, func(w io.Writer, page *paymentsv1.ListMerchantsResponse) {
		rows := make([][]string, 0, len(page.GetMerchants()))
		for _, m := range page.GetMerchants() {
			rows = append(rows, merchantRow(m))
		}
		table(w, merchantHead, rows)
		more(w, page.GetNextPageToken())
	})
	pageFlags(c, &size, &token)
	return c
}

// merchantFlags are what can be said of a merchant.
type merchantFlags struct {
	name              string
	category, points  uint32
	fixed             int64
	returned          bool
	cutOff, zone, pay string
}

func (f *merchantFlags) add(c *cobra.Command) {
	c.Flags().Uint32Var(&f.category, "category", 0, "merchant category code of ISO 18245, such as 5812")
	c.Flags().Uint32Var(&f.points, "fee-basis-points", 0, "what the operator keeps of each capture, in hundredths of a per cent")
	c.Flags().Int64Var(&f.fixed, "fee-fixed", 0, "what it keeps once of each payment, in minor units")
	c.Flags().BoolVar(&f.returned, "fee-returned", false, "a refund gives back its share of the fee")
	c.Flags().StringVar(&f.cutOff, "cut-off", "", "when the merchant's day ends, HH:MM; empty is midnight")
	c.Flags().StringVar(&f.zone, "time-zone", "", "the clock of the cut-off, such as Asia/Shanghai; empty is UTC")
	c.Flags().StringVar(&f.pay, "payout-account", "", "where its money goes, as its bank writes it")
}

func (f *merchantFlags) merchant() *paymentsv1.Merchant {
	return &paymentsv1.Merchant{
		DisplayName: f.name, CategoryCode: f.category,
		FeeSchedule: &paymentsv1.FeeSchedule{BasisPoints: f.points, FixedMinorUnits: f.fixed, ReturnedOnRefund: f.returned},
		Settlement:  &paymentsv1.SettlementSchedule{CutOff: f.cutOff, TimeZone: f.zone, PayoutAccount: f.pay},
	}
}

func (a *app) merchantsCreate() *cobra.Command {
	var f merchantFlags
	var currency, id string
	c := operating(a, "create NAME", "Register a merchant; the band shows its name", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Merchant, error) {
		f.name = args[0]
		m := f.merchant()
		m.CurrencyCode = currency
		return p.CreateMerchant(ctx, &paymentsv1.CreateMerchantRequest{Merchant: m, RequestId: requestID(id)})
	}, showMerchant)
	c.Example = "  armlet merchants create \"Hua's Dumplings\" --category 5812 --currency CNY --cut-off 22:00 --time-zone Asia/Shanghai"
	f.add(c)
	c.Flags().StringVar(&currency, "currency", "CNY", "the currency it is paid in")
	return requestFlag(c, &id)
}

// merchantsUpdate changes what was given on the command line and nothing else.
func (a *app) merchantsUpdate() *cobra.Command {
	var f merchantFlags
	var id string
	var c *cobra.Command
	c = operating(a, "update MERCHANT", "Change a merchant: what is given, and nothing else", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Merchant, error) {
		var paths []string
		for path, flags := range map[string][]string{
			"display_name": {"name"}, "category_code": {"category"}, "fee_schedule": {"fee-basis-points", "fee-fixed", "fee-returned"},
			"settlement": {"cut-off", "time-zone", "payout-account"},
		} {
			for _, flag := range flags {
				if c.Flags().Changed(flag) {
					paths = append(paths, path)
					break
				}
			}
		}
		if len(paths) == 0 {
			return nil, usageError{errors.New("nothing to change was given; see --help for what can be")}
		}
		m, err := f.over(ctx, c, p, named("merchants/", args[0]))
		if err != nil {
			return nil, err
		}
		return p.UpdateMerchant(ctx, &paymentsv1.UpdateMerchantRequest{Merchant: m, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}, RequestId: requestID(id)})
	}, showMerchant)
	c.Flags().StringVar(&f.name, "name", "", "what the band shows")
	f.add(c)
	return requestFlag(c, &id)
}

// over is the merchant with the flags that were given put over what it has.
func (f *merchantFlags) over(ctx context.Context, c *cobra.Command, p paymentsv1.PaymentsServiceClient, name string) (*paymentsv1.Merchant, error) {
	old, err := p.GetMerchant(ctx, &paymentsv1.GetMerchantRequest{Name: name})
	if err != nil {
		return nil, err
	}
	m, given := f.merchant(), c.Flags().Changed
	m.Name = name
	keep(given("fee-basis-points"), &m.FeeSchedule.BasisPoints, old.GetFeeSchedule().GetBasisPoints())
	keep(given("fee-fixed"), &m.FeeSchedule.FixedMinorUnits, old.GetFeeSchedule().GetFixedMinorUnits())
	keep(given("fee-returned"), &m.FeeSchedule.ReturnedOnRefund, old.GetFeeSchedule().GetReturnedOnRefund())
	keep(given("cut-off"), &m.Settlement.CutOff, old.GetSettlement().GetCutOff())
	keep(given("time-zone"), &m.Settlement.TimeZone, old.GetSettlement().GetTimeZone())
	keep(given("payout-account"), &m.Settlement.PayoutAccount, old.GetSettlement().GetPayoutAccount())
	return m, nil
}

func keep[T any](given bool, field *T, old T) {
	if !given {
		*field = old
	}
}

func (a *app) merchantsSuspend() *cobra.Command {
	var id string
	return requestFlag(operating(a, "suspend MERCHANT", "Stop new payments to a merchant", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Merchant, error) {
		return p.SuspendMerchant(ctx, &paymentsv1.SuspendMerchantRequest{Name: named("merchants/", args[0]), RequestId: requestID(id)})
	}, showMerchant), &id)
}

func (a *app) merchantsResume() *cobra.Command {
	var id string
	return requestFlag(operating(a, "resume MERCHANT", "Let a suspended merchant be paid again", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Merchant, error) {
		return p.ResumeMerchant(ctx, &paymentsv1.ResumeMerchantRequest{Name: named("merchants/", args[0]), RequestId: requestID(id)})
	}, showMerchant), &id)
}
