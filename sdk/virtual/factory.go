package virtual

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/armlet-pay/armlet/proto/wire"
)

// Factory is the place where a partner's bands get their keys. Its private key
// unwraps the partner master key that auth exports; no device key ever leaves
// the factory but inside a band.
type Factory struct {
	private *ecdsa.PrivateKey
	master  wire.Key
	epoch   uint16
}

// NewFactory makes a factory with a P-256 key of its own.
func NewFactory() (*Factory, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("virtual: make the factory's key: %w", err)
	}
	return &Factory{private: private}, nil
}

// RecipientJWK is the factory's public key, for ExportMasterKey.
func (f *Factory) RecipientJWK() (string, error) {
	text, err := jose.JSONWebKey{Key: f.private.Public(), Algorithm: string(jose.ECDH_ES_A256KW), Use: "enc"}.MarshalJSON()
	return string(text), err
}

// Load unwraps the master key of an epoch from the JWE (RFC 7516) of ExportMasterKey.
func (f *Factory) Load(jwe string, epoch uint16) error {
	object, err := jose.ParseEncryptedCompact(jwe, []jose.KeyAlgorithm{jose.ECDH_ES_A256KW}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		return errors.New("virtual: the master key is not a JWE of ECDH-ES+A256KW and A256GCM")
	}
	raw, err := object.Decrypt(f.private)
	if err != nil {
		return errors.New("virtual: the master key was not wrapped for this factory")
	}
	master, err := wire.NewKey(raw)
	if err != nil {
		return fmt.Errorf("virtual: the master key: %w", err)
	}
	f.master, f.epoch = master, epoch
	return nil
}

// Make makes the band with the uid: it injects the device key that follows from
// the master key. For suites 3 and 4 give the band its Signer afterwards.
func (f *Factory) Make(uid wire.UID, suite wire.Suite) (*Band, error) {
	device, err := wire.DeriveDeviceKey(f.master, uid, f.epoch, suite)
	if err != nil {
		return nil, fmt.Errorf("virtual: derive the device key: %w", err)
	}
	return NewBand(State{UID: uid, Suite: suite, Epoch: f.epoch, DeviceKey: device.Bytes()})
}
