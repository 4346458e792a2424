package challenge

import (
	"context"

	"github.com/armlet-pay/armlet/proto/wire"
)

// Device is what the registry knows of a band.
type Device struct {
	Name       string // resource name
	Partner    string
	UID        wire.UID
	Suite      wire.Suite
	Epoch      uint16 // of the partner master key
	PublicKey  []byte // of suites 3 and 4
	Account    string // resource name, empty when unbound
	BindingID  wire.BindingID
	BindNonce  wire.Nonce
	MinSVN     uint16 // lowest firmware security version that may pay
	WristAware bool   // can tell that it is worn
	Block      Block
}

// Block says why a device cannot be used.
type Block int

// The blocks.
const (
	NotBlocked Block = iota
	NotBound
	Suspended // or taken out of use for good
)

// usable is nil when the registry lets the device pay.
func (d Device) usable() error {
	switch d.Block {
	case NotBlocked:
		return nil
	case NotBound:
		return ErrNotBound
	}
	return ErrSuspended
}

// Binding is a pending binding of the registry.
type Binding struct {
	ID    wire.BindingID
	Nonce wire.Nonce
}

// Devices is the device registry.
type Devices interface {
	// ByUID fails with DEVICE_NOT_FOUND.
	ByUID(ctx context.Context, uid wire.UID) (Device, error)
	// ByAccount is the device that was bound to an account last. It fails with DEVICE_NOT_FOUND.
	ByAccount(ctx context.Context, account string) (Device, error)
	// BeginBinding fails with DEVICE_NOT_FOUND.
	BeginBinding(ctx context.Context, uid wire.UID, account, requestID string) (Binding, error)
	// ConfirmBinding fails with BINDING_NOT_FOUND, BINDING_SUPERSEDED, ALREADY_BOUND, DEVICE_SUSPENDED and
	// DEVICE_LIMIT_REACHED.
	ConfirmBinding(ctx context.Context, id wire.BindingID) error
	// SuspendClone suspends a device of which there may be a copy.
	SuspendClone(ctx context.Context, device, requestID, note string) error
}

// sessionKeys derives the keys of a binding from the partner's master key.
func sessionKeys(master []byte, uid wire.UID, epoch uint16, suite wire.Suite, id wire.BindingID, nonce wire.Nonce) (wire.SessionKeys, error) {
	pmk, err := wire.NewKey(master)
	if err != nil {
		return wire.SessionKeys{}, err
	}
	dev, err := wire.DeriveDeviceKey(pmk, uid, epoch, suite)
	if err != nil {
		return wire.SessionKeys{}, err
	}
	bind, err := wire.DeriveBindKey(suite, dev, uid, id, nonce)
	if err != nil {
		return wire.SessionKeys{}, err
	}
	return wire.DeriveSessionKeys(suite, bind, uid, id)
}

// verifier is what checks the band's answers: its registered public key, or the keys of the binding.
func verifier(suite wire.Suite, publicKey []byte, keys wire.SessionKeys) (wire.Verifier, error) {
	if suite.Symmetric() {
		return wire.NewVerifier(suite, keys)
	}
	credential, err := wire.ParseCredential(suite, publicKey)
	if err != nil {
		return wire.Verifier{}, err
	}
	return credential.Verifier(), nil
}

// frame is a challenge with its tag.
func frame(keys wire.SessionKeys, uid wire.UID, c wire.Challenge) (body, whole []byte, err error) {
	if body, err = c.MarshalBinary(); err != nil {
		return nil, nil, err
	}
	tag, err := wire.TagChallenge(keys.Chal, uid, c)
	if err != nil {
		return nil, nil, err
	}
	return body, append(append([]byte(nil), body...), tag[:]...), nil
}

// How the band vibrates on a result.
const (
	buzzApproved = 1
	buzzDeclined = 2
	buzzBound    = 3
)

// result is a RESULT frame with its tag.
func result(keys wire.SessionKeys, uid wire.UID, nonce wire.Nonce, r wire.Result) ([]byte, error) {
	body, err := r.MarshalBinary()
	if err != nil {
		return nil, err
	}
	tag, err := wire.TagResult(keys.Rslt, uid, nonce, r)
	if err != nil {
		return nil, err
	}
	return append(body, tag[:]...), nil
}
