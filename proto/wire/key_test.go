package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/armlet-pay/armlet/proto/wire"
)

func TestSecretsNeverPrint(t *testing.T) {
	secret := bytes.Repeat([]byte{0xA7}, 32)
	k := key(t, secret)
	keys := wire.SessionKeys{Chal: k, Resp: k, Offl: k, Rslt: k}
	signer := must(wire.NewSigner(wire.SuiteHMAC, keys))(t)
	verifier := must(wire.NewVerifier(wire.SuiteHMAC, keys))(t)
	private := must(wire.NewPrivateSigner(ed25519.NewKeyFromSeed(secret)))(t)
	// fmt does not call String on unexported fields: the worst case.
	inside := struct {
		Key    wire.Key
		k      wire.Key
		keys   wire.SessionKeys
		signer wire.Signer
		verify wire.Verifier
		priv   wire.Signer
	}{k, k, keys, signer, verifier, private}
	needles := []string{"a7a7", "A7A7", "167 167", "0xa7", "p6en", `\xa7\xa7`, string(secret[:4])}
	for _, v := range []any{k, &k, keys, &keys, signer, &signer, verifier, private, &private, inside, &inside, []wire.Key{k}, map[string]wire.Key{"k": k}} {
		var printed []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x", "%o"} {
			printed = append(printed, fmt.Sprintf(verb, v))
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("k", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("k", "v", v)
		text, err := json.Marshal(v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
		}
		printed = append(printed, log.String(), string(text))
		for _, out := range printed {
			for _, needle := range needles {
				if strings.Contains(out, needle) {
					t.Errorf("%T shows its secret: %s", v, out)
				}
			}
		}
	}
	for _, v := range []any{k, keys, signer, verifier, private} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(verb, v); got != "***" {
				t.Errorf("%T with %s: %q, want ***", v, verb, got)
			}
		}
	}
}

func TestKeyCopiesAndCompares(t *testing.T) {
	b := bytes.Repeat([]byte{1}, 16)
	k := key(t, b)
	b[0] = 9
	out := k.Bytes()
	out[1] = 9
	if !bytes.Equal(k.Bytes(), bytes.Repeat([]byte{1}, 16)) {
		t.Error("the key shares memory with its caller")
	}
	if k.Len() != 16 || k.IsZero() {
		t.Errorf("length %d, zero %v", k.Len(), k.IsZero())
	}
	if !k.Equal(key(t, bytes.Repeat([]byte{1}, 16))) || k.Equal(key(t, bytes.Repeat([]byte{1}, 32))) ||
		k.Equal(key(t, bytes.Repeat([]byte{2}, 16))) || k.Equal(wire.Key{}) {
		t.Error("Equal is wrong")
	}
	for n := range 40 {
		if _, err := wire.NewKey(make([]byte, n)); (err == nil) != (n == 16 || n == 32) || err != nil && !errors.Is(err, wire.ErrKey) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	var none wire.Key
	if none.Bytes() != nil || none.Len() != 0 || !none.IsZero() {
		t.Error("the zero key is not empty")
	}
}

func TestDerivationRefusesUnfitKeysAndSuites(t *testing.T) {
	short, long := key(t, make([]byte, 16)), key(t, make([]byte, 32))
	var uid wire.UID
	for _, tt := range []struct {
		name  string
		suite wire.Suite
		key   wire.Key
		want  error
	}{
		{"no suite", 0, long, wire.ErrSuite},
		{"unknown suite", 5, long, wire.ErrSuite},
		{"no key", wire.SuiteHMAC, wire.Key{}, wire.ErrKey},
		{"short key in suite 1", wire.SuiteHMAC, short, wire.ErrKey},
		{"long key in suite 2", wire.SuiteCMAC, long, wire.ErrKey},
		{"short key in suite 3", wire.SuiteP256, short, wire.ErrKey},
		{"short key in suite 4", wire.SuiteEd25519, short, wire.ErrKey},
	} {
		if _, err := wire.DeriveBindKey(tt.suite, tt.key, uid, wire.BindingID{}, wire.Nonce{}); !errors.Is(err, tt.want) {
			t.Errorf("%s: DeriveBindKey gives %v, want %v", tt.name, err, tt.want)
		}
		if _, err := wire.DeriveSessionKeys(tt.suite, tt.key, uid, wire.BindingID{}); !errors.Is(err, tt.want) {
			t.Errorf("%s: DeriveSessionKeys gives %v, want %v", tt.name, err, tt.want)
		}
	}
	if _, err := wire.DeriveDeviceKey(short, uid, 1, wire.SuiteCMAC); !errors.Is(err, wire.ErrKey) {
		t.Errorf("short master key: %v", err)
	}
	if _, err := wire.DeriveDeviceKey(long, uid, 1, 5); !errors.Is(err, wire.ErrSuite) {
		t.Errorf("unknown suite: %v", err)
	}
}

// Every input of a derivation must change every key that comes out.
func TestDerivedKeysDependOnEverything(t *testing.T) {
	v, _ := load(t)
	pmk := key(t, v.Params.PMK)
	seen := map[string]string{}
	add := func(name string, k wire.Key) {
		t.Helper()
		if before, ok := seen[string(k.Bytes())]; ok {
			t.Errorf("%s is the same key as %s", name, before)
		}
		seen[string(k.Bytes())] = name
	}
	derive := func(name string, suite wire.Suite, uid wire.UID, epoch uint16, binding wire.BindingID, nonce wire.Nonce) {
		dev := must(wire.DeriveDeviceKey(pmk, uid, epoch, suite))(t)
		bind := must(wire.DeriveBindKey(suite, dev, uid, binding, nonce))(t)
		keys := must(wire.DeriveSessionKeys(suite, bind, uid, binding))(t)
		add(name+" bind", bind)
		add(name+" chal", keys.Chal)
		add(name+" resp", keys.Resp)
		add(name+" offl", keys.Offl)
		add(name+" rslt", keys.Rslt)
	}
	for suite := wire.SuiteHMAC; suite.Valid(); suite++ {
		n := suite.String()
		derive(n, suite, wire.UID{}, 1, wire.BindingID{}, wire.Nonce{})
		derive(n+" uid", suite, wire.UID{15: 1}, 1, wire.BindingID{}, wire.Nonce{})
		derive(n+" epoch", suite, wire.UID{}, 2, wire.BindingID{}, wire.Nonce{})
		derive(n+" binding", suite, wire.UID{}, 1, wire.BindingID{7: 1}, wire.Nonce{})
		derive(n+" nonce", suite, wire.UID{}, 1, wire.BindingID{}, wire.Nonce{15: 1})
	}
}

func TestAccountRefIsATruncatedHMAC(t *testing.T) {
	k := key(t, bytes.Repeat([]byte{3}, 32))
	mac := hmac.New(sha256.New, k.Bytes())
	mac.Write([]byte("accounts/wearer-1"))
	got := must(wire.AccountRef(k, "accounts/wearer-1"))(t)
	equal(t, "account_ref", got[:], mac.Sum(nil)[:16])
	if _, err := wire.AccountRef(wire.Key{}, "accounts/wearer-1"); !errors.Is(err, wire.ErrKey) {
		t.Errorf("no key: %v", err)
	}
}
