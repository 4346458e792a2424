package token

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
)

// The vectors of Project Wycheproof for JWS and JWK, put through what checks a client's assertion: its keys are registered
// as a client's, then the signature is verified under them. A key of another kind cannot be registered, so what it signed is
// refused even where the vector is valid; those are counted apart.
func TestAssertionsGiveTheAnswersOfWycheproof(t *testing.T) {
	for _, name := range []string{"json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json"} {
		text, err := fs.ReadFile(wycheproof.TestVectors, name)
		must(t, err)
		var f vectorFile
		must(t, json.Unmarshal(text, &f))
		var accepted, refused, foreign, wrong int
		for _, g := range f.Groups {
			clientKeys := register(t, g)
			for _, v := range g.Tests {
				good := verifies(v, clientKeys)
				switch valid := v.Result == "valid"; {
				case valid && len(clientKeys) == 0 && !good:
					foreign++
				case good != valid:
					wrong++
					t.Errorf("%s: vector %d (%s, %s) is %s, and ours says %t", name, v.ID, g.Comment, v.Comment, v.Result, good)
				case good:
					accepted++
				default:
					refused++
				}
			}
		}
		fmt.Printf("wycheproof: %-46s %4d vectors: %4d accepted, %4d refused, %4d valid ones of other kinds of keys refused, %d wrong\n",
			name, f.Count, accepted, refused, foreign, wrong)
		if sum := accepted + refused + foreign + wrong; sum != f.Count || refused == 0 {
			t.Errorf("%s: %d of %d vectors were counted", name, sum, f.Count)
		}
	}
}

type vectorFile struct {
	Count  int           `json:"numberOfTests"`
	Groups []vectorGroup `json:"testGroups"`
}

type vectorGroup struct {
	Comment string          `json:"comment"`
	Public  json.RawMessage `json:"public"`  // a key or a set of keys; missing where all are symmetric
	Private json.RawMessage `json:"private"` // likewise
	Tests   []vector        `json:"tests"`
}

type vector struct {
	ID      int             `json:"tcId"`
	Comment string          `json:"comment"`
	JWS     json.RawMessage `json:"jws"` // compact in a string, or an object; missing where it is a JWE
	Result  string          `json:"result"`
}

// register gives those of the group's keys that a client can have. A set with one that it cannot have is refused whole, as
// is a key that is not public.
func register(t *testing.T, g vectorGroup) (registered []partner.Key) {
	t.Helper()
	document := g.Public
	if document == nil {
		document = g.Private
	}
	var set struct{ Keys []json.RawMessage }
	must(t, json.Unmarshal(document, &set))
	if set.Keys == nil {
		set.Keys = []json.RawMessage{document}
	}
	for _, jwk := range set.Keys {
		canonical, err := keys.CanonicalPublic(string(jwk))
		if err != nil {
			return nil
		}
		id, err := keys.Thumbprint(canonical)
		must(t, err)
		registered = append(registered, partner.Key{ID: id, JWK: canonical})
	}
	return registered
}

func verifies(v vector, clientKeys []partner.Key) bool {
	var text string
	if json.Unmarshal(v.JWS, &text) != nil {
		text = string(v.JWS)
	}
	jws, err := parse(text)
	if err != nil {
		return false
	}
	_, err = verify(jws, clientKeys)
	return err == nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
