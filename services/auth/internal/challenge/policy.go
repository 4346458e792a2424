package challenge

import (
	"slices"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/proto/wire"
)

// Role is the kind of caller.
type Role string

// The roles that have rules here.
const (
	RolePartner  Role = "partner"
	RoleWearer   Role = "wearer"
	RoleTerminal Role = "terminal"
	RoleService  Role = "service"
)

// Caller is who asks.
type Caller struct {
	Role    Role
	ID      string
	Partner string // of partners
	Account string // of wearers: resource name
	Scopes  []string
}

// Key names the party a challenge is made for: any program of one partner and any session of one wearer are that party.
func (c Caller) Key() string {
	switch c.Role {
	case RolePartner:
		return "partner/" + c.Partner
	case RoleWearer:
		return "wearer/" + c.Account
	}
	return string(c.Role) + "/" + c.ID
}

// mayCreate says who may have a band sign what.
func (c Caller) mayCreate(p wire.Purpose) error {
	allowed := false
	switch p {
	case wire.PurposePay:
		allowed = c.Role == RoleService && c.ID == "payments"
	case wire.PurposeVoucher:
		allowed = c.Role == RoleTerminal || c.Role == RoleWearer || c.Role == RolePartner && slices.Contains(c.Scopes, "vouchers.redeem")
	case wire.PurposePresence:
		allowed = c.Role == RolePartner && slices.Contains(c.Scopes, "presence.verify")
	}
	if !allowed {
		return ErrPurpose
	}
	return nil
}

// sees hides devices of others: a wearer has their own, a partner those it made.
func (c Caller) sees(d Device) bool {
	switch c.Role {
	case RoleWearer:
		return c.Account != "" && c.Account == d.Account
	case RolePartner:
		return c.Partner != "" && c.Partner == d.Partner
	}
	return true
}

// requirements says before the tap what the band will ask of its wearer. A payment and a proof of presence need a worn
// band where the model can tell; everything needs a knock, so that nobody is charged by walking past.
func requirements(p wire.Purpose, d Device) wire.Require {
	need := wire.RequireGesture
	if d.WristAware && (p == wire.PurposePay || p == wire.PurposePresence) {
		need |= wire.RequireOnWrist
	}
	return need
}

// assurance grades an approval from the signed flags: 1 gesture, 2 also on-wrist and unlocked, 3 also display confirmed.
func assurance(f wire.Flags) int {
	switch {
	case f.Has(wire.FlagGesture | wire.FlagOnWrist | wire.FlagUnlocked | wire.FlagDisplayConfirmed):
		return 3
	case f.Has(wire.FlagGesture | wire.FlagOnWrist | wire.FlagUnlocked):
		return 2
	case f.Has(wire.FlagGesture):
		return 1
	}
	return 0
}

// exponents lists the currencies of ISO 4217 whose minor unit is not a hundredth.
var exponents = map[string]uint8{
	"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0, "UGX": 0, "UYI": 0,
	"VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
	"BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
	"CLF": 4, "UYW": 4,
}

func exponent(currency string) uint8 {
	if e, ok := exponents[currency]; ok {
		return e
	}
	return 2
}

// checkAmount wants an amount for a payment and for nothing else.
func checkAmount(p wire.Purpose, minorUnits int64, currency string) error {
	if p == wire.PurposePay {
		if minorUnits <= 0 || currency == "" || currency == wire.NoCurrency {
			return fault.InvalidField("amount", "a payment needs a positive amount in a currency")
		}
		return nil
	}
	if minorUnits != 0 || currency != "" {
		return fault.InvalidField("amount", "only a payment has an amount; leave it unset")
	}
	return nil
}
