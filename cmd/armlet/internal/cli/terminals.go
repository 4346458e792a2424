package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

func (a *app) terminalsCommand() *cobra.Command {
	c := &cobra.Command{Use: "terminals", Short: "Register merchants' terminals, suspend and resume them"}
	c.AddCommand(a.terminalsCreate(), a.terminalsList(),
		operating(a, "get TERMINAL", "Show one terminal", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Terminal, error) {
			return p.GetTerminal(ctx, &paymentsv1.GetTerminalRequest{Name: named("terminals/", args[0])})
		}, showTerminal),
		a.terminalsSuspend(), a.terminalsResume())
	return c
}

var terminalHead = []string{"TERMINAL", "MERCHANT", "WHERE", "SUSPENDED"}

func terminalRow(t *paymentsv1.Terminal) []string {
	return []string{t.GetName(), t.GetMerchant(), t.GetDisplayName(), yes(t.GetSuspended())}
}

func showTerminal(w io.Writer, t *paymentsv1.Terminal) {
	table(w, terminalHead, [][]string{terminalRow(t)})
}

func (a *app) terminalsCreate() *cobra.Command {
	var id string
	return requestFlag(operating(a, "create MERCHANT WHERE", "Register a terminal of a merchant", cobra.ExactArgs(2), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Terminal, error) {
		return p.CreateTerminal(ctx, &paymentsv1.CreateTerminalRequest{Merchant: named("merchants/", args[0]), DisplayName: args[1], RequestId: requestID(id)})
	}, showTerminal), &id)
}

func (a *app) terminalsList() *cobra.Command {
	var token string
	var size int32
	c := operating(a, "list MERCHANT", "List a merchant's terminals", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.ListTerminalsResponse, error) {
		return p.ListTerminals(ctx, &paymentsv1.ListTerminalsRequest{Merchant: named("merchants/", args[0]), PageSize: size, PageToken: token})
	}, func(w io.Writer, page *paymentsv1.ListTerminalsResponse) {
		rows := make([][]string, 0, len(page.GetTerminals()))
		for _, t := range page.GetTerminals() {
			rows = append(rows, terminalRow(t))
		}
		table(w, terminalHead, rows)
		more(w, page.GetNextPageToken())
	})
	pageFlags(c, &size, &token)
	return c
}

func (a *app) terminalsSuspend() *cobra.Command {
	var id string
	return requestFlag(operating(a, "suspend TERMINAL", "Stop everything that a terminal may do", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Terminal, error) {
		return p.SuspendTerminal(ctx, &paymentsv1.SuspendTerminalRequest{Name: named("terminals/", args[0]), RequestId: requestID(id)})
	}, showTerminal), &id)
}

func (a *app) terminalsResume() *cobra.Command {
	var id string
	return requestFlag(operating(a, "resume TERMINAL", "Let a suspended terminal work again", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Terminal, error) {
		return p.ResumeTerminal(ctx, &paymentsv1.ResumeTerminalRequest{Name: named("terminals/", args[0]), RequestId: requestID(id)})
	}, showTerminal), &id)
}
