package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
)

// KeyBytes is the length of all keys, the one in the key file included.
const KeyBytes = 32

// ErrWrongKey means that the database's keys were wrapped with another key than the one given.
var ErrWrongKey = errors.New("the key file is not the one this database was set up with: put the right file in its place")

// Key gives a named random key that is made at first use and kept wrapped with AES-256-GCM under wrapping, so that all
// replicas use the same one and the database alone reveals nothing.
func (s *Store) Key(ctx context.Context, wrapping []byte, name string, now time.Time) ([]byte, error) {
	aead, err := newAEAD(wrapping)
	if err != nil {
		return nil, err
	}
	fresh := make([]byte, KeyBytes)
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(fresh) // never fails since Go 1.24
	_, _ = rand.Read(nonce)
	var wrapped []byte
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO keys (name, wrapped, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING`,
			name, aead.Seal(nonce, nonce, fresh, []byte(name)), micros(now))
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT wrapped FROM keys WHERE name = $1`, name).Scan(&wrapped)
	})
	if err != nil {
		return nil, fmt.Errorf("read the key %s: %w", name, err)
	}
	if len(wrapped) < len(nonce) {
		return nil, fmt.Errorf("the stored key %s is damaged", name)
	}
	key, err := aead.Open(nil, wrapped[:len(nonce)], wrapped[len(nonce):], []byte(name))
	if err != nil {
		return nil, ErrWrongKey
	}
	return key, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != KeyBytes {
		return nil, fmt.Errorf("the wrapping key has %d bytes, want %d", len(key), KeyBytes)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
