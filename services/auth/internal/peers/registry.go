// Package peers calls other services on behalf of the domain: the device registry, which knows every band.
package peers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

// Registry implements challenge.Devices.
type Registry struct {
	client devicesv1.DeviceRegistryServiceClient
}

var _ challenge.Devices = (*Registry)(nil)

// NewRegistry talks to the device registry over conn, which maps statuses to faults as rpc.Dial does.
func NewRegistry(conn grpc.ClientConnInterface) *Registry {
	return &Registry{devicesv1.NewDeviceRegistryServiceClient(conn)}
}

// ByUID implements challenge.Devices.
func (r *Registry) ByUID(ctx context.Context, uid wire.UID) (challenge.Device, error) {
	a, err := r.ask(ctx, byUID(uid))
	return a.Device, err
}

// Fresh implements challenge.Devices.
func (r *Registry) Fresh(ctx context.Context, uid wire.UID) (challenge.Device, error) {
	return r.ByUID(ctx, uid)
}

// ByAccount implements challenge.Devices.
func (r *Registry) ByAccount(ctx context.Context, account string) (challenge.Device, error) {
	a, err := r.ask(ctx, byAccount(account))
	return a.Device, err
}

func byUID(uid wire.UID) *devicesv1.CheckDeviceRequest {
	return &devicesv1.CheckDeviceRequest{Subject: &devicesv1.CheckDeviceRequest_Uid{Uid: uid.String()}}
}

func byAccount(account string) *devicesv1.CheckDeviceRequest {
	return &devicesv1.CheckDeviceRequest{Subject: &devicesv1.CheckDeviceRequest_Account{Account: account}}
}

func (r *Registry) ask(ctx context.Context, in *devicesv1.CheckDeviceRequest) (answer, error) {
	out, err := r.client.CheckDevice(ctx, in)
	if err != nil {
		return answer{}, passOn(err, challenge.ErrDeviceNotFound.Reason)
	}
	return answerOf(out)
}

// answer is what the registry says of a device, with what tells when that no longer counts.
type answer struct {
	challenge.Device
	lot, model string
	recheck    time.Time // when it changes by itself; zero for never
}

func answerOf(in *devicesv1.CheckDeviceResponse) (answer, error) {
	d, err := device(in)
	if err != nil {
		return answer{}, err
	}
	a := answer{Device: d, lot: in.GetDevice().GetLot(), model: in.GetDevice().GetModel()}
	if at := in.GetRecheckTime(); at != nil {
		a.recheck = at.AsTime()
	}
	return a, nil
}

// BeginBinding implements challenge.Devices.
func (r *Registry) BeginBinding(ctx context.Context, uid wire.UID, account, requestID string) (challenge.Binding, error) {
	out, err := r.client.BeginBinding(ctx, &devicesv1.BeginBindingRequest{Uid: uid.String(), Account: account, RequestId: requestID})
	if err != nil {
		return challenge.Binding{}, passOn(err, challenge.ErrDeviceNotFound.Reason)
	}
	var b challenge.Binding
	if copy(b.ID[:], out.GetBindingId()) != len(b.ID) || copy(b.Nonce[:], out.GetBindNonce()) != len(b.Nonce) {
		return b, fmt.Errorf("the registry answered with an incomplete binding of %s", uid)
	}
	return b, nil
}

// ConfirmBinding implements challenge.Devices.
func (r *Registry) ConfirmBinding(ctx context.Context, id wire.BindingID) error {
	_, err := r.confirmBinding(ctx, id)
	return err
}

func (r *Registry) confirmBinding(ctx context.Context, id wire.BindingID) (*devicesv1.Binding, error) {
	b, err := r.client.ConfirmBinding(ctx, &devicesv1.ConfirmBindingRequest{BindingId: id[:]})
	return b, passOn(err, "BINDING_NOT_FOUND", "BINDING_SUPERSEDED", "ILLEGAL_TRANSITION",
		challenge.ErrAlreadyBound.Reason, challenge.ErrSuspended.Reason, challenge.ErrDeviceLimit.Reason)
}

// CompleteTransfer implements challenge.Devices.
func (r *Registry) CompleteTransfer(ctx context.Context, id wire.BindingID, code string) error {
	_, err := r.completeTransfer(ctx, id, code)
	return err
}

func (r *Registry) completeTransfer(ctx context.Context, id wire.BindingID, code string) (*devicesv1.Binding, error) {
	b, err := r.client.CompleteTransfer(ctx, &devicesv1.CompleteTransferRequest{BindingId: id[:], TransferCode: code})
	return b, passOn(err, "BINDING_NOT_FOUND", "BINDING_SUPERSEDED", "ILLEGAL_TRANSITION",
		challenge.ErrTransferCode.Reason, challenge.ErrSuspended.Reason, challenge.ErrDeviceLimit.Reason)
}

// ReleaseBinding implements challenge.Devices.
func (r *Registry) ReleaseBinding(ctx context.Context, id wire.BindingID, account, proof string) error {
	_, err := r.releaseBinding(ctx, id, account, proof)
	return err
}

func (r *Registry) releaseBinding(ctx context.Context, id wire.BindingID, account, proof string) (*devicesv1.Binding, error) {
	b, err := r.client.ReleaseBinding(ctx, &devicesv1.ReleaseBindingRequest{
		BindingId: id[:], Account: account, Proof: proof, RequestId: "release-" + proof,
	})
	switch fault.ReasonOf(err) {
	case "BINDING_SUPERSEDED", "BINDING_NOT_FOUND":
		return b, nil // it has ended already
	case "ILLEGAL_TRANSITION":
		return b, challenge.ErrSuspended.WithCause(err)
	}
	return b, passOn(err, challenge.ErrSuspended.Reason)
}

// SuspendClone implements challenge.Devices.
func (r *Registry) SuspendClone(ctx context.Context, name, requestID, note string) error {
	_, err := r.client.SuspendDevice(ctx, &devicesv1.SuspendDeviceRequest{
		Name: name, Reason: devicesv1.SuspensionReason_SUSPENSION_REASON_SYSTEM_CLONE, Note: note, RequestId: requestID,
	})
	return passOn(err)
}

// passOn lets through what the domain knows. Anything else, such as the registry refusing this service, is our own trouble
// and must not look like the caller's.
func passOn(err error, reasons ...string) error {
	if err == nil {
		return nil
	}
	f, ok := fault.As(err)
	if !ok {
		return fmt.Errorf("ask the registry: %w", err)
	}
	for _, r := range reasons {
		if f.Reason == r {
			return err
		}
	}
	switch f.Kind {
	case fault.Unavailable, fault.DeadlineExceeded, fault.Canceled, fault.Aborted:
		return err
	}
	return fault.New(fault.Internal, "REGISTRY_REFUSED", "the registry refused a call of this service").WithCause(err)
}

var suites = map[devicesv1.Suite]wire.Suite{
	devicesv1.Suite_SUITE_HMAC_SHA256: wire.SuiteHMAC, devicesv1.Suite_SUITE_AES_CMAC: wire.SuiteCMAC,
	devicesv1.Suite_SUITE_ECDSA_P256: wire.SuiteP256, devicesv1.Suite_SUITE_ED25519: wire.SuiteEd25519,
}

// device reads the registry's answer. An answer that lacks what signatures depend on is refused, never guessed at.
func device(in *devicesv1.CheckDeviceResponse) (challenge.Device, error) {
	d := in.GetDevice()
	uid, err := wire.ParseUID(d.GetUid())
	if err != nil {
		return challenge.Device{}, fmt.Errorf("the registry answered with a device without a uid: %w", err)
	}
	partner, ok := partnerOf(d.GetName())
	suite, known := suites[d.GetSuite()]
	epoch := in.GetKeyEpoch()
	if !ok || !known || epoch < 1 || epoch > 65535 {
		return challenge.Device{}, fmt.Errorf("the registry answered with an incomplete device %s", uid)
	}
	out := challenge.Device{
		Name: d.GetName(), Partner: partner, UID: uid, Suite: suite, Epoch: uint16(epoch), PublicKey: publicKeys(in),
		Account: d.GetAccount(), MinSVN: uint16(min(max(in.GetModel().GetMinSvn(), 0), 65535)),
		WristAware: in.GetModel().GetHasWristDetection(), HasDisplay: in.GetModel().GetHasDisplay(),
		CanRange:  slices.Contains(in.GetModel().GetProximityMethods(), devicesv1.ProximityMethod_PROXIMITY_METHOD_RTT),
		AuthEpoch: d.GetAuthEpoch(), Block: block(in),
	}
	if b := in.GetBinding(); b != nil {
		if copy(out.BindingID[:], b.GetBindingId()) != len(out.BindingID) || copy(out.BindNonce[:], b.GetBindNonce()) != len(out.BindNonce) {
			return challenge.Device{}, fmt.Errorf("the registry answered with an incomplete binding of %s", uid)
		}
		if out.Account == "" {
			out.Account = b.GetAccount()
		}
	}
	return out, nil
}

// publicKeys are all that count now. A registry of the first release names one only.
func publicKeys(in *devicesv1.CheckDeviceResponse) []byte {
	if len(in.GetCredentials()) == 0 {
		return in.GetPublicKey()
	}
	var all []byte
	for _, c := range in.GetCredentials() {
		all = append(all, c.GetPublicKey()...)
	}
	return all
}

// block errs on the side of refusing: only a clear yes lets a device pay.
func block(in *devicesv1.CheckDeviceResponse) challenge.Block {
	switch {
	case in.GetCanPay() && in.GetBinding() != nil:
		return challenge.NotBlocked
	case in.GetBlockReason() == devicesv1.BlockReason_BLOCK_REASON_NOT_BOUND || in.GetBinding() == nil && in.GetCanPay():
		return challenge.NotBound
	}
	return challenge.Suspended
}

// partnerOf reads the maker out of a device's name, partners/{partner}/devices/{uid}.
func partnerOf(name string) (string, bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 4 || parts[0] != "partners" || parts[1] == "" || parts[2] != "devices" || parts[3] == "" {
		return "", false
	}
	return parts[1], true
}
