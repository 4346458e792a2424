package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
)

func (a *app) devicesCommand() *cobra.Command {
	c := &cobra.Command{Use: "devices", Short: "Register and import bands, look at them, report one lost, find it again"}
	c.AddCommand(a.devicesList(), a.devicesGet(), a.devicesAudit(), a.devicesImport(), a.devicesModels(), a.devicesLots(),
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
	var partner, token string
	var size int32
	c := &cobra.Command{Use: "list", Short: "List bands that were claimed or imported", RunE: func(c *cobra.Command, _ []string) error {
		return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
			page, err := s.Operator.Devices.ListDevices(ctx, &devicesv1.ListDevicesRequest{Parent: "partners/" + partner, PageSize: size, PageToken: token})
			if err != nil {
				return err
			}
			return a.printer().message(page, func(w io.Writer) {
				rows := make([][]string, 0, len(page.GetDevices()))
				for _, d := range page.GetDevices() {
					rows = append(rows, deviceRow(d))
				}
				table(w, deviceHead, rows)
				more(w, page.GetNextPageToken())
			})
		})
	}}
	c.Flags().StringVar(&partner, "partner", "-", "only this partner's")
	pageFlags(c, &size, &token)
	return c
}

func (a *app) devicesGet() *cobra.Command {
	return &cobra.Command{
		Use: "get DEVICE", Short: "Show one band, by its uid or name", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				d, err := s.Operator.Devices.GetDevice(ctx, &devicesv1.GetDeviceRequest{Name: deviceName(args[0])})
				return a.showDevice(d, err)
			})
		},
	}
}

func (a *app) devicesAudit() *cobra.Command {
	return &cobra.Command{
		Use: "audit DEVICE", Short: "Show who changed a band, what and when", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				page, err := s.Operator.Devices.ListAuditEntries(ctx, &devicesv1.ListAuditEntriesRequest{Parent: deviceName(args[0]), PageSize: 1000})
				if err != nil {
					return err
				}
				return a.printer().message(page, func(w io.Writer) {
					rows := make([][]string, 0, len(page.GetAuditEntries()))
					for _, e := range page.GetAuditEntries() {
						rows = append(rows, []string{
							fmt.Sprint(e.GetSequence()), clock(e.GetCreateTime()), e.GetActor(), e.GetAction(),
							state(e.GetState().String(), "DEVICE_STATE_"), fmt.Sprintf("%x", e.GetHash())[:12],
						})
					}
					table(w, []string{"SEQ", "TIME", "ACTOR", "ACTION", "STATE", "HASH"}, rows)
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
