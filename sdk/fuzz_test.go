package sdk

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// FuzzKeySet gives anything as auth's keys and as what they signed: nothing panics, every key that is taken has a name, and
// nothing verifies.
func FuzzKeySet(f *testing.F) {
	const key = `{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	f.Add(`{"keys":[`+key+`]}`, `eyJhbGciOiJFZERTQSIsImtpZCI6ImEiLCJ0eXAiOiJhIn0.e30.AAAA`)
	f.Add(`{"keys":[`+key+`,`+key+`]}`, `a.b.c`)
	f.Add(`{"keys":null}`, `{"payload":""}`)
	f.Add(``, ``)
	f.Fuzz(func(t *testing.T, document, signed string) {
		keys, err := parseKeySet([]byte(document))
		if _, nameless := keys[""]; (err == nil) == (len(keys) == 0) || nameless {
			t.Fatalf("%s: %d keys, %v", document, len(keys), err)
		}
		set := &KeySet{Client: &http.Client{Transport: answers(document)}, URL: "http://auth.test"}
		if payload, err := set.Verify(t.Context(), signed, "a"); err == nil {
			t.Fatalf("%s verifies as %s", signed, payload)
		}
		list := &DenyList{Keys: set, Issuer: "x"}
		if list.Take(t.Context(), signed) == nil {
			t.Fatalf("%s is a piece of the deny-list", signed)
		}
		if _, err := VerifyWebhook(http.Header{"Webhook-Id": {signed}, "Webhook-Signature": {document}, "Webhook-Timestamp": {"1"}},
			[]byte(document), time.Unix(1, 0), signed); err == nil {
			t.Fatalf("%s is the key of %s", signed, document)
		}
	})
}

// answers is a server that always says the same.
type answers string

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	_, _ = w.WriteString(string(a))
	return w.Result(), nil
}
