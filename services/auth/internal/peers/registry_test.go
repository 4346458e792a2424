package peers

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

var uid = wire.NewRangeUID(1, 2, 3)

// wireConn answers every call with one message or error and keeps the last request.
type wireConn struct {
	grpc.ClientConnInterface
	answer proto.Message
	err    error
	method string
	asked  proto.Message
}

func (c *wireConn) Invoke(_ context.Context, method string, in, out any, _ ...grpc.CallOption) error {
	c.method, c.asked = method, in.(proto.Message)
	if c.err == nil && c.answer != nil {
		proto.Merge(out.(proto.Message), c.answer)
	}
	return c.err
}

func complete() *devicesv1.CheckDeviceResponse {
	return &devicesv1.CheckDeviceResponse{
		Device: &devicesv1.Device{
			Name: "partners/acme/devices/" + uid.String(), Uid: uid.String(), Account: "accounts/ann", Suite: devicesv1.Suite_SUITE_ED25519,
		},
		CanPay: true, KeyEpoch: 3, PublicKey: []byte{1, 2}, Model: &devicesv1.Model{HasWristDetection: true, MinSvn: 4},
		Binding: &devicesv1.Binding{BindingId: []byte{1, 2, 3, 4, 5, 6, 7, 8}, BindNonce: []byte("0123456789abcdef"), Account: "accounts/ann"},
	}
}

func TestADeviceIsReadWholeOrRefused(t *testing.T) {
	conn := &wireConn{answer: complete()}
	got, err := NewRegistry(conn).ByUID(t.Context(), uid)
	if err != nil {
		t.Fatal(err)
	}
	want := challenge.Device{
		Name: "partners/acme/devices/" + uid.String(), Partner: "acme", UID: uid, Suite: wire.SuiteEd25519, Epoch: 3, PublicKey: []byte{1, 2},
		Account: "accounts/ann", BindingID: wire.BindingID{1, 2, 3, 4, 5, 6, 7, 8}, BindNonce: wire.Nonce([]byte("0123456789abcdef")),
		MinSVN: 4, WristAware: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, change := range map[string]func(r *devicesv1.CheckDeviceResponse){
		"no device":         func(r *devicesv1.CheckDeviceResponse) { r.Device = nil },
		"no partner":        func(r *devicesv1.CheckDeviceResponse) { r.Device.Name = "devices/x" },
		"no suite":          func(r *devicesv1.CheckDeviceResponse) { r.Device.Suite = 0 },
		"an unknown suite":  func(r *devicesv1.CheckDeviceResponse) { r.Device.Suite = 260 },
		"no epoch":          func(r *devicesv1.CheckDeviceResponse) { r.KeyEpoch = 0 },
		"too far an epoch":  func(r *devicesv1.CheckDeviceResponse) { r.KeyEpoch = 65537 },
		"half a binding id": func(r *devicesv1.CheckDeviceResponse) { r.Binding.BindingId = []byte{1} },
		"no bind nonce":     func(r *devicesv1.CheckDeviceResponse) { r.Binding.BindNonce = nil },
	} {
		answer := complete()
		change(answer)
		if _, err := NewRegistry(&wireConn{answer: answer}).ByUID(t.Context(), uid); err == nil || fault.KindOf(err) != fault.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOnlyAClearYesLetsADevicePay(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *devicesv1.CheckDeviceResponse)
		want   challenge.Block
	}{
		"a clear yes":         {func(*devicesv1.CheckDeviceResponse) {}, challenge.NotBlocked},
		"a yes without owner": {func(r *devicesv1.CheckDeviceResponse) { r.Binding = nil }, challenge.NotBound},
		"not bound": {func(r *devicesv1.CheckDeviceResponse) {
			r.CanPay, r.Binding, r.BlockReason = false, nil, devicesv1.BlockReason_BLOCK_REASON_NOT_BOUND
		}, challenge.NotBound},
		"suspended": {func(r *devicesv1.CheckDeviceResponse) {
			r.CanPay, r.BlockReason = false, devicesv1.BlockReason_BLOCK_REASON_SUSPENDED
		}, challenge.Suspended},
		"ended": {func(r *devicesv1.CheckDeviceResponse) {
			r.CanPay, r.BlockReason = false, devicesv1.BlockReason_BLOCK_REASON_ENDED
		}, challenge.Suspended},
		"no without a reason":  {func(r *devicesv1.CheckDeviceResponse) { r.CanPay = false }, challenge.Suspended},
		"a reason of tomorrow": {func(r *devicesv1.CheckDeviceResponse) { r.CanPay, r.BlockReason = false, 99 }, challenge.Suspended},
	} {
		answer := complete()
		c.change(answer)
		got, err := NewRegistry(&wireConn{answer: answer}).ByAccount(t.Context(), "accounts/ann")
		if err != nil || got.Block != c.want {
			t.Errorf("%s: block %d, %v", name, got.Block, err)
		}
	}
}

func TestTheRegistryIsAskedAsItsContractSays(t *testing.T) {
	conn := &wireConn{answer: &devicesv1.Binding{BindingId: []byte{1, 2, 3, 4, 5, 6, 7, 8}, BindNonce: []byte("0123456789abcdef")}}
	r := NewRegistry(conn)
	b, err := r.BeginBinding(t.Context(), uid, "accounts/ann", "claim-1")
	if err != nil || b.ID != (wire.BindingID{1, 2, 3, 4, 5, 6, 7, 8}) || b.Nonce != wire.Nonce([]byte("0123456789abcdef")) {
		t.Errorf("binding %+v, %v", b, err)
	}
	conn.answer = &devicesv1.Binding{BindingId: []byte{1}}
	if _, err := r.BeginBinding(t.Context(), uid, "accounts/ann", "claim-1"); err == nil {
		t.Error("half a binding was accepted")
	}
	conn.answer = nil
	if err := r.SuspendClone(t.Context(), "partners/acme/devices/x", "clone-1", "note"); err != nil {
		t.Error(err)
	}
	in, ok := conn.asked.(*devicesv1.SuspendDeviceRequest)
	if !ok || in.GetReason() != devicesv1.SuspensionReason_SUSPENSION_REASON_SYSTEM_CLONE || in.GetRequestId() != "clone-1" || in.GetName() != "partners/acme/devices/x" {
		t.Errorf("asked %v", conn.asked)
	}
}

func TestOnlyKnownRefusalsReachTheDomain(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind fault.Kind
		want string
	}{
		{fault.New(fault.FailedPrecondition, "ALREADY_BOUND", "x"), fault.FailedPrecondition, "ALREADY_BOUND"},
		{fault.New(fault.Unavailable, "UNAVAILABLE", "x"), fault.Unavailable, "UNAVAILABLE"},
		{fault.New(fault.PermissionDenied, "CALLER_NOT_ALLOWED", "x"), fault.Internal, "REGISTRY_REFUSED"},
		{fault.New(fault.Invalid, "INVALID_FIELD", "x"), fault.Internal, "REGISTRY_REFUSED"},
		{fault.New(fault.NotFound, "DEVICE_NOT_FOUND", "x"), fault.Internal, "REGISTRY_REFUSED"},
		{errors.New("odd"), fault.Internal, ""},
	} {
		err := NewRegistry(&wireConn{err: c.err}).ConfirmBinding(t.Context(), wire.BindingID{})
		if err == nil || fault.KindOf(err) != c.kind || fault.ReasonOf(err) != c.want {
			t.Errorf("%v became %v", c.err, err)
		}
	}
	_, err := NewRegistry(&wireConn{err: fault.New(fault.NotFound, "DEVICE_NOT_FOUND", "x")}).ByUID(t.Context(), uid)
	if fault.ReasonOf(err) != "DEVICE_NOT_FOUND" {
		t.Errorf("got %v", err)
	}
}
