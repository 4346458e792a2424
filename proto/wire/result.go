package wire

import "encoding/binary"

// Sizes of a result and of an offline grant, in bytes.
const (
	resultFixed = 9
	// GrantLen is the length of an offline grant.
	GrantLen = 32
	// MaxResultFrame is the largest result with its tag.
	MaxResultFrame = resultFixed + GrantLen + TagLen
)

// Result is the platform's last word to the band. On the wire it is 9 bytes and
// a grant if there is one, then a tag of 8 bytes; see TagResult.
type Result struct {
	Suite        Suite
	Outcome      Outcome
	AlertPattern uint8  // how the band vibrates; the firmware's own numbering
	CounterEcho  uint32 // the counter of the response this answers
	Grant        *Grant // nil if there is none
}

func (r Result) validate() error {
	switch {
	case !r.Suite.Valid():
		return at(ErrSuite, "result", "suite")
	case !r.Outcome.Valid():
		return at(ErrOutcome, "result", "outcome")
	}
	return nil
}

// AppendBinary appends the result without its tag to b. It returns ErrSuite,
// ErrOutcome or ErrCurrency for a value that the layout cannot carry.
func (r Result) AppendBinary(b []byte) ([]byte, error) {
	if err := r.validate(); err != nil {
		return b, err
	}
	size := byte(0)
	if r.Grant != nil {
		if err := r.Grant.validate(); err != nil {
			return b, err
		}
		size = GrantLen
	}
	b = append(b, typeResult, byte(r.Suite), byte(r.Outcome), r.AlertPattern)
	b = binary.BigEndian.AppendUint32(b, r.CounterEcho)
	b = append(b, size)
	if r.Grant == nil {
		return b, nil
	}
	return r.Grant.AppendBinary(b)
}

// MarshalBinary is AppendBinary to a new slice.
func (r Result) MarshalBinary() ([]byte, error) {
	return r.AppendBinary(make([]byte, 0, MaxResultFrame))
}

// ParseResult reads a result frame, that is the result and its tag. It does not
// verify the tag; see VerifyResultTag. Besides the errors of AppendBinary it
// returns ErrType, ErrLength and ErrReserved.
func ParseResult(b []byte) (Result, Tag, error) {
	if len(b) < resultFixed+TagLen {
		return Result{}, Tag{}, at(ErrLength, "result", "frame")
	}
	if b[0] != typeResult {
		return Result{}, Tag{}, at(ErrType, "result", "type")
	}
	r := Result{
		Suite:        Suite(b[1]),
		Outcome:      Outcome(b[2]),
		AlertPattern: b[3],
		CounterEcho:  binary.BigEndian.Uint32(b[4:]),
	}
	if err := r.validate(); err != nil {
		return Result{}, Tag{}, err
	}
	size := int(b[8])
	if size != 0 && size != GrantLen || len(b) != resultFixed+size+TagLen {
		return Result{}, Tag{}, at(ErrLength, "result", "grant or frame")
	}
	rest := b[resultFixed:]
	if size == GrantLen {
		g, err := ParseGrant(rest[:GrantLen])
		if err != nil {
			return Result{}, Tag{}, err
		}
		r.Grant = &g
	}
	return r, Tag(rest[size:]), nil
}

// Grant lets a band pay offline within limits, for at most 24 hours. It travels
// inside a result, 32 bytes. The band enforces it and clearing checks it again.
type Grant struct {
	ID              uint32
	Alias           Alias  // random per grant
	ValidUntil      uint32 // Unix seconds
	MaxTap          uint32 // largest single tap, in minor units
	CumulativeLimit uint32 // largest sum, in minor units
	MaxTaps         uint16
	Currency        string // ISO 4217, three capital letters
	Exponent        uint8  // decimal places of the minor unit
	MCCGroup        MCCGroup
}

func (g Grant) validate() error {
	if !validCurrency(g.Currency) {
		return at(ErrCurrency, "grant", "currency")
	}
	return nil
}

// AppendBinary appends the 32 bytes of g to b, or returns ErrCurrency.
func (g Grant) AppendBinary(b []byte) ([]byte, error) {
	if err := g.validate(); err != nil {
		return b, err
	}
	b = binary.BigEndian.AppendUint32(b, g.ID)
	b = append(b, g.Alias[:]...)
	b = binary.BigEndian.AppendUint32(b, g.ValidUntil)
	b = binary.BigEndian.AppendUint32(b, g.MaxTap)
	b = binary.BigEndian.AppendUint32(b, g.CumulativeLimit)
	b = binary.BigEndian.AppendUint16(b, g.MaxTaps)
	b = append(b, g.Currency...)
	return append(b, g.Exponent, byte(g.MCCGroup), 0), nil
}

// MarshalBinary is AppendBinary to a new slice.
func (g Grant) MarshalBinary() ([]byte, error) { return g.AppendBinary(make([]byte, 0, GrantLen)) }

// ParseGrant reads a grant. It returns ErrLength, ErrReserved or ErrCurrency.
// An unknown MCCGroup is kept; it allows nothing.
func ParseGrant(b []byte) (Grant, error) {
	if len(b) != GrantLen {
		return Grant{}, at(ErrLength, "grant", "whole")
	}
	if b[31] != 0 {
		return Grant{}, at(ErrReserved, "grant", "byte 31")
	}
	g := Grant{
		ID:              binary.BigEndian.Uint32(b),
		Alias:           Alias(b[4:12]),
		ValidUntil:      binary.BigEndian.Uint32(b[12:]),
		MaxTap:          binary.BigEndian.Uint32(b[16:]),
		CumulativeLimit: binary.BigEndian.Uint32(b[20:]),
		MaxTaps:         binary.BigEndian.Uint16(b[24:]),
		Currency:        string(b[26:29]),
		Exponent:        b[29],
		MCCGroup:        MCCGroup(b[30]),
	}
	if err := g.validate(); err != nil {
		return Grant{}, err
	}
	return g, nil
}
