// Package senders carries notify's messages to the world outside: events to partners' webhooks.
package senders

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

const (
	webhookTimeout = 15 * time.Second
	dialTimeout    = 5 * time.Second
	// maxAnswer is how much of an answer is read so that the connection can be used again; what it says is of no matter.
	maxAnswer = 16 << 10
	// maxIdle and idlePerHost bound the connections that are kept open.
	maxIdle     = 256
	idlePerHost = 8
)

// errNotPublic is what a connection to an address inside ends with.
var errNotPublic = errors.New("the host has a private address")

// Webhooks posts events as the Standard Webhooks specification says.
type Webhooks struct{ client *http.Client }

// NewWebhooks makes a Webhooks. With loopback, receivers on this machine are reached too.
//
// Addresses are judged when a connection is made, after the name was resolved, so that a name which resolves to something
// else a moment later gains nothing. Redirects are not followed, and no proxy from the environment is used.
func NewWebhooks(loopback bool) *Webhooks {
	dialer := &net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		return guard(address, loopback)
	}}
	return &Webhooks{&http.Client{
		Timeout:       webhookTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: webhookTimeout, MaxResponseHeaderBytes: maxAnswer,
			MaxIdleConns: maxIdle, MaxIdleConnsPerHost: idlePerHost, IdleConnTimeout: time.Minute,
		},
	}}
}

func guard(address string, loopback bool) error {
	host, err := netip.ParseAddrPort(address)
	if err != nil {
		return errNotPublic
	}
	if addr := host.Addr().Unmap(); !subscription.Public(addr) && !(loopback && addr.IsLoopback()) {
		return errNotPublic
	}
	return nil
}

// Post delivers one event; the id is the event's and stays the same however often it is tried.
func (w *Webhooks) Post(ctx context.Context, url, id string, at time.Time, signature string, body []byte) subscription.Outcome {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return subscription.Outcome{Error: "the URL cannot be used"}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Armlet-Webhook/1")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", strconv.FormatInt(at.Unix(), 10))
	req.Header.Set("Webhook-Signature", signature)
	resp, err := w.client.Do(req)
	if err != nil {
		return subscription.Outcome{Error: explain(err)}
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	return outcome(resp, at)
}

func outcome(resp *http.Response, now time.Time) subscription.Outcome {
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return subscription.Outcome{Taken: true}
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return subscription.Outcome{Error: fmt.Sprintf("answered %d; redirects are not followed", resp.StatusCode)}
	}
	return subscription.Outcome{
		Gone: resp.StatusCode == http.StatusGone, Error: fmt.Sprintf("answered %d", resp.StatusCode),
		RetryAfter: retryAfter(resp.Header.Get("Retry-After"), now),
	}
}

// retryAfter reads both forms of RFC 9110, section 10.2.3.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// explain says what went wrong in words that tell a partner what it can see itself, and nothing about this network.
func explain(err error) string {
	var certificate *tls.CertificateVerificationError
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, errNotPublic):
		return "refused: " + errNotPublic.Error()
	case errors.As(err, &certificate):
		return "the certificate is not valid"
	case errors.As(err, &dns):
		return "the host's name cannot be resolved"
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	return "the connection failed"
}
