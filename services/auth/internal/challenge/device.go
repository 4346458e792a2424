package challenge

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/armlet-pay/armlet/proto/wire"
)

// Device is what the registry knows of a band.
type Device struct {
	Name       string // resource name
	Partner    string
	UID        wire.UID
	Suite      wire.Suite
	Epoch      uint16 // of the partner master key
	PublicKey  []byte // of suites 3 and 4: every key that counts now, one behind the other
	Account    string // resource name, empty when unbound
	BindingID  wire.BindingID
	BindNonce  wire.Nonce
	MinSVN     uint16 // lowest firmware security version that may pay
	WristAware bool   // can tell that it is worn
	HasDisplay bool   // can show text and have it confirmed
	CanRange   bool   // can time distance rounds
	AuthEpoch  int64  // rises with every change of what the registry answers
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
	// Fresh is ByUID as the registry says now, and not a moment ago.
	Fresh(ctx context.Context, uid wire.UID) (Device, error)
	// ByAccount is the device that was bound to an account last. It fails with DEVICE_NOT_FOUND.
	ByAccount(ctx context.Context, account string) (Device, error)
	// BeginBinding fails with DEVICE_NOT_FOUND.
	BeginBinding(ctx context.Context, uid wire.UID, account, requestID string) (Binding, error)
	// ConfirmBinding fails with BINDING_NOT_FOUND, BINDING_SUPERSEDED, ALREADY_BOUND, DEVICE_SUSPENDED and
	// DEVICE_LIMIT_REACHED.
	ConfirmBinding(ctx context.Context, id wire.BindingID) error
	// CompleteTransfer is ConfirmBinding for a device that its owner hands on with a code. It also fails with
	// TRANSFER_CODE_INVALID.
	CompleteTransfer(ctx context.Context, id wire.BindingID, code string) error
	// ReleaseBinding ends the account's binding; one that has ended already is no failure. It fails with DEVICE_SUSPENDED.
	ReleaseBinding(ctx context.Context, id wire.BindingID, account, proof string) error
	// SuspendClone suspends a device of which there may be a copy.
	SuspendClone(ctx context.Context, device, requestID, note string) error
}

// SessionKeys derives the keys of a binding from the partner's master key.
func SessionKeys(master []byte, uid wire.UID, epoch uint16, suite wire.Suite, id wire.BindingID, nonce wire.Nonce) (wire.SessionKeys, error) {
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

// Verifiers check the band's answers, of which any may find an answer good: one for each registered public key, or one
// for the keys of the binding.
func Verifiers(suite wire.Suite, publicKeys []byte, keys wire.SessionKeys) ([]wire.Verifier, error) {
	if suite.Symmetric() {
		v, err := wire.NewVerifier(suite, keys)
		return []wire.Verifier{v}, err
	}
	size := wire.Ed25519KeyLen
	if suite == wire.SuiteP256 {
		size = wire.P256KeyLen
	}
	if len(publicKeys) == 0 || len(publicKeys)%size != 0 {
		return nil, fmt.Errorf("%d bytes are no public keys of suite %s", len(publicKeys), suite)
	}
	var all []wire.Verifier
	for key := range slices.Chunk(publicKeys, size) {
		credential, err := wire.ParseCredential(suite, key)
		if err != nil {
			return nil, err
		}
		all = append(all, credential.Verifier())
	}
	return all, nil
}

// authentic says whether any of the verifiers finds the band's answer good.
func authentic(verifiers []wire.Verifier, uid wire.UID, c wire.Challenge, r wire.Response, authenticator []byte) bool {
	for _, v := range verifiers {
		if wire.VerifyResponse(v, uid, c, r, authenticator) == nil {
			return true
		}
	}
	return false
}

// pongKey is what the phone answers distance rounds with. It follows from the binding's keys and the nonce, so that it is
// kept nowhere.
func pongKey(keys wire.SessionKeys, nonce wire.Nonce) []byte {
	mac := hmac.New(sha256.New, keys.Chal.Bytes())
	mac.Write([]byte("armlet auth pong key\x00"))
	mac.Write(nonce[:])
	return mac.Sum(nil)
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
	buzzUnbound  = 4
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
