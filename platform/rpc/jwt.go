package rpc

import (
	"context"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	// Unlike the standard library's it tells Role from role and refuses a claim that stands there twice.
	"github.com/go-jose/go-jose/v4/json"
)

// TypeAccessToken is the `typ` of access tokens (RFC 9068).
const TypeAccessToken = "at+jwt"

const (
	// maxTokenBytes is far above any token that auth issues; more is not worth parsing.
	maxTokenBytes = 8 << 10
	// clockSkew is how much the clocks of two machines may differ.
	clockSkew = 5 * time.Second
	// maxCachedTokens bounds the memory that callers can make the cache use.
	maxCachedTokens = 8192
)

// JWTConfig is what a JWTVerifier needs to know.
type JWTConfig struct {
	// Issuer is what `iss` has to be.
	Issuer string
	// Audience is what `aud` has to contain.
	Audience string
	// KeysURL is where the issuer publishes its JWKS (RFC 7517); of replicas a list with commas, asked one after the other.
	KeysURL string
	// RevocationsURL is where the issuer publishes what it took back; see [RevocationsURL]. Empty: nothing is ever taken back.
	RevocationsURL string
	// Client fetches the keys and the revocations; nil is one with a timeout that follows no redirects.
	Client *http.Client
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// JWTVerifier verifies tokens that are signed with Ed25519 (alg EdDSA) by a key of the issuer's JWKS; no other algorithm is
// known to it. It is safe for concurrent use.
//
// An access token comes with every call and an Ed25519 verification costs more than the rest of the interceptors together,
// so verified callers are kept until their token expires. The cache is bounded and keyed by the SHA-256 of the token: it
// holds no token, and nothing in it can be presented as one. An entry counts only while the key that signed its token is
// still published, and every call is checked against what the issuer took back meanwhile.
type JWTVerifier struct {
	cfg     JWTConfig
	keys    *keySet
	revoked *revokedSet // nil when nothing is ever taken back
	cache   *callerCache
}

// NewJWTVerifier makes a verifier. It fetches the keys when it first needs them.
func NewJWTVerifier(cfg JWTConfig) *JWTVerifier {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	v := &JWTVerifier{cfg: cfg, keys: newKeySet(cfg.KeysURL, cfg.Client, cfg.Now), cache: newCallerCache(maxCachedTokens)}
	if cfg.RevocationsURL != "" {
		v.revoked = newRevokedSet(cfg.RevocationsURL, cfg.Client, cfg.Now)
	}
	return v
}

// claims are the claims of an access token.
type claims struct {
	Issuer    string         `json:"iss"`
	Subject   string         `json:"sub"`
	Audience  audience       `json:"aud"`
	Expiry    float64        `json:"exp"`
	NotBefore float64        `json:"nbf"`
	IssuedAt  float64        `json:"iat"`
	Scope     string         `json:"scope"`
	Role      Role           `json:"role"`
	Operator  string         `json:"operator_role"`
	Partner   string         `json:"partner"`
	PartnerNo uint32         `json:"partner_no"`
	Account   string         `json:"account"`
	Merchant  string         `json:"merchant"`
	Terminal  string         `json:"terminal"`
	Mode      string         `json:"mode"`
	Limits    map[string]int `json:"limits"`
	// Amounts are by scope and currency.
	Amounts map[string]map[string]int64 `json:"amounts"`
	// Confirm binds the token to a client certificate (RFC 8705, section 3.1).
	Confirm struct {
		Certificate string `json:"x5t#S256"`
	} `json:"cnf"`
	// RevocationsSeen is the number of the newest revocation when the token was issued, Handles what voids it.
	RevocationsSeen int64    `json:"rvs"`
	Handles         []string `json:"rvh"`
}

// audience is a string or a list of strings (RFC 7519, section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if err := json.Unmarshal(b, &one); err == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// Verify checks an access token: signature, type, issuer, audience and times, with 5 s of skew. It refuses with
// Unauthenticated CALLER_UNKNOWN, and with Unavailable KEYS_UNAVAILABLE or REVOCATIONS_UNAVAILABLE when it has nothing to
// check with. A token that is bound to a client certificate says so in Caller.Certificate; the server compares it.
func (v *JWTVerifier) Verify(ctx context.Context, token string) (Caller, error) {
	sum := sha256.Sum256([]byte(token))
	now := v.cfg.Now()
	if e, ok := v.cache.get(sum); ok && now.Before(e.expires) && v.keys.current(e.kid) {
		if err := v.unrevoked(ctx, e.kid, e.issued, e.handles); err != nil {
			return Caller{}, err
		}
		return e.caller, nil
	}
	payload, kid, err := v.verify(ctx, token, TypeAccessToken)
	if err != nil {
		return Caller{}, err
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return Caller{}, errTokenInvalid.WithCause(err)
	}
	expires, err := v.check(&c, now)
	if err != nil {
		return Caller{}, err
	}
	if err := v.unrevoked(ctx, kid, c.RevocationsSeen, c.Handles); err != nil {
		return Caller{}, err
	}
	caller := c.caller()
	v.cache.put(sum, cachedCaller{caller: caller, expires: expires, kid: kid, issued: c.RevocationsSeen, handles: c.Handles})
	return caller, nil
}

// Watch gives what looks at a token again that Verify has taken, for as long as a stream lasts: whether it has expired or was
// taken back. Each stream keeps what its token said, so that many streams do not push each other out of the cache; the
// signature is verified anew only when the issuer's keys are fetched anew or have changed. It is for one goroutine.
func (v *JWTVerifier) Watch(token string) func(context.Context) error {
	sum := sha256.Sum256([]byte(token))
	seen, ok := v.cache.get(sum)
	return func(ctx context.Context) error {
		if !ok || !v.keys.current(seen.kid) {
			_, err := v.Verify(ctx, token)
			seen, ok = v.cache.get(sum)
			return err
		}
		if !v.cfg.Now().Before(seen.expires) {
			return errTokenExpired
		}
		return v.unrevoked(ctx, seen.kid, seen.issued, seen.handles)
	}
}

func (v *JWTVerifier) unrevoked(ctx context.Context, kid string, issued int64, handles []string) error {
	if v.revoked == nil {
		return nil
	}
	return v.revoked.check(ctx, kid, issued, handles)
}

// VerifyJWS checks the signature and the type of another kind of token with the same keys and gives its payload, whose
// claims (issuer, audience, times) are the caller's to check. Nothing is cached.
func (v *JWTVerifier) VerifyJWS(ctx context.Context, token, typ string) ([]byte, error) {
	payload, kid, err := v.verify(ctx, token, typ)
	if err != nil {
		return nil, err
	}
	return payload, v.unrevoked(ctx, kid, 0, nil)
}

func (v *JWTVerifier) verify(ctx context.Context, token, typ string) (payload []byte, kid string, err error) {
	if len(token) > maxTokenBytes {
		return nil, "", errTokenInvalid
	}
	// The list of algorithms is what keeps `none` and HMAC with the public key out.
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return nil, "", errTokenInvalid.WithCause(err)
	}
	header := jws.Signatures[0].Protected
	if got, ok := header.ExtraHeaders[jose.HeaderType].(string); !ok || !sameType(got, typ) || header.KeyID == "" {
		return nil, "", errTokenInvalid
	}
	if _, critical := header.ExtraHeaders["crit"]; critical { // no extension is known here
		return nil, "", errTokenInvalid
	}
	key, err := v.keys.find(ctx, header.KeyID)
	if err != nil {
		return nil, "", err
	}
	payload, err = jws.Verify(key)
	if err != nil {
		return nil, "", errTokenInvalid.WithCause(err)
	}
	return payload, header.KeyID, nil
}

// sameType compares media types, whose "application/" may be left out (RFC 7515, section 4.1.9).
func sameType(got, want string) bool {
	got = strings.ToLower(got)
	return strings.TrimPrefix(got, "application/") == strings.ToLower(want)
}

// check says when the token stops being good.
func (v *JWTVerifier) check(c *claims, now time.Time) (expires time.Time, err error) {
	if c.Issuer != v.cfg.Issuer || !slices.Contains(c.Audience, v.cfg.Audience) || c.Subject == "" ||
		c.Expiry <= 0 || c.IssuedAt <= 0 || !c.complete() {
		return time.Time{}, errTokenInvalid
	}
	expires = unix(c.Expiry).Add(clockSkew)
	if !now.Before(expires) {
		return time.Time{}, errTokenExpired
	}
	if early := now.Add(clockSkew); early.Before(unix(c.IssuedAt)) || early.Before(unix(c.NotBefore)) {
		return time.Time{}, errTokenInvalid
	}
	return expires, nil
}

// complete refuses a role without the claim that says whose it is: handlers compare these, and "" must equal nothing.
func (c *claims) complete() bool {
	switch c.Role {
	case RoleOperator:
		return c.Operator == "" || slices.Contains(operatorRoles, c.Operator)
	case RolePartner:
		return c.Partner != ""
	case RoleWearer:
		return c.Account != ""
	case RoleTerminal:
		return c.Terminal != ""
	default: // services have no tokens
		return false
	}
}

func (c *claims) caller() Caller {
	return Caller{
		Role: c.Role, ID: c.Subject, Partner: c.Partner, PartnerNo: c.PartnerNo, Account: c.Account, Merchant: c.Merchant,
		Terminal: c.Terminal, Mode: c.Mode, Scopes: strings.Fields(c.Scope), Operator: c.Operator, Certificate: c.Confirm.Certificate, Limits: c.Limits,
		Amounts: c.Amounts,
	}
}

// unix reads a NumericDate, which may have a fraction (RFC 7519, section 2). Years beyond any token's life are cut off so
// that the arithmetic cannot overflow.
func unix(sec float64) time.Time {
	const year9999 = 253402300799
	return time.UnixMilli(int64(min(sec, year9999) * 1000))
}
