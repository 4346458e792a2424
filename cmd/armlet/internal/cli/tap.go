package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

func (a *app) tapCommand() *cobra.Command {
	var amount, topUp, voucher string
	var noKnock, takenOff, manual bool
	c := &cobra.Command{
		Use:   "tap",
		Short: "Pay with a virtual band at a virtual terminal",
		Long: `Pay with a virtual band at a virtual terminal.

The first tap sets up what it needs: a partner with a lot of 1,000 bands, a wearer's
account with a band, and a merchant with a terminal. The band is kept in the data
folder. When the account has too little money, use --top-up.`,
		Example: "  armlet tap --top-up 100.00 --amount 12.00\n  armlet tap --amount 12.00 --no-knock   # the wearer does not agree\n  armlet tap --amount 12.00 --voucher 4F7QK-…\n  armlet tap --amount 12.00 -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			price, err := parseAmount(amount, sandbox.Currency)
			if err != nil {
				return err
			}
			var more *typev1.Money
			if topUp != "" {
				if more, err = parseAmount(topUp, sandbox.Currency); err != nil {
					return err
				}
			}
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				order := &paymentsv1.CreatePaymentRequest{Amount: price, VoucherCode: voucher}
				if manual {
					order.CaptureMode = paymentsv1.CaptureMode_CAPTURE_MODE_MANUAL
				}
				return a.tap(ctx, s, order, more, !noKnock, takenOff)
			})
		},
	}
	c.Flags().StringVar(&amount, "amount", "12.00", "amount in CNY")
	c.Flags().StringVar(&topUp, "top-up", "", "put this much CNY into the account first")
	c.Flags().StringVar(&voucher, "voucher", "", "the code of a voucher to pay with; the band is asked for what is left")
	c.Flags().BoolVar(&manual, "manual", false, "only hold the money; payments capture takes it, in one part or several")
	c.Flags().BoolVar(&noKnock, "no-knock", false, "the wearer does not knock")
	c.Flags().BoolVar(&takenOff, "taken-off", false, "the band lies on the table")
	return c
}

func (a *app) tap(ctx context.Context, s *sandbox.Sandbox, order *paymentsv1.CreatePaymentRequest, more *typev1.Money, knock, takenOff bool) error {
	phone, till, err := s.Ready(ctx, func(what string) {
		if a.format == "text" {
			fmt.Fprintln(a.err, what)
		}
	})
	if err != nil {
		return err
	}
	if more != nil {
		if _, err := s.TopUp(ctx, more.GetMinorUnits(), sandbox.RequestID()); err != nil {
			return err
		}
	}
	if takenOff {
		phone.Band.TakeOff()
	}
	if knock {
		phone.Band.Knock()
	}
	begin := time.Now()
	payment, err := till.Charge(ctx, phone.Band.UID(), order)
	if err != nil {
		return err
	}
	payment, err = till.Confirm(ctx, phone.Band, payment)
	if err != nil {
		return err
	}
	if err := a.printer().message(payment, func(w io.Writer) { tapped(w, payment, phone.Band, time.Since(begin)) }); err != nil {
		return err
	}
	if s := payment.GetState(); s != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED && s != paymentsv1.PaymentState_PAYMENT_STATE_AUTHORIZED {
		return refused{fmt.Sprintf("the payment was declined: %s", payment.GetDeclineReason())}
	}
	return nil
}

func tapped(w io.Writer, p *paymentsv1.Payment, band *virtual.Band, took time.Duration) {
	fmt.Fprintf(w, "%s  %s  %s  %s\n", p.GetName(), state(p.GetState().String(), "PAYMENT_STATE_"), money(p.GetAmount()), took.Round(100*time.Microsecond))
	if d := p.GetDiscount(); d != nil {
		fmt.Fprintf(w, "price %s, less %s for %s\n", money(d.GetGrossAmount()), money(d.GetAmount()), d.GetVoucher())
	}
	fmt.Fprintf(w, "the band showed: %s\n", band.Screen())
}
