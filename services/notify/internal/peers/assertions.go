// Package peers reads what others hand in: assertions that auth has signed, and JSON Schemas of partners.
package peers

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

// assertionType is the `typ` of the assertions that auth signs.
const assertionType = "armlet-assertion+jwt"

// JWS verifies a signature with auth's published keys.
type JWS interface {
	VerifyJWS(ctx context.Context, token, typ string) (payload []byte, err error)
}

// Assertions verifies the assertions of bands.
type Assertions struct {
	jws    JWS
	issuer string
}

// NewAssertions makes an Assertions that takes those of one issuer.
func NewAssertions(jws JWS, issuer string) *Assertions { return &Assertions{jws: jws, issuer: issuer} }

// audience is a string or a list with one (RFC 7519, section 4.1.3).
type audience string

func (a *audience) UnmarshalJSON(b []byte) error {
	var list []string
	if err := json.Unmarshal(b, &list); err == nil && len(list) == 1 {
		*a = audience(list[0])
		return nil
	}
	return json.Unmarshal(b, (*string)(a))
}

type claims struct {
	Issuer   string   `json:"iss"`
	Audience audience `json:"aud"`
	ID       string   `json:"jti"`
	IssuedAt float64  `json:"iat"`
	Expiry   float64  `json:"exp"`
	Purpose  string   `json:"purpose"`
	Account  string   `json:"account"`
	Device   string   `json:"device"`
	Merchant string   `json:"merchant"`
	Intent   string   `json:"intent"`
}

// Verify implements voucher.Assertions.
func (a *Assertions) Verify(ctx context.Context, assertion string) (voucher.Proof, error) {
	payload, err := a.jws.VerifyJWS(ctx, assertion, assertionType)
	if err != nil {
		if fault.KindOf(err) == fault.Unavailable {
			return voucher.Proof{}, err
		}
		return voucher.Proof{}, voucher.ErrProofInvalid.WithCause(err)
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return voucher.Proof{}, voucher.ErrProofInvalid.WithCause(err)
	}
	if c.Issuer != a.issuer || c.Expiry <= 0 || c.IssuedAt <= 0 {
		return voucher.Proof{}, voucher.ErrProofInvalid
	}
	return voucher.Proof{
		ID: c.ID, Audience: string(c.Audience), Purpose: c.Purpose, Account: strings.TrimPrefix(c.Account, "accounts/"),
		Device: c.Device, Merchant: strings.TrimPrefix(c.Merchant, "merchants/"), Intent: c.Intent, IssuedAt: unix(c.IssuedAt), ExpiresAt: unix(c.Expiry),
	}, nil
}

// unix reads a NumericDate. Dates after the year 9999 are cut off so that no arithmetic overflows.
func unix(seconds float64) time.Time {
	const year9999 = 253402300799
	return time.UnixMilli(int64(min(seconds, year9999) * 1000))
}
