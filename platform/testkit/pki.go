package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority issues the certificates of one test.
type Authority struct {
	// File is the authority's own certificate, in PEM.
	File string

	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// PKI makes a certificate authority whose files are in a folder of the test's.
func PKI(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, dir: t.TempDir(), key: newKey(t)}
	a.cert = a.issue(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "test authority"},
		NotAfter:              time.Now().AddDate(2, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}, a.key)
	a.File = a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

// Service issues a certificate for both sides of mutual TLS to the service: its URI is spiffe://armlet/service/NAME, and it
// is good for localhost and 127.0.0.1. It returns the PEM files.
func (a *Authority) Service(name string) (certFile, keyFile string) {
	a.t.Helper()
	return a.Leaf(name, &url.URL{Scheme: "spiffe", Host: "armlet", Path: "/service/" + name})
}

// Leaf is [Authority.Service] with any URI, or none, for tests of identities that must be refused.
func (a *Authority) Leaf(name string, uri *url.URL) (certFile, keyFile string) {
	a.t.Helper()
	return a.LeafUntil(name, uri, time.Now().Add(24*time.Hour))
}

// LeafUntil is [Authority.Leaf] with an end, which may have passed.
func (a *Authority) LeafUntil(name string, uri *url.URL, end time.Time) (certFile, keyFile string) {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		NotAfter:    end,
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if uri != nil {
		template.URIs = []*url.URL{uri}
	}
	cert := a.issue(template, key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatalf("testkit: %v", err)
	}
	return a.write(name+".pem", "CERTIFICATE", cert.Raw), a.write(name+".key", "PRIVATE KEY", der)
}

// issue signs template for the holder of key; the authority's own certificate signs itself.
func (a *Authority) issue(template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		a.t.Fatalf("testkit: %v", err)
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	parent := a.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		a.t.Fatalf("testkit: %v", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatalf("testkit: %v", err)
	}
	return cert
}

func (a *Authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	file := filepath.Join(a.dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatalf("testkit: %v", err)
	}
	return file
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("testkit: %v", err)
	}
	return key
}
