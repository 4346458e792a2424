package wire

import (
	"crypto/subtle"
	"encoding/binary"
)

// Lengths of keys in bytes.
const (
	shortKeyLen = 16
	longKeyLen  = 32
)

// redacted stands for a secret wherever one would be printed.
const redacted = "***"

// Key is a secret of 16 or 32 bytes. It prints as ***, also deep inside another
// struct, and encodes to nothing in JSON. The zero Key is no key; every function
// that needs one refuses it. Keys are compared with Equal; == does not compile.
type Key struct {
	// A function, because fmt prints the unexported fields of an enclosing struct
	// without asking String, and with an unfit verb even follows pointers.
	reveal func() []byte
}

// NewKey returns a key with a copy of b, or ErrKey if b is neither 16 nor 32
// bytes long.
func NewKey(b []byte) (Key, error) {
	if len(b) != shortKeyLen && len(b) != longKeyLen {
		return Key{}, ErrKey
	}
	secret := append([]byte(nil), b...)
	return Key{reveal: func() []byte { return secret }}, nil
}

// Bytes returns a copy of the secret, for wrapping it at rest or injecting it
// into a device; nil for the zero Key.
func (k Key) Bytes() []byte { return append([]byte(nil), k.raw()...) }

// Len returns the length in bytes: 16, 32, or 0 for the zero Key.
func (k Key) Len() int { return len(k.raw()) }

// IsZero reports whether k is the zero Key, that is no key at all.
func (k Key) IsZero() bool { return k.reveal == nil }

// Equal reports in constant time whether k and other hold the same secret.
func (k Key) Equal(other Key) bool {
	return subtle.ConstantTimeCompare(k.raw(), other.raw()) == 1
}

// String returns ***.
func (Key) String() string { return redacted }

// GoString returns ***.
func (Key) GoString() string { return redacted }

func (k Key) raw() []byte {
	if k.reveal == nil {
		return nil
	}
	return k.reveal()
}

// SessionKeys are the four keys of one binding. They print as ***.
type SessionKeys struct {
	Chal Key // tags of challenges, platform to band
	Resp Key // authenticators of responses in suites 1 and 2
	Offl Key // authenticators of offline taps in suites 1 and 2
	Rslt Key // tags of results, platform to band
}

// String returns ***.
func (SessionKeys) String() string { return redacted }

// GoString returns ***.
func (SessionKeys) GoString() string { return redacted }

// DeriveDeviceKey derives K_dev, the key that the factory injects and the
// platform derives again, from the partner's 32-byte master key of the epoch.
// It returns ErrSuite or ErrKey.
func DeriveDeviceKey(pmk Key, uid UID, epoch uint16, suite Suite) (Key, error) {
	if !suite.Valid() {
		return Key{}, at(ErrSuite, "key derivation", "suite")
	}
	if pmk.Len() != longKeyLen {
		return Key{}, at(ErrKey, "key derivation", "partner master key")
	}
	context := append([]byte(nil), uid[:]...)
	context = binary.BigEndian.AppendUint16(context, epoch)
	context = append(context, byte(suite))
	return NewKey(counterKDF(hmacPRF(pmk.raw()), "ARML1/K-DEV", context, suite.KeyLen()))
}

// DeriveBindKey derives K_bind, the key of one binding, from K_dev. bindNonce is
// the nonce of the claim's challenge. It returns ErrSuite, or ErrKey if dev does
// not have the length of the suite's keys.
func DeriveBindKey(suite Suite, dev Key, uid UID, binding BindingID, bindNonce Nonce) (Key, error) {
	context := append([]byte(nil), uid[:]...)
	context = append(context, binding[:]...)
	context = append(context, bindNonce[:]...)
	return deriveLink(suite, dev, "ARML1/K-BIND", context)
}

// DeriveSessionKeys derives the four keys of one binding from K_bind. It returns
// ErrSuite, or ErrKey if bind does not have the length of the suite's keys.
func DeriveSessionKeys(suite Suite, bind Key, uid UID, binding BindingID) (SessionKeys, error) {
	context := append([]byte(nil), uid[:]...)
	context = append(context, binding[:]...)
	var keys SessionKeys
	for _, k := range [...]struct {
		key   *Key
		label string
	}{
		{&keys.Chal, "ARML1/K-CHAL"},
		{&keys.Resp, "ARML1/K-RESP"},
		{&keys.Offl, "ARML1/K-OFFL"},
		{&keys.Rslt, "ARML1/K-RSLT"},
	} {
		derived, err := deriveLink(suite, bind, k.label, context)
		if err != nil {
			return SessionKeys{}, err
		}
		*k.key = derived
	}
	return keys, nil
}

// AccountRef is the pseudonym of an account that a claim's challenge carries
// instead of a merchant: HMAC-SHA-256 of the account's name under the
// operator's pseudonym key, first 16 bytes. It returns ErrKey without a key.
func AccountRef(pseudonymKey Key, account string) ([16]byte, error) {
	if pseudonymKey.IsZero() {
		return [16]byte{}, at(ErrKey, "account_ref", "pseudonym key")
	}
	return [16]byte(hmacPRF(pseudonymKey.raw())([]byte(account))), nil
}

// deriveLink is KDF_link: the suite's link MAC is the pseudorandom function.
func deriveLink(suite Suite, key Key, label string, context []byte) (Key, error) {
	f, err := linkPRF(suite, key)
	if err != nil {
		return Key{}, err
	}
	return NewKey(counterKDF(f, label, context, suite.KeyLen()))
}
