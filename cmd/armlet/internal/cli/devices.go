package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
)

func (a *app) devicesCommand() *cobra.Command {
	c := &cobra.Command{Use: "devices", Short: "Register and import bands, look at them, and lead each through its life"}
	c.AddCommand(a.devicesLife()...)
	c.AddCommand(a.devicesOwner()...)
	c.AddCommand(a.devicesList(), a.devicesGet(), a.devicesWatch(), a.devicesQuota(), a.devicesAudit(), a.devicesImport(), a.devicesImported(),
		a.devicesModels(), a.devicesLots(),
		a.devicesLost("lost DEVICE", "Report a band lost: it pays for nobody from now on",
			func(ctx context.Context, s *sandbox.Sandbox, name string) (*devicesv1.Device, error) {
				return s.Operator.Devices.ReportDeviceLost(ctx, &devicesv1.ReportDeviceLostRequest{Name: name, RequestId: sandbox.RequestID()})
			}),
		a.devicesLost("found DEVICE", "Lift the suspension of a band that was reported lost",
			func(ctx context.Context, s *sandbox.Sandbox, name string) (*devicesv1.Device, error) {
				return s.Operator.Devices.LiftSuspension(ctx, &devicesv1.LiftSuspensionRequest{
					Name: name, Reason: devicesv1.SuspensionReason_SUSPENSION_REASON_OWNER_LOST, RequestId: sandbox.RequestID(),
				})
			}))
	return c
}

func (a *app) devicesList() *cobra.Command {
	var partner, filter, token string
	var size int32
	c := &cobra.Command{
		Use: "list", Short: "List bands that were claimed or imported, or all of a range lot",
		Example: "  armlet devices list --filter 'state = BOUND AND labels.batch = \"b-7\"'\n  armlet devices list --filter 'lot = \"partners/sandbox/lots/1\"'",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				page, err := s.Operator.Devices.ListDevices(ctx, &devicesv1.ListDevicesRequest{
					Parent: named("partners/", partner), Filter: filter, PageSize: size, PageToken: token,
				})
				if err != nil {
					return err
				}
				return a.printer().message(page, func(w io.Writer) {
					table(w, deviceHead, deviceRows(page.GetDevices()))
					more(w, page.GetNextPageToken())
				})
			})
		},
	}
	c.Flags().StringVar(&partner, "partner", "-", "only this partner's")
	c.Flags().StringVar(&filter, "filter", "", "`field = value` joined by AND; fields are state, model, lot, labels.KEY and account")
	pageFlags(c, &size, &token)
	return c
}

func (a *app) devicesGet() *cobra.Command {
	return &cobra.Command{
		Use: "get DEVICE...", Short: "Show bands, by uid or name; exit code 3 when one is not there", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				if len(args) == 1 {
					d, err := s.Operator.Devices.GetDevice(ctx, &devicesv1.GetDeviceRequest{Name: deviceName(args[0])})
					return a.showDevice(d, err)
				}
				req := &devicesv1.BatchGetDevicesRequest{}
				for _, arg := range args {
					req.Names = append(req.Names, deviceName(arg))
				}
				found, err := s.Operator.Devices.BatchGetDevices(ctx, req)
				if err != nil {
					return err
				}
				if err := a.printer().message(found, func(w io.Writer) { table(w, deviceHead, deviceRows(found.GetDevices())) }); err != nil {
					return err
				}
				if missing := found.GetNotFound(); len(missing) > 0 {
					return refused{"there is no " + strings.Join(missing, ", ")}
				}
				return nil
			})
		},
	}
}

func (a *app) devicesWatch() *cobra.Command {
	var cursor string
	var skip bool
	var count int
	c := &cobra.Command{
		Use: "watch", Short: "Follow every change of bands, lots and models, as the operator, until Ctrl-C",
		Long: `Follow every change of bands, lots and models, as the operator, until Ctrl-C.

First come all bands that have something to tell, unless --skip-snapshot leaves them out, then every change as it happens.
The cursor behind each line goes on there. With -o json each message is one line.`,
		RunE: func(c *cobra.Command, _ []string) error {
			err := a.open(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				stream, err := s.Operator.Devices.WatchDevices(ctx, &devicesv1.WatchDevicesRequest{Cursor: cursor, SkipSnapshot: skip})
				if err != nil {
					return err
				}
				for seen := 0; count == 0 || seen < count; {
					m, err := stream.Recv()
					if ctx.Err() != nil {
						return ctx.Err()
					}
					if err != nil {
						return err
					}
					shown, err := a.showChange(m)
					if err != nil {
						return err
					}
					seen += shown
				}
				return nil
			})
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	c.Flags().StringVar(&cursor, "cursor", "", "go on behind this cursor")
	c.Flags().BoolVar(&skip, "skip-snapshot", false, "only what changes from now on")
	c.Flags().IntVar(&count, "count", 0, "stop after so many; 0 for never")
	return c
}

// showChange shows one message of a watch, unless it only says that nothing happens, and how many it showed.
func (a *app) showChange(m *devicesv1.WatchDevicesResponse) (int, error) {
	if a.format == "json" {
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
		if err != nil {
			return 0, err
		}
		return 1, json.NewEncoder(a.out).Encode(json.RawMessage(text))
	}
	switch {
	case m.GetDevice() != nil:
		pays := "can pay"
		if !m.GetDevice().GetCanPay() {
			pays = state(m.GetDevice().GetBlockReason().String(), "BLOCK_REASON_")
		}
		d := m.GetDevice().GetDevice()
		fmt.Fprintf(a.out, "%s  %s  epoch %d  %s  %s\n", d.GetName(), state(d.GetState().String(), "DEVICE_STATE_"), d.GetAuthEpoch(), pays, m.GetCursor())
	case m.GetLot() != nil:
		fmt.Fprintf(a.out, "%s  %s  %s\n", m.GetLot().GetName(), state(m.GetLot().GetState().String(), "LOT_STATE_"), m.GetCursor())
	case m.GetModel() != nil:
		fmt.Fprintf(a.out, "%s  %s  %s\n", m.GetModel().GetName(), state(m.GetModel().GetStatus().String(), "MODEL_STATUS_"), m.GetCursor())
	default:
		return 0, nil
	}
	return 1, nil
}

func (a *app) devicesQuota() *cobra.Command {
	var partner string
	req := &devicesv1.UpdateQuotaRequest{}
	limits := map[string]**int64{"models": &req.ModelLimit, "lots": &req.LotLimit, "bands": &req.DeviceLimit}
	c := &cobra.Command{
		Use: "quota", Short: "Show how much a partner may register and has registered; with a limit, set it, as the operator",
		Long: `Show how much a partner may register and has registered.

With --models, --lots or --bands the operator gives the partner limits of its own, 0 being none. Those that are not named
are the configuration's from then on, and --default makes all of them so.`,
		RunE: func(c *cobra.Command, _ []string) error {
			change := c.Flags().Changed("default")
			for flag, limit := range limits {
				if *limit = nil; c.Flags().Changed(flag) {
					n, err := c.Flags().GetInt64(flag)
					if err != nil {
						return usageError{err}
					}
					*limit, change = &n, true
				}
			}
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				var q *devicesv1.Quota
				var err error
				if req.Name, req.RequestId = named("partners/", partner)+"/quota", sandbox.RequestID(); change {
					q, err = s.Operator.Devices.UpdateQuota(ctx, req)
				} else {
					q, err = s.Operator.Devices.GetQuota(ctx, &devicesv1.GetQuotaRequest{Name: req.GetName()})
				}
				if err != nil {
					return err
				}
				return a.printer().message(q, func(w io.Writer) { writeQuota(w, q) })
			})
		},
	}
	c.Flags().StringVar(&partner, "partner", "sandbox", "whose")
	for flag := range limits {
		c.Flags().Int64(flag, 0, "how many "+flag+" it may have; 0: any number")
	}
	c.Flags().Bool("default", false, "let it have what the configuration says")
	return c
}

func writeQuota(w io.Writer, q *devicesv1.Quota) {
	table(w, []string{"WHAT", "HAS", "MAY HAVE"}, [][]string{
		{"models", fmt.Sprint(q.GetModels()), limit(q.GetModelLimit())}, {"lots", fmt.Sprint(q.GetLots()), limit(q.GetLotLimit())},
		{"bands", fmt.Sprint(q.GetDevices()), limit(q.GetDeviceLimit())},
	})
}

func limit(n int64) string {
	if n == 0 {
		return "any number"
	}
	return fmt.Sprint(n)
}

func (a *app) devicesImported() *cobra.Command {
	return &cobra.Command{
		Use: "imported IMPORT", Short: "Show how far an import has come, by its id or name", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				in, err := s.Operator.Devices.GetImport(ctx, &devicesv1.GetImportRequest{Name: sandboxName("imports", args[0])})
				if err != nil {
					return err
				}
				return a.printer().message(in, func(w io.Writer) {
					table(w, []string{"IMPORT", "STATE", "ROWS", "OF", "CREATED", "UNCHANGED", "REFUSED"}, [][]string{{
						in.GetName(), state(in.GetState().String(), "IMPORT_STATE_"), fmt.Sprint(in.GetRows()), fmt.Sprint(in.GetExpectedRows()),
						fmt.Sprint(in.GetCreated()), fmt.Sprint(in.GetUnchanged()), fmt.Sprint(in.GetFailed()),
					}})
				})
			})
		},
	}
}

func (a *app) devicesLost(use, short string, call func(context.Context, *sandbox.Sandbox, string) (*devicesv1.Device, error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				d, err := call(ctx, s, deviceName(args[0]))
				return a.showDevice(d, err)
			})
		},
	}
}

func (a *app) showDevice(d *devicesv1.Device, err error) error {
	if err != nil {
		return err
	}
	return a.printer().message(d, func(w io.Writer) { table(w, deviceHead, [][]string{deviceRow(d)}) })
}

func deviceRows(devices []*devicesv1.Device) [][]string {
	rows := make([][]string, 0, len(devices))
	for _, d := range devices {
		rows = append(rows, deviceRow(d))
	}
	return rows
}

var deviceHead = []string{"DEVICE", "STATE", "SUSPENDED FOR", "ACCOUNT", "SUITE"}

func deviceRow(d *devicesv1.Device) []string {
	var why []string
	for _, s := range d.GetSuspensions() {
		why = append(why, state(s.GetReason().String(), "SUSPENSION_REASON_"))
	}
	return []string{
		d.GetName(), state(d.GetState().String(), "DEVICE_STATE_"), either(strings.Join(why, ","), "-"),
		either(d.GetAccount(), "-"), state(d.GetSuite().String(), "SUITE_"),
	}
}

// deviceName lets people type a uid where the API wants a name.
func deviceName(arg string) string {
	if strings.Contains(arg, "/") {
		return arg
	}
	return "partners/-/devices/" + strings.ToLower(arg)
}
