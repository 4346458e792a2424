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
// verified against the authority in caFile when one is given; with an empty caFile none is asked for. The certificate is
// read again when its files change, so that it can be renewed without a restart; the authority is read once.
func ServerTLS(certFile, keyFile, caFile string) (*tls.Config, error) {
	pair, err := newKeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.get(), nil },
	}
	if caFile != "" {
		if cfg.ClientCAs, err = readAuthority(caFile); err != nil {
			return nil, err
		}
		cfg.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return cfg, nil
}

// ClientTLS is the configuration of a client: TLS 1.3, servers verified against the authority in caFile (the system's when it
// is empty), and the client's own certificate and key from PEM files, both empty for a client that has none. The
// certificate is read again when its files change; the authority is read once.
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
		roots, err := readAuthority(caFile)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = roots
	}
	return cfg, nil
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
