package auth_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/platform/testkit"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/services/auth"
)

// secure is auth over TLS with a listener for clients' certificates.
type secure struct {
	t                 *testing.T
	ca                *testkit.Authority
	dir               string
	grpc, http, https string
	cert, key         string // of the HTTPS listener
}

func startSecure(t *testing.T) *secure {
	t.Helper()
	s := &secure{t: t, ca: testkit.PKI(t), dir: t.TempDir()}
	c := config(s.dir)
	c.TLSCert, c.TLSKey = s.ca.Service("auth")
	c.TLSCA = s.ca.File
	s.cert, s.key = s.ca.Leaf("front", nil)
	c.HTTPSListen, c.HTTPSURL = "127.0.0.1:0", "https://auth.example.com"
	c.HTTPSCert, c.HTTPSKey = s.cert, s.key
	svc, err := auth.New(t.Context(), c, env())
	must(t, err)
	running, err := run.Start(t.Context(), svc)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		must(t, running.Stop(ctx))
	})
	s.grpc, s.http, s.https = running.Addr(auth.Name), "http://"+running.HTTPAddr(auth.Name), "https://"+running.HTTPSAddr(auth.Name)
	return s
}

// certificate is one of the installation's authority for a client.
func (s *secure) certificate(client string) (certFile, keyFile string) {
	return s.ca.Leaf(client, &url.URL{Scheme: "spiffe", Host: "armlet", Path: "/client/" + client})
}

type granted struct {
	Token string `json:"access_token"`
	Error string `json:"error"`
}

// ask posts a form to the HTTPS listener with a client certificate, or none.
func (s *secure) ask(certFile, keyFile string, form url.Values) (granted, error) {
	s.t.Helper()
	cfg, err := rpc.ClientTLS(certFile, keyFile, s.ca.File)
	must(s.t, err)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true}}
	form.Set("grant_type", "client_credentials")
	resp, err := client.PostForm(s.https+"/oauth2/token", form)
	if err != nil {
		return granted{}, err
	}
	defer resp.Body.Close()
	var g granted
	must(s.t, json.NewDecoder(resp.Body).Decode(&g))
	return g, nil
}

// operator is the operator's client, by a signed assertion over plain HTTP.
func (s *secure) operator() authv1.AuthServiceClient {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "operator.jwk"))
	must(s.t, err)
	var key jose.JSONWebKey
	must(s.t, key.UnmarshalJSON(text))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, nil)
	must(s.t, err)
	claims, err := json.Marshal(map[string]any{
		"iss": "operator", "sub": "operator", "aud": auth.DefaultConfig().TokenIssuer, "jti": "1", "exp": time.Now().Add(time.Minute).Unix(),
	})
	must(s.t, err)
	jws, err := signer.Sign(claims)
	must(s.t, err)
	assertion, err := jws.CompactSerialize()
	must(s.t, err)
	resp, err := http.PostForm(s.http+"/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_assertion": {assertion},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	})
	must(s.t, err)
	defer resp.Body.Close()
	var g granted
	must(s.t, json.NewDecoder(resp.Body).Decode(&g))
	return s.dial("", "", g.Token)
}

// dial calls the gRPC service with a client certificate, or none, and a token.
func (s *secure) dial(certFile, keyFile, token string) authv1.AuthServiceClient {
	s.t.Helper()
	cfg, err := rpc.ClientTLS(certFile, keyFile, s.ca.File)
	must(s.t, err)
	conn, err := rpc.Dial(s.grpc, rpc.DialConfig{TLS: cfg})
	must(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })
	return authv1.NewAuthServiceClient(bearer{conn, token})
}

type bearer struct {
	grpc.ClientConnInterface
	token string
}

func (b bearer) Invoke(ctx context.Context, method string, in, out any, opts ...grpc.CallOption) error {
	return b.ClientConnInterface.Invoke(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+b.token), method, in, out, opts...)
}

func (s *secure) register(op authv1.AuthServiceClient, partner string, clients ...string) {
	s.t.Helper()
	_, err := op.CreatePartner(s.t.Context(), &authv1.CreatePartnerRequest{PartnerId: partner, DisplayName: partner, RequestId: partner})
	must(s.t, err)
	for _, id := range clients {
		_, err := op.CreateClient(s.t.Context(), &authv1.CreateClientRequest{
			ClientId: id, Role: authv1.ClientRole_CLIENT_ROLE_PARTNER, Partner: "partners/" + partner, TlsClientAuth: true, RequestId: id,
		})
		must(s.t, err)
	}
}

func TestACertificateGetsATokenThatIsBoundToIt(t *testing.T) {
	s := startSecure(t)
	s.register(s.operator(), "acme", "acme-tls", "acme-other")
	cert, key := s.certificate("acme-tls")
	other, otherKey := s.certificate("acme-other")
	again, againKey := s.ca.Leaf("acme-tls-2", &url.URL{Scheme: "spiffe", Host: "armlet", Path: "/client/acme-tls"})
	g, err := s.ask(cert, key, url.Values{"client_id": {"acme-tls"}})
	if err != nil || g.Token == "" {
		t.Fatalf("refused: %+v, %v", g, err)
	}
	get := &authv1.GetPartnerRequest{Name: "partners/acme"}
	if _, err := s.dial(cert, key, g.Token).GetPartner(t.Context(), get); err != nil {
		t.Errorf("the token with its certificate: %v", err)
	}
	for name, c := range map[string][2]string{
		"no certificate": {}, "another client's": {other, otherKey}, "another one of the same client": {again, againKey},
	} {
		_, err := s.dial(c[0], c[1], g.Token).GetPartner(t.Context(), get)
		if f, ok := fault.As(err); !ok || f.Reason != rpc.ReasonCallerUnknown || f.Meta["token"] != "unbound" {
			t.Errorf("the token with %s: %v", name, err)
		}
	}
}

func TestACertificateThatIsNotTheClientsGetsNoToken(t *testing.T) {
	s := startSecure(t)
	s.register(s.operator(), "acme", "acme-tls", "acme-other")
	uri := &url.URL{Scheme: "spiffe", Host: "armlet", Path: "/client/acme-tls"}
	cert, key := s.certificate("acme-tls")
	service, serviceKey := s.ca.Service("payments")
	nameless, namelessKey := s.ca.Leaf("nobody", nil)
	expired, expiredKey := s.ca.LeafUntil("expired", uri, time.Now().Add(-time.Minute))
	foreign, foreignKey := testkit.PKI(t).Leaf("foreign", uri)
	for name, c := range map[string]struct {
		cert, key, client string
		handshake         bool // whether it gets as far as the form
	}{
		"another client's":       {cert, key, "acme-other", true},
		"a service's":            {service, serviceKey, "payments", true},
		"one without a name":     {nameless, namelessKey, "acme-tls", true},
		"none":                   {"", "", "acme-tls", true},
		"one that has expired":   {expired, expiredKey, "acme-tls", false},
		"of another authority":   {foreign, foreignKey, "acme-tls", false},
		"the client's, unnamed":  {cert, key, "", true},
		"the client's, misspelt": {cert, key, "acme-TLS", true},
	} {
		g, err := s.ask(c.cert, c.key, url.Values{"client_id": {c.client}})
		if g.Token != "" || c.handshake != (err == nil) || c.handshake && g.Error != "invalid_client" {
			t.Errorf("%s: %+v, %v", name, g, err)
		}
	}
	// The plain listener sees no certificate, so none counts there.
	resp, err := http.PostForm(s.http+"/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"acme-tls"}})
	must(t, err)
	must(t, resp.Body.Close())
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("over plain HTTP: %s", resp.Status)
	}
}

func TestTheDocumentNamesTheListenerForCertificates(t *testing.T) {
	s := startSecure(t)
	var d struct {
		Methods []string          `json:"token_endpoint_auth_methods_supported"`
		Bound   bool              `json:"tls_client_certificate_bound_access_tokens"`
		Aliases map[string]string `json:"mtls_endpoint_aliases"`
	}
	must(t, json.Unmarshal([]byte(get(t, s.http+"/.well-known/oauth-authorization-server")), &d))
	if strings.Join(d.Methods, " ") != "private_key_jwt tls_client_auth" || !d.Bound || d.Aliases["token_endpoint"] != "https://auth.example.com/oauth2/token" {
		t.Errorf("%+v", d)
	}
	plain, _ := start(t, config(t.TempDir()))
	if text := get(t, plain+"/.well-known/oauth-authorization-server"); strings.Contains(text, "mtls") || strings.Contains(text, "tls_client") {
		t.Errorf("without the listener: %s", text)
	}
}

func TestTheListenersCertificateIsReadAgainWhenItChanges(t *testing.T) {
	s := startSecure(t)
	serial := func() string {
		cfg, err := rpc.ClientTLS("", "", s.ca.File)
		must(t, err)
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.https, "https://"), cfg)
		must(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	next, nextKey := s.ca.Leaf("next", nil)
	later := time.Now().Add(time.Second) // files of one moment look alike
	for from, to := range map[string]string{next: s.cert, nextKey: s.key} {
		text, err := os.ReadFile(from)
		must(t, err)
		must(t, os.WriteFile(to, text, 0o600))
		must(t, os.Chtimes(to, later, later))
	}
	if after := serial(); after == before {
		t.Error("the certificate from before is still used")
	}
}
