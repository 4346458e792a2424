package wire

import "encoding/binary"

// Sizes of the two messages of an offline tap, in bytes.
const (
	// TerminalTapLen is the length of what the terminal sends.
	TerminalTapLen = 32
	// OfflineTapLen is the length of what the band answers, without authenticator.
	OfflineTapLen = 24
)

// TerminalTap is what a terminal asks of a band in an offline tap, 32 bytes.
// It carries no tag: the band decides by its grant alone.
type TerminalTap struct {
	TerminalID    TerminalID
	Unpredictable [8]byte // random, makes the answer fresh
	FareCap       uint32  // in minor units
	Currency      string  // ISO 4217, three capital letters
	MCC           uint16  // merchant category code, ISO 18245
	Time          uint32  // the terminal's clock, Unix seconds
}

// AppendBinary appends the 32 bytes of t to b, or returns ErrCurrency.
func (t TerminalTap) AppendBinary(b []byte) ([]byte, error) {
	if !validCurrency(t.Currency) {
		return b, at(ErrCurrency, "terminal tap", "currency")
	}
	b = append(b, typeTerminal, 0)
	b = append(b, t.TerminalID[:]...)
	b = append(b, t.Unpredictable[:]...)
	b = binary.BigEndian.AppendUint32(b, t.FareCap)
	b = append(b, t.Currency...)
	b = binary.BigEndian.AppendUint16(b, t.MCC)
	b = binary.BigEndian.AppendUint32(b, t.Time)
	return append(b, 0), nil
}

// MarshalBinary is AppendBinary to a new slice.
func (t TerminalTap) MarshalBinary() ([]byte, error) {
	return t.AppendBinary(make([]byte, 0, TerminalTapLen))
}

// ParseTerminalTap reads what a terminal sent. It returns ErrLength, ErrType,
// ErrReserved or ErrCurrency.
func ParseTerminalTap(b []byte) (TerminalTap, error) {
	switch {
	case len(b) != TerminalTapLen:
		return TerminalTap{}, at(ErrLength, "terminal tap", "whole")
	case b[0] != typeTerminal:
		return TerminalTap{}, at(ErrType, "terminal tap", "type")
	case b[1] != 0 || b[31] != 0:
		return TerminalTap{}, at(ErrReserved, "terminal tap", "bytes 1 and 31")
	case !validCurrency(string(b[22:25])):
		return TerminalTap{}, at(ErrCurrency, "terminal tap", "currency")
	}
	return TerminalTap{
		TerminalID:    TerminalID(b[2:10]),
		Unpredictable: [8]byte(b[10:18]),
		FareCap:       binary.BigEndian.Uint32(b[18:]),
		Currency:      string(b[22:25]),
		MCC:           binary.BigEndian.Uint16(b[25:]),
		Time:          binary.BigEndian.Uint32(b[27:]),
	}, nil
}

// OfflineTap is a band's answer to a terminal. On the wire it is 24 bytes, then
// the suite's authenticator; see SignOffline. The band stores the counter and
// the sum before it answers.
type OfflineTap struct {
	Suite      Suite
	Status     Status
	Flags      Flags
	Counter    uint32 // of offline taps alone, strictly increasing
	GrantID    uint32
	Alias      Alias
	Cumulative uint32 // spent under this grant, this tap included, in minor units
}

func (o OfflineTap) validate() error {
	switch {
	case !o.Suite.Valid():
		return at(ErrSuite, "offline tap", "suite")
	case !o.Status.Valid():
		return at(ErrStatus, "offline tap", "status")
	case o.Flags&^flagsAll != 0:
		return at(ErrReserved, "offline tap", "flags")
	}
	return nil
}

// AppendBinary appends the 24 bytes of o without authenticator to b. It returns
// ErrSuite, ErrStatus or ErrReserved for a value that the layout cannot carry.
func (o OfflineTap) AppendBinary(b []byte) ([]byte, error) {
	if err := o.validate(); err != nil {
		return b, err
	}
	b = append(b, typeOffline, byte(o.Suite), byte(o.Status), byte(o.Flags))
	b = binary.BigEndian.AppendUint32(b, o.Counter)
	b = binary.BigEndian.AppendUint32(b, o.GrantID)
	b = append(b, o.Alias[:]...)
	return binary.BigEndian.AppendUint32(b, o.Cumulative), nil
}

// MarshalBinary is AppendBinary to a new slice.
func (o OfflineTap) MarshalBinary() ([]byte, error) {
	return o.AppendBinary(make([]byte, 0, OfflineTapLen+64))
}

// ParseOfflineTap reads a band's answer with its authenticator, which is a copy.
// It does not verify the authenticator; see VerifyOffline. Besides the errors of
// AppendBinary it returns ErrType and ErrLength.
func ParseOfflineTap(b []byte) (OfflineTap, []byte, error) {
	if len(b) < OfflineTapLen {
		return OfflineTap{}, nil, at(ErrLength, "offline tap", "frame")
	}
	if b[0] != typeOffline {
		return OfflineTap{}, nil, at(ErrType, "offline tap", "type")
	}
	o := OfflineTap{
		Suite:      Suite(b[1]),
		Status:     Status(b[2]),
		Flags:      Flags(b[3]),
		Counter:    binary.BigEndian.Uint32(b[4:]),
		GrantID:    binary.BigEndian.Uint32(b[8:]),
		Alias:      Alias(b[12:20]),
		Cumulative: binary.BigEndian.Uint32(b[20:]),
	}
	if err := o.validate(); err != nil {
		return OfflineTap{}, nil, err
	}
	if len(b) != OfflineTapLen+o.Suite.AuthenticatorLen() {
		return OfflineTap{}, nil, at(ErrLength, "offline tap", "frame")
	}
	return o, append([]byte(nil), b[OfflineTapLen:]...), nil
}
