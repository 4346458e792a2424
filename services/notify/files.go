package notify

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/armlet-pay/armlet/services/notify/internal/store"
)

// keyFile reads the key in a file, in base64, and makes the file when there is none.
func keyFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKeyFile(path); err != nil {
			return nil, fmt.Errorf("code-key-file: %w", err)
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("code-key-file: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("code-key-file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("code-key-file: others can read %s; set its mode to 0600", path)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != store.KeyBytes {
		return nil, fmt.Errorf("code-key-file: %s does not hold %d bytes in base64", path, store.KeyBytes)
	}
	return key, nil
}

// makeKeyFile leaves a complete file or none, and the file of whoever was first.
func makeKeyFile(path string) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key := make([]byte, store.KeyBytes)
	_, _ = rand.Read(key) // never fails since Go 1.24
	tmp, err := os.CreateTemp(dir, filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(tmp.Name())) }()
	_, err = tmp.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// natsSettings are those given by the program, or in the file.
func natsSettings(cfg Config) (NATSSettings, error) {
	if cfg.NATS != nil {
		return *cfg.NATS, cfg.NATS.Validate()
	}
	text, err := os.ReadFile(cfg.NATSSettingsFile)
	if err != nil {
		return NATSSettings{}, fmt.Errorf("nats-settings-file: %w", err)
	}
	var s NATSSettings
	if err := json.Unmarshal(text, &s); err != nil {
		return NATSSettings{}, fmt.Errorf("nats-settings-file: %w", err)
	}
	if err := s.Validate(); err != nil {
		return NATSSettings{}, fmt.Errorf("nats-settings-file: %w", err)
	}
	return s, nil
}
