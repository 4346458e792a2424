package rpc

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// ServerTLS is the configuration of a server: TLS 1.3, the certificate and key from PEM files, and client certificates
// verified against the authority in caFile when one is given; with an empty caFile none is asked for. Certificate and
// authority are read again when their files change, so that both can be renewed without a restart.
func ServerTLS(certFile, keyFile, caFile string) (*tls.Config, error) {
	pair, err := newKeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.get(), nil },
	}
	if caFile == "" {
		return cfg, nil
	}
	trusted, err := newAuthority(caFile)
	if err != nil {
		return nil, err
	}
	cfg.ClientCAs, cfg.ClientAuth = trusted.get(), tls.VerifyClientCertIfGiven
	whole := cfg.Clone()
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := whole.Clone()
		now.ClientCAs = trusted.get()
		return now, nil
	}
	return cfg, nil
}

// ClientTLS is the configuration of a client: TLS 1.3, servers verified against the authority in caFile (the system's when it
// is empty), and the client's own certificate and key from PEM files, both empty for a client that has none. On
// connections of [Dial] certificate and authority are read again when their files change.
func ClientTLS(certFile, keyFile, caFile string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS13}
	if certFile != "" || keyFile != "" {
		pair, err := newKeyPair(certFile, keyFile)
		if err != nil {
			return nil, err
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.get(), nil }
	}
	if caFile != "" {
		trusted, err := newAuthority(caFile)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = trusted.get()
		whole := cfg.Clone()
		// The library takes a client's roots once and for all, and looks at this function on servers only. Dial calls it
		// before each handshake; whoever else uses the configuration keeps the roots of the beginning.
		cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now := whole.Clone()
			now.RootCAs = trusted.get()
			return now, nil
		}
	}
	return cfg, nil
}

// authority is the certificates of a file that may change.
type authority struct {
	file string

	mu      sync.Mutex
	changed time.Time
	pool    *x509.CertPool
}

func newAuthority(file string) (*authority, error) {
	a := &authority{file: file}
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	a.changed = info.ModTime()
	a.pool, err = readAuthority(file)
	return a, err
}

// get looks at the file on every handshake; while it is damaged or gone what it held before is trusted.
func (a *authority) get() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	info, err := os.Stat(a.file)
	if err != nil || info.ModTime().Equal(a.changed) {
		return a.pool
	}
	if pool, err := readAuthority(a.file); err == nil {
		a.pool, a.changed = pool, info.ModTime()
	}
	return a.pool
}

func readAuthority(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificate authority: %s has no PEM certificate in it", file)
	}
	return pool, nil
}

// keyPair is a certificate that follows its files.
type keyPair struct {
	certFile, keyFile string

	mu      sync.Mutex
	changed [2]time.Time
	current *tls.Certificate
}

func newKeyPair(certFile, keyFile string) (*keyPair, error) {
	if certFile == "" || keyFile == "" {
		return nil, errors.New("a certificate and its key are both needed")
	}
	p := &keyPair{certFile: certFile, keyFile: keyFile}
	times, err := p.times()
	if err != nil {
		return nil, err
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", certFile, err)
	}
	p.current, p.changed = &cert, times
	return p, nil
}

func (p *keyPair) times() (t [2]time.Time, err error) {
	for i, f := range [2]string{p.certFile, p.keyFile} {
		info, err := os.Stat(f)
		if err != nil {
			return t, fmt.Errorf("certificate: %w", err)
		}
		t[i] = info.ModTime()
	}
	return t, nil
}

// get looks at the files on every handshake. Two files cannot be replaced at one instant, so while they do not match the
// certificate from before is used and the next handshake looks again.
func (p *keyPair) get() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	times, err := p.times()
	if err != nil || times == p.changed {
		return p.current
	}
	if cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile); err == nil {
		p.current, p.changed = &cert, times
	}
	return p.current
}
