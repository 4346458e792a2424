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
}

// NewEndpoint makes an Endpoint. An assertion must be for one of the audiences: the issuer or the endpoint's URL.
func NewEndpoint(clients Clients, mint *Mint, audiences ...string) *Endpoint {
	return &Endpoint{clients, mint, audiences}
}

// Request is a request for a token.
type Request struct {
	ClientID  string   // as the form says; may be empty
	Assertion string   // the JWT of RFC 7523, section 2.2
	Scopes    []string // empty asks for all that is granted
}

// Token proves the client and mints its token. The assertion's id is used up before the token exists, so that one
// assertion never gives two. It fails with INVALID_CLIENT and INVALID_SCOPE.
func (e *Endpoint) Token(ctx context.Context, req Request, now time.Time) (Token, error) {
	c, err := e.authenticate(ctx, req, now)
	if err != nil {
		return Token{}, err
	}
	if c.Role == partner.RoleOperator {
		return e.mint.Client(c, partner.Partner{}, nil, now)
	}
	p, err := e.clients.Partner(ctx, c.Partner)
	if err != nil {
		return Token{}, err
	}
	grants, err := e.clients.Grants(ctx, c.Partner)
	if err != nil {
		return Token{}, err
	}
	scopes := inForce(grants, req.Scopes, now)
	if len(req.Scopes) > 0 && len(scopes) == 0 {
		return Token{}, ErrScope
	}
	return e.mint.Client(c, p, scopes, now)
}

func inForce(grants []partner.Grant, wanted []string, now time.Time) []string {
	var scopes []string
	for _, g := range grants {
		if g.InForce(now) && (len(wanted) == 0 || slices.Contains(wanted, g.Scope)) {
			scopes = append(scopes, g.Scope)
		}
	}
	return scopes
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

func (e *Endpoint) authenticate(ctx context.Context, req Request, now time.Time) (partner.Client, error) {
	if len(req.Assertion) > maxAssertion {
		return partner.Client{}, ErrClient
	}
	// The algorithms are named here and fixed per key below: "none" and every MAC are refused by the parser.
	jws, err := jose.ParseSignedCompact(req.Assertion, []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256})
	if err != nil {
		return partner.Client{}, ErrClient
	}
	var unproven assertion
	if json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &unproven) != nil {
		return partner.Client{}, ErrClient
	}
	id := unproven.Subject
	if id == "" || unproven.Issuer != id || req.ClientID != "" && req.ClientID != id {
		return partner.Client{}, ErrClient
	}
	c, err := e.clients.Client(ctx, id)
	if fault.KindOf(err) == fault.NotFound {
		return partner.Client{}, ErrClient
	}
	if err != nil {
		return partner.Client{}, err
	}
	payload, err := verify(jws, c.PublicJWK)
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

func verify(jws *jose.JSONWebSignature, publicJWK string) ([]byte, error) {
	key, alg, err := keys.ParsePublic(publicJWK)
	if err != nil {
		return nil, err
	}
	if len(jws.Signatures) != 1 || jws.Signatures[0].Protected.Algorithm != string(alg) {
		return nil, ErrClient
	}
	payload, err := jws.Verify(key.Key)
	if err != nil {
		return nil, ErrClient
	}
	return payload, nil
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
