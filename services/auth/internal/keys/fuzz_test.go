package keys

import (
	"bytes"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// FuzzParsePublic gives any text as a client's key: what is taken is public, is good for exactly one algorithm, and comes
// back the same from its canonical form.
func FuzzParsePublic(f *testing.F) {
	for _, seed := range []string{
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a","use":"sig","alg":"EdDSA","key_ops":["verify"]}`,
		`{"kty":"EC","crv":"P-256","x":"04N0xi21hshyvBp7I167sbE_bXqyqkAPfefdklMO7wY","y":"UI8exy-C06a7DUnjIdENkxeFtHM4-l_41LqEw9nVgmw"}`,
		`{"kty":"oct","k":"c2VjcmV0"}`, `{"kty":"RSA","n":"AQAB","e":"AQAB"}`, `{"kty":"OKP","crv":"Ed25519","x":"AQ","d":"AQ"}`, `{}`, ``,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		jwk, alg, err := ParsePublic(text)
		if err != nil {
			return
		}
		if !jwk.IsPublic() || alg != jose.EdDSA && alg != jose.ES256 {
			t.Fatalf("%s is taken for %s", text, alg)
		}
		canonical, err := CanonicalPublic(text)
		must(t, err)
		again, err := CanonicalPublic(canonical)
		must(t, err)
		one, err := Thumbprint(text)
		must(t, err)
		two, err := Thumbprint(canonical)
		if err != nil || again != canonical || one != two {
			t.Fatalf("%s became %s and then %s, %v", text, canonical, again, err)
		}
	})
}

// FuzzImport gives anything as a wrapped master key: nothing opens but what was wrapped for this installation.
func FuzzImport(f *testing.F) {
	own, err := p256From(bytes.Repeat([]byte{7}, MasterLen))
	must(f, err)
	ring := &Ring{imports: own}
	secret := bytes.Repeat([]byte{9}, MasterLen)
	w, err := wrapKWP(secret, &own.PublicKey, "acme", importEpoch)
	must(f, err)
	encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.ECDH_ES_A256KW, Key: &own.PublicKey}, nil)
	must(f, err)
	jwe, err := encrypter.Encrypt(secret)
	must(f, err)
	text, err := jwe.CompactSerialize()
	must(f, err)
	f.Add(w.Ephemeral, w.Key, text)
	f.Add(make([]byte, 65), make([]byte, 40), "a.b.c.d.e")
	f.Add([]byte{4}, []byte{}, "")
	f.Fuzz(func(t *testing.T, ephemeral, key []byte, text string) {
		got, err := ring.openImport("acme", Incoming{KWP: &Wrapped{ephemeral, key}})
		if err == nil && !bytes.Equal(got, secret) {
			t.Fatalf("%x and %x open to %x", ephemeral, key, got)
		}
		got, err = ring.openImport("acme", Incoming{JWE: text})
		if err == nil && len(got) != MasterLen {
			t.Fatalf("%s opens to %x", text, got)
		}
		if _, err := recipient(text); err == nil && len(text) < 40 {
			t.Fatalf("%s is a recipient", text)
		}
	})
}
