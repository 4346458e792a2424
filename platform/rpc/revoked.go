package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// revokedSoon is when the list is asked for again in the background; a call does not wait for that.
	revokedSoon = 300 * time.Millisecond
	// revokedFresh is how old the list may be for a call not to wait for a newer one: what was taken back is refused after
	// this at the latest, while the issuer answers.
	revokedFresh = 700 * time.Millisecond
	// revokedUsable is how old it may be while the issuer does not answer. After that tokens are refused, all of them.
	revokedUsable = 30 * time.Second
	// revokedRetry is the least time between two attempts after one failed, and revokedTimeout bounds one.
	revokedRetry   = 300 * time.Millisecond
	revokedTimeout = time.Second
	// maxRevokedBytes bounds the document, some hundred thousand entries.
	maxRevokedBytes = 16 << 20
)

// RevocationsPath is where an issuer publishes what it took back, next to its keys.
const RevocationsPath = "/oauth2/revocations"

// RevocationsURL is the address of the list of the issuer whose keys are at keysURL, empty when that is no URL. Of several
// URLs with commas it is as many.
func RevocationsURL(keysURL string) string {
	var all []string
	for one := range strings.SplitSeq(keysURL, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Host == "" {
			return ""
		}
		u.Path, u.RawQuery = RevocationsPath, ""
		all = append(all, u.String())
	}
	return strings.Join(all, ",")
}

// Revocations is the document at RevocationsPath: what was taken back and can still be in a token that has not ended.
type Revocations struct {
	// Sequence is the number of the newest revocation, whether or not it is among the entries.
	Sequence int64 `json:"sequence"`
	// Revoked are the entries above the sequence that was asked for with ?after=N.
	Revoked []Revocation `json:"revoked"`
}

// Revocation voids the tokens that name the handle and were issued before it.
type Revocation struct {
	// Handle stands for something that can be taken back: a client, a grant, a session. It tells nobody which.
	Handle string `json:"handle"`
	// Sequence is the revocation's number; a token says with which number it was issued.
	Sequence int64 `json:"sequence"`
	// Until is when the last token that it can void ends, in Unix seconds.
	Until int64 `json:"until"`
}

// revokedSet is what the issuer took back. Nobody has to run it: it is brought up to date by the calls that need it.
type revokedSet struct {
	urls   *urls
	client *http.Client
	now    func() time.Time
	// asking is held by whoever asks the issuer; a channel, so that waiting for it ends with the call.
	asking chan struct{}

	mu       sync.RWMutex
	sequence int64
	handles  map[string]Revocation
	heard    time.Time // when the issuer answered
	failed   time.Time // when it did not, last
}

func newRevokedSet(addresses string, client *http.Client, now func() time.Time) *revokedSet {
	if client == nil {
		client = &http.Client{
			Timeout:       revokedTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("a revocation list does not redirect") },
		}
	}
	return &revokedSet{urls: newURLs(addresses), client: client, now: now, asking: make(chan struct{}, 1), handles: map[string]Revocation{}}
}

// KeyHandle is the handle of a signing key that was withdrawn. It voids what the key signed whenever that was: whoever has
// the key can date a token as they like.
func KeyHandle(kid string) string { return "key:" + kid }

// check refuses a token that names a handle which was taken back after the token was issued, or whose key was withdrawn.
func (s *revokedSet) check(ctx context.Context, kid string, issued int64, handles []string) error {
	if err := s.uptodate(ctx); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if _, withdrawn := s.handles[KeyHandle(kid)]; withdrawn {
		return errTokenRevoked
	}
	if s.sequence <= issued {
		return nil
	}
	for _, h := range handles {
		if r, ok := s.handles[h]; ok && r.Sequence > issued {
			return errTokenRevoked
		}
	}
	return nil
}

// uptodate waits until the list is recent enough to decide with, or says that there is none.
func (s *revokedSet) uptodate(ctx context.Context) error {
	age, tried := s.age()
	switch {
	case age < revokedSoon:
		return nil
	case age < revokedFresh:
		select {
		case s.asking <- struct{}{}:
			go func() {
				defer func() { <-s.asking }()
				_ = s.ask(context.WithoutCancel(ctx)) //nolint:contextcheck // the call does not wait for it
			}()
		default: // somebody is asking
		}
		return nil
	case tried < revokedRetry:
		return usable(age, errors.New("the list was asked for a moment ago"))
	}
	select {
	case s.asking <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.asking }()
	if age, tried = s.age(); age < revokedFresh { // somebody else asked meanwhile
		return nil
	}
	if tried < revokedRetry {
		return usable(age, errors.New("the list was asked for a moment ago"))
	}
	if err := s.ask(ctx); err != nil {
		return usable(age, err)
	}
	return nil
}

// usable is the choice for an issuer that does not answer: tokens are accepted on what was known for a short while and
// then refused, since a revocation that nobody heard of must not be worth more than that.
func usable(age time.Duration, err error) error {
	if age < revokedUsable {
		return nil
	}
	return errRevocationsUnavailable.WithCause(err)
}

// age is how long ago the issuer answered, and how long ago it last did not.
func (s *revokedSet) age() (age, tried time.Duration) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	now := s.now()
	age, tried = revokedUsable, revokedUsable
	if !s.heard.IsZero() {
		age = now.Sub(s.heard)
	}
	if !s.failed.IsZero() {
		tried = now.Sub(s.failed)
	}
	return age, tried
}

func (s *revokedSet) ask(ctx context.Context) error {
	s.mu.RLock()
	after := s.sequence
	s.mu.RUnlock()
	asked := s.now()
	doc, err := s.fetch(ctx, after)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = s.now()
		return err
	}
	if doc.Sequence < s.sequence {
		// One of several issuers may be behind another for a moment. If its database was set back, waiting does not help: after
		// revokedUsable tokens are refused until this process is restarted, rather than some revocations forgotten.
		s.failed = s.now()
		return fmt.Errorf("revocation list: number %d after %d was seen", doc.Sequence, s.sequence)
	}
	for _, r := range doc.Revoked {
		s.handles[r.Handle] = r
	}
	for h, r := range s.handles {
		if r.Until < asked.Add(-clockSkew).Unix() {
			delete(s.handles, h)
		}
	}
	s.sequence, s.heard, s.failed = doc.Sequence, asked, time.Time{}
	return nil
}

func (s *revokedSet) fetch(ctx context.Context, after int64) (Revocations, error) {
	// Others wait for this too: it does not end with the call that began it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokedTimeout)
	defer cancel()
	return first(s.urls, func() bool { return ctx.Err() != nil }, func(address string) (Revocations, error) { return s.fetchFrom(ctx, address, after) })
}

func (s *revokedSet) fetchFrom(ctx context.Context, address string, after int64) (Revocations, error) {
	var doc Revocations
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"?after="+strconv.FormatInt(after, 10), nil)
	if err != nil {
		return doc, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return doc, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusNotFound && after == 0 {
		return doc, nil // an issuer from before there was a list: its tokens name nothing that can be taken back
	}
	if resp.StatusCode != http.StatusOK {
		return doc, fmt.Errorf("revocation list: HTTP status %d", resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxRevokedBytes)).Decode(&doc); err != nil {
		return doc, fmt.Errorf("revocation list: %w", err)
	}
	return doc, nil
}
