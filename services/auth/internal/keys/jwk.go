package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/armlet-pay/armlet/platform/fault"
)

const sha256Hash = crypto.SHA256

func thumbprintText(sum []byte) string { return base64.RawURLEncoding.EncodeToString(sum) }

var errPublicJWK = fault.New(fault.Invalid, "KEY_INVALID",
	"the key is not a public JWK of type OKP/Ed25519 or EC/P-256; give the public half alone").WithField("public_jwk")

// ParsePublic reads a client's public key and the one algorithm that goes with it. It refuses private and symmetric
// keys, every other curve, and a key that says it is for something else than verifying that algorithm, with KEY_INVALID.
func ParsePublic(text string) (jose.JSONWebKey, jose.SignatureAlgorithm, error) {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON([]byte(text)); err != nil || !jwk.IsPublic() || !jwk.Valid() {
		return jose.JSONWebKey{}, "", errPublicJWK
	}
	var alg jose.SignatureAlgorithm
	switch key := jwk.Key.(type) {
	case ed25519.PublicKey:
		alg = jose.EdDSA
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			alg = jose.ES256
		}
	}
	var says struct {
		Operations []string `json:"key_ops"`
	}
	if err := json.Unmarshal([]byte(text), &says); err != nil || alg == "" ||
		jwk.Algorithm != "" && jwk.Algorithm != string(alg) || jwk.Use != "" && jwk.Use != "sig" ||
		says.Operations != nil && !slices.Contains(says.Operations, "verify") {
		return jose.JSONWebKey{}, "", errPublicJWK
	}
	return jwk, alg, nil
}

// CanonicalPublic is the JWK of a public key with the members that matter and in a fixed order.
func CanonicalPublic(text string) (string, error) {
	jwk, alg, err := ParsePublic(text)
	if err != nil {
		return "", err
	}
	canonical, err := jose.JSONWebKey{Key: jwk.Key, KeyID: jwk.KeyID, Algorithm: string(alg), Use: "sig"}.MarshalJSON()
	return string(canonical), err
}

// NewPrivateJWK is a fresh Ed25519 key as a private JWK.
func NewPrivateJWK() ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("keys: random: %w", err)
	}
	jwk := jose.JSONWebKey{Key: private, Algorithm: string(jose.EdDSA), Use: "sig"}
	thumb, err := jwk.Thumbprint(sha256Hash)
	if err != nil {
		return nil, fmt.Errorf("keys: name a key: %w", err)
	}
	jwk.KeyID = thumbprintText(thumb)
	return jwk.MarshalJSON()
}

// PublicOf is the public half of a private JWK, as JSON.
func PublicOf(private []byte) (string, error) {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(private); err != nil || !jwk.Valid() {
		return "", fmt.Errorf("keys: not a JWK")
	}
	public, err := jwk.Public().MarshalJSON()
	return string(public), err
}

// NewID is a random UUID (RFC 9562, version 4).
func NewID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Thumbprint is the RFC 7638 thumbprint of a public key, with SHA-256.
func Thumbprint(publicJWK string) (string, error) {
	jwk, _, err := ParsePublic(publicJWK)
	if err != nil {
		return "", err
	}
	sum, err := jwk.Thumbprint(sha256Hash)
	return thumbprintText(sum), err
}
