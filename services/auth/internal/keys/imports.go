package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/armlet-pay/armlet/platform/fault"
)

var errImport = fault.New(fault.Invalid, "KEY_INVALID",
	"this is no JWE (ECDH-ES+A256KW, A256GCM) of 32 bytes for the key of GetImportKey").WithField("jwe")

// p256From is the private key whose scalar the seed is. A random seed is none with a chance of 2^-32.
func p256From(seed []byte) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed)
	if err != nil {
		return nil, fmt.Errorf("keys: the import key: %w", err)
	}
	return key, nil
}

// ImportKey is the public key that keys to be imported are encrypted for, as a JWK.
func (r *Ring) ImportKey() (string, error) {
	jwk := jose.JSONWebKey{Key: r.imports.Public(), Algorithm: string(jose.ECDH_ES_A256KW), Use: "enc"}
	sum, err := jwk.Thumbprint(sha256Hash)
	if err != nil {
		return "", err
	}
	jwk.KeyID = thumbprintText(sum)
	text, err := jwk.MarshalJSON()
	return string(text), err
}

// Incoming is a master key on its way in, in one of two wrappings.
type Incoming struct {
	JWE string
	KWP *Wrapped
}

// openImport unwraps a key for the partner. It fails with KEY_INVALID.
func (r *Ring) openImport(partner string, in Incoming) ([]byte, error) {
	if in.KWP != nil {
		secret, err := unwrapKWP(*in.KWP, r.imports, partner, importEpoch)
		if err != nil || len(secret) != MasterLen {
			return nil, errKWP
		}
		return secret, nil
	}
	jwe, err := jose.ParseEncryptedCompact(in.JWE, []jose.KeyAlgorithm{jose.ECDH_ES_A256KW}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		return nil, errImport
	}
	secret, err := jwe.Decrypt(r.imports)
	if err != nil || len(secret) != MasterLen {
		return nil, errImport
	}
	return secret, nil
}
