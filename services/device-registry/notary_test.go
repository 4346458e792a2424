package deviceregistry

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

func sign(t *testing.T, c Config) device.Checkpoint {
	t.Helper()
	n, err := c.notary()
	if err != nil {
		t.Fatal(err)
	}
	signed, err := n.Sign(device.Head{Sequence: 7}, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestTheAuditKeyIsMadeOnceAndKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := Config{AuditKeyFile: filepath.Join(dir, "audit.key")}
	first := sign(t, c)
	info, err := os.Stat(c.AuditKeyFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info, err)
	}
	text, err := os.ReadFile(c.AuditKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	again := sign(t, c)
	if string(again.PublicKey) != string(first.PublicKey) || string(again.Signature) != string(first.Signature) {
		t.Error("the second start signs with another key")
	}
	if now, err := os.ReadFile(c.AuditKeyFile); err != nil || string(now) != string(text) {
		t.Error("the file was changed")
	}
	n, err := c.notary()
	if err != nil || !n.Signed(first) {
		t.Errorf("the key does not know its own signature: %v", err)
	}
	first.Position++
	if n.Signed(first) {
		t.Error("a changed checkpoint is taken for signed")
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("more than the key is left: %v %v", names, err)
	}
}

// Of processes that start together one makes the key, and all of them have that one.
func TestProcessesThatStartAtOnceHaveOneAuditKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := Config{AuditKeyFile: filepath.Join(dir, "audit.key")}
	keys := make([]string, 16)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			<-start
			keys[i] = string(sign(t, c).PublicKey)
		})
	}
	close(start)
	wg.Wait()
	for _, key := range keys {
		if key != keys[0] || len(key) != ed25519.PublicKeySize {
			t.Fatalf("%x is not %x", key, keys[0])
		}
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("%v %v", names, err)
	}
}

func TestAnAuditKeyFileThatIsNoneIsNamed(t *testing.T) {
	t.Parallel()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	good := encode("PRIVATE KEY", ed)
	for want, text := range map[string]string{
		"is not a PEM file":      "",
		"not a PEM file":         "nonsense",
		"with a PRIVATE KEY":     encode("EC PRIVATE KEY", ed),
		"holds no PKCS #8 key":   "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"is not an Ed25519 key":  encode("PRIVATE KEY", p256),
		"is not a PEM file with": good[:len(good)/2],
	} {
		c := Config{AuditKeyFile: filepath.Join(t.TempDir(), "audit.key")}
		if err := os.WriteFile(c.AuditKeyFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := c.notary()
		if err == nil || !strings.HasPrefix(err.Error(), "audit-key-file: ") || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), c.AuditKeyFile) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
		if left, readErr := os.ReadFile(c.AuditKeyFile); readErr != nil || string(left) != text {
			t.Errorf("%.40q was changed", text)
		}
		if text != "" && err != nil && strings.Contains(err.Error(), text) {
			t.Errorf("the error tells the file: %v", err)
		}
	}
	for _, file := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none", "audit.key")} {
		if _, err := (Config{AuditKeyFile: file}).notary(); err == nil || !strings.HasPrefix(err.Error(), "audit-key-file: ") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestWithoutAnAuditKeyFileThereAreNoCheckpoints(t *testing.T) {
	t.Parallel()
	n, err := Config{}.notary()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Sign(device.Head{}, time.Unix(1, 0)); fault.ReasonOf(err) != "AUDIT_KEY_MISSING" {
		t.Errorf("%v", err)
	}
	if n.Signed(device.Checkpoint{}) {
		t.Error("nothing is taken for signed")
	}
}
