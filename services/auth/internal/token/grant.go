package token

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	// Unlike the standard library's it tells ISS from iss and refuses a claim that stands there twice.
	"github.com/go-jose/go-jose/v4/json"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/auth/internal/audit"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
)

// Bounds of a client's assertion.
const (
	maxAssertionLife = 5 * time.Minute
	maxAssertion     = 8 << 10 // bytes
	maxJTI           = 128     // bytes
	skew             = 5 * time.Second
)

// Clients is what the token endpoint reads and remembers.
type Clients interface {
	// Client fails with CLIENT_NOT_FOUND.
	Client(ctx context.Context, id string) (partner.Client, error)
	// UseAssertion remembers the id of an assertion until it has expired; used is true when it was there before.
	UseAssertion(ctx context.Context, client, jti string, expiresAt, now time.Time) (used bool, err error)
	// Partner fails with PARTNER_NOT_FOUND.
	Partner(ctx context.Context, id string) (partner.Partner, error)
	// Grants lists all grants of a partner by scope, those not in force too.
	Grants(ctx context.Context, partner string) ([]partner.Grant, error)
}

// The refusals; they become the error codes of RFC 6749, section 5.2.
var (
	// ErrClient is told alike whatever is wrong, so that nobody learns which clients exist.
	ErrClient = fault.New(fault.Unauthenticated, "INVALID_CLIENT",
		"the client is not known or its assertion is not valid: sign a new one (iss = sub = client id, aud = this issuer, exp within five minutes, a fresh jti) with the registered key")
	// ErrScope means that none of the scopes asked for is granted.
	ErrScope = fault.New(fault.PermissionDenied, "INVALID_SCOPE", "none of the scopes asked for is granted to the partner")
)

// Endpoint answers the client credentials grant.
type Endpoint struct {
	clients   Clients
	mint      *Mint
	audiences []string
	refused   audit.Refusals
}

// NewEndpoint makes an Endpoint. An assertion must be for one of the audiences: the issuer or the endpoint's URL.
func NewEndpoint(clients Clients, mint *Mint, audiences ...string) *Endpoint {
	return &Endpoint{clients: clients, mint: mint, audiences: audiences}
}

// Request is a request for a token.
type Request struct {
	ClientID    string       // as the form says; may be empty with an assertion
	Assertion   string       // the JWT of RFC 7523, section 2.2
	Certificate *Certificate // of the connection, instead of an assertion (RFC 8705)
	Scopes      []string     // empty asks for all that is granted
}

// Certificate is a client's certificate, verified against the installation's authority.
type Certificate struct {
	Client     string // whom its name is for
	Thumbprint string // x5t#S256
}

// Token proves the client and mints its token. The assertion's id is used up before the token exists, so that one
// assertion never gives two. It fails with INVALID_CLIENT and INVALID_SCOPE.
func (e *Endpoint) Token(ctx context.Context, req Request, now time.Time) (Token, error) {
	t, err := e.token(ctx, req, now)
	if r := fault.ReasonOf(err); r == ErrClient.Reason || r == ErrScope.Reason {
		e.refused.Note("token.refused", e.claimed(ctx, req), r)
	}
	return t, err
}

// Refused is what was refused since it was asked before, for the record.
func (e *Endpoint) Refused() []audit.Entry { return e.refused.Take("auth") }

// claimed names the client that a refused request says it is from; clients that do not exist are one.
func (e *Endpoint) claimed(ctx context.Context, req Request) string {
	id := req.ClientID
	if jws, err := parse(req.Assertion); err == nil {
		var unproven assertion
		if json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &unproven) == nil {
			id = unproven.Subject
		}
	}
	c, err := e.clients.Client(ctx, id)
	if err != nil {
		return "clients/-"
	}
	return c.Name()
}

func (e *Endpoint) token(ctx context.Context, req Request, now time.Time) (Token, error) {
	// What is taken back from here on voids the token, whether or not it is seen below.
	seen, err := e.mint.revocations.RevocationSequence(ctx)
	if err != nil {
		return Token{}, err
	}
	c, thumbprint, err := e.authenticate(ctx, req, now)
	if err != nil {
		return Token{}, err
	}
	if c.Role != partner.RolePartner {
		return e.mint.client(c, partner.Partner{}, nil, seen, thumbprint, now)
	}
	p, err := e.clients.Partner(ctx, c.Partner)
	if err != nil {
		return Token{}, err
	}
	if p.Suspended || p.Offboarded {
		return Token{}, ErrClient
	}
	grants, err := e.clients.Grants(ctx, c.Partner)
	if err != nil {
		return Token{}, err
	}
	grants = slices.DeleteFunc(grants, func(g partner.Grant) bool {
		return !g.InForce(c.Mode, now) || len(req.Scopes) > 0 && !slices.Contains(req.Scopes, g.Scope)
	})
	if len(req.Scopes) > 0 && len(grants) == 0 {
		return Token{}, ErrScope
	}
	return e.mint.client(c, p, grants, seen, thumbprint, now)
}

func (e *Endpoint) authenticate(ctx context.Context, req Request, now time.Time) (c partner.Client, thumbprint string, err error) {
	if req.Assertion != "" {
		c, err = e.byAssertion(ctx, req, now)
		return c, "", err
	}
	c, err = e.byCertificate(ctx, req)
	if err != nil {
		return c, "", err
	}
	return c, req.Certificate.Thumbprint, nil
}

// byCertificate proves the client by the certificate of its connection (RFC 8705, section 2.1). The form has to name it.
func (e *Endpoint) byCertificate(ctx context.Context, req Request) (partner.Client, error) {
	if req.Certificate == nil || req.ClientID == "" || req.Certificate.Client != req.ClientID {
		return partner.Client{}, ErrClient
	}
	c, err := e.active(ctx, req.ClientID)
	if err == nil && !c.TLS {
		err = ErrClient
	}
	return c, err
}

// active is the client if it may have tokens.
func (e *Endpoint) active(ctx context.Context, id string) (partner.Client, error) {
	c, err := e.clients.Client(ctx, id)
	if fault.KindOf(err) == fault.NotFound || err == nil && c.State != partner.ClientActive {
		return c, ErrClient
	}
	return c, err
}

// assertion holds the claims of a client's assertion. Times are pointers because a missing one is a refusal.
type assertion struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	ExpiresAt *float64 `json:"exp"`
	NotBefore *float64 `json:"nbf"`
	IssuedAt  *float64 `json:"iat"`
	ID        string   `json:"jti"`
}

// audience is one string or several (RFC 7519, section 4.1.3).
type audience []string

// UnmarshalJSON reads either form.
func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(a))
}

// byAssertion proves the client by a signed assertion (RFC 7523, section 3).
func (e *Endpoint) byAssertion(ctx context.Context, req Request, now time.Time) (partner.Client, error) {
	jws, err := parse(req.Assertion)
	if err != nil {
		return partner.Client{}, err
	}
	var unproven assertion
	if json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &unproven) != nil {
		return partner.Client{}, ErrClient
	}
	id := unproven.Subject
	if id == "" || unproven.Issuer != id || req.ClientID != "" && req.ClientID != id {
		return partner.Client{}, ErrClient
	}
	c, err := e.active(ctx, id)
	if err != nil {
		return partner.Client{}, err
	}
	payload, err := verify(jws, c.Keys)
	if err != nil {
		return partner.Client{}, err
	}
	var a assertion
	if json.Unmarshal(payload, &a) != nil || !e.timely(a, now) {
		return partner.Client{}, ErrClient
	}
	used, err := e.clients.UseAssertion(ctx, c.ID, a.ID, unix(*a.ExpiresAt).Add(skew), now)
	if err != nil {
		return partner.Client{}, err
	}
	if used {
		return partner.Client{}, ErrClient
	}
	return c, nil
}

// assertionTypes are the header types of a client's assertion, where it has one: that of any JWT, and the one of
// draft-ietf-oauth-rfc7523bis. What the same key signed for another use, such as a DPoP proof, has another.
var assertionTypes = []string{"jwt", "client-authentication+jwt"}

// parse reads a JWS in compact form. The algorithms are named here and fixed per key in verify: "none" and every MAC are
// refused by the parser. Extensions that must be understood ("crit") are not known here.
func parse(text string) (*jose.JSONWebSignature, error) {
	if len(text) > maxAssertion {
		return nil, ErrClient
	}
	jws, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256})
	if err != nil || len(jws.Signatures) != 1 {
		return nil, ErrClient
	}
	header := jws.Signatures[0].Protected.ExtraHeaders
	if _, critical := header["crit"]; critical {
		return nil, ErrClient
	}
	if typ, ok := header[jose.HeaderType]; ok {
		name, _ := typ.(string)
		if !slices.Contains(assertionTypes, strings.TrimPrefix(strings.ToLower(name), "application/")) {
			return nil, ErrClient
		}
	}
	return jws, nil
}

// verify gives the payload if one of the keys made the signature. The key fixes the algorithm, and a header that names a
// key, by its own kid or by its thumbprint, names the one that is tried.
func verify(jws *jose.JSONWebSignature, clientKeys []partner.Key) ([]byte, error) {
	header := jws.Signatures[0].Protected
	for _, k := range clientKeys {
		key, alg, err := keys.ParsePublic(k.JWK)
		if err != nil {
			return nil, err
		}
		if header.Algorithm != string(alg) || header.KeyID != "" && header.KeyID != key.KeyID && header.KeyID != k.ID {
			continue
		}
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	return nil, ErrClient
}

// timely checks audience, times and id of an assertion whose signature is good.
func (e *Endpoint) timely(a assertion, now time.Time) bool {
	ours := slices.ContainsFunc(a.Audience, func(aud string) bool { return slices.Contains(e.audiences, aud) })
	if !ours || a.ExpiresAt == nil || strings.TrimSpace(a.ID) == "" || len(a.ID) > maxJTI {
		return false
	}
	end := unix(*a.ExpiresAt)
	switch {
	case !now.Before(end.Add(skew)), end.After(now.Add(maxAssertionLife + skew)):
		return false
	case a.NotBefore != nil && unix(*a.NotBefore).After(now.Add(skew)):
		return false
	case a.IssuedAt != nil && unix(*a.IssuedAt).After(now.Add(skew)):
		return false
	}
	return true
}

// unix reads a NumericDate (RFC 7519, section 2). Dates beyond the year 9999 are as good as that.
func unix(seconds float64) time.Time {
	const last = 253402300799
	return time.UnixMilli(int64(min(max(seconds, 0), last) * 1000))
}
