package wire

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"
)

// These are the vectors of Project Wycheproof for the four authenticators, put through the code that verifies responses and
// offline taps. A file's tests are all run: either verified, or refused before that because the protocol has no such key.

// hexBytes is a string of hex digits in JSON.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// vectorFile is a file of vectors, as far as these tests read it.
type vectorFile struct {
	Count  int `json:"numberOfTests"`
	Groups []struct {
		KeyBits int `json:"keySize"`
		TagBits int `json:"tagSize"`
		Public  struct {
			Uncompressed hexBytes `json:"uncompressed"` // of P-256
			Ed25519      hexBytes `json:"pk"`
		} `json:"publicKey"`
		Tests []vector `json:"tests"`
	} `json:"testGroups"`
}

type vector struct {
	ID      int      `json:"tcId"`
	Comment string   `json:"comment"`
	Key     hexBytes `json:"key"`
	Message hexBytes `json:"msg"`
	Tag     hexBytes `json:"tag"`
	Sig     hexBytes `json:"sig"`
	Result  string   `json:"result"` // valid, invalid, acceptable
}

// tally counts what became of a file's vectors.
type tally struct{ accepted, refused, foreign, wrong int }

func readVectorFile(t *testing.T, name string) vectorFile {
	t.Helper()
	text, err := fs.ReadFile(wycheproof.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	var f vectorFile
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// judge compares the verdict of ours with the vector's. A result other than valid and invalid is "acceptable": what a
// library may decide either way. The protocol is exact, so here that counts as invalid.
func (n *tally) judge(t *testing.T, v vector, good bool) {
	t.Helper()
	switch {
	case good != (v.Result == "valid"):
		n.wrong++
		t.Errorf("vector %d (%s) is %s, and ours says %t", v.ID, v.Comment, v.Result, good)
	case good:
		n.accepted++
	default:
		n.refused++
	}
}

// close prints the counts and fails when a vector was left out.
func (n *tally) close(t *testing.T, name string, f vectorFile) {
	t.Helper()
	fmt.Printf("wycheproof: %-46s %4d vectors: %4d accepted, %4d refused, %4d of keys that the protocol has not, %d wrong\n",
		name, f.Count, n.accepted, n.refused, n.foreign, n.wrong)
	if sum := n.accepted + n.refused + n.foreign + n.wrong; sum != f.Count || n.accepted == 0 || n.refused == 0 {
		t.Errorf("%d of %d vectors were counted, %d accepted", sum, f.Count, n.accepted)
	}
}

func TestMACsGiveTheAnswersOfWycheproof(t *testing.T) {
	for name, suite := range map[string]Suite{"hmac_sha256_test.json": SuiteHMAC, "aes_cmac_test.json": SuiteCMAC} {
		f := readVectorFile(t, name)
		var n tally
		for _, g := range f.Groups {
			ours := g.KeyBits == 8*suite.KeyLen() && g.TagBits == 8*suite.AuthenticatorLen()
			for _, v := range g.Tests {
				good := verifyMAC(suite, v)
				if ours {
					n.judge(t, v, good)
					continue
				}
				// A key or a tag of another length is refused, whatever the vector says of it.
				n.foreign++
				if good {
					t.Errorf("vector %d (%s): %d bits of tag under a key of %d bits count", v.ID, v.Comment, g.TagBits, g.KeyBits)
				}
			}
		}
		n.close(t, name, f)
	}
}

func verifyMAC(suite Suite, v vector) bool {
	key, err := NewKey(v.Key)
	if err != nil {
		return false
	}
	verifier, err := NewVerifier(suite, SessionKeys{Resp: key})
	return err == nil && verifier.verify(suite, key, v.Message, v.Tag) == nil
}

func TestSignaturesGiveTheAnswersOfWycheproof(t *testing.T) {
	for name, suite := range map[string]Suite{
		"ecdsa_secp256r1_sha256_p1363_test.json": SuiteP256, "ed25519_test.json": SuiteEd25519,
	} {
		f := readVectorFile(t, name)
		var n tally
		for _, g := range f.Groups {
			raw := g.Public.Uncompressed
			if suite == SuiteEd25519 {
				raw = g.Public.Ed25519
			}
			credential, err := ParseCredential(suite, raw)
			if err != nil {
				t.Errorf("%s: the key %x: %v", name, raw, err)
				continue
			}
			for _, v := range g.Tests {
				n.judge(t, v, credential.Verifier().verify(suite, Key{}, v.Message, v.Sig) == nil)
			}
		}
		n.close(t, name, f)
	}
}
