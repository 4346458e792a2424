package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
)

// roundMessageLen is the length of a ping or pong in bytes.
const roundMessageLen = 6

// Ping is what the band sends in RTT round Index, 6 bytes.
type Ping struct {
	Index uint8 // 0 to MaxRounds-1
	Nonce [4]byte
}

// Pong is what the phone answers in RTT round Index, 6 bytes.
type Pong struct {
	Index  uint8 // 0 to MaxRounds-1
	Answer [4]byte
}

// AppendBinary appends the 6 bytes of p to b, or returns ErrRounds.
func (p Ping) AppendBinary(b []byte) ([]byte, error) {
	return appendRound(b, typePing, p.Index, p.Nonce)
}

// MarshalBinary is AppendBinary to a new slice.
func (p Ping) MarshalBinary() ([]byte, error) { return p.AppendBinary(nil) }

// AppendBinary appends the 6 bytes of p to b, or returns ErrRounds.
func (p Pong) AppendBinary(b []byte) ([]byte, error) {
	return appendRound(b, typePong, p.Index, p.Answer)
}

// MarshalBinary is AppendBinary to a new slice.
func (p Pong) MarshalBinary() ([]byte, error) { return p.AppendBinary(nil) }

// ParsePing reads a ping. It returns ErrLength, ErrType or ErrRounds.
func ParsePing(b []byte) (Ping, error) {
	if err := checkRound(b, typePing); err != nil {
		return Ping{}, err
	}
	return Ping{Index: b[1], Nonce: [4]byte(b[2:])}, nil
}

// ParsePong reads a pong. It returns ErrLength, ErrType or ErrRounds.
func ParsePong(b []byte) (Pong, error) {
	if err := checkRound(b, typePong); err != nil {
		return Pong{}, err
	}
	return Pong{Index: b[1], Answer: [4]byte(b[2:])}, nil
}

func appendRound(b []byte, kind, index byte, data [4]byte) ([]byte, error) {
	if index >= MaxRounds {
		return b, at(ErrRounds, "RTT round", "index")
	}
	b = append(b, kind, index)
	return append(b, data[:]...), nil
}

func checkRound(b []byte, kind byte) error {
	switch {
	case len(b) != roundMessageLen:
		return at(ErrLength, "RTT round", "whole")
	case b[0] != kind:
		return at(ErrType, "RTT round", "type")
	case b[1] >= MaxRounds:
		return at(ErrRounds, "RTT round", "index")
	}
	return nil
}

// PongAnswer is what the phone answers to the band's nonce in round index of
// the challenge with the given nonce: HMAC-SHA256 under the pong key, first 4
// bytes. It returns ErrKey without a key and ErrRounds for an index beyond the
// last round.
func PongAnswer(pongKey Key, nonce Nonce, index uint8, bandNonce [4]byte) ([4]byte, error) {
	if pongKey.IsZero() {
		return [4]byte{}, at(ErrKey, "RTT round", "pong key")
	}
	if index >= MaxRounds {
		return [4]byte{}, at(ErrRounds, "RTT round", "index")
	}
	mac := hmac.New(sha256.New, pongKey.raw())
	mac.Write([]byte(dstPong))
	mac.Write(nonce[:])
	mac.Write([]byte{index})
	mac.Write(bandNonce[:])
	return [4]byte(mac.Sum(nil)), nil
}

// VerifyRounds checks every answer in the rounds of a response to the challenge
// with the given nonce. It returns ErrBadRound if any is wrong, ErrRounds if
// there are none or too many, and ErrKey without a key.
func VerifyRounds(pongKey Key, nonce Nonce, rounds []Round) error {
	if len(rounds) == 0 || len(rounds) > MaxRounds {
		return at(ErrRounds, "response", "rounds")
	}
	same := 1
	for i, round := range rounds {
		want, err := PongAnswer(pongKey, nonce, uint8(i), round.BandNonce)
		if err != nil {
			return err
		}
		same &= subtle.ConstantTimeCompare(want[:], round.Answer[:])
	}
	if same != 1 {
		return ErrBadRound
	}
	return nil
}
