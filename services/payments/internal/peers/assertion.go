package peers

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// AssertionType is the `typ` of an assertion's JWS.
const AssertionType = "armlet-assertion+jwt"

// JWSVerifier checks signature and type of a token with auth's published keys and gives its payload.
type JWSVerifier interface {
	VerifyJWS(ctx context.Context, token, typ string) ([]byte, error)
}

// Assertions opens what auth signed.
type Assertions struct {
	Verifier JWSVerifier
	Now      func() time.Time
}

// claims is the payload of an assertion. A claim of another type, such as an amount with a fraction, is refused.
type claims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	IssuedAt int64  `json:"iat"`
	Expiry   int64  `json:"exp"`
	ID       string `json:"jti"`
	Purpose  string `json:"purpose"`
	Account  string `json:"account"`
	Device   string `json:"device"`
	Partner  string `json:"partner"`
	Intent   string `json:"intent"`
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
	Merchant string `json:"merchant"`
	// Assurance is 0 to 3.
	Assurance int `json:"assurance"`
}

// OpenAssertion implements payment.Auth.
func (a Assertions) OpenAssertion(ctx context.Context, token string) (payment.Assertion, error) {
	payload, err := a.Verifier.VerifyJWS(ctx, token, AssertionType)
	if err != nil {
		if fault.KindOf(err) == fault.Unauthenticated {
			return payment.Assertion{}, unreadable("its signature is not auth's").WithCause(err)
		}
		return payment.Assertion{}, err
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return payment.Assertion{}, unreadable("it is malformed").WithCause(err)
	}
	out := payment.Assertion{
		ID: c.ID, Issuer: c.Issuer, Audience: c.Audience, Purpose: c.Purpose,
		IssueTime: time.Unix(c.IssuedAt, 0), ExpireTime: time.Unix(c.Expiry, 0),
		Account: strings.TrimPrefix(c.Account, "accounts/"), Device: c.Device,
		Partner:  strings.TrimPrefix(c.Partner, "partners/"),
		Merchant: strings.TrimPrefix(c.Merchant, "merchants/"), Payment: strings.TrimPrefix(c.Intent, "payments/"),
		Amount: payment.Money{Minor: c.Amount, Currency: c.Currency}, Assurance: c.Assurance,
	}
	return out, out.CheckTimes(a.Now())
}

func unreadable(why string) *fault.Error {
	return fault.New(fault.FailedPrecondition, "ASSERTION_MISMATCH", "the approval cannot be used: %s; nothing was moved", why)
}
