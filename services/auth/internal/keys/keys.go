// Package keys holds the secrets of auth: partners' master keys by epoch, the keys that sign tokens and assertions, and
// the key of account pseudonyms.
//
// A secret at rest is a [Row] whose Sealed is ciphertext under the key-encryption key ([KEK]). The associated data names
// the partner, epoch, purpose and id of the row (an installation is one tenant, whose key file is its own), so a ciphertext that was moved to another row does not open. Keys have
// the states
//
//	PREPARED ──activate──▶ ACTIVE ──the next is activated──▶ RETIRING
//	    PREPARED, ACTIVE, RETIRING ──taint──▶ TAINTED      all but ACTIVE ──destroy──▶ DESTROYED
//
// and a secret is never changed in place: a new one is a new epoch in a new row. What was made with a PREPARED, ACTIVE or
// RETIRING key counts. service.go changes states, ring.go works with keys.
package keys

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Purpose says what a key is for. The values are stored and are part of the associated data.
type Purpose string

// The purposes.
const (
	Master    Purpose = "master"    // 32 random bytes; device keys follow from it
	Signing   Purpose = "signing"   // an Ed25519 seed
	Pseudonym Purpose = "pseudonym" // 32 random bytes for account_ref
	Import    Purpose = "import"    // 32 random bytes, from which the P-256 key follows that imports are encrypted for
)

// State is where a key is in its life. The values are stored.
type State string

// The states.
const (
	Prepared  State = "PREPARED"
	Active    State = "ACTIVE"
	Retiring  State = "RETIRING"
	Tainted   State = "TAINTED"
	Destroyed State = "DESTROYED"
)

// Row is a key as it is stored.
type Row struct {
	ID        string // random, a UUID
	Purpose   Purpose
	Partner   string // empty for keys of the installation itself
	Epoch     int    // counts the keys of one purpose and partner from 1
	State     State
	Public    []byte // of signing keys
	Sealed    []byte // ciphertext of the secret
	Imported  bool
	CreatedAt time.Time
	ChangedAt time.Time // when it came into its state
}

// KEK encrypts other keys. A tink AEAD is one; so can be a key in a KMS or an HSM.
type KEK interface {
	// Encrypt seals a secret together with associated data.
	Encrypt(plaintext, associatedData []byte) ([]byte, error)
	// Decrypt opens what Encrypt sealed and fails unless the associated data is the same.
	Decrypt(ciphertext, associatedData []byte) ([]byte, error)
}

// Store remembers keys.
type Store interface {
	// InsertKey adds a key and returns it, or the one that already has its purpose, partner and epoch.
	InsertKey(ctx context.Context, row Row) (Row, error)
	// Key fails with MASTER_KEY_NOT_FOUND.
	Key(ctx context.Context, purpose Purpose, partner string, epoch int) (Row, error)
	// KeyState is the state of a key. It fails with MASTER_KEY_NOT_FOUND.
	KeyState(ctx context.Context, purpose Purpose, partner string, epoch int) (State, error)
	// Keys lists the keys of a partner, or of the installation itself, with one purpose, by epoch.
	Keys(ctx context.Context, purpose Purpose, partner string) ([]Row, error)
}

// ErrNotFound is the refusal for a master key that does not exist.
var ErrNotFound = fault.New(fault.NotFound, "MASTER_KEY_NOT_FOUND",
	"the partner has no master key of this epoch; GetPartner tells the newest one")

// associatedData binds a ciphertext to its place. Each part carries its length, so that no two places look alike.
func (r Row) associatedData() []byte {
	ad := []byte("armlet/key/1")
	for _, part := range []string{r.Partner, string(r.Purpose), r.ID} {
		ad = binary.BigEndian.AppendUint32(ad, uint32(len(part)))
		ad = append(ad, part...)
	}
	return binary.BigEndian.AppendUint64(ad, uint64(r.Epoch))
}
