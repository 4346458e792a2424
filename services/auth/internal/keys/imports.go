package keys

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"fmt"
	"math/big"

	"github.com/go-jose/go-jose/v4"

	"github.com/armlet-pay/armlet/platform/fault"
)

var errImport = fault.New(fault.Invalid, "KEY_INVALID",
	"this is no JWE (ECDH-ES+A256KW, A256GCM) of 32 bytes for the key of GetImportKey").WithField("jwe")

// p256From is the private key whose scalar the seed is. A random seed is none with a chance of 2^-32.
func p256From(seed []byte) (*ecdsa.PrivateKey, error) {
	private, err := ecdh.P256().NewPrivateKey(seed)
	if err != nil {
		return nil, fmt.Errorf("keys: the import key: %w", err)
	}
	point := private.PublicKey().Bytes() // 4, x, y
	key := &ecdsa.PrivateKey{D: new(big.Int).SetBytes(seed)}
	key.Curve = elliptic.P256()
	key.X, key.Y = new(big.Int).SetBytes(point[1:33]), new(big.Int).SetBytes(point[33:])
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

// openImport decrypts a key. It fails with KEY_INVALID.
func (r *Ring) openImport(text string) ([]byte, error) {
	jwe, err := jose.ParseEncryptedCompact(text, []jose.KeyAlgorithm{jose.ECDH_ES_A256KW}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		return nil, errImport
	}
	secret, err := jwe.Decrypt(r.imports)
	if err != nil || len(secret) != MasterLen {
		return nil, errImport
	}
	return secret, nil
}
