package cli

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
)

// transferBatch is how many transfers a call carries.
const transferBatch = 1000

func (a *app) transfersCommand() *cobra.Command {
	c := &cobra.Command{Use: "transfers", Short: "Move money between ledger accounts, for the operator's own bookkeeping"}
	c.AddCommand(a.transfersPost(), a.transfersImport(),
		operating(a, "reverse TRANSACTION", "Undo a transfer by one the other way; it is done once", cobra.ExactArgs(1), func(ctx context.Context, p paymentsv1.PaymentsServiceClient, args []string) (*paymentsv1.ReverseTransferResponse, error) {
			return p.ReverseTransfer(ctx, &paymentsv1.ReverseTransferRequest{Transaction: named("transactions/", args[0])})
		}, func(w io.Writer, done *paymentsv1.ReverseTransferResponse) {
			fmt.Fprintf(w, "reversed by %s at %s\n", done.GetTransaction(), clock(done.GetPostTime()))
		}))
	return c
}

func (a *app) transfersPost() *cobra.Command {
	var currency, id string
	c := &cobra.Command{
		Use: "post FROM TO AMOUNT", Short: "Post one transfer; exit code 3 when it is refused", Args: cobra.ExactArgs(3),
		Example: "  armlet transfers post settlement/01957a10-0000-7000-8000-000000000001 funding/CNY 120.00 --id bank-4711",
		RunE: func(c *cobra.Command, args []string) error {
			amount, err := parseAmount(args[2], currency)
			if err != nil {
				return err
			}
			t := &paymentsv1.Transfer{TransferId: requestID(id), DebitAccount: args[0], CreditAccount: args[1], Amount: amount}
			return a.postTransfers(c.Context(), &paymentsv1.PostTransfersRequest{Transfers: []*paymentsv1.Transfer{t}})
		},
	}
	c.Flags().StringVar(&currency, "currency", "CNY", "the currency of both accounts")
	c.Flags().StringVar(&id, "id", "", "your own id of the transfer, which makes it safe to repeat; empty is a new one")
	return c
}

func (a *app) transfersImport() *cobra.Command {
	var linked bool
	c := &cobra.Command{
		Use: "import FILE", Short: "Post the transfers of a CSV file; it can be repeated", Args: cobra.ExactArgs(1),
		Long: "Post the transfers of a CSV file without a header: id, from, to, amount, currency. The ids make it safe to repeat the file.\n" +
			"Exit code 3 when one was refused.",
		RunE: func(c *cobra.Command, args []string) error {
			all, err := transferFile(args[0])
			if err != nil {
				return err
			}
			if linked && len(all) > transferBatch {
				return usageError{fmt.Errorf("at most %d transfers can be linked, the file has %d", transferBatch, len(all))}
			}
			var failed error
			for from := 0; from < len(all); from += transferBatch {
				err := a.postTransfers(c.Context(), &paymentsv1.PostTransfersRequest{Transfers: all[from:min(len(all), from+transferBatch)], Linked: linked})
				var no refused
				if err != nil && !errors.As(err, &no) {
					return err
				}
				failed = errors.Join(failed, err)
			}
			return failed
		},
	}
	c.Flags().BoolVar(&linked, "linked", false, "all of them or none, one after the other")
	return c
}

func transferFile(file string) ([]*paymentsv1.Transfer, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, usageError{err}
	}
	defer func() { _ = f.Close() }()
	in := csv.NewReader(f)
	in.FieldsPerRecord = 5
	var out []*paymentsv1.Transfer
	for {
		r, err := in.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, usageError{fmt.Errorf("%s: %w", file, err)}
		}
		amount, err := parseAmount(r[3], r[4])
		if err != nil {
			line, _ := in.FieldPos(3)
			return nil, usageError{fmt.Errorf("%s, line %d: %w", file, line, err)}
		}
		out = append(out, &paymentsv1.Transfer{TransferId: r[0], DebitAccount: r[1], CreditAccount: r[2], Amount: amount})
	}
}

// postTransfers posts and shows; the error says how many were refused.
func (a *app) postTransfers(ctx context.Context, req *paymentsv1.PostTransfersRequest) error {
	return a.connected(ctx, func(ctx context.Context, s *sandbox.Sandbox) error {
		done, err := s.Operator.Payments.PostTransfers(ctx, req)
		if err != nil {
			return err
		}
		no := 0
		rows := make([][]string, 0, len(done.GetResults()))
		for _, r := range done.GetResults() {
			if r.GetReason() != "" {
				no++
			}
			rows = append(rows, []string{r.GetTransferId(), either(r.GetTransaction(), "-"), either(r.GetReason(), "-")})
		}
		if err := a.printer().message(done, func(w io.Writer) { table(w, []string{"TRANSFER", "TRANSACTION", "WHY REFUSED"}, rows) }); err != nil {
			return err
		}
		if no > 0 {
			return refused{fmt.Sprintf("%d of %d transfers were refused", no, len(rows))}
		}
		return nil
	})
}
