package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

// redemptionCommands are what the virtual terminal does with a voucher step by step.
func (a *app) redemptionCommands() []*cobra.Command {
	var price, undo string
	reserve := a.atTill("reserve CODE", "Hold a voucher for 15 minutes at the virtual terminal, with the virtual band where it is asked for",
		func(ctx context.Context, phone *virtual.Phone, till *virtual.Terminal, code string) (*notifyv1.Redemption, error) {
			var amount *typev1.Money
			if err := optionalAmount(price, &amount); err != nil {
				return nil, err
			}
			phone.Band.Knock()
			return till.Reserve(ctx, phone.Band, code, amount, sandbox.RequestID())
		})
	reserve.Flags().StringVar(&price, "price", "", "the price that it is used on, in CNY")
	confirm := a.atTill("confirm REDEMPTION", "Redeem what was reserved", func(ctx context.Context, _ *virtual.Phone, till *virtual.Terminal, name string) (*notifyv1.Redemption, error) {
		return till.Client.Notify.ConfirmRedemption(ctx, &notifyv1.ConfirmRedemptionRequest{Name: redemptionName(name), RequestId: sandbox.RequestID()})
	})
	cancel := a.atTill("cancel REDEMPTION", "Give up what was reserved", func(ctx context.Context, _ *virtual.Phone, till *virtual.Terminal, name string) (*notifyv1.Redemption, error) {
		return till.Client.Notify.CancelRedemption(ctx, &notifyv1.CancelRedemptionRequest{Name: redemptionName(name), RequestId: sandbox.RequestID()})
	})
	rollback := a.atTill("rollback REDEMPTION", "Undo a redemption or a part of it", func(ctx context.Context, _ *virtual.Phone, till *virtual.Terminal, name string) (*notifyv1.Redemption, error) {
		req := &notifyv1.RollbackRedemptionRequest{Name: redemptionName(name), RequestId: sandbox.RequestID()}
		if err := optionalAmount(undo, &req.Amount); err != nil {
			return nil, err
		}
		return till.Client.Notify.RollbackRedemption(ctx, req)
	})
	rollback.Flags().StringVar(&undo, "amount", "", "how much, in CNY; empty is all that is left")
	return []*cobra.Command{reserve, confirm, cancel, rollback}
}

// redemptionName takes a redemption's name or its id alone.
func redemptionName(arg string) string {
	if strings.Contains(arg, "/") {
		return arg
	}
	return "vouchers/-/redemptions/" + arg
}

// atTill is a command that does one thing with a redemption at the virtual terminal.
func (a *app) atTill(use, short string, do func(context.Context, *virtual.Phone, *virtual.Terminal, string) (*notifyv1.Redemption, error)) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
			phone, till, err := s.Ready(ctx, func(what string) { fmt.Fprintln(a.err, what) })
			if err != nil {
				return err
			}
			r, err := do(ctx, phone, till, args[0])
			if err != nil {
				return err
			}
			return a.printer().message(r, func(w io.Writer) {
				fmt.Fprintf(w, "%s  %s  %s\n", r.GetName(), state(r.GetState().String(), "REDEMPTION_STATE_"), money(r.GetAmount()))
			})
		})
	}}
}
