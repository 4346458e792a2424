package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

// tapsFile is where the virtual gate keeps its taps until they are submitted, one JSON object a line.
const tapsFile = "offline-taps.jsonl"

func (a *app) offlineCommand() *cobra.Command {
	c := &cobra.Command{Use: "offline", Short: "Pay at a gate without a connection, and clear the taps later"}
	c.AddCommand(a.offlineRefill(), a.offlineTap(), a.offlineSubmit())
	return c
}

// ready sets the sandbox up and tells what it did.
func (a *app) ready(ctx context.Context, s *sandbox.Sandbox) (*virtual.Phone, error) {
	phone, _, err := s.Ready(ctx, func(what string) {
		if a.format == "text" {
			fmt.Fprintln(a.err, what)
		}
	})
	return phone, err
}

func (a *app) offlineRefill() *cobra.Command {
	var amount string
	c := &cobra.Command{Use: "refill", Short: "Bring the virtual band a grant to pay without a connection", RunE: func(c *cobra.Command, _ []string) error {
		sum, err := parseAmount(amount, sandbox.Currency)
		if err != nil {
			return err
		}
		return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
			phone, err := a.ready(ctx, s)
			if err != nil {
				return err
			}
			phone.Band.Knock()
			if err := phone.Refill(ctx, sum); err != nil {
				return err
			}
			return a.showAllowance(phone.Band)
		})
	}}
	c.Flags().StringVar(&amount, "amount", "50.00", "what all taps together may come to, in CNY")
	return c
}

func (a *app) showAllowance(band *virtual.Band) error {
	left, ok := band.Allowance()
	if !ok {
		return refused{"the band holds no grant"}
	}
	out := map[string]any{"grant": left.Grant.ID, "limit": left.Grant.CumulativeLimit, "spent": left.Spent, "taps": left.Taps, "max_taps": left.Grant.MaxTaps}
	return a.printer().plain(out, func(w io.Writer) {
		fmt.Fprintf(w, "grant %d: %d of %d minor units spent, %d of %d taps\n", left.Grant.ID, left.Spent, left.Grant.CumulativeLimit, left.Taps, left.Grant.MaxTaps)
	})
}

func (a *app) offlineTap() *cobra.Command {
	var fare string
	c := &cobra.Command{
		Use: "tap", Short: "Tap the virtual band at a virtual gate, which keeps the tap for later",
		Example: "  armlet offline refill --amount 50.00\n  armlet offline tap --fare 4.00\n  armlet offline submit",
		RunE: func(c *cobra.Command, _ []string) error {
			price, err := parseAmount(fare, sandbox.Currency)
			if err != nil {
				return err
			}
			if price.GetMinorUnits() > 1<<32-1 {
				return usageError{fmt.Errorf("a fare is at most %d minor units", uint32(1<<32-1))}
			}
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				phone, err := a.ready(ctx, s)
				if err != nil {
					return err
				}
				gate, _, err := s.OpenGate(ctx)
				if err != nil {
					return err
				}
				tap, err := gate.Tap(phone.Band, uint32(price.GetMinorUnits()))
				if errors.Is(err, virtual.ErrBandRefused) {
					return refused{err.Error()}
				}
				if err != nil {
					return err
				}
				if err := a.keepTap(tap); err != nil {
					return err
				}
				return a.showAllowance(phone.Band)
			})
		},
	}
	c.Flags().StringVar(&fare, "fare", "4.00", "the fare in CNY")
	return c
}

func (a *app) keepTap(tap *paymentsv1.SubmitOfflineTapsRequest) (err error) {
	line, err := protojson.Marshal(tap)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(a.data, tapsFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.Write(append(line, '\n'))
	return err
}

func (a *app) offlineSubmit() *cobra.Command {
	return &cobra.Command{
		Use: "submit [FILE]", Short: "Clear taps that were taken without a connection; it can be repeated", Args: cobra.MaximumNArgs(1),
		Long: "Clear the taps of a file, or those that `armlet offline tap` has kept. A line is a SubmitOfflineTapsRequest as JSON; what was\n" +
			"cleared before is told as DUPLICATE. Exit code 3 when one was rejected or could not be decided.",
		RunE: func(c *cobra.Command, args []string) error {
			file := filepath.Join(a.data, tapsFile)
			if len(args) == 1 {
				file = args[0]
			}
			taps, err := readTaps(file)
			if err != nil {
				return err
			}
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				answers, err := virtual.Submit(ctx, s.Operator.Payments, taps...)
				return errors.Join(a.showAnswers(answers), err)
			})
		},
	}
}

// readTaps numbers the taps by their lines.
func readTaps(file string) ([]*paymentsv1.SubmitOfflineTapsRequest, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, usageError{err}
	}
	defer func() { _ = f.Close() }()
	var out []*paymentsv1.SubmitOfflineTapsRequest
	for in := bufio.NewScanner(f); in.Scan(); {
		tap := &paymentsv1.SubmitOfflineTapsRequest{}
		if err := protojson.Unmarshal(in.Bytes(), tap); err != nil {
			return nil, usageError{fmt.Errorf("%s, line %d is no tap: %w", file, len(out)+1, err)}
		}
		tap.Sequence = int64(len(out) + 1)
		out = append(out, tap)
	}
	return out, nil
}

func (a *app) showAnswers(answers []*paymentsv1.SubmitOfflineTapsResponse) error {
	no := 0
	rows := make([][]string, 0, len(answers))
	for _, x := range answers {
		status := state(x.GetStatus().String(), "OFFLINE_TAP_STATUS_")
		why := x.GetProblem()
		if r := x.GetReason(); r != paymentsv1.OfflineTapReason_OFFLINE_TAP_REASON_UNSPECIFIED {
			why = state(r.String(), "OFFLINE_TAP_REASON_")
		}
		if x.GetProblem() != "" {
			status = "UNDECIDED"
		}
		if x.GetPayment() == "" {
			no++
		}
		rows = append(rows, []string{fmt.Sprint(x.GetSequence()), status, either(why, "-"), either(x.GetPayment(), "-"), fmt.Sprint(x.GetMissingTaps())})
		if a.format == "json" {
			if err := a.printer().message(x, nil); err != nil {
				return err
			}
		}
	}
	if a.format == "text" {
		table(a.out, []string{"TAP", "STATUS", "WHY", "PAYMENT", "STILL MISSING"}, rows)
	}
	if no > 0 {
		return refused{fmt.Sprintf("%d of %d taps were not paid", no, len(answers))}
	}
	return nil
}
