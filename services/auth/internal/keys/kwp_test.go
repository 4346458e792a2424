package keys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/tink-crypto/tink-go/v2/kwp/subtle"
)

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	must(t, err)
	return b
}

// The first SHA-256 example of ANSX963_2001 in NIST's CAVP, whose 16 bytes are the first half of ours.
func TestTheWrappingKeyFollowsAsInANSIX963(t *testing.T) {
	z := unhex(t, "96c05619d56c328ab95fe84b18264b08725b85e33fd34f08")
	if got := x963(z, nil)[:16]; !bytes.Equal(got, unhex(t, "443024c3dae66b95e6f5670601558f71")) {
		t.Errorf("got %x", got)
	}
}

// The known answer was made with another implementation (pyca/cryptography: X963KDF and aes_key_wrap_with_padding).
func TestAKeyWrappedElsewhereUnwraps(t *testing.T) {
	own, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), unhex(t, "332e834c6de47dcad7e12e1d26ce79406c3d2c2dbccc921e530047e8192c4baf"))
	must(t, err)
	w := Wrapped{
		Ephemeral: unhex(t, "04cd544a1a5a31a6eaed638640d40df5622bf4e787cd52c818650502b3221374f038a4602c3e73b045003e722fff444b7c782b05d586ce5a776fffc0162f87e404"),
		Key:       unhex(t, "2571c04452c518c4bfdef9af0cb6bc38d9781fc7d5fed2be7484a1707ad89e94d5048f1f55520376"),
	}
	secret, err := unwrapKWP(w, own, "acme", 7)
	must(t, err)
	if want := unhex(t, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"); !bytes.Equal(secret, want) {
		t.Errorf("got %x", secret)
	}
}

func TestAWrappedKeyOpensForItsRecipientPartnerAndEpochAlone(t *testing.T) {
	secret := bytes.Repeat([]byte{7}, MasterLen)
	own, other := p256(t), p256(t)
	w, err := wrapKWP(secret, &own.PublicKey, "acme", 3)
	must(t, err)
	got, err := unwrapKWP(w, own, "acme", 3)
	must(t, err)
	if !bytes.Equal(got, secret) || len(w.Key) != 40 || len(w.Ephemeral) != 65 || bytes.Contains(w.Key, secret) {
		t.Fatalf("%x became %x by way of %+v", secret, got, w)
	}
	again, err := wrapKWP(secret, &own.PublicKey, "acme", 3)
	must(t, err)
	if bytes.Equal(again.Key, w.Key) || bytes.Equal(again.Ephemeral, w.Ephemeral) {
		t.Error("two exports are alike")
	}
	for name, open := range map[string]func() ([]byte, error){
		"another's key":   func() ([]byte, error) { return unwrapKWP(w, other, "acme", 3) },
		"another partner": func() ([]byte, error) { return unwrapKWP(w, own, "acm", 3) },
		"another epoch":   func() ([]byte, error) { return unwrapKWP(w, own, "acme", 4) },
		"no wrapped key":  func() ([]byte, error) { return unwrapKWP(Wrapped{Ephemeral: w.Ephemeral}, own, "acme", 3) },
		"no point":        func() ([]byte, error) { return unwrapKWP(Wrapped{Key: w.Key}, own, "acme", 3) },
		"another's point": func() ([]byte, error) { return unwrapKWP(Wrapped{again.Ephemeral, w.Key}, own, "acme", 3) },
		"a point at infinity": func() ([]byte, error) {
			return unwrapKWP(Wrapped{make([]byte, 65), w.Key}, own, "acme", 3)
		},
	} {
		if _, err := open(); err == nil {
			t.Errorf("%s opens it", name)
		}
	}
	for _, field := range []func(w *Wrapped) []byte{func(w *Wrapped) []byte { return w.Ephemeral }, func(w *Wrapped) []byte { return w.Key }} {
		for bit := range 8 * len(field(&w)) {
			bad := Wrapped{slices.Clone(w.Ephemeral), slices.Clone(w.Key)}
			field(&bad)[bit/8] ^= 1 << (bit % 8)
			if _, err := unwrapKWP(bad, own, "acme", 3); err == nil {
				t.Fatalf("it opens with bit %d of %x flipped", bit, field(&w))
			}
		}
	}
}

func p256(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

// hexBytes is a string of hex digits in JSON.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// The wrapping is tink's. Its vectors of Project Wycheproof are run with the keys of 128 and 256 bits that it takes, of which
// ours are the latter; the two examples of RFC 5649 itself have keys of 192 bits, as a third of these vectors.
func TestKeyWrapGivesTheAnswersOfWycheproof(t *testing.T) {
	const name = "aes_kwp_test.json"
	text, err := fs.ReadFile(wycheproof.TestVectors, name)
	must(t, err)
	var f struct {
		Count  int `json:"numberOfTests"`
		Groups []struct {
			KeyBits int `json:"keySize"`
			Tests   []struct {
				ID      int      `json:"tcId"`
				Comment string   `json:"comment"`
				Key     hexBytes `json:"key"`
				Secret  hexBytes `json:"msg"`
				Wrapped hexBytes `json:"ct"`
				Result  string   `json:"result"`
			} `json:"tests"`
		} `json:"testGroups"`
	}
	must(t, json.Unmarshal(text, &f))
	var accepted, refused, foreign, wrong int
	for _, g := range f.Groups {
		for _, v := range g.Tests {
			cipher, err := subtle.NewKWP(v.Key)
			if err != nil {
				if len(v.Key) == 32 {
					t.Errorf("vector %d: %v", v.ID, err)
				}
				foreign++
				continue
			}
			secret, err := cipher.Unwrap(v.Wrapped)
			good := err == nil && bytes.Equal(secret, v.Secret)
			switch valid := v.Result == "valid"; {
			case valid && len(v.Secret) < subtle.MinWrapSize && !good:
				foreign++ // shorter than any key that is wrapped here
			case good != valid:
				wrong++
				t.Errorf("vector %d (%s) is %s, and ours says %v", v.ID, v.Comment, v.Result, err)
			case good:
				accepted++
				if again, err := cipher.Wrap(v.Secret); len(v.Secret) >= subtle.MinWrapSize && (err != nil || !bytes.Equal(again, v.Wrapped)) {
					t.Errorf("vector %d: wraps to %x, %v", v.ID, again, err)
				}
			default:
				refused++
			}
		}
	}
	fmt.Printf("wycheproof: %-46s %4d vectors: %4d accepted, %4d refused, %4d of keys that are not wrapped here, %d wrong\n",
		name, f.Count, accepted, refused, foreign, wrong)
	if sum := accepted + refused + foreign + wrong; sum != f.Count || accepted == 0 || refused == 0 {
		t.Errorf("%d of %d vectors were counted, %d accepted", sum, f.Count, accepted)
	}
}
