package grpcapi_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/armlet-pay/armlet/platform/fault"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/grpcapi"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
)

func payloadOf(t *testing.T, token string) map[string]any {
	t.Helper()
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.EdDSA})
	must(t, err)
	if typ := jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]; typ != "at+jwt" {
		t.Errorf("typ is %v", typ)
	}
	var claims map[string]any
	must(t, json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &claims))
	return claims
}

func TestAClientGetsATokenWithWhatItsPartnerIsGranted(t *testing.T) {
	f := newFixture(t)
	c := f.partner("acme", "devices.provision", "payments.read")
	a := f.post(form(c.assertion(f, nil)))
	if a.Status != 200 || a.Type != "Bearer" || a.Life != 300 || a.Scope != "devices.provision payments.read" {
		t.Fatalf("answer %+v", a)
	}
	claims := payloadOf(t, a.Token)
	for name, value := range map[string]any{
		"iss": issuer, "sub": "acme-backend", "client_id": "acme-backend", "aud": "armlet", "role": "partner", "partner": "acme",
		"partner_no": 1.0, "scope": "devices.provision payments.read", "mode": "live",
		"iat": float64(start.Unix()), "exp": float64(start.Unix() + 300),
	} {
		if claims[name] != value {
			t.Errorf("%s is %v, want %v", name, claims[name], value)
		}
	}
	if id, _ := claims["jti"].(string); len(id) != 36 {
		t.Errorf("jti is %q", id)
	}
	narrow := form(c.assertion(f, nil))
	narrow.Set("scope", "payments.read vouchers.issue")
	if a := f.post(narrow); a.Status != 200 || a.Scope != "payments.read" {
		t.Errorf("asking for one granted scope and one other: %+v", a)
	}
	other := form(c.assertion(f, nil))
	other.Set("scope", "vouchers.issue")
	if a := f.post(other); a.Status != 400 || a.Error != "invalid_scope" {
		t.Errorf("asking for a scope that is not granted: %+v", a)
	}
}

func TestAnAudienceMayBeTheIssuerTheEndpointOrOneOfAList(t *testing.T) {
	f := newFixture(t)
	for _, aud := range []any{issuer, issuer + grpcapi.TokenPath, []string{"http://elsewhere", issuer}} {
		if a := f.post(form(f.operator.assertion(f, map[string]any{"aud": aud}))); a.Status != 200 {
			t.Errorf("audience %v: %+v", aud, a)
		}
	}
}

func TestAP256ClientGetsATokenToo(t *testing.T) {
	f := newFixture(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &client{id: "p256", private: jose.JSONWebKey{Key: private}}
	_, err = f.asOperator().CreateClient(t.Context(), &authv1.CreateClientRequest{
		ClientId: c.id, Role: authv1.ClientRole_CLIENT_ROLE_OPERATOR, PublicJwk: c.public(t), RequestId: f.requestID(),
	})
	must(t, err)
	key := jose.SigningKey{Algorithm: jose.ES256, Key: private}
	if a := f.post(form(signed(t, key, c.claims(f, nil)))); a.Status != 200 {
		t.Errorf("answer %+v", a)
	}
}

func TestAnAssertionThatIsNotExactlyRightIsRefusedAlike(t *testing.T) {
	f := newFixture(t)
	c := f.partner("acme")
	now := f.clock.Now()
	encode := base64.RawURLEncoding.EncodeToString
	payload, err := json.Marshal(c.claims(f, nil))
	must(t, err)
	stranger := newClient(t, c.id)
	unknown := newClient(t, "nobody")
	public, err := base64.RawURLEncoding.DecodeString(jwkMember(t, c.public(t), "x"))
	must(t, err)
	confused := signed(t, jose.SigningKey{Algorithm: jose.HS256, Key: public}, c.claims(f, nil))
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	for name, assertion := range map[string]string{
		"alg none":                encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + encode(payload) + ".",
		"alg none, signed":        encode([]byte(`{"alg":"none"}`)) + "." + encode(payload) + "." + encode([]byte("signature")),
		"a MAC of the public key": confused,
		"another kind of key":     signed(t, jose.SigningKey{Algorithm: jose.ES256, Key: private}, c.claims(f, nil)),
		"another's key":           stranger.assertion(f, nil),
		"an unknown client":       unknown.assertion(f, nil),
		"another audience":        c.assertion(f, map[string]any{"aud": "http://elsewhere"}),
		"no audience":             c.assertion(f, map[string]any{"aud": nil}),
		"another issuer":          c.assertion(f, map[string]any{"iss": "operator"}),
		"no subject":              c.assertion(f, map[string]any{"sub": nil, "iss": nil}),
		"expired":                 c.assertion(f, map[string]any{"exp": now.Add(-6 * time.Second).Unix()}),
		"no end":                  c.assertion(f, map[string]any{"exp": nil}),
		"an end too far away":     c.assertion(f, map[string]any{"exp": now.Add(6 * time.Minute).Unix()}),
		"an end beyond all time":  c.assertion(f, map[string]any{"exp": 1e300}),
		"not yet":                 c.assertion(f, map[string]any{"nbf": now.Add(time.Minute).Unix()}),
		"issued in the future":    c.assertion(f, map[string]any{"iat": now.Add(time.Minute).Unix()}),
		"no jti":                  c.assertion(f, map[string]any{"jti": nil}),
		"an empty jti":            c.assertion(f, map[string]any{"jti": " "}),
		"a huge jti":              c.assertion(f, map[string]any{"jti": strings.Repeat("x", 129)}),
		"an end that is a text":   c.assertion(f, map[string]any{"exp": "tomorrow"}),
		"another type":            raw(t, c, `{"alg":"EdDSA","typ":"at+jwt"}`, string(payload)),
		"a type that is no text":  raw(t, c, `{"alg":"EdDSA","typ":7}`, string(payload)),
		"the kid of another":      raw(t, c, `{"alg":"EdDSA","kid":"`+f.operator.private.KeyID+`"}`, string(payload)),
		"an extension":            raw(t, c, `{"alg":"EdDSA","crit":["exp"],"exp":1}`, string(payload)),
		"an unencoded payload":    raw(t, c, `{"alg":"EdDSA","crit":["b64"],"b64":true}`, string(payload)),
		"alg twice":               raw(t, c, `{"alg":"EdDSA","alg":"none"}`, string(payload)),
		"a claim twice":           raw(t, c, `{"alg":"EdDSA"}`, strings.Replace(string(payload), `{`, `{"sub":"operator",`, 1)),
		"a claim in capitals":     raw(t, c, `{"alg":"EdDSA"}`, strings.Replace(string(payload), `"aud"`, `"AUD"`, 1)),
		"its own access token":    f.tokenOf(c),
		"another's assertion":     f.operator.assertion(f, map[string]any{"iss": c.id, "sub": c.id}),
		"nonsense":                "nonsense",
		"too large":               c.assertion(f, map[string]any{"pad": strings.Repeat("x", 9000)}),
	} {
		if a := f.post(form(assertion)); a.Status != 401 || a.Error != "invalid_client" || a.Token != "" {
			t.Errorf("%s: %+v", name, a)
		}
	}
	wrong := form(c.assertion(f, nil))
	wrong.Set("client_id", "operator")
	if a := f.post(wrong); a.Error != "invalid_client" {
		t.Errorf("another client_id in the form: %+v", a)
	}
}

// raw is a JWS of a client over a header and a payload as they stand.
func raw(t *testing.T, c *client, header, payload string) string {
	t.Helper()
	private, ok := c.private.Key.(ed25519.PrivateKey)
	if !ok {
		t.Fatalf("the client's key is %T", c.private.Key)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(header)) + "." + encode([]byte(payload))
	return text + "." + encode(ed25519.Sign(private, []byte(text)))
}

func TestAnAssertionMayNameItsKeyAndItsType(t *testing.T) {
	f := newFixture(t)
	c := f.partner("acme")
	thumb, err := keys.Thumbprint(c.public(t))
	must(t, err)
	for _, header := range []string{
		`{"alg":"EdDSA"}`, `{"alg":"EdDSA","kid":"` + c.private.KeyID + `"}`, `{"alg":"EdDSA","kid":"` + thumb + `","typ":"JWT"}`,
		`{"alg":"EdDSA","typ":"client-authentication+jwt"}`, `{"alg":"EdDSA","typ":"application/client-authentication+jwt"}`,
	} {
		payload, err := json.Marshal(c.claims(f, nil))
		must(t, err)
		if a := f.post(form(raw(t, c, header, string(payload)))); a.Status != 200 {
			t.Errorf("%s: %+v", header, a)
		}
	}
}

func jwkMember(t *testing.T, jwk, member string) string {
	t.Helper()
	var members map[string]string
	must(t, json.Unmarshal([]byte(jwk), &members))
	return members[member]
}

func TestAnAssertionGivesOneToken(t *testing.T) {
	f := newFixture(t)
	assertion := f.operator.assertion(f, nil)
	if a := f.post(form(assertion)); a.Status != 200 {
		t.Fatalf("first: %+v", a)
	}
	if a := f.post(form(assertion)); a.Error != "invalid_client" {
		t.Errorf("second: %+v", a)
	}
	// Another assertion with the same jti is a repeat too; another client's is not.
	jti := map[string]any{"jti": "same"}
	c := f.partner("acme")
	for i, a := range []answer{f.post(form(f.operator.assertion(f, jti))), f.post(form(f.operator.assertion(f, jti))), f.post(form(c.assertion(f, jti)))} {
		if (a.Status == 200) != (i != 1) {
			t.Errorf("answer %d: %+v", i, a)
		}
	}
}

func TestARevokedOrExpiredGrantIsInNoNewToken(t *testing.T) {
	f := newFixture(t)
	c := f.partner("acme", "payments.read", "devices.read")
	_, err := f.asOperator().RevokeGrant(t.Context(), &authv1.RevokeGrantRequest{Name: "partners/acme/grants/payments.read", RequestId: f.requestID()})
	must(t, err)
	if a := f.post(form(c.assertion(f, nil))); a.Scope != "devices.read" || payloadOf(t, a.Token)["scope"] != "devices.read" {
		t.Errorf("answer %+v", a)
	}
	f.clock.Advance(time.Hour)
	if a := f.post(form(c.assertion(f, nil))); a.Status != 200 {
		t.Errorf("an hour later: %+v", a)
	}
}

func TestAFormThatIsNoTokenRequestIsExplained(t *testing.T) {
	f := newFixture(t)
	good := form("x")
	with := func(name string, values ...string) url.Values {
		v := url.Values{}
		for k := range good {
			v[k] = good[k]
		}
		v[name] = values
		return v
	}
	for name, c := range map[string]struct {
		form   url.Values
		status int
		code   string
	}{
		"nothing":               {url.Values{}, 400, "invalid_request"},
		"another grant":         {with("grant_type", "password"), 400, "unsupported_grant_type"},
		"a parameter twice":     {with("scope", "a", "b"), 400, "invalid_request"},
		"another kind of proof": {with("client_assertion_type", "x"), 401, "invalid_client"},
		"no proof":              {with("client_assertion", ""), 401, "invalid_client"},
		"far too much":          {with("scope", strings.Repeat("x", 20000)), 400, "invalid_request"},
	} {
		if a := f.post(c.form); a.Status != c.status || a.Error != c.code || a.Description == "" {
			t.Errorf("%s: %+v", name, a)
		}
	}
	resp, err := http.Post(f.http.URL+grpcapi.TokenPath, "application/json", strings.NewReader("{}"))
	must(t, err)
	must(t, resp.Body.Close())
	if resp.StatusCode != 400 {
		t.Errorf("JSON: %s", resp.Status)
	}
	resp, err = http.Get(f.http.URL + grpcapi.TokenPath)
	must(t, err)
	must(t, resp.Body.Close())
	if resp.StatusCode != 405 {
		t.Errorf("GET: %s", resp.Status)
	}
}

func TestTheDocumentsSayWhereAndWhat(t *testing.T) {
	f := newFixture(t)
	get := func(path string) map[string]any {
		resp, err := http.Get(f.http.URL + path)
		must(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		must(t, err)
		var document map[string]any
		must(t, json.Unmarshal(text, &document))
		return document
	}
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		d := get(path)
		if d["issuer"] != issuer || d["token_endpoint"] != issuer+"/oauth2/token" || d["jwks_uri"] != issuer+"/.well-known/jwks.json" {
			t.Errorf("%s: %v", path, d)
		}
	}
	list, _ := get(grpcapi.KeysPath)["keys"].([]any)
	if len(list) != 2 { // one that signs and one that will
		t.Fatalf("keys: %v", list)
	}
	key, _ := list[0].(map[string]any)
	if key["kty"] != "OKP" || key["crv"] != "Ed25519" || key["alg"] != "EdDSA" || key["use"] != "sig" || key["d"] != nil || key["kid"] == "" {
		t.Errorf("key: %v", key)
	}
}

func TestTheKeysSayHowLongTheyMayBeKept(t *testing.T) {
	f := newFixture(t)
	ask := func(tag string) (status int, header http.Header) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.http.URL+grpcapi.KeysPath, nil)
		must(t, err)
		if tag != "" {
			req.Header.Set("If-None-Match", tag)
		}
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		must(t, resp.Body.Close())
		return resp.StatusCode, resp.Header
	}
	status, header := ask("")
	tag := header.Get("ETag")
	if status != http.StatusOK || tag == "" || header.Get("Cache-Control") != "public, max-age=60" {
		t.Errorf("%d, %v", status, header)
	}
	if status, _ := ask(tag); status != http.StatusNotModified {
		t.Errorf("the same keys: %d", status)
	}
	_, err := f.asOperator().RotateSigningKey(t.Context(), &authv1.RotateSigningKeyRequest{Force: true, RequestId: "r"})
	must(t, err)
	if status, header := ask(tag); status != http.StatusOK || header.Get("ETag") == tag {
		t.Errorf("after a rotation: %d, %v", status, header)
	}
}

func TestATokenOpensTheServiceUntilItEnds(t *testing.T) {
	f := newFixture(t)
	op := f.asOperator()
	_, err := op.CreatePartner(t.Context(), &authv1.CreatePartnerRequest{PartnerId: "acme", DisplayName: "Acme", RequestId: "r"})
	must(t, err)
	get := &authv1.GetPartnerRequest{Name: "partners/acme"}
	if _, err := op.GetPartner(t.Context(), get); err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(6 * time.Minute)
	_, err = op.GetPartner(t.Context(), get)
	want(t, err, fault.Unauthenticated, "CALLER_UNKNOWN")
	_, err = f.as("nonsense").GetPartner(t.Context(), get)
	want(t, err, fault.Unauthenticated, "CALLER_UNKNOWN")
}
