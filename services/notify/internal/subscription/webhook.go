package subscription

import (
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Retries is when a delivery that failed is tried again, counted from the try before: the schedule that the Standard
// Webhooks specification proposes, about four days in all.
var Retries = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// maxRetryAfter is how long a receiver may put a try off with Retry-After.
const maxRetryAfter = 24 * time.Hour

// Delivery is an event on its way to a webhook that did not take it at once.
type Delivery struct {
	Partner, Subscription string
	EventID               string
	EventType             string
	Subject               string
	Resource              string
	EventTime             time.Time
	Data                  []byte
	TraceParent           string
	// Attempts is how often it was tried, LastError what came of the last try.
	Attempts  int
	LastError string
	// NextAt is when it is tried again; zero for a dead letter.
	NextAt time.Time
	// UpdatedAt is when it was tried last.
	UpdatedAt time.Time
}

// Pulled is an event of a subscription that is read with StreamEvents, to be acknowledged once it was handled.
type Pulled struct {
	Delivery
	Ack func() error
	Nak func() error
}

// Dead reports whether it was given up.
func (d Delivery) Dead() bool { return d.NextAt.IsZero() }

// Outcome is what came of a try.
type Outcome struct {
	// Taken is true when the receiver answered with a 2xx status.
	Taken bool
	// Gone is true when it answered 410: it wants no more.
	Gone bool
	// Error says what went wrong, in words for the partner.
	Error string
	// RetryAfter is when the receiver wants to be asked again; zero when it did not say.
	RetryAfter time.Duration
}

// After is the delivery after a try that failed: when it is tried again, or dead after the last try. Jitter, in [0, 1), spreads
// tries over a tenth of the pause, so that what failed together does not come back together.
func (d Delivery) After(o Outcome, retries []time.Duration, jitter float64, now time.Time) Delivery {
	d.Attempts++
	d.LastError, d.UpdatedAt = o.Error, now
	if d.Attempts > len(retries) {
		d.NextAt = time.Time{}
		return d
	}
	pause := retries[d.Attempts-1]
	pause += time.Duration(jitter * float64(pause) / 10)
	d.NextAt = now.Add(max(pause, min(o.RetryAfter, maxRetryAfter)))
	return d
}

// Redriven is a dead letter that is tried again as if for the first time.
func (d Delivery) Redriven(now time.Time) Delivery {
	d.Attempts, d.NextAt = 0, now
	return d
}

// CheckURL refuses what cannot be the URL of a webhook. What its host resolves to is checked anew at every connection.
// With loopback, plain HTTP to this machine is allowed, for development and tests.
func CheckURL(text string, loopback bool) error {
	refuse := func(why string) error {
		return fault.New(fault.Invalid, "WEBHOOK_URL_REFUSED", "%s; give an https URL of a public host", why).WithField("webhook.url")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return refuse("this is no URL")
	case u.User != nil:
		return refuse("a URL with a user or password is not accepted")
	case u.Fragment != "":
		return refuse("a URL with a fragment is not accepted")
	}
	addr, ipErr := netip.ParseAddr(u.Hostname())
	local := u.Hostname() == "localhost" || ipErr == nil && addr.IsLoopback()
	switch {
	case loopback && local && (u.Scheme == "http" || u.Scheme == "https"):
		return nil
	case u.Scheme != "https":
		return refuse("only https is accepted")
	case local || strings.HasSuffix(u.Hostname(), ".localhost"):
		return refuse("a URL of this machine is not accepted")
	case ipErr == nil && !Public(addr):
		return refuse("a private address is not accepted")
	}
	return nil
}

// special are networks that are not on the public internet although their addresses are global unicast (IANA special-purpose
// registries, RFC 6890).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"),
}

// Public reports whether an address is on the public internet: neither private nor loopback, link-local, multicast or
// reserved. An IPv4 address written as IPv6 is judged as what it is.
func Public(addr netip.Addr) bool {
	addr = addr.Unmap()
	if !addr.IsGlobalUnicast() || addr.IsPrivate() || addr.Zone() != "" {
		return false
	}
	for _, p := range special {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}
