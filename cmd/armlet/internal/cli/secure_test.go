package cli_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/sdk"
)

// secured is a suite that wants TLS with a client's certificate, by what stands before each of its listeners.
func secured(t *testing.T, plain shell, pki *testkit.Authority) shell {
	t.Helper()
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(plain.dir, name))
		must(t, err)
		return text
	}
	var at sdk.Endpoints
	must(t, json.Unmarshal(read("endpoints.json"), &at))
	certFile, keyFile := pki.Service("front")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	must(t, err)
	authority, err := os.ReadFile(pki.File)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientCAs: roots,
		ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"h2"},
	}
	for _, target := range []*string{&at.Devices, &at.Auth, &at.Payments, &at.Notify} {
		*target = front(t, *target, config)
	}
	s := shell{t, t.TempDir()}
	text, err := json.Marshal(at)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(s.dir, "endpoints.json"), text, 0o600))
	must(t, os.WriteFile(filepath.Join(s.dir, "operator.jwk.json"), read("operator.jwk.json"), 0o600))
	return s
}

// front ends TLS and passes on to a listener what it carries.
func front(t *testing.T, to string, config *tls.Config) (addr string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				outer := tls.Server(conn, config)
				defer func() { _ = outer.Close() }()
				inner, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", to)
				if err != nil {
					return
				}
				defer func() { _ = inner.Close() }()
				go func() { _, _ = io.Copy(inner, outer) }()
				_, _ = io.Copy(outer, inner)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestTheCommandLineSpeaksTLS(t *testing.T) {
	pki, stranger := testkit.PKI(t), testkit.PKI(t)
	s := secured(t, newShell(t), pki)
	cert, key := pki.Leaf("operator", nil)
	strange, strangeKey := stranger.Leaf("operator", nil)

	list := func(args ...string) (code int, out, errs string) {
		return s.piped("", append([]string{"payments", "books"}, args...)...)
	}
	if code, out, errs := list("--tls-ca", pki.File, "--tls-cert", cert, "--tls-key", key); code != 0 {
		t.Errorf("with a certificate: exit %d\n%s%s", code, out, errs)
	}
	if code, _, errs := list("--tls-cert", cert, "--tls-key", key); code != 2 || !strings.Contains(errs, "--tls-ca") {
		t.Errorf("without the authority: exit %d\n%s", code, errs)
	}
	if code, _, errs := list("--tls-ca", pki.File, "--tls-cert", cert); code != 2 || !strings.Contains(errs, "--tls-key") {
		t.Errorf("without the key: exit %d\n%s", code, errs)
	}
	if code, _, errs := list("--tls-ca", filepath.Join(s.dir, "none.pem")); code != 1 || !strings.Contains(errs, "none.pem") {
		t.Errorf("with a file that is not there: exit %d\n%s", code, errs)
	}
	for name, args := range map[string][]string{
		"in clear text":              nil,
		"without a certificate":      {"--tls-ca", pki.File},
		"with another's authority":   {"--tls-ca", stranger.File, "--tls-cert", cert, "--tls-key", key},
		"with a strange certificate": {"--tls-ca", pki.File, "--tls-cert", strange, "--tls-key", strangeKey},
	} {
		if code, _, errs := list(args...); code != 4 || !strings.Contains(errs, "--tls-ca") {
			t.Errorf("%s: exit %d\n%s", name, code, errs)
		}
	}
	t.Setenv("ARMLET_TLS_CA", pki.File)
	t.Setenv("ARMLET_TLS_CERT", cert)
	t.Setenv("ARMLET_TLS_KEY", key)
	if code, out, errs := list(); code != 0 {
		t.Errorf("by the environment: exit %d\n%s%s", code, out, errs)
	}
	s.run(0, "devices", "lots", "list") // as the partner, which opens a connection of its own
}
