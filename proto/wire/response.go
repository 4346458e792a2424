package wire

import "encoding/binary"

// Sizes and special values of a response.
const (
	responseFixed = 16
	roundLen      = 8
	// MaxRounds is the largest number of RTT rounds.
	MaxRounds = 4
	// NoRTT in MinRTT means that no round-trip time was measured.
	NoRTT = 0xFFFF
	// MaxResponseFrame is the largest response with its authenticator, in bytes.
	MaxResponseFrame = responseFixed + MaxRounds*roundLen + 64
)

// Round is one RTT round as the band saw it.
type Round struct {
	BandNonce [4]byte // what the band sent
	Answer    [4]byte // what the phone answered; see PongAnswer
}

// Response is a band's answer to a challenge. On the wire it is 16 bytes and 8
// for each round, then the suite's authenticator; see SignResponse.
type Response struct {
	Suite       Suite // equal to the challenge's
	Status      Status
	Flags       Flags
	Counter     uint32 // strictly increasing
	MinutesWorn uint16 // since strapped on and unlocked, saturating
	Firmware    uint16 // security version of the firmware
	MinRTT      uint16 // smallest round-trip time in 100 µs, or NoRTT
	Proximity   Proximity
	Rounds      []Round // at most MaxRounds; nil if there are none
}

func (r Response) validate() error {
	switch {
	case !r.Suite.Valid():
		return at(ErrSuite, "response", "suite")
	case !r.Status.Valid():
		return at(ErrStatus, "response", "status")
	case r.Flags&^flagsAll != 0:
		return at(ErrReserved, "response", "flags")
	case !r.Proximity.Valid():
		return at(ErrProximity, "response", "proximity method")
	case len(r.Rounds) > MaxRounds:
		return at(ErrRounds, "response", "rounds")
	}
	return nil
}

// AppendBinary appends the response without its authenticator, the R of the
// protocol's text, to b. It returns ErrSuite, ErrStatus, ErrReserved,
// ErrProximity or ErrRounds for a value that the layout cannot carry.
func (r Response) AppendBinary(b []byte) ([]byte, error) {
	if err := r.validate(); err != nil {
		return b, err
	}
	b = append(b, typeResponse, byte(r.Suite), byte(r.Status), byte(r.Flags))
	b = binary.BigEndian.AppendUint32(b, r.Counter)
	b = binary.BigEndian.AppendUint16(b, r.MinutesWorn)
	b = binary.BigEndian.AppendUint16(b, r.Firmware)
	b = binary.BigEndian.AppendUint16(b, r.MinRTT)
	b = append(b, byte(r.Proximity), byte(len(r.Rounds)))
	for _, round := range r.Rounds {
		b = append(b, round.BandNonce[:]...)
		b = append(b, round.Answer[:]...)
	}
	return b, nil
}

// MarshalBinary is AppendBinary to a new slice.
func (r Response) MarshalBinary() ([]byte, error) {
	return r.AppendBinary(make([]byte, 0, MaxResponseFrame))
}

// ParseResponse reads a response frame, that is the response and its
// authenticator, which is a copy. It does not verify the authenticator; see
// VerifyResponse. Besides the errors of AppendBinary it returns ErrType and
// ErrLength.
func ParseResponse(b []byte) (Response, []byte, error) {
	if len(b) < responseFixed {
		return Response{}, nil, at(ErrLength, "response", "frame")
	}
	if b[0] != typeResponse {
		return Response{}, nil, at(ErrType, "response", "type")
	}
	r := Response{
		Suite:       Suite(b[1]),
		Status:      Status(b[2]),
		Flags:       Flags(b[3]),
		Counter:     binary.BigEndian.Uint32(b[4:]),
		MinutesWorn: binary.BigEndian.Uint16(b[8:]),
		Firmware:    binary.BigEndian.Uint16(b[10:]),
		MinRTT:      binary.BigEndian.Uint16(b[12:]),
		Proximity:   Proximity(b[14]),
	}
	rounds := int(b[15])
	if rounds > MaxRounds {
		return Response{}, nil, at(ErrRounds, "response", "rounds")
	}
	if err := r.validate(); err != nil {
		return Response{}, nil, err
	}
	end := responseFixed + rounds*roundLen
	if len(b) != end+r.Suite.AuthenticatorLen() {
		return Response{}, nil, at(ErrLength, "response", "frame")
	}
	for i := responseFixed; i < end; i += roundLen {
		r.Rounds = append(r.Rounds, Round{BandNonce: [4]byte(b[i:]), Answer: [4]byte(b[i+4:])})
	}
	return r, append([]byte(nil), b[end:]...), nil
}
