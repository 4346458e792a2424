package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/rpc"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const year = 365 * 24 * time.Hour

func authority(t *testing.T) (a *Authority, dir, out string) {
	t.Helper()
	dir, out = filepath.Join(t.TempDir(), "ca"), filepath.Join(t.TempDir(), "certificates")
	_, err := Init(dir, 10*year, time.Now())
	must(t, err)
	a, err = Open(dir, out)
	must(t, err)
	return a, dir, out
}

func TestServicesKnowEachOtherByTheirCertificates(t *testing.T) {
	a, _, out := authority(t)
	for _, r := range []Request{
		{Service, "auth", []string{"localhost", "127.0.0.1"}, year}, {Service, "payments", []string{"payments"}, year}, {Client, "acme-backend", nil, year},
	} {
		_, err := a.Issue(r, time.Now())
		must(t, err)
		if _, err := a.Issue(r, time.Now()); !errors.Is(err, ErrExists) {
			t.Errorf("%s twice: %v", r.Name, err)
		}
	}
	file := func(name string) string { return filepath.Join(out, name) }
	server, err := rpc.ServerTLS(file("auth.pem"), file("auth.key"), file(CAFile))
	must(t, err)
	for caller, client := range map[string]string{"payments": "", "acme-backend": "acme-backend"} {
		cfg, err := rpc.ClientTLS(file(caller+".pem"), file(caller+".key"), file(CAFile))
		must(t, err)
		cfg.ServerName = "localhost"
		peer := handshake(t, server, cfg)
		if got := rpc.CertificateClient(peer); got != client {
			t.Errorf("%s is seen as client %q", caller, got)
		}
	}
	for name, mode := range map[string]os.FileMode{"auth.key": 0o600, "auth.pem": 0o644} {
		info, err := os.Stat(file(name))
		must(t, err)
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %s", name, info.Mode())
		}
	}
	if _, err := os.Stat(file(CAKey)); err == nil {
		t.Error("the authority's key is where the services' certificates are")
	}
}

// handshake is the client's certificate as the server has verified it.
func handshake(t *testing.T, server, client *tls.Config) *x509.Certificate {
	t.Helper()
	near, far := net.Pipe()
	s, c := tls.Server(near, server), tls.Client(far, client)
	done := make(chan error, 1)
	go func() { done <- c.Handshake() }()
	must(t, s.Handshake())
	must(t, <-done)
	return s.ConnectionState().PeerCertificates[0]
}

func TestARenewedCertificateIsForTheSameWithAnotherKey(t *testing.T) {
	a, _, out := authority(t)
	now := time.Now()
	_, err := a.Issue(Request{Service, "auth", []string{"auth", "10.0.0.1"}, 20 * 24 * time.Hour}, now)
	must(t, err)
	_, err = a.Issue(Request{Service, "notify", nil, year}, now)
	must(t, err)
	keyFile := filepath.Join(out, "auth.key")
	before, err := os.ReadFile(keyFile)
	must(t, err)
	renewed, err := a.Renew(nil, 30*24*time.Hour, year, now)
	must(t, err)
	if len(renewed) != 1 || renewed[0].Name != "auth" || !slices.Equal(renewed[0].Hosts, []string{"auth", "10.0.0.1"}) || renewed[0].NotAfter.Sub(now) < 300*24*time.Hour {
		t.Errorf("renewed %+v", renewed)
	}
	after, err := os.ReadFile(keyFile)
	must(t, err)
	if string(before) == string(after) {
		t.Error("the key is the same")
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(out, "auth.pem"), keyFile); err != nil {
		t.Error(err)
	}
	if renewed, err = a.Renew(nil, 30*24*time.Hour, year, now); err != nil || len(renewed) != 0 {
		t.Errorf("once more: %+v, %v", renewed, err)
	}
	if renewed, err = a.Renew([]string{"notify", "auth"}, 0, year, now); err != nil || len(renewed) != 2 {
		t.Errorf("by name: %+v, %v", renewed, err)
	}
	if _, err = a.Renew([]string{"nobody"}, 0, year, now); err == nil {
		t.Error("a certificate that is not there was renewed")
	}
}

func TestACertificateThatMakesNoSenseIsNotIssued(t *testing.T) {
	a, dir, out := authority(t)
	for what, r := range map[string]Request{
		"a service that is not there": {Service, "accounting", nil, year},
		"a name with a slash":         {Client, "a/b", nil, year},
		"the authority's own name":    {Client, "ca", nil, year},
		"a client with a host":        {Client, "acme", []string{"x"}, year},
		"no kind":                     {"", "acme", nil, year},
		"hardly any life":             {Client, "acme", nil, time.Minute},
	} {
		if _, err := a.Issue(r, time.Now()); err == nil {
			t.Errorf("%s: it was issued", what)
		}
	}
	if all, err := List(out); err != nil || len(all) != 0 {
		t.Errorf("left behind: %v, %v", all, err)
	}
	if i, err := a.Issue(Request{Client, "acme", nil, 50 * year}, time.Now()); err != nil || i.NotAfter.After(time.Now().Add(10*year)) {
		t.Errorf("it outlives its authority: %v, %v", i, err)
	}
	if _, err := a.Issue(Request{Client, "late", nil, year}, time.Now().Add(11*year)); err == nil {
		t.Error("an authority that has ended issued a certificate")
	}
	if _, err := Init(dir, year, time.Now()); !errors.Is(err, ErrExists) {
		t.Errorf("a second authority in the same folder: %v", err)
	}
	if _, err := Open(t.TempDir(), out); err == nil {
		t.Error("an empty folder was taken for an authority")
	}
}
