// Package pki is a certificate authority in a folder, for an installation that has none: it issues the certificates by which
// services know each other, and those of clients that authenticate with one. Services read the files again when they
// change, so a certificate is renewed without a restart.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The files of the authority. Whoever has CAKey can be every service.
const (
	CAFile = "ca.pem"
	CAKey  = "ca.key"
)

// Kind says whom a certificate is for.
type Kind string

// The kinds.
const (
	Service Kind = "service"
	Client  Kind = "client"
)

// Services are the services of the suite.
var Services = []string{"device-registry", "auth", "payments", "notify"}

var (
	name = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,62}$`)
	// ErrExists says that a file would be overwritten.
	ErrExists = errors.New("it is there already")
)

// Request is what a certificate is asked for.
type Request struct {
	Kind  Kind
	Name  string
	Hosts []string // DNS names and IP addresses under which a service is called
	Life  time.Duration
}

// Info is what may be told of a certificate.
type Info struct {
	File     string    `json:"file"`
	Kind     Kind      `json:"kind"` // empty for the authority and for others
	Name     string    `json:"name"`
	Hosts    []string  `json:"hosts"`
	Serial   string    `json:"serial"`
	NotAfter time.Time `json:"not_after"`
}

// Authority signs certificates.
type Authority struct {
	dir  string // of the authority
	out  string // of what it issues
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Init makes an authority in a folder. It fails with ErrExists.
func Init(dir string, life time.Duration, now time.Time) (Info, error) {
	if _, err := os.Stat(filepath.Join(dir, CAFile)); err == nil {
		return Info{}, fmt.Errorf("%s: %w", filepath.Join(dir, CAFile), ErrExists)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Info{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Info{}, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Armlet authority"}, NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	cert, err := sign(template, template, &key.PublicKey, key, now)
	if err != nil {
		return Info{}, err
	}
	if err := writeKey(filepath.Join(dir, CAKey), key); err != nil {
		return Info{}, err
	}
	file := filepath.Join(dir, CAFile)
	return infoOf(file, cert), writeFile(file, 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// Open reads the authority of a folder. What it issues goes into out, with the authority's own certificate beside it.
func Open(dir, out string) (*Authority, error) {
	cert, err := readCert(filepath.Join(dir, CAFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no authority in %s yet; make one with `armlet pki init --dir %s`", dir, dir)
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, CAKey))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is no PEM file", filepath.Join(dir, CAKey))
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, CAKey), err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s is not the key of %s", CAKey, CAFile)
	}
	return &Authority{dir, out, cert, key}, nil
}

// Issue makes a certificate and its key. It fails with ErrExists.
func (a *Authority) Issue(r Request, now time.Time) (Info, error) {
	if _, err := os.Stat(a.file(r.Name)); err == nil {
		return Info{}, fmt.Errorf("%s: %w; `armlet pki renew %s` replaces it", a.file(r.Name), ErrExists, r.Name)
	}
	return a.issue(r, now)
}

func (a *Authority) file(name string) string { return filepath.Join(a.out, name+".pem") }

func (a *Authority) issue(r Request, now time.Time) (Info, error) {
	template, err := r.template(now)
	if err != nil {
		return Info{}, err
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter // what outlives its authority is worth nothing
	}
	if !now.Before(template.NotAfter) {
		return Info{}, fmt.Errorf("the authority in %s ended at %s", a.dir, a.cert.NotAfter.Format(time.RFC3339))
	}
	if err := os.MkdirAll(a.out, 0o755); err != nil { //nolint:gosec // certificates are public; keys have a mode of their own
		return Info{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Info{}, err
	}
	cert, err := sign(template, a.cert, &key.PublicKey, a.key, now)
	if err != nil {
		return Info{}, err
	}
	if err := a.publish(); err != nil {
		return Info{}, err
	}
	// While the two do not match, who uses them goes on with what it has.
	if err := writeKey(filepath.Join(a.out, r.Name+".key"), key); err != nil {
		return Info{}, err
	}
	return infoOf(a.file(r.Name), cert), writeFile(a.file(r.Name), 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// publish puts the authority's certificate next to what it issues.
func (a *Authority) publish() error {
	if filepath.Clean(a.out) == filepath.Clean(a.dir) {
		return nil
	}
	return writeFile(filepath.Join(a.out, CAFile), 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (r Request) template(now time.Time) (*x509.Certificate, error) {
	switch {
	case !name.MatchString(r.Name) || r.Name == "ca":
		return nil, fmt.Errorf("%q is no name: two to 63 of a-z, 0-9 and -", r.Name)
	case r.Kind == Service && !slices.Contains(Services, r.Name):
		return nil, fmt.Errorf("there is no service %q: they are %s", r.Name, strings.Join(Services, ", "))
	case r.Kind != Service && r.Kind != Client:
		return nil, fmt.Errorf("a certificate is for a %s or a %s", Service, Client)
	case r.Kind == Client && len(r.Hosts) > 0:
		return nil, errors.New("nobody calls a client: leave the hosts out")
	case r.Life < time.Hour:
		return nil, errors.New("a certificate lives an hour at least")
	}
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: r.Name}, NotAfter: now.Add(r.Life), KeyUsage: x509.KeyUsageDigitalSignature,
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: "armlet", Path: "/" + string(r.Kind) + "/" + r.Name}},
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	if r.Kind == Client {
		return t, nil
	}
	t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	for _, h := range r.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return t, nil
}

// Renew replaces the named certificates, or all that end within a time, by new ones for the same with new keys.
func (a *Authority) Renew(names []string, within, life time.Duration, now time.Time) ([]Info, error) {
	all, err := List(a.out)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if !slices.ContainsFunc(all, func(i Info) bool { return i.Kind != "" && i.Name == n }) {
			return nil, fmt.Errorf("there is no certificate of %s in %s", n, a.out)
		}
	}
	var renewed []Info
	for _, i := range all {
		due := i.NotAfter.Sub(now) < within
		if len(names) > 0 {
			due = slices.Contains(names, i.Name)
		}
		if i.Kind == "" || !due {
			continue
		}
		next, err := a.issue(Request{i.Kind, i.Name, i.Hosts, life}, now)
		if err != nil {
			return renewed, err
		}
		renewed = append(renewed, next)
	}
	return renewed, nil
}

// List is what the certificates of a folder say, by file.
func List(dir string) ([]Info, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil {
		return nil, err
	}
	var all []Info
	for _, f := range files {
		cert, err := readCert(f)
		if err != nil {
			return nil, err
		}
		all = append(all, infoOf(f, cert))
	}
	return all, nil
}

func infoOf(file string, cert *x509.Certificate) Info {
	i := Info{File: file, Name: cert.Subject.CommonName, Hosts: slices.Clone(cert.DNSNames), Serial: cert.SerialNumber.Text(16), NotAfter: cert.NotAfter.UTC()}
	for _, ip := range cert.IPAddresses {
		i.Hosts = append(i.Hosts, ip.String())
	}
	if len(cert.URIs) == 1 && cert.URIs[0].Scheme == "spiffe" && cert.URIs[0].Host == "armlet" {
		kind, of, _ := strings.Cut(strings.TrimPrefix(cert.URIs[0].Path, "/"), "/")
		i.Kind, i.Name = Kind(kind), of
	}
	return i
}

func sign(template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey, now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber, template.NotBefore = serial, now.Add(-5*time.Minute) // clocks differ
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func readCert(file string) (*x509.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s is no PEM certificate", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return cert, nil
}

func writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writeFile(file, 0o600, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// writeFile replaces a file whole, so that whoever reads it meanwhile has the old one or the new.
func writeFile(file string, mode fs.FileMode, block *pem.Block) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".pki-*")
	if err != nil {
		return err
	}
	err = errors.Join(tmp.Chmod(mode), pem.Encode(tmp, block), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
