package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/sdk"
)

// paymentsLife are the commands that move a payment on.
func (a *app) paymentsLife() []*cobra.Command {
	var final bool
	capture := a.moving("capture", "Take what is held, all of it or a part", func(ctx context.Context, s *sandbox.Sandbox, name string, part *typev1.Money) (*paymentsv1.Payment, error) {
		answer, err := s.Operator.Payments.CapturePayment(ctx, &paymentsv1.CapturePaymentRequest{Name: name, Amount: part, Final: final, RequestId: sandbox.RequestID()})
		return answer.GetPayment(), err
	})
	capture.Flags().BoolVar(&final, "final", false, "release what is left")
	refund := a.moving("refund", "Give captured money back, all of it or a part", func(ctx context.Context, s *sandbox.Sandbox, name string, part *typev1.Money) (*paymentsv1.Payment, error) {
		answer, err := s.Operator.Payments.RefundPayment(ctx, &paymentsv1.RefundPaymentRequest{Name: name, Amount: part, RequestId: sandbox.RequestID()})
		return answer.GetPayment(), err
	})
	void := &cobra.Command{
		Use: "void PAYMENT", Short: "Give up a payment, and release what is held", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				p, err := s.Operator.Payments.VoidPayment(ctx, &paymentsv1.VoidPaymentRequest{Name: named("payments/", args[0]), RequestId: sandbox.RequestID()})
				return a.showPayment(p, err)
			})
		},
	}
	return []*cobra.Command{capture, refund, void, a.paymentsWatch(), a.paymentsStatement(), a.paymentsVerify()}
}

func (a *app) showPayment(p *paymentsv1.Payment, err error) error {
	if err != nil {
		return err
	}
	return a.printer().message(p, func(w io.Writer) { table(w, paymentHead, [][]string{paymentRow(p)}) })
}

// moving is a command that takes a payment and, if wanted, an amount in the payment's own currency.
func (a *app) moving(use, short string, move func(context.Context, *sandbox.Sandbox, string, *typev1.Money) (*paymentsv1.Payment, error)) *cobra.Command {
	var part string
	c := &cobra.Command{
		Use: use + " PAYMENT", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				name := named("payments/", args[0])
				var amount *typev1.Money
				if part != "" {
					p, err := s.Operator.Payments.GetPayment(ctx, &paymentsv1.GetPaymentRequest{Name: name})
					if err != nil {
						return err
					}
					if amount, err = parseAmount(part, p.GetAmount().GetCurrencyCode()); err != nil {
						return err
					}
				}
				return a.showPayment(move(ctx, s, name, amount))
			})
		},
	}
	c.Flags().StringVar(&part, "amount", "", "how much, in the payment's currency; empty is everything")
	return c
}

func (a *app) paymentsWatch() *cobra.Command {
	return &cobra.Command{
		Use: "watch PAYMENT", Short: "Follow a payment until nothing more can happen to it, or Ctrl-C", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			err := a.open(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				return sdk.WatchPayment(ctx, s.Operator.Payments, named("payments/", args[0]), func(p *paymentsv1.Payment) error {
					return a.printer().message(p, func(w io.Writer) {
						fmt.Fprintf(w, "%s  %s  %s\n", clock(p.GetUpdateTime()), state(p.GetState().String(), "PAYMENT_STATE_"), money(p.GetAmount()))
					})
				})
			})
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
}

func (a *app) paymentsStatement() *cobra.Command {
	var token string
	var size int32
	c := &cobra.Command{
		Use: "statement ACCOUNT", Short: "Show what was posted to a wallet, oldest first", Args: cobra.ExactArgs(1),
		Example: "  armlet payments statement accounts/wearer",
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				page, err := s.Operator.Payments.GetStatement(ctx, &paymentsv1.GetStatementRequest{
					Name: named("accounts/", args[0]), PageSize: size, PageToken: token,
				})
				if err != nil {
					return err
				}
				return a.printer().message(page, func(w io.Writer) {
					rows := make([][]string, 0, len(page.GetEntries()))
					for _, e := range page.GetEntries() {
						rows = append(rows, []string{clock(e.GetPostTime()), e.GetPurpose(), money(e.GetAmount()), money(e.GetBalance()), either(e.GetPayment(), "-")})
					}
					table(w, []string{"TIME", "WHAT FOR", "AMOUNT", "BALANCE", "PAYMENT"}, rows)
					more(w, page.GetNextPageToken())
				})
			})
		},
	}
	pageFlags(c, &size, &token)
	return c
}

func (a *app) paymentsVerify() *cobra.Command {
	return &cobra.Command{Use: "verify", Short: "Walk the ledger's hash chain; exit code 3 when something was changed behind it", RunE: func(c *cobra.Command, _ []string) error {
		return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
			v, err := s.Operator.Payments.VerifyLedger(ctx, &paymentsv1.VerifyLedgerRequest{})
			if err != nil {
				return err
			}
			if err := a.printer().message(v, func(w io.Writer) {
				fmt.Fprintf(w, "%d transactions, intact: %v\n", v.GetTransactionCount(), v.GetIntact())
				for _, d := range v.GetDiscrepancies() {
					fmt.Fprintln(w, d)
				}
			}); err != nil {
				return err
			}
			if !v.GetIntact() {
				return refused{"the ledger was changed: " + either(v.GetProblem(), "see the lines above")}
			}
			return nil
		})
	}}
}
