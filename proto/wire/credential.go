package wire

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"fmt"
	"math/big"
)

// Lengths of encoded public keys in bytes.
const (
	// P256KeyLen is an uncompressed P-256 point, SEC 1: 0x04 ‖ X ‖ Y.
	P256KeyLen = 65
	// Ed25519KeyLen is an Ed25519 public key, RFC 8032.
	Ed25519KeyLen = 32
)

// Credential is a device's public key that has passed every check. The zero
// Credential is none and verifies nothing.
type Credential struct {
	suite Suite
	raw   []byte
	p256  *ecdsa.PublicKey
}

// Suite is SuiteP256 or SuiteEd25519, or 0 for the zero Credential.
func (c Credential) Suite() Suite { return c.suite }

// Bytes returns a copy of the encoded key, as ParseCredential takes it.
func (c Credential) Bytes() []byte { return bytes.Clone(c.raw) }

// Equal reports whether c and other are the same key of the same suite.
func (c Credential) Equal(other Credential) bool {
	return c.suite == other.suite && bytes.Equal(c.raw, other.raw)
}

// ParseCredential checks a device's public key as it arrives. SuiteP256 takes
// the 65 bytes of an uncompressed point, which must lie on the curve. SuiteEd25519
// takes 32 bytes and refuses encodings of small order, non-canonical ones and
// those of no point. It returns ErrSuite for a suite without public keys and
// ErrCredential for a key it refuses.
func ParseCredential(suite Suite, raw []byte) (Credential, error) {
	raw = bytes.Clone(raw)
	switch suite {
	case SuiteP256:
		if len(raw) != P256KeyLen || raw[0] != 0x04 {
			return Credential{}, fmt.Errorf("%w: P-256 wants %d bytes, uncompressed", ErrCredential, P256KeyLen)
		}
		pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), raw)
		if err != nil {
			return Credential{}, fmt.Errorf("%w: not a point of P-256", ErrCredential)
		}
		return Credential{suite: suite, raw: raw, p256: pub}, nil
	case SuiteEd25519:
		if err := checkEd25519(raw); err != nil {
			return Credential{}, err
		}
		return Credential{suite: suite, raw: raw}, nil
	default:
		return Credential{}, at(ErrSuite, "credential", "suite")
	}
}

// NewCredential is ParseCredential for a key of the standard library, an
// *ecdsa.PublicKey or an ed25519.PublicKey, from which it takes the suite.
func NewCredential(pub crypto.PublicKey) (Credential, error) {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		if pub == nil || pub.Curve != elliptic.P256() {
			return Credential{}, fmt.Errorf("%w: the curve is not P-256", ErrCredential)
		}
		raw, err := pub.Bytes()
		if err != nil {
			return Credential{}, fmt.Errorf("%w: not a point of P-256", ErrCredential)
		}
		return ParseCredential(SuiteP256, raw)
	case ed25519.PublicKey:
		return ParseCredential(SuiteEd25519, pub)
	}
	return Credential{}, fmt.Errorf("%w: neither ECDSA nor Ed25519", ErrCredential)
}

// lowOrderY holds the y coordinates, little-endian and without the sign bit, of
// every encoding of the eight points of edwards25519 whose order divides 8.
// Under such a key, or its like, one constant signature can pass for every
// message. With either sign bit these are the 14 encodings of the list that
// libsodium refuses (ge25519_has_small_order) and of table 6 in Chalkias,
// Garillot and Nikolaenko, "Taming the Many EdDSAs", 2020. The tests find the
// same list by arithmetic on the curve.
var lowOrderY = [...][Ed25519KeyLen]byte{
	// y = 0, two points of order 4
	{},
	// y = 1, the identity; with sign bit set not canonical
	{0x01},
	// two points of order 8
	{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
	// the other two points of order 8
	{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
	// y = p-1, the point of order 2; with sign bit set not canonical
	primeFieldPlus(-1),
	// y = p, that is 0 written non-canonically
	primeFieldPlus(0),
	// y = p+1, that is 1 written non-canonically
	primeFieldPlus(1),
}

// primeFieldPlus returns p+offset in little-endian order, p = 2^255 - 19, for an
// offset of -1, 0 or 1.
func primeFieldPlus(offset int) [Ed25519KeyLen]byte {
	b := [Ed25519KeyLen]byte(bytes.Repeat([]byte{0xff}, Ed25519KeyLen))
	b[0] = byte(0xed + offset)
	b[Ed25519KeyLen-1] = 0x7f
	return b
}

var (
	fieldPrime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	// curveD is d = -121665/121666 in -x² + y² = 1 + d·x²·y².
	curveD = func() *big.Int {
		d := new(big.Int).ModInverse(big.NewInt(121666), fieldPrime)
		d.Mul(d, big.NewInt(-121665))
		return d.Mod(d, fieldPrime)
	}()
)

// checkEd25519 refuses what RFC 8032 section 5.1.3 does not decode and points
// of small order. Public keys are no secret, so it need not run in constant time.
func checkEd25519(raw []byte) error {
	if len(raw) != Ed25519KeyLen {
		return fmt.Errorf("%w: Ed25519 wants %d bytes", ErrCredential, Ed25519KeyLen)
	}
	masked := [Ed25519KeyLen]byte(raw)
	masked[Ed25519KeyLen-1] &= 0x7f // without the sign of x
	for _, low := range lowOrderY {
		if masked == low {
			return fmt.Errorf("%w: Ed25519 point of small order", ErrCredential)
		}
	}
	for i, j := 0, len(masked)-1; i < j; i, j = i+1, j-1 {
		masked[i], masked[j] = masked[j], masked[i]
	}
	y := new(big.Int).SetBytes(masked[:])
	if y.Cmp(fieldPrime) >= 0 {
		return fmt.Errorf("%w: Ed25519 encoding is not canonical", ErrCredential)
	}
	// x² = u/v with u = y²-1 and v = d·y²+1, and u/v is a square when u·v is.
	// x = 0, where the sign would be ambiguous, happens at small order only.
	u := new(big.Int).Mul(y, y)
	v := new(big.Int).Mul(u, curveD)
	u.Sub(u, big.NewInt(1))
	v.Add(v, big.NewInt(1))
	if big.Jacobi(u.Mul(u, v), fieldPrime) != 1 {
		return fmt.Errorf("%w: not a point of edwards25519", ErrCredential)
	}
	return nil
}
