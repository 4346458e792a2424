package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/sdk"
)

func (a *app) devicesLots() *cobra.Command {
	c := &cobra.Command{Use: "lots", Short: "Register factory lots, release them, recall one"}
	c.AddCommand(a.lotsCreate(), a.lotsList(), a.lotsGet(), a.lotsRelease(), a.lotsRecall())
	return c
}

func (a *app) lotsCreate() *cobra.Command {
	m := &maker{}
	req := &devicesv1.CreateLotRequest{}
	var suite string
	var except []string
	var listed bool
	c := &cobra.Command{
		Use: "create NUMBER", Short: "Register a lot: a range of serial numbers, or with --listed one for import", Args: cobra.ExactArgs(1),
		Example: "  armlet devices lots create 7 --model w1 --first-serial 1 --count 1000000 --except 500-509,777\n" +
			"  armlet devices lots create 9 --model w1 --listed --hold",
		RunE: func(c *cobra.Command, args []string) error {
			no, err := strconv.ParseUint(args[0], 10, 32)
			if err != nil {
				return usageError{fmt.Errorf("%q is not the number of a lot", args[0])}
			}
			if req.Suite, err = enum[devicesv1.Suite]("--suite", suite, devicesv1.Suite_value, "SUITE_"); err != nil {
				return err
			}
			if req.Exceptions, err = parseRanges(except); err != nil {
				return err
			}
			switch {
			case req.Model == "":
				return usageError{errors.New("--model is needed")}
			case listed:
				req.Kind = devicesv1.LotKind_LOT_KIND_LISTED
			case req.GetDeviceCount() == 0:
				return usageError{errors.New("--count is needed, or --listed")}
			}
			req.Parent, req.LotNo, req.Model, req.RequestId = m.name(), uint32(no), m.under("models", req.GetModel()), sandbox.RequestID()
			return a.acting(c.Context(), m, func(ctx context.Context, p *sdk.Client) error {
				l, err := p.Devices.CreateLot(ctx, req)
				return a.showLot(l, err)
			})
		},
	}
	m.flags(c)
	c.Flags().StringVar(&req.Model, "model", "", "the model of every band of the lot")
	c.Flags().StringVar(&suite, "suite", "hmac-sha256", "the suite: "+choices(devicesv1.Suite_value, "SUITE_")+"; of a listed lot that of rows that name none")
	c.Flags().Uint32Var(&req.KeyEpoch, "key-epoch", 1, "the epoch of the partner master key that the factory used")
	c.Flags().Uint64Var(&req.FirstSerial, "first-serial", 0, "the first serial number of a range")
	c.Flags().Uint64Var(&req.DeviceCount, "count", 0, "how many serial numbers a range spans")
	c.Flags().StringSliceVar(&except, "except", nil, "serial numbers of the range that are no bands, such as 500-509,777, ascending")
	c.Flags().BoolVar(&listed, "listed", false, "a lot whose bands `armlet devices import` brings")
	c.Flags().BoolVar(&req.Hold, "hold", false, "nobody can claim the bands before `lots release`")
	return c
}

// parseRanges reads runs of serial numbers.
func parseRanges(texts []string) ([]*devicesv1.SerialRange, error) {
	var out []*devicesv1.SerialRange
	for _, text := range texts {
		from, to, isRange := strings.Cut(text, "-")
		if !isRange {
			to = from
		}
		first, err1 := strconv.ParseUint(from, 10, 64)
		last, err2 := strconv.ParseUint(to, 10, 64)
		if err1 != nil || err2 != nil {
			return nil, usageError{fmt.Errorf("--except takes serial numbers and runs such as 500-509, not %q", text)}
		}
		out = append(out, &devicesv1.SerialRange{FirstSerial: first, LastSerial: last})
	}
	return out, nil
}

func (a *app) lotsRelease() *cobra.Command {
	m := &maker{}
	var note string
	c := &cobra.Command{
		Use: "release LOT", Short: "Let the bands of a held lot be claimed", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.acting(c.Context(), m, func(ctx context.Context, p *sdk.Client) error {
				l, err := p.Devices.ReleaseLot(ctx, &devicesv1.ReleaseLotRequest{Name: m.under("lots", args[0]), Note: note, RequestId: sandbox.RequestID()})
				return a.showLot(l, err)
			})
		},
	}
	m.flags(c)
	c.Flags().StringVar(&note, "note", "", "why, for the record")
	return c
}

func (a *app) lotsRecall() *cobra.Command {
	var note string
	c := &cobra.Command{
		Use: "recall LOT --note WHY", Short: "Stop every band of a lot for good, as the operator", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if note == "" {
				return usageError{errors.New("--note is needed: a recall cannot be undone")}
			}
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				l, err := s.Operator.Devices.RecallLot(ctx, &devicesv1.RecallLotRequest{Name: sandboxName("lots", args[0]), Note: note, RequestId: sandbox.RequestID()})
				return a.showLot(l, err)
			})
		},
	}
	c.Flags().StringVar(&note, "note", "", "why, for the record")
	return c
}

func (a *app) lotsGet() *cobra.Command {
	return &cobra.Command{
		Use: "get LOT", Short: "Show one lot", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				l, err := s.Operator.Devices.GetLot(ctx, &devicesv1.GetLotRequest{Name: sandboxName("lots", args[0])})
				return a.showLot(l, err)
			})
		},
	}
}

func (a *app) lotsList() *cobra.Command {
	var partner, token string
	var size int32
	c := &cobra.Command{Use: "list", Short: "List the lots of a partner by number", RunE: func(c *cobra.Command, _ []string) error {
		return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
			page, err := s.Operator.Devices.ListLots(ctx, &devicesv1.ListLotsRequest{Parent: named("partners/", partner), PageSize: size, PageToken: token})
			if err != nil {
				return err
			}
			return a.printer().message(page, func(w io.Writer) {
				writeLots(w, page.GetLots()...)
				more(w, page.GetNextPageToken())
			})
		})
	}}
	c.Flags().StringVar(&partner, "partner", "sandbox", "whose")
	pageFlags(c, &size, &token)
	return c
}

func (a *app) showLot(l *devicesv1.Lot, err error) error {
	if err != nil {
		return err
	}
	return a.printer().message(l, func(w io.Writer) { writeLots(w, l) })
}

func writeLots(w io.Writer, lots ...*devicesv1.Lot) {
	rows := make([][]string, 0, len(lots))
	for _, l := range lots {
		first := "-"
		if l.GetFirstUid() != "" {
			first = fmt.Sprint(l.GetFirstSerial())
		}
		rows = append(rows, []string{
			l.GetName(), state(l.GetKind().String(), "LOT_KIND_"), state(l.GetState().String(), "LOT_STATE_"), l.GetModel(),
			state(l.GetSuite().String(), "SUITE_"), first, fmt.Sprint(l.GetDeviceCount()), fmt.Sprint(len(l.GetExceptions())),
		})
	}
	table(w, []string{"LOT", "KIND", "STATE", "MODEL", "SUITE", "FIRST", "BANDS", "EXCEPTIONS"}, rows)
}
