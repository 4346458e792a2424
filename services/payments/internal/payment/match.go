package payment

import (
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

const (
	assertionAudience = "payments"
	assertionPurpose  = "PAY"
	// assertionMaxLife bounds how old a statement may be that still moves money.
	assertionMaxLife = 30 * time.Second
	// clockSkew is how far apart the clocks of two machines may be.
	clockSkew = 5 * time.Second
)

// Assertion is what auth signed about an approved tap.
type Assertion struct {
	// ID is unique to the decision; each is used once.
	ID string
	// Issuer and Audience say who signed it for whom, Purpose what the band signed for.
	Issuer, Audience, Purpose string
	// IssueTime and ExpireTime are at most 30 seconds apart.
	IssueTime, ExpireTime time.Time
	// Account, Merchant and Payment are ids; Device is a resource name and Partner its maker.
	Account, Device, Partner, Merchant, Payment string
	Amount                                      Money
	// Assurance is how strongly the wearer was authenticated, 0 to 3.
	Assurance int
}

// match compares the assertion with the payment, field by field: money moves only for exactly what the band signed.
func (p Payment) match(a Assertion, issuer string) error {
	if issuer == "" || a.ID == "" {
		return mismatch("jti")
	}
	for _, f := range [...]struct{ name, got, want string }{
		{"iss", a.Issuer, issuer},
		{"aud", a.Audience, assertionAudience},
		{"purpose", a.Purpose, assertionPurpose},
		{"intent", a.Payment, p.ID},
		{"account", a.Account, p.Account},
		{"device", a.Device, p.Device},
		{"partner", a.Partner, p.Partner},
		{"merchant", a.Merchant, p.Merchant},
		{"currency", a.Amount.Currency, p.Amount.Currency},
	} {
		if f.want == "" || f.got != f.want {
			return mismatch(f.name)
		}
	}
	if a.Amount.Minor != p.Amount.Minor {
		return mismatch("amount")
	}
	return nil
}

// CheckTimes refuses an assertion that is not of this moment. It is for when the assertion is opened: a signature is worth
// something for half a minute, what it says is then matched as long as it takes.
func (a Assertion) CheckTimes(now time.Time) error {
	if life := a.ExpireTime.Sub(a.IssueTime); life <= 0 || life > assertionMaxLife || !now.Before(a.ExpireTime.Add(clockSkew)) {
		return mismatch("exp")
	}
	if a.IssueTime.After(now.Add(clockSkew)) {
		return mismatch("iat")
	}
	return nil
}

func mismatch(field string) error {
	return fault.New(fault.FailedPrecondition, "ASSERTION_MISMATCH",
		"the approval is for something else than this payment (%s differs); nothing was moved", field).WithMeta("claim", field)
}
