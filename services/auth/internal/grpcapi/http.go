package grpcapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/revocation"
	"github.com/armlet-pay/armlet/services/auth/internal/token"
)

// The paths of the HTTP endpoint.
const (
	TokenPath     = "/oauth2/token" //nolint:gosec // a path, no credential
	KeysPath      = "/.well-known/jwks.json"
	discoveryPath = "/.well-known/oauth-authorization-server" // RFC 8414
	oidcPath      = "/.well-known/openid-configuration"

	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	maxForm       = 16 << 10 // bytes
)

// HTTP answers the token endpoint, the public keys and the discovery document.
type HTTP struct {
	mux      *http.ServeMux
	endpoint *token.Endpoint
	ring     *keys.Ring
	feed     *revocation.Feed
	log      *slog.Logger
	now      func() time.Time
}

// Addresses are what the documents say.
type Addresses struct {
	Issuer string
	URL    string // what the addresses of the endpoint begin with
	MTLS   string // likewise where certificates of clients are asked for; empty for nowhere
}

// NewHTTP makes the handler.
func NewHTTP(endpoint *token.Endpoint, ring *keys.Ring, feed *revocation.Feed, at Addresses, log *slog.Logger, now func() time.Time) *HTTP {
	h := &HTTP{mux: http.NewServeMux(), endpoint: endpoint, ring: ring, feed: feed, log: log, now: now}
	document := at.discovery()
	h.mux.HandleFunc("POST "+TokenPath, h.token)
	h.mux.HandleFunc("GET "+KeysPath, h.keys)
	h.mux.HandleFunc("GET "+rpc.RevocationsPath, h.revocations)
	for _, path := range []string{discoveryPath, oidcPath} {
		h.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, document) })
	}
	return h
}

// ServeHTTP implements http.Handler.
func (h *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// RoundTrip implements http.RoundTripper without a network: auth's own gRPC server verifies tokens by the same rules and
// the same key document as every other service.
func (h *HTTP) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := &recorder{header: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(answer, r)
	return &http.Response{
		StatusCode: answer.status, Status: http.StatusText(answer.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: answer.header, Body: io.NopCloser(&answer.body), ContentLength: int64(answer.body.Len()), Request: r,
	}, nil
}

type recorder struct {
	header http.Header
	body   bytes.Buffer
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
func (r *recorder) WriteHeader(status int)      { r.status = status }

// discovery is the document of RFC 8414, with what RFC 8705 adds.
func (a Addresses) discovery() map[string]any {
	methods := []string{"private_key_jwt"}
	document := map[string]any{
		"issuer":                   a.Issuer,
		"token_endpoint":           a.URL + TokenPath,
		"jwks_uri":                 a.URL + KeysPath,
		"grant_types_supported":    []string{"client_credentials"},
		"response_types_supported": []string{},
		"token_endpoint_auth_signing_alg_values_supported": []string{"EdDSA", "ES256"},
		"id_token_signing_alg_values_supported":            []string{"EdDSA"},
		"subject_types_supported":                          []string{"public"},
		"scopes_supported": []string{
			"devices.provision", "devices.read", "payments.initiate", "payments.read", "alerts.send", "alerts.critical", "alerts.types",
			"vouchers.verify", "vouchers.redeem", "vouchers.issue", "offline.clear", "events.subscribe", "events.publish", "presence.verify",
		},
	}
	if a.MTLS != "" {
		methods = append(methods, "tls_client_auth")
		document["tls_client_certificate_bound_access_tokens"] = true
		document["mtls_endpoint_aliases"] = map[string]string{"token_endpoint": a.MTLS + TokenPath}
	}
	document["token_endpoint_auth_methods_supported"] = methods
	return document
}

// keys is the JWKS. Verifiers ask for it again when they meet a key that they do not know, so a minute's age does no harm;
// a key is published long before it signs, and one that is withdrawn is in the revocations at once.
func (h *HTTP) keys(w http.ResponseWriter, r *http.Request) {
	document, err := h.ring.JWKS()
	if err != nil {
		h.log.ErrorContext(r.Context(), "the public keys cannot be told", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	sum := sha256.Sum256(document)
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=60")
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	// It answers If-None-Match too.
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(document))
}

// revocations is the list of what was taken back: see platform/rpc.
func (h *HTTP) revocations(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	var after int64
	if text := r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseInt(text, 10, 64); err != nil || after < 0 {
			http.Error(w, "after is a number that was in an answer before", http.StatusBadRequest)
			return
		}
	}
	doc, err := h.revoked(r.Context(), after)
	if err != nil {
		h.log.ErrorContext(r.Context(), "the revocations cannot be told", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, doc)
}

// Revoked is the document of the revocations that are still of use. It is a bus.Revoked.
func (h *HTTP) Revoked(ctx context.Context) (rpc.Revocations, error) { return h.revoked(ctx, 0) }

func (h *HTTP) revoked(ctx context.Context, after int64) (rpc.Revocations, error) {
	sequence, entries, err := h.feed.Since(ctx, after, h.now())
	if err != nil {
		return rpc.Revocations{}, err
	}
	doc := rpc.Revocations{Sequence: sequence, Revoked: []rpc.Revocation{}}
	for _, e := range entries {
		doc.Revoked = append(doc.Revoked, rpc.Revocation{
			Handle: h.handle(e), Sequence: e.Sequence, Until: e.Until.Unix() + 1,
		})
	}
	return doc, nil
}

// handle names what was taken back. A signing key is no secret and is looked up by what it is called in the JWKS.
func (h *HTTP) handle(e revocation.Entry) string {
	if e.Kind == revocation.SigningKey {
		return rpc.KeyHandle(e.ID)
	}
	return h.ring.Handle(string(e.Kind), e.ID)
}

// certificate is the client certificate of the connection, nil when it has none of a client of ours. Only a listener with
// an authority verifies certificates.
func certificate(r *http.Request) *token.Certificate {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	cert := r.TLS.PeerCertificates[0]
	client := rpc.CertificateClient(cert)
	if client == "" {
		return nil
	}
	return &token.Certificate{Client: client, Thumbprint: rpc.Thumbprint(cert)}
}

// token is the token endpoint of RFC 6749, section 4.4, with the client authentication of RFC 7523, section 2.2, or
// RFC 8705, section 2.1.
func (h *HTTP) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		refuse(w, http.StatusBadRequest, "invalid_request", "send the parameters as application/x-www-form-urlencoded")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request", "the form cannot be read or is too large")
		return
	}
	form := r.PostForm
	for name, values := range form {
		if len(values) > 1 {
			refuse(w, http.StatusBadRequest, "invalid_request", "the parameter "+printable(name)+" is there more than once")
			return
		}
	}
	switch {
	case form.Get("grant_type") == "":
		refuse(w, http.StatusBadRequest, "invalid_request", "grant_type is missing; only client_credentials is supported")
	case form.Get("grant_type") != "client_credentials":
		refuse(w, http.StatusBadRequest, "unsupported_grant_type", "only client_credentials is supported")
	case (form.Get("client_assertion_type") != assertionType || form.Get("client_assertion") == "") &&
		(certificate(r) == nil || form.Has("client_assertion") || form.Has("client_assertion_type")):
		refuse(w, http.StatusUnauthorized, "invalid_client",
			"authenticate with private_key_jwt: client_assertion_type "+assertionType+" and client_assertion; or with a client certificate and client_id")
	default:
		t, err := h.endpoint.Token(r.Context(), token.Request{
			ClientID: form.Get("client_id"), Assertion: form.Get("client_assertion"), Certificate: certificate(r),
			Scopes: strings.Fields(form.Get("scope")),
		}, h.now())
		h.answer(w, r, t, err)
	}
}

func (h *HTTP) answer(w http.ResponseWriter, r *http.Request, t token.Token, err error) {
	switch fault.ReasonOf(err) {
	case token.ErrClient.Reason:
		refuse(w, http.StatusUnauthorized, "invalid_client", token.ErrClient.Message)
		return
	case token.ErrScope.Reason:
		refuse(w, http.StatusBadRequest, "invalid_scope", token.ErrScope.Message)
		return
	}
	if err != nil {
		h.log.ErrorContext(r.Context(), "a token could not be issued", "error", err)
		refuse(w, http.StatusInternalServerError, "server_error", "the token cannot be issued at present; try again with a new assertion")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": t.Text, "token_type": "Bearer", "expires_in": int64(t.ExpiresAt.Sub(h.now()).Seconds()), "scope": strings.Join(t.Scopes, " "),
	})
}

// printable keeps a name that the client made up from reaching further than it should.
func printable(name string) string {
	if len(name) > 40 || strings.ContainsFunc(name, func(r rune) bool { return r < 'a' && r != '_' || r > 'z' }) {
		return "with the odd name"
	}
	return name
}

func refuse(w http.ResponseWriter, status int, code, description string) {
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer error="`+code+`"`)
	}
	writeJSON(w, status, map[string]any{"error": code, "error_description": description})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
