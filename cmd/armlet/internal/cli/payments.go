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
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

func (a *app) paymentsCommand() *cobra.Command {
	c := &cobra.Command{Use: "payments", Short: "Look at payments and at the books, capture, refund and void"}
	c.AddCommand(append(a.paymentsLife(), a.paymentsList(), a.paymentsGet(), a.paymentsBooks())...)
	return c
}

func (a *app) paymentsList() *cobra.Command {
	var token string
	var size int32
	c := &cobra.Command{Use: "list", Short: "List payments, newest first", RunE: func(c *cobra.Command, _ []string) error {
		return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
			page, err := s.Operator.Payments.ListPayments(ctx, &paymentsv1.ListPaymentsRequest{PageSize: size, PageToken: token})
			if err != nil {
				return err
			}
			return a.printer().message(page, func(w io.Writer) {
				rows := make([][]string, 0, len(page.GetPayments()))
				for _, p := range page.GetPayments() {
					rows = append(rows, paymentRow(p))
				}
				table(w, paymentHead, rows)
				more(w, page.GetNextPageToken())
			})
		})
	}}
	pageFlags(c, &size, &token)
	return c
}

func (a *app) paymentsGet() *cobra.Command {
	return &cobra.Command{
		Use: "get PAYMENT", Short: "Show one payment", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				p, err := s.Operator.Payments.GetPayment(ctx, &paymentsv1.GetPaymentRequest{Name: named("payments/", args[0])})
				if err != nil {
					return err
				}
				return a.printer().message(p, func(w io.Writer) { table(w, paymentHead, [][]string{paymentRow(p)}) })
			})
		},
	}
}

func (a *app) paymentsBooks() *cobra.Command {
	return &cobra.Command{Use: "books", Short: "Show the trial balance; exit code 3 when it is not zero", RunE: func(c *cobra.Command, _ []string) error {
		return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
			books, err := s.Operator.Payments.GetTrialBalance(ctx, &paymentsv1.GetTrialBalanceRequest{})
			if err != nil {
				return err
			}
			if err := a.printer().message(books, func(w io.Writer) { showBooks(w, books) }); err != nil {
				return err
			}
			if !books.GetBalanced() {
				return refused{"the books do not balance"}
			}
			return nil
		})
	}}
}

func showBooks(w io.Writer, books *paymentsv1.GetTrialBalanceResponse) {
	rows := make([][]string, 0, len(books.GetLines()))
	for _, l := range books.GetLines() {
		rows = append(rows, []string{l.GetLedgerAccount(), l.GetCurrencyCode(), fmt.Sprint(l.GetDebits()), fmt.Sprint(l.GetCredits())})
	}
	table(w, []string{"LEDGER ACCOUNT", "CURRENCY", "DEBITS", "CREDITS"}, rows)
	for _, t := range books.GetTotals() {
		fmt.Fprintf(w, "%s: debits less credits %d, in %d transactions\n", t.GetCurrencyCode(), t.GetDifference(), t.GetTransactionCount())
	}
}

var paymentHead = []string{"PAYMENT", "TIME", "STATE", "AMOUNT", "DISCOUNT", "DEVICE", "WHY DECLINED"}

func paymentRow(p *paymentsv1.Payment) []string {
	off := "-"
	if d := p.GetDiscount(); d != nil {
		off = money(d.GetAmount())
	}
	return []string{
		p.GetName(), clock(p.GetCreateTime()), state(p.GetState().String(), "PAYMENT_STATE_"), money(p.GetAmount()), off,
		p.GetDevice(), either(p.GetDeclineReason(), "-"),
	}
}

func state(text, prefix string) string { return strings.TrimPrefix(text, prefix) }

func clock(t *timestamppb.Timestamp) string { return t.AsTime().Local().Format(time.DateTime) }

func named(prefix, arg string) string {
	if strings.HasPrefix(arg, prefix) {
		return arg
	}
	return prefix + arg
}

func pageFlags(c *cobra.Command, size *int32, token *string) {
	c.Flags().Int32Var(size, "page-size", 50, "how many to show, at most 1000")
	c.Flags().StringVar(token, "page-token", "", "continue after the page that printed this token")
}

func more(w io.Writer, token string) {
	if token != "" {
		fmt.Fprintf(w, "there is more: --page-token %s\n", token)
	}
}
