package run

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/armlet-pay/armlet/platform/conf"
)

const (
	// clocksApart is how much two clocks may differ: challenges, tokens and holds are counted in seconds.
	clocksApart = time.Second
	// certificateSoon and certificateLast are how long before its end a certificate is warned of, as the alert CertificateEnds does,
	// and fails the check: a roll-out is not begun with it.
	certificateSoon = 14 * 24 * time.Hour
	certificateLast = 12 * time.Hour
)

// clock is what --check takes for the time.
func (p process) clock() time.Time {
	if p.now == nil {
		return time.Now()
	}
	return p.now()
}

// clockDiffers warns of a clock that was read between before and after and lies further outside of them than it may.
func clockDiffers(whose string, at, before, after time.Time) error {
	var apart time.Duration
	word := "ahead of"
	switch {
	case at.After(after):
		apart = at.Sub(after)
	case at.Before(before):
		apart, word = before.Sub(at), "behind"
	}
	if apart <= clocksApart {
		return nil
	}
	return &warning{name: "CLOCK_DIFFERS", text: fmt.Sprintf("%s answers, but its clock is %s %s this machine's: let NTP set both",
		whose, apart.Round(10*time.Millisecond), word)}
}

// probeCertificate tests the identity among the services.
func (p process) probeCertificate(service, file string, cfg any) (string, error) {
	leaf, err := loadCertificate(file, conf.Value(cfg, "tls-key"), "tls-key")
	if err != nil {
		return "", err
	}
	want := "spiffe://armlet/service/" + service
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != want {
		return "", fmt.Errorf("%s is not a certificate of %s; issue one, such as by armlet pki", file, want)
	}
	found, err := certificateAge(file, leaf, p.clock())
	if found == "" {
		return "", err
	}
	if ca := conf.Value(cfg, "tls-ca"); ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return "", fmt.Errorf("tls-ca: %w", err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(text)
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: p.clock()}); err != nil {
			return "", fmt.Errorf("%s was not signed by tls-ca: %w; give both the same authority", file, err)
		}
	}
	return found, err
}

// probeWebCertificate tests the certificate of https-listen, whatever it is called.
func (p process) probeWebCertificate(file string, cfg any) (string, error) {
	key := "https-key"
	if conf.Value(cfg, key) == "" {
		key = "tls-key"
	}
	leaf, err := loadCertificate(file, conf.Value(cfg, key), key)
	if err != nil {
		return "", err
	}
	return certificateAge(file, leaf, p.clock())
}

func loadCertificate(file, keyFile, key string) (*x509.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(file, keyFile)
	if err != nil {
		return nil, fmt.Errorf("%w; are this file and %s a pair in PEM that this user may read?", err, key)
	}
	return pair.Leaf, nil
}

// certificateAge says nothing of a certificate that cannot be used.
func certificateAge(file string, leaf *x509.Certificate, now time.Time) (found string, err error) {
	end := leaf.NotAfter.Format(time.RFC3339)
	switch left := leaf.NotAfter.Sub(now); {
	case now.Before(leaf.NotBefore):
		return "", fmt.Errorf("CERTIFICATE_NOT_YET_VALID: %s is good from %s on: is this machine's clock right?", file, leaf.NotBefore.Format(time.RFC3339))
	case left <= 0:
		return "", fmt.Errorf("CERTIFICATE_EXPIRED: %s ended at %s: renew it", file, end)
	case left < certificateLast:
		return "", fmt.Errorf("CERTIFICATE_ENDS_NOW: %s ends at %s: renew it", file, end)
	case left < certificateSoon:
		return "good until " + end, &warning{name: "CERTIFICATE_ENDS_SOON", text: fmt.Sprintf("%s ends at %s: renew it", file, end)}
	}
	return "good until " + end, nil
}
