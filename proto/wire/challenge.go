package wire

import (
	"encoding/binary"
	"time"
	"unicode/utf8"
)

// Sizes of a challenge, in bytes.
const (
	challengeFixed = 84
	// MaxDisplay is the longest text a challenge can make the band show.
	MaxDisplay = 24
	// MaxChallengeFrame is the largest challenge with its tag.
	MaxChallengeFrame = challengeFixed + MaxDisplay + TagLen
)

// Challenge is what the platform asks a band to agree to. On the wire it is 84
// bytes and the display text, then a tag of 8 bytes; see TagChallenge.
type Challenge struct {
	Suite     Suite // pinned by the registered credential
	Purpose   Purpose
	Require   Require
	Nonce     Nonce
	BindingID BindingID
	Amount    uint64   // in minor units of Currency
	Currency  string   // ISO 4217, three capital letters; NoCurrency without an amount
	Exponent  uint8    // decimal places of the minor unit
	Merchant  [16]byte // merchant_uid; for a claim account_ref, for presence the audience id
	MCC       uint16   // merchant category code, ISO 18245
	Intent    [16]byte // intent_uid
	IssuedAt  uint32   // Unix seconds
	TTL       uint16   // time to live in seconds
	Epoch     uint16   // of the partner master key
	Display   string   // what the band shows, UTF-8, at most MaxDisplay bytes
}

// Issued is IssuedAt as a time in UTC.
func (c Challenge) Issued() time.Time { return time.Unix(int64(c.IssuedAt), 0).UTC() }

// Expires is the moment from which the challenge is too old, in UTC.
func (c Challenge) Expires() time.Time {
	return c.Issued().Add(time.Duration(c.TTL) * time.Second)
}

func (c Challenge) validate() error {
	switch {
	case !c.Suite.Valid():
		return at(ErrSuite, "challenge", "suite")
	case !c.Purpose.Valid():
		return at(ErrPurpose, "challenge", "purpose")
	case c.Require&^requireAll != 0:
		return at(ErrReserved, "challenge", "require bits")
	case !validCurrency(c.Currency):
		return at(ErrCurrency, "challenge", "currency")
	case len(c.Display) > MaxDisplay || !utf8.ValidString(c.Display):
		return at(ErrDisplay, "challenge", "display")
	}
	return nil
}

// AppendBinary appends the challenge without its tag, the C of the protocol's
// text, to b. It returns ErrSuite, ErrPurpose, ErrReserved, ErrCurrency or
// ErrDisplay for a value that the layout cannot carry.
func (c Challenge) AppendBinary(b []byte) ([]byte, error) {
	if err := c.validate(); err != nil {
		return b, err
	}
	b = append(b, typeChallenge, byte(c.Suite), byte(c.Purpose), byte(c.Require))
	b = append(b, c.Nonce[:]...)
	b = append(b, c.BindingID[:]...)
	b = binary.BigEndian.AppendUint64(b, c.Amount)
	b = append(b, c.Currency...)
	b = append(b, c.Exponent)
	b = append(b, c.Merchant[:]...)
	b = binary.BigEndian.AppendUint16(b, c.MCC)
	b = append(b, c.Intent[:]...)
	b = binary.BigEndian.AppendUint32(b, c.IssuedAt)
	b = binary.BigEndian.AppendUint16(b, c.TTL)
	b = binary.BigEndian.AppendUint16(b, c.Epoch)
	b = append(b, 0, byte(len(c.Display)))
	return append(b, c.Display...), nil
}

// MarshalBinary is AppendBinary to a new slice.
func (c Challenge) MarshalBinary() ([]byte, error) {
	return c.AppendBinary(make([]byte, 0, MaxChallengeFrame))
}

// ParseChallengeBody reads a challenge without its tag, the C that the platform
// stores. Besides the errors of AppendBinary it returns ErrType and ErrLength.
func ParseChallengeBody(b []byte) (Challenge, error) {
	if len(b) < challengeFixed {
		return Challenge{}, at(ErrLength, "challenge", "whole")
	}
	if b[0] != typeChallenge {
		return Challenge{}, at(ErrType, "challenge", "type")
	}
	n := int(b[83])
	if b[82] != 0 {
		return Challenge{}, at(ErrReserved, "challenge", "byte 82")
	}
	if n > MaxDisplay {
		return Challenge{}, at(ErrDisplay, "challenge", "display length")
	}
	if len(b) != challengeFixed+n {
		return Challenge{}, at(ErrLength, "challenge", "whole")
	}
	c := Challenge{
		Suite:     Suite(b[1]),
		Purpose:   Purpose(b[2]),
		Require:   Require(b[3]),
		Nonce:     Nonce(b[4:20]),
		BindingID: BindingID(b[20:28]),
		Amount:    binary.BigEndian.Uint64(b[28:]),
		Currency:  string(b[36:39]),
		Exponent:  b[39],
		Merchant:  [16]byte(b[40:56]),
		MCC:       binary.BigEndian.Uint16(b[56:]),
		Intent:    [16]byte(b[58:74]),
		IssuedAt:  binary.BigEndian.Uint32(b[74:]),
		TTL:       binary.BigEndian.Uint16(b[78:]),
		Epoch:     binary.BigEndian.Uint16(b[80:]),
		Display:   string(b[challengeFixed:]),
	}
	if err := c.validate(); err != nil {
		return Challenge{}, err
	}
	return c, nil
}

// ParseChallenge reads a challenge frame, that is the challenge and its tag.
// It does not verify the tag; see VerifyChallengeTag. It returns the errors of
// ParseChallengeBody.
func ParseChallenge(b []byte) (Challenge, Tag, error) {
	if len(b) < challengeFixed+TagLen {
		return Challenge{}, Tag{}, at(ErrLength, "challenge", "frame")
	}
	body, tag := b[:len(b)-TagLen], Tag(b[len(b)-TagLen:])
	c, err := ParseChallengeBody(body)
	if err != nil {
		return Challenge{}, Tag{}, err
	}
	return c, tag, nil
}

// FitDisplay shortens s to what a challenge can carry: at most MaxDisplay bytes
// of UTF-8, cut between characters. Bytes that are not UTF-8 are left out.
func FitDisplay(s string) string {
	fit := make([]byte, 0, MaxDisplay)
	for i, r := range s {
		if r == utf8.RuneError {
			if _, width := utf8.DecodeRuneInString(s[i:]); width == 1 {
				continue
			}
		}
		if len(fit)+utf8.RuneLen(r) > MaxDisplay {
			break
		}
		fit = utf8.AppendRune(fit, r)
	}
	return string(fit)
}
