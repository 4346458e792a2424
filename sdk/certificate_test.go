package sdk

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority makes certificates in files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.make("authority", nil, nil)
	return a
}

// make writes NAME.crt and NAME.key, signed by the parent or by itself.
func (a *authority) make(name string, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	a.n++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: parent == nil,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	must(a.t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(a.t, err)
	must(a.t, os.WriteFile(a.file(name+".crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(a.t, os.WriteFile(a.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	cert, err := x509.ParseCertificate(der)
	must(a.t, err)
	return cert, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestACertificateGetsATokenAndMayBeRenewed(t *testing.T) {
	a := newAuthority(t)
	a.make("server", a.cert, a.key)
	a.make("client", a.cert, a.key)
	pair, err := tls.LoadX509KeyPair(a.file("server.crt"), a.file("server.key"))
	must(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	var serials []string
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serials = append(serials, r.TLS.PeerCertificates[0].SerialNumber.String())
		if r.PostFormValue("client_id") != "acme-backend" || r.PostFormValue("grant_type") != "client_credentials" || r.PostFormValue("scope") != "payments.read" ||
			r.PostForm.Has("client_assertion") {
			t.Errorf("the form is %v", r.PostForm)
		}
		w.Header().Set("Connection", "close") // the next token comes over a new connection
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "token-" + serials[len(serials)-1], "expires_in": 300})
	}))
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}
	srv.StartTLS()
	defer srv.Close()

	config, err := ClientTLS(a.file("client.crt"), a.file("client.key"), a.file("authority.crt"))
	must(t, err)
	source := ClientCertificate(srv.URL, "acme-backend", config, "payments.read").(*clientCredentials) //nolint:forcetypeassert // it is ours
	now := time.Now()
	source.now = func() time.Time { return now }
	first, err := source.Token(t.Context())
	must(t, err)
	a.make("client", a.cert, a.key) // in the same files
	now = now.Add(10 * time.Minute)
	second, err := source.Token(t.Context())
	must(t, err)
	if first != "token-3" || second != "token-4" {
		t.Errorf("tokens %q and %q for certificates %v", first, second, serials)
	}
	// Another authority's certificate opens nothing, and nothing is sent to a server of another authority.
	other := newAuthority(t)
	other.make("client", other.cert, other.key)
	for _, files := range [][2]string{{other.file("client.crt"), a.file("authority.crt")}, {a.file("client.crt"), other.file("authority.crt")}} {
		config, err := ClientTLS(files[0], files[0][:len(files[0])-3]+"key", files[1])
		must(t, err)
		if token, err := ClientCertificate(srv.URL, "acme-backend", config).Token(t.Context()); err == nil {
			t.Errorf("%v: %s", files, token)
		}
	}
	for _, files := range [][3]string{
		{"none", a.file("client.key"), a.file("authority.crt")}, {a.file("client.crt"), a.file("client.key"), "none"},
		{a.file("client.crt"), a.file("client.key"), a.file("client.key")}, {a.file("client.crt"), a.file("server.key"), a.file("authority.crt")},
	} {
		if _, err := ClientTLS(files[0], files[1], files[2]); err == nil {
			t.Errorf("%v were taken", files)
		}
	}
}
