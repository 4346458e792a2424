package challenge

import (
	"slices"
	"time"

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
	case wire.PurposePay, wire.PurposeStepUp:
		allowed = c.isPayments()
	case wire.PurposeVoucher:
		allowed = c.Role == RoleTerminal || c.Role == RoleWearer || c.Role == RolePartner && slices.Contains(c.Scopes, "vouchers.redeem")
	case wire.PurposeOfflineRefill:
		allowed = c.Role == RoleWearer || c.isPayments()
	case wire.PurposeUnbind:
		allowed = c.Role == RoleWearer
	case wire.PurposePresence:
		allowed = c.Role == RolePartner && slices.Contains(c.Scopes, "presence.verify")
	}
	if !allowed {
		return ErrPurpose
	}
	return nil
}

func (c Caller) isPayments() bool { return c.Role == RoleService && c.ID == "payments" }

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

// Policy is what the installation asks of bands beyond the device protocol. Which payments need which assurance level, by
// amount, category and history, is decided by payments, which knows them, and comes as Wanted.MinAssurance.
type Policy struct {
	// MaxRTT is the longest smallest round trip of the distance rounds; 0 asks for none.
	MaxRTT time.Duration
	// MinWear is how long a band must have been worn where that is required.
	MinWear time.Duration
	// Offline bounds offline grants by currency; a currency that is not there gets none.
	Offline     map[string]OfflineLimit
	OfflineLife time.Duration
}

// ErrAssurance is the refusal of a level that the band cannot show.
var ErrAssurance = fault.New(fault.FailedPrecondition, "ASSURANCE_NOT_SUPPORTED",
	"the band cannot show the assurance level that is needed: it cannot tell that it is worn, or has no display; use another means")

// requirements says before the tap what the band will ask of its wearer. Everything needs a knock, so that nobody is
// charged by walking past. What moves money or hands the band on needs a worn band where the model can tell, and what
// weighs more also one that was unlocked since it was put on: a step-up, a release, an offline grant, and a payment after
// an odd answer.
func (p Policy) requirements(purpose wire.Purpose, level int, risk Risk, d Device) (wire.Require, error) {
	need := wire.RequireGesture
	switch purpose {
	case wire.PurposePay, wire.PurposePresence:
		if d.WristAware {
			need |= wire.RequireOnWrist
		}
		if d.WristAware && risk != 0 {
			level = max(level, 2)
		}
	case wire.PurposeStepUp, wire.PurposeUnbind, wire.PurposeOfflineRefill:
		if d.WristAware {
			level = max(level, 2)
		}
	case wire.PurposeClaim, wire.PurposeVoucher: // a knock is enough
	}
	if level >= 2 {
		need |= wire.RequireOnWrist | wire.RequireUnlocked
	}
	if level >= 3 {
		need |= wire.RequireDisplayConfirm
	}
	if level >= 2 && !d.WristAware || level >= 3 && !d.HasDisplay {
		return 0, ErrAssurance
	}
	if p.MaxRTT > 0 && d.CanRange && (purpose == wire.PurposePay || purpose == wire.PurposeStepUp || purpose == wire.PurposePresence) {
		need |= wire.RequireRTT
	}
	return need, nil
}

// missing says whether an authentic answer shows less than it must: a bit that was required, a firmware that is recent
// enough, a band that has been worn for a while, the phone within reach, an untouched case.
func (p Policy) missing(c wire.Challenge, d Device, r wire.Response, pongKey []byte) bool {
	switch {
	case c.Require.Unmet(r.Flags) != 0, r.Firmware < d.MinSVN, r.Flags.Has(wire.FlagTamper):
		return true
	case c.Require.Has(wire.RequireOnWrist) && time.Duration(r.MinutesWorn)*time.Minute < p.MinWear:
		return true
	case !c.Require.Has(wire.RequireRTT):
		return false
	}
	key, err := wire.NewKey(pongKey)
	return err != nil || r.Proximity != wire.ProximityRTT || wire.VerifyRounds(key, c.Nonce, r.Rounds) != nil ||
		r.MinRTT == wire.NoRTT || time.Duration(r.MinRTT)*100*time.Microsecond > p.MaxRTT
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

// checkAmount wants an amount where one is signed and nowhere else.
func checkAmount(p wire.Purpose, minorUnits int64, currency string) error {
	switch p {
	case wire.PurposePay, wire.PurposeStepUp, wire.PurposeOfflineRefill:
		if minorUnits <= 0 || currency == "" || currency == wire.NoCurrency {
			return fault.InvalidField("amount", "this purpose needs a positive amount in a currency")
		}
		return nil
	case wire.PurposeClaim, wire.PurposeVoucher, wire.PurposeUnbind, wire.PurposePresence:
	}
	if minorUnits != 0 || currency != "" {
		return fault.InvalidField("amount", "this purpose has no amount; leave it unset")
	}
	return nil
}
