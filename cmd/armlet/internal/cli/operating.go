package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

// operate is what a command does with payments as the operator: the answer, and how people see it.
type operate[M proto.Message] func(ctx context.Context, payments paymentsv1.PaymentsServiceClient, args []string) (M, error)

// operating is a command that asks payments one thing and shows the answer.
func operating[M proto.Message](a *app, use, short string, args cobra.PositionalArgs, do operate[M], human func(io.Writer, M)) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(c *cobra.Command, args []string) error {
		return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
			m, err := do(ctx, s.Operator.Payments, args)
			if err != nil {
				return err
			}
			return a.printer().message(m, func(w io.Writer) { human(w, m) })
		})
	}}
}

// requestFlag lets a command that changes something be repeated safely.
func requestFlag(c *cobra.Command, id *string) *cobra.Command {
	c.Flags().StringVar(id, "request-id", "", "repeat an earlier call safely; empty is a new one")
	return c
}

func requestID(given string) string { return either(given, sandbox.RequestID()) }

// yes is "yes" or "-".
func yes(b bool) string {
	if b {
		return "yes"
	}
	return "-"
}
