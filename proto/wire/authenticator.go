package wire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/asn1"
	"fmt"
	"math/big"
)

// TagChallenge makes the tag of a challenge under K_chal. It returns ErrKey if
// the key does not fit the suite, and the errors of Challenge.AppendBinary.
func TagChallenge(chal Key, uid UID, c Challenge) (Tag, error) {
	m := append([]byte(dstChallenge), uid[:]...)
	m, err := c.AppendBinary(m)
	if err != nil {
		return Tag{}, err
	}
	return linkTag(c.Suite, chal, m)
}

// VerifyChallengeTag checks the tag of a challenge under K_chal, in constant
// time. It returns ErrBadTag if the tag is wrong, or an error of TagChallenge.
func VerifyChallengeTag(chal Key, uid UID, c Challenge, tag Tag) error {
	want, err := TagChallenge(chal, uid, c)
	if err != nil {
		return err
	}
	return compareTags(want, tag)
}

// SealChallenge returns the whole frame: the challenge and its tag.
func SealChallenge(chal Key, uid UID, c Challenge) ([]byte, error) {
	tag, err := TagChallenge(chal, uid, c)
	if err != nil {
		return nil, err
	}
	b, err := c.MarshalBinary()
	return append(b, tag[:]...), err
}

// TagResult makes the tag of a result under K_rslt. nonce is that of the
// challenge the result belongs to. It returns ErrKey if the key does not fit the
// suite, and the errors of Result.AppendBinary.
func TagResult(rslt Key, uid UID, nonce Nonce, r Result) (Tag, error) {
	m := append([]byte(dstResult), uid[:]...)
	m = append(m, nonce[:]...)
	m, err := r.AppendBinary(m)
	if err != nil {
		return Tag{}, err
	}
	return linkTag(r.Suite, rslt, m)
}

// VerifyResultTag checks the tag of a result under K_rslt, in constant time. It
// returns ErrBadTag if the tag is wrong, or an error of TagResult.
func VerifyResultTag(rslt Key, uid UID, nonce Nonce, r Result, tag Tag) error {
	want, err := TagResult(rslt, uid, nonce, r)
	if err != nil {
		return err
	}
	return compareTags(want, tag)
}

// SealResult returns the whole frame: the result and its tag.
func SealResult(rslt Key, uid UID, nonce Nonce, r Result) ([]byte, error) {
	tag, err := TagResult(rslt, uid, nonce, r)
	if err != nil {
		return nil, err
	}
	b, err := r.MarshalBinary()
	return append(b, tag[:]...), err
}

// ResponseMessage is M of a response: what its authenticator covers. It returns
// ErrSuiteMismatch if the response does not have the challenge's suite, and the
// errors of both layouts.
func ResponseMessage(uid UID, c Challenge, r Response) ([]byte, error) {
	if c.Suite != r.Suite {
		return nil, at(ErrSuiteMismatch, "response", "suite")
	}
	m := append([]byte(dstResponse), uid[:]...)
	m, err := c.AppendBinary(m)
	if err != nil {
		return nil, err
	}
	return r.AppendBinary(m)
}

// OfflineMessage is what the authenticator of an offline tap covers. It returns
// the errors of both layouts.
func OfflineMessage(uid UID, t TerminalTap, o OfflineTap) ([]byte, error) {
	m := append([]byte(dstOffline), uid[:]...)
	m, err := t.AppendBinary(m)
	if err != nil {
		return nil, err
	}
	return o.AppendBinary(m)
}

// Signer is the band's side of an authenticator: the session keys in suites 1
// and 2, a private key in suites 3 and 4. The zero Signer signs nothing. It
// prints as ***.
type Signer struct {
	suite Suite
	keys  SessionKeys
	priv  func() crypto.Signer // a function for the reason that Key has one
}

// NewSigner returns a signer for suites 1 and 2 that uses Resp and Offl of keys.
// It returns ErrSuite for the other suites.
func NewSigner(suite Suite, keys SessionKeys) (Signer, error) {
	if !suite.Symmetric() {
		return Signer{}, at(ErrSuite, "signer", "suite")
	}
	return Signer{suite: suite, keys: keys}, nil
}

// NewPrivateSigner returns a signer for suites 3 and 4. priv is an
// *ecdsa.PrivateKey on P-256, an ed25519.PrivateKey, or a secure element that
// offers the same through crypto.Signer. It returns ErrCredential if the public
// key of priv would be refused.
func NewPrivateSigner(priv crypto.Signer) (Signer, error) {
	if priv == nil {
		return Signer{}, at(ErrKey, "signer", "private key")
	}
	credential, err := NewCredential(priv.Public())
	if err != nil {
		return Signer{}, err
	}
	return Signer{suite: credential.Suite(), priv: func() crypto.Signer { return priv }}, nil
}

// Suite is the suite of the authenticators that s makes; 0 for the zero Signer.
func (s Signer) Suite() Suite { return s.suite }

// String returns ***.
func (Signer) String() string { return redacted }

// GoString returns ***.
func (Signer) GoString() string { return redacted }

// Verifier is the platform's side of an authenticator: the session keys in
// suites 1 and 2, a public key in suites 3 and 4. The zero Verifier accepts
// nothing. It prints as ***.
type Verifier struct {
	suite      Suite
	keys       SessionKeys
	credential Credential
}

// NewVerifier returns a verifier for suites 1 and 2 that uses Resp and Offl of
// keys. It returns ErrSuite for the other suites.
func NewVerifier(suite Suite, keys SessionKeys) (Verifier, error) {
	if !suite.Symmetric() {
		return Verifier{}, at(ErrSuite, "verifier", "suite")
	}
	return Verifier{suite: suite, keys: keys}, nil
}

// Verifier returns a verifier for suites 3 and 4.
func (c Credential) Verifier() Verifier { return Verifier{suite: c.suite, credential: c} }

// Suite is the suite of the authenticators that v checks; 0 for the zero Verifier.
func (v Verifier) Suite() Suite { return v.suite }

// String returns ***.
func (Verifier) String() string { return redacted }

// GoString returns ***.
func (Verifier) GoString() string { return redacted }

// SignResponse makes the authenticator of r, the answer to c: 16 or 64 bytes.
// It returns ErrSuiteMismatch unless signer, challenge and response have the
// same suite, ErrKey, ErrSigner, and the errors of both layouts.
func SignResponse(s Signer, uid UID, c Challenge, r Response) ([]byte, error) {
	m, err := ResponseMessage(uid, c, r)
	if err != nil {
		return nil, err
	}
	return s.sign(r.Suite, s.keys.Resp, m)
}

// VerifyResponse checks the authenticator of r, the answer to c. The challenge
// must be the one that the platform stored. It returns ErrBadAuthenticator if
// the authenticator is wrong, ErrSuiteMismatch unless verifier, challenge and
// response have the same suite, ErrKey, and the errors of both layouts.
func VerifyResponse(v Verifier, uid UID, c Challenge, r Response, auth []byte) error {
	m, err := ResponseMessage(uid, c, r)
	if err != nil {
		return err
	}
	return v.verify(r.Suite, v.keys.Resp, m, auth)
}

// SealResponse returns the whole frame: the response and its authenticator.
func SealResponse(s Signer, uid UID, c Challenge, r Response) ([]byte, error) {
	auth, err := SignResponse(s, uid, c, r)
	if err != nil {
		return nil, err
	}
	b, err := r.MarshalBinary()
	return append(b, auth...), err
}

// SignOffline makes the authenticator of o, the answer to t: 16 or 64 bytes. It
// returns ErrSuiteMismatch unless signer and tap have the same suite, ErrKey,
// ErrSigner, and the errors of both layouts.
func SignOffline(s Signer, uid UID, t TerminalTap, o OfflineTap) ([]byte, error) {
	m, err := OfflineMessage(uid, t, o)
	if err != nil {
		return nil, err
	}
	return s.sign(o.Suite, s.keys.Offl, m)
}

// VerifyOffline checks the authenticator of o, the answer to t. It returns
// ErrBadAuthenticator if the authenticator is wrong, ErrSuiteMismatch unless
// verifier and tap have the same suite, ErrKey, and the errors of both layouts.
func VerifyOffline(v Verifier, uid UID, t TerminalTap, o OfflineTap, auth []byte) error {
	m, err := OfflineMessage(uid, t, o)
	if err != nil {
		return err
	}
	return v.verify(o.Suite, v.keys.Offl, m, auth)
}

// SealOffline returns the whole frame: the offline tap and its authenticator.
func SealOffline(s Signer, uid UID, t TerminalTap, o OfflineTap) ([]byte, error) {
	auth, err := SignOffline(s, uid, t, o)
	if err != nil {
		return nil, err
	}
	b, err := o.MarshalBinary()
	return append(b, auth...), err
}

func (s Signer) sign(suite Suite, key Key, m []byte) ([]byte, error) {
	if s.suite != suite {
		return nil, at(ErrSuiteMismatch, "signer", "suite")
	}
	if suite.Symmetric() {
		return symmetricAuthenticator(suite, key, m)
	}
	// A signature over the message itself, or for ECDSA over its digest.
	input, opts := m, crypto.Hash(0)
	if suite == SuiteP256 {
		digest := sha256.Sum256(m)
		input, opts = digest[:], crypto.SHA256
	}
	sig, err := s.priv().Sign(rand.Reader, input, opts)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSigner, err)
	}
	if suite == SuiteP256 {
		return rawECDSA(sig)
	}
	if len(sig) != ed25519.SignatureSize {
		return nil, fmt.Errorf("%w: signature has %d bytes", ErrSigner, len(sig))
	}
	return sig, nil
}

func (v Verifier) verify(suite Suite, key Key, m, auth []byte) error {
	if v.suite != suite {
		return at(ErrSuiteMismatch, "verifier", "suite")
	}
	if len(auth) != suite.AuthenticatorLen() {
		return at(ErrLength, "authenticator", "whole")
	}
	var good bool
	switch suite {
	case SuiteP256:
		digest := sha256.Sum256(m)
		good = verifyECDSA(v.credential.p256, digest[:], auth)
	case SuiteEd25519:
		good = ed25519.Verify(v.credential.raw, m, auth)
	default:
		want, err := symmetricAuthenticator(suite, key, m)
		if err != nil {
			return err
		}
		good = subtle.ConstantTimeCompare(want, auth) == 1
	}
	if !good {
		return ErrBadAuthenticator
	}
	return nil
}

func symmetricAuthenticator(suite Suite, key Key, m []byte) ([]byte, error) {
	mac, err := linkPRF(suite, key)
	if err != nil {
		return nil, err
	}
	return mac(m)[:suite.AuthenticatorLen()], nil
}

func linkTag(suite Suite, key Key, m []byte) (Tag, error) {
	mac, err := linkPRF(suite, key)
	if err != nil {
		return Tag{}, err
	}
	return Tag(mac(m)[:TagLen]), nil
}

func compareTags(want, got Tag) error {
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return ErrBadTag
	}
	return nil
}

// verifyECDSA takes r‖s of 64 bytes, both in [1, n-1]; low s is not asked for.
func verifyECDSA(pub *ecdsa.PublicKey, digest, sig []byte) bool {
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	return inScalarRange(r) && inScalarRange(s) && ecdsa.Verify(pub, digest, r, s)
}

// rawECDSA turns the ASN.1 form that a crypto.Signer returns into r‖s.
func rawECDSA(der []byte) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &sig)
	if err != nil || len(rest) != 0 || !inScalarRange(sig.R) || !inScalarRange(sig.S) {
		return nil, fmt.Errorf("%w: not an ECDSA signature in ASN.1", ErrSigner)
	}
	raw := make([]byte, 64)
	sig.R.FillBytes(raw[:32])
	sig.S.FillBytes(raw[32:])
	return raw, nil
}

func inScalarRange(x *big.Int) bool {
	return x.Sign() > 0 && x.Cmp(elliptic.P256().Params().N) < 0
}
