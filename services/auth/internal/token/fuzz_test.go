package token

import (
	"crypto/ed25519"
	"encoding/base64"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
)

// FuzzAssertion gives the token endpoint's parser any text, and any header and payload that the client itself signed: it
// never panics, and believes nothing whose claims are not those of an assertion for this endpoint in its time.
func FuzzAssertion(f *testing.F) {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	x := base64.RawURLEncoding.EncodeToString(private[32:])
	jwk, err := keys.CanonicalPublic(`{"kty":"OKP","crv":"Ed25519","kid":"k","x":"` + x + `"}`)
	must(f, err)
	id, err := keys.Thumbprint(jwk)
	must(f, err)
	client := []partner.Key{{ID: id, JWK: jwk}}
	const issuer = "http://auth.test"
	e := &Endpoint{audiences: []string{issuer}}
	now := time.Unix(1_700_000_000, 0)
	good := `{"iss":"c","sub":"c","aud":"http://auth.test","jti":"1","exp":1700000060}`
	for _, seed := range [][2]string{
		{`{"alg":"EdDSA"}`, good}, {`{"alg":"EdDSA","kid":"k","typ":"JWT"}`, good}, {`{"alg":"none"}`, good}, {`{"alg":"HS256"}`, good},
		{`{"alg":"EdDSA","crit":["b64"],"b64":false}`, good}, {`{"alg":"EdDSA","jwk":{"kty":"OKP"}}`, `{"aud":["http://auth.test"],"exp":1e300}`},
		{`{"alg":"EdDSA","alg":"none"}`, `{"exp":"x","nbf":-1,"iat":null}`}, {"", ""},
	} {
		f.Add(seed[0], seed[1], seed[0]+"."+seed[1])
	}
	f.Fuzz(func(t *testing.T, header, payload, text string) {
		if jws, err := parse(text); err == nil {
			if _, err := verify(jws, client); err == nil {
				t.Fatalf("%q has a good signature by chance", text)
			}
		}
		text = base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
		text += "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(private, []byte(text)))
		jws, err := parse(text)
		if err != nil {
			return
		}
		got, err := verify(jws, client)
		if err != nil {
			return
		}
		var a assertion
		if json.Unmarshal(got, &a) != nil || !e.timely(a, now) {
			return
		}
		end := unix(*a.ExpiresAt)
		if a.ID == "" || end.Before(now.Add(-skew)) || end.After(now.Add(maxAssertionLife+skew)) || len(a.Audience) == 0 {
			t.Fatalf("%s under %s is believed", payload, header)
		}
	})
}
