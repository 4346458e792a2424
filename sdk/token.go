package sdk

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// TokenSource gives the access token for a call. It must be safe for concurrent use.
type TokenSource interface {
	Token(ctx context.Context) (string, error)
}

// StaticToken is a token that someone else minted, such as a wearer's session.
type StaticToken string

// Token returns the token.
func (t StaticToken) Token(context.Context) (string, error) { return string(t), nil }

// String hides the token.
func (StaticToken) String() string { return "***" }

// GoString hides the token.
func (StaticToken) GoString() string { return "***" }

// Key is a client's private key: Ed25519 (RFC 8037) or P-256. Its String hides it.
type Key struct{ jwk jose.JSONWebKey }

// NewKey makes an Ed25519 key.
func NewKey() (Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("sdk: make a key: %w", err)
	}
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		return Key{}, fmt.Errorf("sdk: name a key: %w", err)
	}
	return Key{jose.JSONWebKey{Key: private, KeyID: hex.EncodeToString(id), Algorithm: string(jose.EdDSA), Use: "sig"}}, nil
}

// LoadKey reads a private JWK (RFC 7517) from a file.
func LoadKey(file string) (Key, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Key{}, fmt.Errorf("sdk: read the client's key: %w", err)
	}
	return ParseKey(text)
}

// ParseKey reads a private JWK.
func ParseKey(text []byte) (Key, error) {
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(text); err != nil || !jwk.Valid() {
		return Key{}, errors.New("sdk: the client's key is not a JWK")
	}
	if jwk.IsPublic() {
		return Key{}, errors.New("sdk: the client's key is public; the private JWK is needed")
	}
	return Key{jwk}, nil
}

// LoadOrCreateKey is LoadKey, but makes the key and the file (mode 0600) when
// there is none. Of several that do so at the same time all get the same key,
// and one that is killed in the middle leaves no half of a file.
func LoadOrCreateKey(file string) (Key, error) {
	key, err := LoadKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = NewKey(); err != nil {
		return Key{}, err
	}
	text, err := key.jwk.MarshalJSON()
	if err != nil {
		return Key{}, fmt.Errorf("sdk: write a key: %w", err)
	}
	if err := createOnce(file, text); err != nil {
		return Key{}, fmt.Errorf("sdk: write a key: %w", err)
	}
	return LoadKey(file)
}

// createOnce leaves a complete file or none, and the file of whoever was first.
func createOnce(file string, text []byte) (err error) {
	draft, err := os.CreateTemp(filepath.Dir(file), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(draft.Name())) }()
	_, err = draft.Write(text)
	if err := errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return err
	}
	if err := os.Link(draft.Name(), file); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// PublicJWK is the public half, as CreateClient wants it.
func (k Key) PublicJWK() (string, error) {
	text, err := k.jwk.Public().MarshalJSON()
	return string(text), err
}

// String hides the key.
func (Key) String() string { return "***" }

// GoString hides the key.
func (Key) GoString() string { return "***" }

// ClientCredentials asks auth's token endpoint for access tokens with
// private_key_jwt (RFC 7523, section 2.2) and keeps each until shortly before
// its end. Without scopes the token carries all that the partner was granted.
// Of replicas the URL is a list with commas; the first is the one that auth
// knows itself by (its http-url or token-issuer).
func ClientCredentials(tokenURL, clientID string, key Key, scopes ...string) TokenSource {
	return &clientCredentials{urls: urlList(tokenURL), id: clientID, key: key, scopes: scopes,
		http: &http.Client{Timeout: DefaultTimeout}, now: time.Now}
}

// ClientCertificate asks for access tokens with a certificate that the
// installation's authority made for the client (RFC 8705, section 2.1), at the
// token endpoint that the discovery document names under mtls_endpoint_aliases.
// The tokens are bound to the certificate: give Dial the same config with
// WithTLS, see [ClientTLS].
func ClientCertificate(tokenURL, clientID string, config *tls.Config, scopes ...string) TokenSource {
	transport := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true}
	return &clientCredentials{urls: urlList(tokenURL), id: clientID, certificate: true, scopes: scopes,
		http: &http.Client{Timeout: DefaultTimeout, Transport: transport}, now: time.Now}
}

// ClientTLS is TLS with a client's certificate and key against the
// installation's authority, all in PEM files. The certificate is read again for
// each connection, so that it can be renewed while the program runs.
func ClientTLS(certFile, keyFile, authorityFile string) (*tls.Config, error) {
	authority, err := os.ReadFile(authorityFile)
	if err != nil {
		return nil, fmt.Errorf("sdk: read the authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("sdk: %s holds no certificate", authorityFile)
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("sdk: read the client's certificate: %w", err)
		}
		return &pair, nil
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() },
	}, nil
}

func urlList(text string) []string {
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

type clientCredentials struct {
	urls        []string // of replicas; the first is the audience
	id          string
	key         Key
	certificate bool // instead of the key
	scopes      []string
	http        *http.Client
	now         func() time.Time

	mu    sync.Mutex
	next  int // of urls, the one to ask
	token string
	from  time.Time
	until time.Time
}

func (c *clientCredentials) String() string { return "client " + c.id }

// Token is the present token, or a new one.
func (c *clientCredentials) Token(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" && c.now().Before(c.until) {
		return c.token, nil
	}
	token, life, err := c.ask(ctx)
	if err != nil {
		return "", err
	}
	// A token that ends on its way to the service would be refused.
	c.token, c.from = token, c.now()
	c.until = c.from.Add(life - min(30*time.Second, life/4))
	return token, nil
}

// freshFor is how long a token that was just got is not asked for again, so that many calls which were refused at once lead
// to one new token.
const freshFor = time.Second

// Forget drops the present token: a service has said that it was taken back.
func (c *clientCredentials) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now().Sub(c.from) >= freshFor {
		c.token = ""
	}
}

// errAway says that an endpoint did not answer, so that another one may.
type errAway struct{ error }

// Unwrap is for errors.Is and errors.As.
func (e errAway) Unwrap() error { return e.error }

// ask asks one replica after the other until one answers, first the one that answered last.
func (c *clientCredentials) ask(ctx context.Context) (token string, life time.Duration, err error) {
	for range c.urls {
		token, life, err = c.askAt(ctx, c.urls[c.next])
		var away errAway
		if err == nil || ctx.Err() != nil || !errors.As(err, &away) {
			return token, life, err
		}
		c.next = (c.next + 1) % len(c.urls)
	}
	return "", 0, err
}

func (c *clientCredentials) askAt(ctx context.Context, at string) (string, time.Duration, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.id}}
	if !c.certificate {
		assertion, err := c.assertion()
		if err != nil {
			return "", 0, err
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	if len(c.scopes) > 0 {
		form.Set("scope", strings.Join(c.scopes, " "))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, fmt.Errorf("sdk: token endpoint: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http.Do(req)
	if err != nil {
		return "", 0, errAway{fmt.Errorf("sdk: token endpoint: %w", err)}
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is left to read
	var answer struct {
		AccessToken      string `json:"access_token"`
		ExpiresIn        int64  `json:"expires_in"`
		Error            string `json:"error"`
		ErrorDescription string `json:"error_description"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&answer); err != nil {
		return "", 0, errAway{fmt.Errorf("sdk: token endpoint answered %s without JSON", resp.Status)}
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		return "", 0, errAway{fmt.Errorf("sdk: token endpoint answered %s: %s", resp.Status, answer.ErrorDescription)}
	}
	if resp.StatusCode != http.StatusOK || answer.AccessToken == "" {
		return "", 0, fmt.Errorf("sdk: token endpoint refused client %s: %s: %s", c.id, answer.Error, answer.ErrorDescription)
	}
	return answer.AccessToken, time.Duration(answer.ExpiresIn) * time.Second, nil
}

func (c *clientCredentials) assertion() (string, error) {
	alg := jose.EdDSA
	if _, ok := c.key.jwk.Key.(*ecdsa.PrivateKey); ok {
		alg = jose.ES256
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: c.key.jwk}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("sdk: sign as client %s: %w", c.id, err)
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return "", fmt.Errorf("sdk: sign as client %s: %w", c.id, err)
	}
	now := c.now()
	text, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: c.id, Subject: c.id, Audience: jwt.Audience{c.urls[0]}, ID: hex.EncodeToString(id),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Minute)),
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("sdk: sign as client %s: %w", c.id, err)
	}
	return text, nil
}
