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
)

func (a *app) vouchersCommand() *cobra.Command {
	c := &cobra.Command{Use: "vouchers", Short: "Open campaigns; issue, generate, assign, verify, redeem and list vouchers"}
	c.AddCommand(a.vouchersIssue(), a.vouchersGenerate(), a.vouchersVerify(), a.vouchersRedeem(), a.vouchersList(), a.vouchersAssign(), a.campaignsCommand())
	c.AddCommand(a.redemptionCommands()...)
	return c
}

func (a *app) vouchersIssue() *cobra.Command {
	var campaign, value, name, account string
	c := &cobra.Command{
		Use: "issue", Short: "Issue a voucher; without --campaign, in a new campaign",
		Example: "  armlet vouchers issue --value 5.00\n  armlet vouchers issue --campaign campaigns/… --account accounts/wearer",
		RunE: func(c *cobra.Command, _ []string) error {
			worth, err := parseAmount(value, sandbox.Currency)
			if err != nil {
				return err
			}
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				if campaign == "" {
					made, err := s.Operator.Notify.CreateCampaign(ctx, &notifyv1.CreateCampaignRequest{
						DisplayName: name, Value: worth, VoucherLimit: 1000,
						ExpireTime: timestamppb.New(time.Now().AddDate(0, 1, 0)), RequestId: sandbox.RequestID(),
					})
					if err != nil {
						return err
					}
					campaign = made.GetName()
				}
				v, err := s.Operator.Notify.IssueVoucher(ctx, &notifyv1.IssueVoucherRequest{Campaign: campaign, Account: account, RequestId: sandbox.RequestID()})
				if err != nil {
					return err
				}
				return a.printer().message(v, func(w io.Writer) {
					fmt.Fprintf(w, "%s  %s  %s\n", v.GetCode(), money(v.GetVoucher().GetValue()), v.GetVoucher().GetCampaign())
				})
			})
		},
	}
	c.Flags().StringVar(&campaign, "campaign", "", "name of the campaign")
	c.Flags().StringVar(&value, "value", "5.00", "what a voucher of a new campaign is worth, in CNY")
	c.Flags().StringVar(&name, "name", "Campaign from the command line", "name of a new campaign")
	c.Flags().StringVar(&account, "account", "", "only this account's band can redeem it; empty is any bearer")
	return c
}

func (a *app) vouchersVerify() *cobra.Command {
	return &cobra.Command{
		Use: "verify CODE", Short: "Say whether a code could be redeemed now; exit code 3 when not", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				v, err := s.Operator.Notify.VerifyVoucher(ctx, &notifyv1.VerifyVoucherRequest{Code: args[0]})
				if err != nil {
					return err
				}
				if err := a.printer().message(v, func(w io.Writer) {
					fmt.Fprintf(w, "%s  %s  %s\n", v.GetVoucher().GetName(), money(v.GetVoucher().GetValue()), state(v.GetVoucher().GetState().String(), "VOUCHER_STATE_"))
				}); err != nil {
					return err
				}
				if !v.GetRedeemable() {
					return refused{"it cannot be redeemed: " + strings.Join(v.GetReasons(), ", ")}
				}
				return nil
			})
		},
	}
}

func (a *app) vouchersRedeem() *cobra.Command {
	var requestID string
	c := &cobra.Command{
		Use: "redeem CODE", Short: "Redeem a voucher at the virtual terminal, with the virtual band where it is asked for", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				phone, till, err := s.Ready(ctx, func(what string) { fmt.Fprintln(a.err, what) })
				if err != nil {
					return err
				}
				phone.Band.Knock()
				done, err := till.Redeem(ctx, phone.Band, args[0], either(requestID, sandbox.RequestID()))
				if err != nil {
					return err
				}
				return a.printer().message(done, func(w io.Writer) {
					fmt.Fprintf(w, "%s  %s\n", done.GetName(), money(done.GetAmount()))
				})
			})
		},
	}
	c.Flags().StringVar(&requestID, "request-id", "", "repeat an earlier redemption safely")
	return c
}

func (a *app) vouchersList() *cobra.Command {
	var token string
	var size int32
	c := &cobra.Command{
		Use: "list CAMPAIGN", Short: "List the vouchers of a campaign, newest first", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				page, err := s.Operator.Notify.ListVouchers(ctx, &notifyv1.ListVouchersRequest{Parent: named("campaigns/", args[0]), PageSize: size, PageToken: token})
				if err != nil {
					return err
				}
				return a.printer().message(page, func(w io.Writer) {
					rows := make([][]string, 0, len(page.GetVouchers()))
					for _, v := range page.GetVouchers() {
						rows = append(rows, []string{v.GetName(), clock(v.GetCreateTime()), state(v.GetState().String(), "VOUCHER_STATE_"), money(v.GetValue()), either(v.GetAccount(), "bearer")})
					}
					table(w, []string{"VOUCHER", "TIME", "STATE", "VALUE", "FOR"}, rows)
					more(w, page.GetNextPageToken())
				})
			})
		},
	}
	pageFlags(c, &size, &token)
	return c
}
