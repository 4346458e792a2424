package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// OpenLocal reads the key-encryption key from a tink keyset file (AES-256-GCM, JSON), making the file with mode 0600 when
// it is missing. A file that others may read is refused. Whoever has this file and the database has every key: keep
// the two apart, and keep a copy, since without it nothing in the database opens.
func OpenLocal(file string) (tink.AEAD, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createKeyset(file); err != nil {
			return nil, fmt.Errorf("keys: make the local master key: %w", err)
		}
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: read the local master key: %w", err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("keys: read the local master key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("keys: others may read %s: chmod it to 0600", file)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(text)))
	if err != nil {
		return nil, fmt.Errorf("keys: %s is not a tink keyset: %w", file, err)
	}
	kek, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("keys: %s holds no AEAD key: %w", file, err)
	}
	return kek, nil
}

// createKeyset links a finished file into place, so that of several processes that start at once exactly one makes the
// key and nobody ever reads half of it.
func createKeyset(file string) error {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&text)); err != nil {
		return err
	}
	return createOnce(file, text.Bytes())
}

func createOnce(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	draft, err := os.CreateTemp(filepath.Dir(file), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name()) //nolint:errcheck // a leftover is a harmless copy that nothing reads
	_, err = draft.Write(text)
	if err := errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return err
	}
	if err := os.Link(draft.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// CreateOnce makes a private file (mode 0600) with the text that fill returns unless the file is there, and returns what
// is in it.
func CreateOnce(file string, fill func() ([]byte, error)) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	if text, err = fill(); err != nil {
		return nil, err
	}
	if err := createOnce(file, text); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}
