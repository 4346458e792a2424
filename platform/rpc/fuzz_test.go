package rpc

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzTokens gives anything as the issuer's keys, as what it took back and as a token: nothing panics, and nothing opens a
// service.
func FuzzTokens(f *testing.F) {
	const keys = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	f.Add(keys, `{"sequence":1,"entries":[]}`, `eyJhbGciOiJFZERTQSIsImtpZCI6ImEiLCJ0eXAiOiJhdCtqd3QifQ.e30.AAAA`)
	f.Add(keys, `{"sequence":-1,"entries":null}`, `a.b.c`)
	f.Add(`{}`, `[]`, ``)
	f.Fuzz(func(t *testing.T, keys, revoked, token string) {
		v := NewJWTVerifier(JWTConfig{
			Issuer: "http://auth.test", Audience: "armlet", KeysURL: "http://auth.test/keys", RevocationsURL: "http://auth.test/revocations",
			Client: &http.Client{Transport: says{"/keys": keys, "/revocations": revoked}},
		})
		if caller, err := v.Verify(t.Context(), token); err == nil {
			t.Fatalf("%q is %+v", token, caller)
		}
		_ = v.unrevoked(t.Context(), "a", 0, []string{"h"})
		if set, err := parseKeys([]byte(keys)); (err == nil) == (len(set) == 0) {
			t.Fatalf("%s: %d keys, %v", keys, len(set), err)
		}
	})
}

// says is a server with one answer for each path.
type says map[string]string

func (s says) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	_, _ = w.WriteString(s[r.URL.Path])
	return w.Result(), nil
}

// FuzzCertificate gives anything as the names in a certificate: it is for a client or a service only when one name says so
// and says nothing else.
func FuzzCertificate(f *testing.F) {
	for _, seed := range []string{
		"spiffe://armlet/client/acme", "spiffe://armlet/service/auth", "spiffe://armlet/client/acme/x", "spiffe://armlet/client/", "spiffe://armlet/client/acme?x#y",
		"spiffe://ARMLET/client/acme", "spiffe://u@armlet/client/acme", "spiffe://armlet/client/%61cme", "//", "",
	} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		var cert x509.Certificate
		for _, text := range []string{first, second} {
			if u, err := url.Parse(text); err == nil && text != "" {
				cert.URIs = append(cert.URIs, u)
			}
		}
		client := CertificateClient(&cert)
		if client != "" && (len(cert.URIs) != 1 || cert.URIs[0].String() != clientPrefix+client || strings.ContainsAny(client, "/?#@")) {
			t.Fatalf("%v is of client %q", cert.URIs, client)
		}
	})
}
