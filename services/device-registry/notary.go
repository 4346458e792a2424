package deviceregistry

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

const (
	pemPrivateKey = "PRIVATE KEY"
	keyFileMode   = 0o600
)

// notary signs checkpoints with the key of the file, which is made at first use.
func (c Config) notary() (device.Notary, error) {
	if c.AuditKeyFile == "" {
		return device.Notary{}, nil
	}
	text, err := os.ReadFile(c.AuditKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = makeKeyFile(c.AuditKeyFile)
	}
	if err != nil {
		return device.Notary{}, fmt.Errorf("audit-key-file: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemPrivateKey {
		return device.Notary{}, fmt.Errorf("audit-key-file: %s is not a PEM file with a %s", c.AuditKeyFile, pemPrivateKey)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return device.Notary{}, fmt.Errorf("audit-key-file: %s holds no PKCS #8 key", c.AuditKeyFile)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return device.Notary{}, fmt.Errorf("audit-key-file: the key of %s is not an Ed25519 key", c.AuditKeyFile)
	}
	return device.NewNotary(key), nil
}

// makeKeyFile makes a key. Of several processes that start at once one makes it and the others read it.
func makeKeyFile(name string) ([]byte, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	next := name + "." + rand.Text()
	text := pem.EncodeToMemory(&pem.Block{Type: pemPrivateKey, Bytes: der})
	if err := os.WriteFile(next, text, keyFileMode); err != nil {
		return nil, err
	}
	// A link is made whole or not at all, and not over a file that is there.
	err = os.Link(next, name)
	if rmErr := os.Remove(next); err == nil {
		err = rmErr
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(name)
}
