package suite

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nkeys"
)

// secrets are made at the first start and kept in the data folder (mode 0600).
type secrets struct {
	System      string `json:"system_password"`
	Auth        string `json:"auth_password"`
	Core        string `json:"core_password"`
	Edge        string `json:"edge_password"`
	CalloutSeed string `json:"callout_seed"` // nkey account seed that signs partners' NATS users
}

func (secrets) String() string { return "***" }

// calloutIssuer is the public half of CalloutSeed.
func (s secrets) calloutIssuer() (string, error) {
	pair, err := nkeys.FromSeed([]byte(s.CalloutSeed))
	if err != nil {
		return "", fmt.Errorf("the callout seed: %w", err)
	}
	return pair.PublicKey()
}

// loadSecrets reads the file or makes it.
func loadSecrets(file string) (secrets, error) {
	var s secrets
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return makeSecrets(file)
	case err != nil:
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%s is damaged; remove it to make new secrets: %w", file, err)
	}
	return s, nil
}

func makeSecrets(file string) (secrets, error) {
	pair, err := nkeys.CreateAccount()
	if err != nil {
		return secrets{}, err
	}
	seed, err := pair.Seed()
	if err != nil {
		return secrets{}, err
	}
	s := secrets{System: rand.Text(), Auth: rand.Text(), Core: rand.Text(), Edge: rand.Text(), CalloutSeed: string(seed)}
	return s, writeJSON(file, s)
}

// writeJSON replaces a file in one step; it may hold secrets.
func writeJSON(file string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, werr := next.Write(append(text, '\n'))
	if err := errors.Join(werr, next.Sync(), next.Close()); err != nil {
		return errors.Join(err, os.Remove(next.Name()))
	}
	return os.Rename(next.Name(), file)
}
