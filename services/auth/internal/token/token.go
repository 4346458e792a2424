// Package token mints access tokens: five-minute ones for clients that prove who they are with a signed assertion
// (RFC 7523), and sessions for wearers and terminals that the wallet operator vouches for.
//
// Every token is a JWT of RFC 9068 (typ "at+jwt", EdDSA) for the audience "armlet". A token is never looked up: it is
// good until it ends, which is why it ends soon.
package token

import (
	"strings"
	"time"

	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
)

// Audience is the audience of every access token.
const Audience = "armlet"

// Type is the header typ of every access token (RFC 9068, section 2.1).
const Type = "at+jwt"

// How long tokens live.
const (
	ClientLife   = 5 * time.Minute
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
}

// Token is a minted token. Its text is a secret.
type Token struct {
	Text      string
	ExpiresAt time.Time
	Scopes    []string
}

// Signer makes a JWS over claims.
type Signer interface {
	Sign(typ string, claims any) (string, error)
}

// Mint makes tokens in the name of one issuer.
type Mint struct {
	issuer string
	signer Signer
}

// NewMint makes a Mint.
func NewMint(issuer string, signer Signer) *Mint { return &Mint{issuer, signer} }

// Wearer is a session of one account. by is the client that asked for it.
func (m *Mint) Wearer(by, account string, now time.Time) (Token, error) {
	return m.mint(Claims{Subject: account, ClientID: by, Role: "wearer", Account: account, Mode: string(partner.Live)}, WearerLife, now)
}

// Terminal is a session of a merchant's terminal. by is the client that asked for it.
func (m *Mint) Terminal(by, merchant, terminal string, now time.Time) (Token, error) {
	return m.mint(Claims{
		Subject: terminal, ClientID: by, Role: "terminal", Merchant: merchant, Terminal: terminal, Mode: string(partner.Live),
	}, TerminalLife, now)
}

// Client is an access token of a client. p is the zero Partner for operators.
func (m *Mint) Client(c partner.Client, p partner.Partner, scopes []string, now time.Time) (Token, error) {
	t, err := m.mint(Claims{
		Subject: c.ID, ClientID: c.ID, Role: string(c.Role), Partner: p.ID, PartnerNo: p.No,
		Scope: strings.Join(scopes, " "), Mode: string(c.Mode),
	}, ClientLife, now)
	t.Scopes = scopes
	return t, err
}

func (m *Mint) mint(c Claims, life time.Duration, now time.Time) (Token, error) {
	end := now.Add(life).Truncate(time.Second)
	c.Issuer, c.Audience, c.ID = m.issuer, Audience, keys.NewID()
	c.IssuedAt, c.ExpiresAt = now.Unix(), end.Unix()
	text, err := m.signer.Sign(Type, c)
	return Token{Text: text, ExpiresAt: end}, err
}
