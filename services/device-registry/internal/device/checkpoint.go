package device

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Checkpoint is the signed end of the log. Whoever keeps one can prove later that nothing before it was changed.
type Checkpoint struct {
	Position  int64
	LogHash   [sha256.Size]byte
	At        time.Time // to the microsecond
	Signature []byte
	PublicKey []byte
}

// Notary signs checkpoints. The zero Notary has no key.
type Notary struct{ key ed25519.PrivateKey }

// NewNotary makes a Notary of a key that is kept outside the database, so that who can change the one cannot sign for it.
func NewNotary(key ed25519.PrivateKey) Notary { return Notary{key} }

// Sign makes a checkpoint of the log's end. It refuses with AUDIT_KEY_MISSING.
func (n Notary) Sign(head Head, now time.Time) (Checkpoint, error) {
	if n.key == nil {
		return Checkpoint{}, fault.New(fault.FailedPrecondition, "AUDIT_KEY_MISSING",
			"this registry has no key for checkpoints; set audit-key-file")
	}
	c := Checkpoint{Position: head.Sequence, LogHash: head.Hash, At: now}
	c.Signature = ed25519.Sign(n.key, c.signed())
	c.PublicKey = n.public()
	return c, nil
}

// Signed reports whether the checkpoint is one that this Notary made. Of a checkpoint with another key it is false: it says
// itself what it was signed with, and anybody has a key.
func (n Notary) Signed(c Checkpoint) bool {
	return n.key != nil && string(c.PublicKey) == string(n.public()) && ed25519.Verify(n.public(), c.signed(), c.Signature)
}

func (n Notary) public() ed25519.PublicKey { return ed25519.PublicKey(n.key[ed25519.SeedSize:]) }

func (c Checkpoint) signed() []byte {
	b := append(make([]byte, 0, 80), "armlet/audit-checkpoint/1\x00"...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Position))
	b = append(b, c.LogHash[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(c.At.UnixMicro()))
}
