package cli

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

func (a *app) settlementsCommand() *cobra.Command {
	c := &cobra.Command{Use: "settlements", Short: "See what merchants were paid, day by day, and get the reports"}
	c.AddCommand(a.settlementsList(),
		operating(a, "get SETTLEMENT", "Show one settlement", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.Settlement, error) {
			return p.GetSettlement(ctx, &paymentsv1.GetSettlementRequest{Name: named("settlements/", args[0])})
		}, func(w io.Writer, s *paymentsv1.Settlement) { table(w, settlementHead, [][]string{settlementRow(s)}) }),
		a.settlementsReport())
	return c
}

var settlementHead = []string{"SETTLEMENT", "MERCHANT", "UNTIL", "CARRIED IN", "CAPTURED", "REFUNDED", "FEES", "PAID OUT", "CARRIED OUT"}

func settlementRow(s *paymentsv1.Settlement) []string {
	return []string{
		s.GetName(), s.GetMerchant(), clock(s.GetEndTime()), money(s.GetCarriedIn()), money(s.GetCaptured()), money(s.GetRefunded()), money(s.GetFees()),
		money(s.GetPaidOut()), money(s.GetCarriedOut()),
	}
}

func (a *app) settlementsList() *cobra.Command {
	var token, merchant string
	var size int32
	c := operating(a, "list", "List settlements, newest first", cobra.NoArgs, func(ctx context.Context, p paymentsv1.PaymentsServiceClient, _ []string) (*paymentsv1.ListSettlementsResponse, error) {
		req := &paymentsv1.ListSettlementsRequest{PageSize: size, PageToken: token}
		if merchant != "" {
			req.Merchant = named("merchants/", merchant)
		}
		return p.ListSettlements(ctx, req)
	}, func(w io.Writer, page *paymentsv1.ListSettlementsResponse) {
		rows := make([][]string, 0, len(page.GetSettlements()))
		for _, s := range page.GetSettlements() {
			rows = append(rows, settlementRow(s))
		}
		table(w, settlementHead, rows)
		more(w, page.GetNextPageToken())
	})
	c.Flags().StringVar(&merchant, "merchant", "", "only those of this merchant")
	pageFlags(c, &size, &token)
	return c
}

func (a *app) settlementsReport() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "report SETTLEMENT", Short: "Get a settlement as CSV: each capture, refund and fee, and the totals", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) (err error) {
				to := a.out
				if file != "" {
					f, err := os.Create(file)
					if err != nil {
						return err
					}
					defer func() { err = errors.Join(err, f.Close()) }()
					to = f
				}
				return report(ctx, s.Operator.Payments, named("settlements/", args[0]), to)
			})
		},
	}
	c.Flags().StringVar(&file, "file", "", "write it there; empty is to standard output")
	return c
}

func report(ctx context.Context, payments paymentsv1.PaymentsServiceClient, name string, to io.Writer) error {
	stream, err := payments.ExportSettlementReport(ctx, &paymentsv1.ExportSettlementReportRequest{Name: name})
	if err != nil {
		return err
	}
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := to.Write(piece.GetCsv()); err != nil {
			return err
		}
	}
}
