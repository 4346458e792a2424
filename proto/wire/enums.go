package wire

import (
	"strconv"
	"strings"
)

// Suite names a response authenticator and the link MAC that goes with it.
type Suite uint8

// The suites of version 1.
const (
	// SuiteHMAC answers with the first 128 bits of HMAC-SHA-256 (RFC 2104).
	SuiteHMAC Suite = 1
	// SuiteCMAC answers with AES-128-CMAC (RFC 4493).
	SuiteCMAC Suite = 2
	// SuiteP256 answers with ECDSA P-256 over SHA-256 (FIPS 186-5), raw r‖s.
	SuiteP256 Suite = 3
	// SuiteEd25519 answers with Ed25519 (RFC 8032).
	SuiteEd25519 Suite = 4
)

// Valid reports whether s is a suite of version 1.
func (s Suite) Valid() bool { return s >= SuiteHMAC && s <= SuiteEd25519 }

// Symmetric reports whether the response authenticator is a MAC under a key
// that the platform can derive, rather than a signature.
func (s Suite) Symmetric() bool { return s == SuiteHMAC || s == SuiteCMAC }

// AuthenticatorLen is the length of the response authenticator in bytes:
// 16 for a MAC, 64 for a signature, 0 for an unknown suite.
func (s Suite) AuthenticatorLen() int {
	switch {
	case s.Symmetric():
		return 16
	case s.Valid():
		return 64
	}
	return 0
}

// KeyLen is the length of the suite's derived keys in bytes: 16 for SuiteCMAC,
// 32 for the others, 0 for an unknown suite.
func (s Suite) KeyLen() int {
	switch {
	case s == SuiteCMAC:
		return 16
	case s.Valid():
		return 32
	}
	return 0
}

// String returns the suite's name, or SUITE(n) for an unknown one.
func (s Suite) String() string {
	return name("SUITE", uint8(s), 1, "HMAC_SHA256", "AES_CMAC", "ECDSA_P256", "ED25519")
}

// Purpose says what the wearer agrees to by answering a challenge.
type Purpose uint8

// The purposes of version 1.
const (
	PurposePay           Purpose = 1 // a payment of the amount to the merchant
	PurposeClaim         Purpose = 2 // binding the band to an account
	PurposeVoucher       Purpose = 3 // redeeming a voucher
	PurposeStepUp        Purpose = 4 // a stronger proof for something already begun
	PurposeOfflineRefill Purpose = 5 // a new grant for offline taps
	PurposeUnbind        Purpose = 6 // releasing the band from its account
	PurposePresence      Purpose = 7 // being here, for a partner's own feature
)

// Valid reports whether p is a purpose of version 1.
func (p Purpose) Valid() bool { return p >= PurposePay && p <= PurposePresence }

// String returns the protocol's name of p, or PURPOSE(n) for an unknown one.
func (p Purpose) String() string {
	return name("PURPOSE", uint8(p), 1,
		"PAY", "CLAIM", "VOUCHER", "STEP_UP", "OFFLINE_REFILL", "UNBIND", "PRESENCE")
}

// Require is a set of bits: what a challenge asks of the band and the wearer.
type Require uint8

// The bits of Require; the others are reserved and zero.
const (
	RequireOnWrist        Require = 1 << 0 // the band is worn
	RequireGesture        Require = 1 << 1 // the wearer knocks
	RequireUnlocked       Require = 1 << 2 // unlocked since it was strapped on
	RequireRTT            Require = 1 << 3 // RTT rounds come before the response
	RequireDisplayConfirm Require = 1 << 4 // the wearer confirms what is shown

	requireAll = RequireOnWrist | RequireGesture | RequireUnlocked | RequireRTT | RequireDisplayConfirm
)

// Has reports whether every bit of want is set.
func (r Require) Has(want Require) bool { return r&want == want }

// Unmet returns what r asks for and the flags of a response do not confirm.
// The two sets number their bits differently.
func (r Require) Unmet(f Flags) Require {
	met := Require(0)
	for _, pair := range [...]struct {
		bit  Require
		flag Flags
	}{
		{RequireOnWrist, FlagOnWrist},
		{RequireGesture, FlagGesture},
		{RequireUnlocked, FlagUnlocked},
		{RequireRTT, FlagRTTValid},
		{RequireDisplayConfirm, FlagDisplayConfirmed},
	} {
		if f.Has(pair.flag) {
			met |= pair.bit
		}
	}
	return r &^ met
}

// String lists the bits, such as ON_WRIST|GESTURE, or NONE.
func (r Require) String() string {
	return bits(uint8(r), "ON_WRIST", "GESTURE", "UNLOCKED", "RTT", "DISPLAY_CONFIRM")
}

// Status is the band's own verdict in a response. Anything but StatusOK is a
// refusal; a refusal is authenticated too and uses the challenge up.
type Status uint8

// The statuses of version 1.
const (
	StatusOK               Status = 0
	StatusNotWorn          Status = 1
	StatusLocked           Status = 2
	StatusDeclined         Status = 3 // the wearer said no
	StatusTimedOut         Status = 4 // the wearer did not answer
	StatusBadTag           Status = 5 // the challenge's tag did not verify
	StatusUnknownBinding   Status = 6
	StatusCounterExhausted Status = 7
	StatusMuted            Status = 8 // too many bad tags; wait 30 seconds
	StatusUnsupported      Status = 9
)

// Valid reports whether s is a status of version 1.
func (s Status) Valid() bool { return s <= StatusUnsupported }

// String returns the protocol's name of s, or STATUS(n) for an unknown one.
func (s Status) String() string {
	return name("STATUS", uint8(s), 0, "OK", "NOT_WORN", "LOCKED", "DECLINED", "TIMED_OUT",
		"BAD_TAG", "UNKNOWN_BINDING", "COUNTER_EXHAUSTED", "MUTED", "UNSUPPORTED")
}

// Flags is a set of bits: the state of the band when it answered.
type Flags uint8

// The bits of Flags; bit 7 is reserved and zero.
const (
	FlagOnWrist          Flags = 1 << 0
	FlagGesture          Flags = 1 << 1
	FlagUnlocked         Flags = 1 << 2 // unlocked since it was strapped on
	FlagDisplayConfirmed Flags = 1 << 3
	FlagRTTValid         Flags = 1 << 4
	FlagTamper           Flags = 1 << 5 // the band saw tampering
	FlagClockValid       Flags = 1 << 6

	flagsAll = FlagOnWrist | FlagGesture | FlagUnlocked | FlagDisplayConfirmed |
		FlagRTTValid | FlagTamper | FlagClockValid
)

// Has reports whether every bit of want is set.
func (f Flags) Has(want Flags) bool { return f&want == want }

// String lists the bits, such as ON_WRIST|GESTURE, or NONE.
func (f Flags) String() string {
	return bits(uint8(f), "ON_WRIST", "GESTURE", "UNLOCKED", "DISPLAY_CONFIRMED",
		"RTT_VALID", "TAMPER", "CLOCK_VALID")
}

// Proximity is how the band measured that the phone is near.
type Proximity uint8

// The proximity methods of version 1.
const (
	ProximityNone Proximity = 0
	ProximityRTT  Proximity = 1 // timed rounds with the phone; evidence, not proof
)

// Valid reports whether p is a proximity method of version 1.
func (p Proximity) Valid() bool { return p <= ProximityRTT }

// String returns the method's name, or PROXIMITY(n) for an unknown one.
func (p Proximity) String() string { return name("PROXIMITY", uint8(p), 0, "NONE", "RTT") }

// Outcome is the platform's verdict in a result.
type Outcome uint8

// The outcomes of version 1.
const (
	OutcomeApproved  Outcome = 0
	OutcomeDeclined  Outcome = 1
	OutcomeStepUp    Outcome = 2 // a stronger proof is wanted
	OutcomeBound     Outcome = 3 // the pending binding may be committed
	OutcomeUnbound   Outcome = 4
	OutcomeSuspended Outcome = 5
)

// Valid reports whether o is an outcome of version 1.
func (o Outcome) Valid() bool { return o <= OutcomeSuspended }

// String returns the protocol's name of o, or OUTCOME(n) for an unknown one.
func (o Outcome) String() string {
	return name("OUTCOME", uint8(o), 0, "APPROVED", "DECLINED", "STEP_UP", "BOUND", "UNBOUND", "SUSPENDED")
}

// MCCGroup is the set of merchant categories (ISO 18245) an offline grant
// covers. A group this version does not know allows nothing.
type MCCGroup uint8

// MCCGroupTransit covers transit and parking: 4111, 4112, 4131, 4784, 7523.
const MCCGroupTransit MCCGroup = 1

// Allows reports whether the group contains the merchant category code.
func (g MCCGroup) Allows(mcc uint16) bool {
	if g != MCCGroupTransit {
		return false
	}
	switch mcc {
	case 4111, 4112, 4131, 4784, 7523:
		return true
	}
	return false
}

// String returns the group's name, or MCC_GROUP(n) for an unknown one.
func (g MCCGroup) String() string { return name("MCC_GROUP", uint8(g), 1, "TRANSIT") }

// name picks the name of v, the first of which belongs to the value first.
func name(kind string, v, first uint8, names ...string) string {
	if i := int(v) - int(first); i >= 0 && i < len(names) {
		return names[i]
	}
	return kind + "(" + strconv.Itoa(int(v)) + ")"
}

// bits joins the names of the bits set in v; an unnamed bit appears as BITn.
func bits(v uint8, names ...string) string {
	if v == 0 {
		return "NONE"
	}
	var set []string
	for i := range 8 {
		switch {
		case v&(1<<i) == 0:
		case i < len(names):
			set = append(set, names[i])
		default:
			set = append(set, "BIT"+strconv.Itoa(i))
		}
	}
	return strings.Join(set, "|")
}
