package senders

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func post(t *testing.T, loopback bool, url string) (taken bool, text string, after time.Duration) {
	t.Helper()
	o := NewWebhooks(loopback).Post(t.Context(), url, "event-1", time.Unix(1_700_000_000, 0), "v1a,c2ln", []byte(`{"a":1}`))
	return o.Taken, o.Error, o.RetryAfter
}

func TestADeliveryCarriesTheHeadersOfTheSpecification(t *testing.T) {
	var got http.Header
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() }))
	defer s.Close()
	if taken, text, _ := post(t, true, s.URL); !taken {
		t.Fatal(text)
	}
	for name, want := range map[string]string{
		"Webhook-Id": "event-1", "Webhook-Timestamp": "1700000000", "Webhook-Signature": "v1a,c2ln", "Content-Type": "application/json",
	} {
		if got.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.Get(name), want)
		}
	}
}

func TestWhatAReceiverAnswersDecides(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer inside.Close()
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		taken  bool
		text   string
		after  time.Duration
	}{
		{"204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, true, "", 0},
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, false, "answered 500", 0},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, inside.URL, http.StatusTemporaryRedirect)
		}, false, "answered 307; redirects are not followed", 0},
		{"seconds to wait", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(503)
		}, false, "answered 503", 2 * time.Minute},
		{"a time to wait for", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", time.Unix(1_700_000_060, 0).UTC().Format(http.TimeFormat))
			w.WriteHeader(429)
		}, false, "answered 429", time.Minute},
	} {
		s := httptest.NewServer(c.answer)
		if taken, text, after := post(t, true, s.URL); taken != c.taken || text != c.text || after != c.after {
			t.Errorf("%s: taken %v, %q, retry after %s", c.name, taken, text, after)
		}
		s.Close()
	}
}

func TestAReceiverThatHangsEndsWithTheCaller(t *testing.T) {
	stop := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer s.Close()
	defer close(stop)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if o := NewWebhooks(true).Post(ctx, s.URL, "e", time.Now(), "", nil); o.Taken || o.Error != "no answer in time" {
		t.Errorf("%+v", o)
	}
}

func TestTheInsideIsOutOfReach(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("reached") }))
	defer s.Close()
	// A name that resolves to loopback is judged by what it resolves to.
	for _, url := range []string{s.URL, strings.Replace(s.URL, "127.0.0.1", "localhost", 1), "http://169.254.169.254/latest", "http://10.0.0.1/", "http://[::1]:1/", "http://[::ffff:127.0.0.1]:1/"} {
		if taken, text, _ := post(t, false, url); taken || text != "refused: the host has a private address" {
			t.Errorf("%s: %v %q", url, taken, text)
		}
	}
}
