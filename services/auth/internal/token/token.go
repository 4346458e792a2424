// Package token mints access tokens: five-minute ones for clients that prove who they are with a signed assertion
// (RFC 7523), and sessions for wearers and terminals that the wallet operator vouches for.
//
// Every token is a JWT of RFC 9068 (typ "at+jwt", EdDSA) for the audience "armlet". A token is never looked up: it is
// good until it ends or something it rests on is taken back, which it names for that (see package revocation).
package token

import (
	"context"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
	"github.com/armlet-pay/armlet/services/auth/internal/revocation"
)

// Audience is the audience of every access token.
const Audience = "armlet"

// Type is the header typ of every access token (RFC 9068, section 2.1).
const Type = "at+jwt"

// How long tokens live.
const (
	ClientLife   = partner.TokenLife
	WearerLife   = time.Hour
	TerminalLife = 24 * time.Hour
)

// Claims are the claims of an access token. Ids stand without the collection in front: partner "acme", account "ann".
type Claims struct {
	Issuer    string `json:"iss"`
	Subject   string `json:"sub"`
	Audience  string `json:"aud"`
	ExpiresAt int64  `json:"exp"` // Unix seconds
	IssuedAt  int64  `json:"iat"` // Unix seconds
	ID        string `json:"jti"`
	ClientID  string `json:"client_id"`
	Scope     string `json:"scope,omitempty"` // space separated
	Role      string `json:"role"`            // operator, partner, wearer, terminal
	Partner   string `json:"partner,omitempty"`
	PartnerNo uint32 `json:"partner_no,omitempty"`
	Account   string `json:"account,omitempty"`
	Merchant  string `json:"merchant,omitempty"`
	Terminal  string `json:"terminal,omitempty"`
	Mode      string `json:"mode,omitempty"` // live, test

	OperatorRole string `json:"operator_role,omitempty"`
	// Limits are the calls a minute that a scope permits, where that is bounded.
	Limits map[string]int `json:"limits,omitempty"`
	// Amounts are the largest single payment in minor units by scope and currency, where that is bounded.
	Amounts map[string]map[string]int64 `json:"amounts,omitempty"`
	// Confirm binds the token to the client's certificate (RFC 8705, section 3.1).
	Confirm *Confirm `json:"cnf,omitempty"`
	// RevocationsSeen is the number of the newest revocation when the token was decided on, and Handles name what it rests
	// on: whichever is taken back under a higher number voids the token.
	RevocationsSeen int64    `json:"rvs"`
	Handles         []string `json:"rvh"`
}

// Confirm names a certificate.
type Confirm struct {
	Thumbprint string `json:"x5t#S256"`
}

// Token is a minted token. Its text is a secret.
type Token struct {
	Text      string
	ID        string // jti; of a session its name too
	ExpiresAt time.Time
	Scopes    []string
}

// Signer makes a JWS over claims, and the handles that stand for what can be taken back.
type Signer interface {
	Sign(typ string, claims any) (string, error)
	Handle(kind, id string) string
}

// Revocations tells the number of the newest revocation.
type Revocations interface {
	RevocationSequence(ctx context.Context) (int64, error)
}

// Mint makes tokens in the name of one issuer.
type Mint struct {
	issuer      string
	signer      Signer
	revocations Revocations
}

// NewMint makes a Mint.
func NewMint(issuer string, signer Signer, revocations Revocations) *Mint {
	return &Mint{issuer, signer, revocations}
}

// Wearer is a session of one account. by is the client that asked for it.
func (m *Mint) Wearer(ctx context.Context, by, account string, now time.Time) (Token, error) {
	seen, err := m.revocations.RevocationSequence(ctx)
	if err != nil {
		return Token{}, err
	}
	c := Claims{Subject: account, ClientID: by, Role: "wearer", Account: account, Mode: string(partner.Live), RevocationsSeen: seen}
	return m.mint(c, WearerLife, now, revocation.Entry{Kind: revocation.Account, ID: account})
}

// Terminal is a session of a merchant's terminal. by is the client that asked for it.
func (m *Mint) Terminal(ctx context.Context, by, merchant, terminal string, now time.Time) (Token, error) {
	seen, err := m.revocations.RevocationSequence(ctx)
	if err != nil {
		return Token{}, err
	}
	c := Claims{
		Subject: terminal, ClientID: by, Role: "terminal", Merchant: merchant, Terminal: terminal, Mode: string(partner.Live), RevocationsSeen: seen,
	}
	return m.mint(c, TerminalLife, now, revocation.Entry{Kind: revocation.Terminal, ID: terminal})
}

// client is an access token of a client under the grants. seen is the number of the newest revocation from before client,
// partner and grants were read; thumbprint is that of the client's certificate, empty for none.
func (m *Mint) client(c partner.Client, p partner.Partner, grants []partner.Grant, seen int64, thumbprint string, now time.Time) (Token, error) {
	claims := Claims{
		Subject: c.ID, ClientID: c.ID, Role: string(c.Role), Partner: p.ID, PartnerNo: p.No, Merchant: c.Merchant, Terminal: c.Terminal,
		Mode: string(c.Mode), OperatorRole: string(c.OperatorRole), RevocationsSeen: seen,
	}
	rests := []revocation.Entry{{Kind: revocation.Client, ID: c.ID}}
	if c.Partner != "" {
		rests = append(rests, revocation.Entry{Kind: revocation.Partner, ID: p.ID})
	}
	if c.Role == partner.RoleTerminal {
		claims.Subject = c.Terminal
		rests = append(rests, revocation.Entry{Kind: revocation.Terminal, ID: c.Terminal})
	}
	life := ClientLife
	var scopes []string
	for _, g := range grants {
		scopes = append(scopes, g.Scope)
		rests = append(rests, revocation.Entry{Kind: revocation.Grant, ID: g.Partner + "/" + g.Scope})
		if g.Limits.CallsPerMinute > 0 {
			if claims.Limits == nil {
				claims.Limits = map[string]int{}
			}
			claims.Limits[g.Scope] = g.Limits.CallsPerMinute
		}
		if len(g.Limits.MaxAmounts) > 0 {
			claims.Amounts = map[string]map[string]int64{g.Scope: g.Limits.MaxAmounts} // one scope only has any
		}
		if !g.ExpiresAt.IsZero() { // the token does not outlive what it rests on
			life = min(life, g.ExpiresAt.Sub(now))
		}
	}
	claims.Scope = strings.Join(scopes, " ")
	if thumbprint != "" {
		claims.Confirm = &Confirm{thumbprint}
	}
	t, err := m.mint(claims, life, now, rests...)
	t.Scopes = scopes
	return t, err
}

// mint adds what all tokens have. Each can be taken back by its own id too.
func (m *Mint) mint(c Claims, life time.Duration, now time.Time, rests ...revocation.Entry) (Token, error) {
	end := now.Add(life).Truncate(time.Second)
	c.Issuer, c.Audience, c.ID = m.issuer, Audience, keys.NewID()
	c.IssuedAt, c.ExpiresAt = now.Unix(), end.Unix()
	for _, r := range append(rests, revocation.Entry{Kind: revocation.Session, ID: c.ID}) {
		c.Handles = append(c.Handles, m.signer.Handle(string(r.Kind), r.ID))
	}
	text, err := m.signer.Sign(Type, c)
	return Token{Text: text, ID: c.ID, ExpiresAt: end}, err
}
