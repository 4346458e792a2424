package keys

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/kwp/subtle"

	"github.com/armlet-pay/armlet/platform/fault"
)

// importEpoch stands for the epoch of a key that is imported, which gets its epoch here.
const importEpoch = 0

// Wrapped is a master key under AES-KWP (RFC 5649) with a key that follows from ECDH; the contract's message KwpKey spells
// it out for those who write the other side.
type Wrapped struct {
	Ephemeral []byte // the sender's public key, an uncompressed point of P-256
	Key       []byte
}

var errKWP = fault.New(fault.Invalid, "KEY_INVALID",
	"this is no AES-KWP (RFC 5649) of 32 bytes for the key of GetImportKey, this partner and key_epoch 0").WithField("aes_kwp")

// ExportKWP is the partner's master key under AES-KWP for the holder of a P-256 key. It fails with MASTER_KEY_NOT_FOUND and
// KEY_INVALID.
func (r *Ring) ExportKWP(ctx context.Context, partner string, epoch int, recipientJWK string) (Wrapped, error) {
	to, err := recipient(recipientJWK)
	if err != nil {
		return Wrapped{}, err
	}
	secret, err := r.Master(ctx, partner, epoch)
	if err != nil {
		return Wrapped{}, err
	}
	return wrapKWP(secret, to.Key, partner, epoch)
}

// wrapKWP wraps a key for the recipient under a fresh ephemeral key.
func wrapKWP(secret []byte, to *ecdsa.PublicKey, partner string, epoch int) (Wrapped, error) {
	public, err := to.ECDH()
	if err != nil {
		return Wrapped{}, errRecipient
	}
	ephemeral, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return Wrapped{}, fmt.Errorf("keys: export: %w", err)
	}
	w := Wrapped{Ephemeral: ephemeral.PublicKey().Bytes()}
	cipher, err := kwpBetween(ephemeral, public, w.Ephemeral, partner, epoch)
	if err != nil {
		return Wrapped{}, fmt.Errorf("keys: export: %w", err)
	}
	if w.Key, err = cipher.Wrap(secret); err != nil {
		return Wrapped{}, fmt.Errorf("keys: export: %w", err)
	}
	return w, nil
}

// unwrapKWP opens what wrapKWP made.
func unwrapKWP(w Wrapped, own *ecdsa.PrivateKey, partner string, epoch int) ([]byte, error) {
	private, err := own.ECDH()
	if err != nil {
		return nil, err
	}
	ephemeral, err := ecdh.P256().NewPublicKey(w.Ephemeral) // refuses what is not on the curve
	if err != nil {
		return nil, err
	}
	cipher, err := kwpBetween(private, ephemeral, w.Ephemeral, partner, epoch)
	if err != nil {
		return nil, err
	}
	return cipher.Unwrap(w.Key)
}

// kwpBetween is the cipher that two sides agree on. The place of the key is part of it, so what was wrapped for one partner
// and epoch does not unwrap as another's.
func kwpBetween(own *ecdh.PrivateKey, other *ecdh.PublicKey, ephemeral []byte, partner string, epoch int) (*subtle.KWP, error) {
	z, err := own.ECDH(other)
	if err != nil {
		return nil, err
	}
	info := binary.BigEndian.AppendUint16([]byte("ARML1/KWP\x00"), uint16(epoch))
	info = append(info, ephemeral...)
	info = append(info, partner...)
	wrapping := x963(z, info)
	defer clear(wrapping)
	return subtle.NewKWP(wrapping)
}

// x963 derives 32 bytes as ANSI X9.63 does with SHA-256 (SEC 1, section 3.6.1): one block is enough.
func x963(z, sharedInfo []byte) []byte {
	h := sha256.New()
	h.Write(z)
	h.Write([]byte{0, 0, 0, 1})
	h.Write(sharedInfo)
	return h.Sum(nil)
}
