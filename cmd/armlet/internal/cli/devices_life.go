package cli

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/sdk"
)

type registryClient = devicesv1.DeviceRegistryServiceClient

// changer is as whom a command changes a device: as the operator or as its maker.
type changer struct {
	maker
	as string
}

func (ch *changer) flags(c *cobra.Command, as string) {
	ch.maker.flags(c)
	c.Flags().StringVar(&ch.as, "as", as, "who does it: operator or partner")
}

// changing runs do with a connection as the operator or the partner.
func (a *app) changing(ctx context.Context, ch *changer, do func(context.Context, registryClient) error) error {
	switch ch.as {
	case "operator":
		return a.connected(ctx, func(ctx context.Context, s *sandbox.Sandbox) error { return do(ctx, s.Operator.Devices) })
	case "partner":
		return a.acting(ctx, &ch.maker, func(ctx context.Context, p *sdk.Client) error { return do(ctx, p.Devices) })
	}
	return usageError{fmt.Errorf("--as takes operator or partner, not %q", ch.as)}
}

// deviceChange is one call that changes the device of the name.
type deviceChange func(ctx context.Context, r registryClient, name string, args []string) (*devicesv1.Device, error)

// onDevice is a command on a device, whose further arguments are args.
func (a *app) onDevice(use, short string, n cobra.PositionalArgs, ch *changer, as string, do deviceChange) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: n,
		RunE: func(c *cobra.Command, args []string) error {
			return a.changing(c.Context(), ch, func(ctx context.Context, r registryClient) error {
				d, err := do(ctx, r, deviceName(args[0]), args[1:])
				return a.showDevice(d, err)
			})
		},
	}
	ch.flags(c, as)
	return c
}

// devicesLife are the commands of a device's life that its owner has no part in.
func (a *app) devicesLife() []*cobra.Command {
	var note string
	noted := func(c *cobra.Command) *cobra.Command {
		c.Flags().StringVar(&note, "note", "", "why, for the record")
		return c
	}
	retire := a.onDevice("retire DEVICE", "Take a band out of use in an orderly way; final", cobra.ExactArgs(1), &changer{}, "operator",
		func(ctx context.Context, r registryClient, name string, _ []string) (*devicesv1.Device, error) {
			return r.RetireDevice(ctx, &devicesv1.RetireDeviceRequest{Name: name, Note: note, RequestId: sandbox.RequestID()})
		})
	revoke := a.onDevice("revoke DEVICE --note WHY", "Take a band out of use for cause; final", cobra.ExactArgs(1), &changer{}, "operator",
		func(ctx context.Context, r registryClient, name string, _ []string) (*devicesv1.Device, error) {
			if note == "" {
				return nil, usageError{errors.New("--note is needed: a revocation cannot be undone")}
			}
			return r.RevokeDevice(ctx, &devicesv1.RevokeDeviceRequest{Name: name, Note: note, RequestId: sandbox.RequestID()})
		})
	return []*cobra.Command{a.devicesSuspend(), a.devicesLift(), noted(retire), noted(revoke), a.devicesLabel(), a.devicesCreate(), a.devicesKeys()}
}

func (a *app) devicesSuspend() *cobra.Command {
	ch := &changer{}
	var reason, note string
	c := a.onDevice("suspend DEVICE", "Stop a band from paying until the suspension is lifted", cobra.ExactArgs(1), ch, "operator",
		func(ctx context.Context, r registryClient, name string, _ []string) (*devicesv1.Device, error) {
			why, err := enum[devicesv1.SuspensionReason]("--reason", reason, devicesv1.SuspensionReason_value, "SUSPENSION_REASON_")
			switch {
			case err != nil:
				return nil, err
			case why == devicesv1.SuspensionReason_SUSPENSION_REASON_OWNER_LOST:
				return r.ReportDeviceLost(ctx, &devicesv1.ReportDeviceLostRequest{Name: name, RequestId: sandbox.RequestID()})
			}
			return r.SuspendDevice(ctx, &devicesv1.SuspendDeviceRequest{Name: name, Reason: why, Note: note, RequestId: sandbox.RequestID()})
		})
	c.Example = "  armlet devices suspend DEVICE --reason risk --note 'case 17'\n  armlet devices suspend DEVICE --reason partner-hold --as partner"
	c.Flags().StringVar(&reason, "reason", "risk", "of the operator owner-lost, risk or system-clone; of the partner partner-hold")
	c.Flags().StringVar(&note, "note", "", "why, for the record")
	return c
}

func (a *app) devicesLift() *cobra.Command {
	ch := &changer{}
	var reason, note string
	c := a.onDevice("lift DEVICE", "Lift one suspension of a band; nobody lifts one of a higher authority", cobra.ExactArgs(1), ch, "operator",
		func(ctx context.Context, r registryClient, name string, _ []string) (*devicesv1.Device, error) {
			why, err := enum[devicesv1.SuspensionReason]("--reason", reason, devicesv1.SuspensionReason_value, "SUSPENSION_REASON_")
			if err != nil {
				return nil, err
			}
			return r.LiftSuspension(ctx, &devicesv1.LiftSuspensionRequest{Name: name, Reason: why, Note: note, RequestId: sandbox.RequestID()})
		})
	c.Flags().StringVar(&note, "note", "", "why, for the record")
	c.Flags().StringVar(&reason, "reason", "risk", "which: "+choices(devicesv1.SuspensionReason_value, "SUSPENSION_REASON_"))
	return c
}

func (a *app) devicesLabel() *cobra.Command {
	ch := &changer{}
	var etag string
	c := a.onDevice("label DEVICE [KEY=VALUE]...", "Give a band labels in place of all that it has", cobra.MinimumNArgs(1), ch, "partner",
		func(ctx context.Context, r registryClient, name string, args []string) (*devicesv1.Device, error) {
			labels := map[string]string{}
			for _, arg := range args {
				key, value, ok := strings.Cut(arg, "=")
				if !ok {
					return nil, usageError{fmt.Errorf("a label is KEY=VALUE, not %q", arg)}
				}
				labels[key] = value
			}
			return r.UpdateDevice(ctx, &devicesv1.UpdateDeviceRequest{
				Device: &devicesv1.Device{Name: name, Labels: labels, Etag: etag}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"labels"}},
				RequestId: sandbox.RequestID(),
			})
		})
	c.Flags().StringVar(&etag, "etag", "", "refuse when the band was changed since it had this etag")
	return c
}

func (a *app) devicesCreate() *cobra.Command {
	m := &maker{}
	req := &devicesv1.CreateDeviceRequest{}
	var suite, key string
	c := &cobra.Command{
		Use: "create UID --model MODEL", Short: "Register one band that is in no lot", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if req.Suite, err = enum[devicesv1.Suite]("--suite", suite, devicesv1.Suite_value, "SUITE_"); err != nil {
				return err
			}
			if req.PublicKey, err = parsePublicKey("--public-key", key); err != nil {
				return err
			}
			if req.GetModel() == "" {
				return usageError{errors.New("--model is needed")}
			}
			req.Parent, req.Model, req.Uid, req.RequestId = m.name(), m.under("models", req.GetModel()), strings.ToLower(args[0]), sandbox.RequestID()
			return a.acting(c.Context(), m, func(ctx context.Context, p *sdk.Client) error {
				d, err := p.Devices.CreateDevice(ctx, req)
				return a.showDevice(d, err)
			})
		},
	}
	m.flags(c)
	c.Flags().StringVar(&req.Model, "model", "", "its model")
	c.Flags().StringVar(&suite, "suite", "hmac-sha256", "its suite: "+choices(devicesv1.Suite_value, "SUITE_"))
	c.Flags().Uint32Var(&req.KeyEpoch, "key-epoch", 1, "the epoch of the partner master key that the factory used")
	c.Flags().StringVar(&key, "public-key", "", "for ecdsa-p256 and ed25519: its public key, in hexadecimal or base64")
	return c
}

// parsePublicKey reads a key as the files of imports have it; none of an empty text.
func parsePublicKey(what, text string) ([]byte, error) {
	if key, err := hex.DecodeString(text); err == nil {
		return key, nil
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s takes hexadecimal or base64, not %q", what, text)}
	}
	return key, nil
}

func (a *app) devicesKeys() *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Change the public keys of a band of suite ecdsa-p256 or ed25519"}
	var from, until, note string
	add := a.onDevice("add DEVICE KEY", "Add a public key, so that the band can go over to it without a gap", cobra.ExactArgs(2), &changer{}, "partner",
		func(ctx context.Context, r registryClient, name string, args []string) (*devicesv1.Device, error) {
			req := &devicesv1.AddCredentialRequest{Name: name, RequestId: sandbox.RequestID()}
			var err error
			if req.PublicKey, err = parsePublicKey("KEY", args[0]); err != nil {
				return nil, err
			}
			if req.ValidFromTime, err = parseTime("--from", from); err != nil {
				return nil, err
			}
			if req.ValidUntilTime, err = parseTime("--until", until); err != nil {
				return nil, err
			}
			return r.AddCredential(ctx, req)
		})
	add.Flags().StringVar(&from, "from", "", "from when signatures under it count (RFC 3339); empty: at once")
	add.Flags().StringVar(&until, "until", "", "until when they count (RFC 3339); empty: without end")
	retire := a.onDevice("retire DEVICE NUMBER", "End a public key at once", cobra.ExactArgs(2), &changer{}, "partner",
		func(ctx context.Context, r registryClient, name string, args []string) (*devicesv1.Device, error) {
			n, err := strconv.ParseUint(args[0], 10, 32)
			if err != nil {
				return nil, usageError{fmt.Errorf("%q is not the number of a key; see `armlet devices get DEVICE -o json`", args[0])}
			}
			return r.RetireCredential(ctx, &devicesv1.RetireCredentialRequest{Name: name, CredentialId: uint32(n), Note: note, RequestId: sandbox.RequestID()})
		})
	retire.Flags().StringVar(&note, "note", "", "why, for the record")
	c.AddCommand(add, retire)
	return c
}

func parseTime(flag, text string) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s takes a time such as 2026-03-01T12:00:00Z, not %q", flag, text)}
	}
	return timestamppb.New(at), nil
}
