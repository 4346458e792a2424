package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
)

// devicesOwner are the commands of a wearer. The command line is the wallet that logs them in, and the virtual band of the data folder
// proves that it is there.
func (a *app) devicesOwner() []*cobra.Command {
	transfer := &cobra.Command{Use: "transfer", Short: "Hand a band on to another account"}
	transfer.AddCommand(a.transferStart(), a.transferAccept(), a.transferCancel())
	return []*cobra.Command{transfer, a.devicesRelease()}
}

func (a *app) transferStart() *cobra.Command {
	return &cobra.Command{
		Use: "start DEVICE", Short: "Make a code for the next owner, as the owner; payments pause until it is used", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				d, err := s.Operator.Devices.GetDevice(ctx, &devicesv1.GetDeviceRequest{Name: deviceName(args[0])})
				if err != nil {
					return err
				}
				if d.GetAccount() == "" {
					return refused{"the band has no owner who could hand it on; it can be claimed"}
				}
				owner, err := s.Wearer(ctx, d.GetAccount())
				if err != nil {
					return err
				}
				t, err := owner.Devices.BeginTransfer(ctx, &devicesv1.BeginTransferRequest{Name: d.GetName()})
				if err != nil {
					return err
				}
				return a.printer().message(t, func(w io.Writer) {
					fmt.Fprintf(w, "%s  until %s\nThe next owner: armlet devices transfer accept %s --account accounts/…\n",
						t.GetTransferCode(), clock(t.GetExpireTime()), t.GetTransferCode())
				})
			})
		},
	}
}

func (a *app) transferAccept() *cobra.Command {
	var account string
	c := &cobra.Command{
		Use: "accept CODE --account ACCOUNT", Short: "Take the virtual band over with its owner's code, as the next owner", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if account == "" {
				return usageError{errors.New("--account is needed: whose the band becomes")}
			}
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				name, err := s.TakeOver(ctx, named("accounts/", account), strings.ToLower(args[0]))
				if err != nil {
					return err
				}
				d, err := s.Operator.Devices.GetDevice(ctx, &devicesv1.GetDeviceRequest{Name: name})
				return a.showDevice(d, err)
			})
		},
	}
	c.Flags().StringVar(&account, "account", "", "the next owner's account")
	return c
}

func (a *app) transferCancel() *cobra.Command {
	return &cobra.Command{
		Use: "cancel DEVICE", Short: "Void the code, as the operator; payments go on", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				d, err := s.Operator.Devices.CancelTransfer(ctx, &devicesv1.CancelTransferRequest{Name: deviceName(args[0]), RequestId: sandbox.RequestID()})
				return a.showDevice(d, err)
			})
		},
	}
}

func (a *app) devicesRelease() *cobra.Command {
	return &cobra.Command{
		Use: "release", Short: "Let the virtual band go, with its own proof that its owner wants it; anybody can claim it then",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.connected(c.Context(), func(ctx context.Context, s *sandbox.Sandbox) error {
				name, err := s.Release(ctx)
				if err != nil {
					return err
				}
				d, err := s.Operator.Devices.GetDevice(ctx, &devicesv1.GetDeviceRequest{Name: name})
				return a.showDevice(d, err)
			})
		},
	}
}
