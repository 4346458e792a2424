package wire

import (
	"crypto/aes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// prf is a pseudorandom function under a fixed key; it also serves as a MAC.
type prf func(message []byte) []byte

func hmacPRF(key []byte) prf {
	return func(message []byte) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write(message)
		return mac.Sum(nil)
	}
}

func cmacPRF(key []byte) prf {
	return func(message []byte) []byte {
		mac := cmac([shortKeyLen]byte(key), message)
		return mac[:]
	}
}

// linkPRF is the suite's link MAC: CMAC for SuiteCMAC, HMAC-SHA-256 for the
// others. It returns ErrSuite or ErrKey.
func linkPRF(suite Suite, key Key) (prf, error) {
	switch {
	case !suite.Valid():
		return nil, at(ErrSuite, "link MAC", "suite")
	case key.Len() != suite.KeyLen():
		return nil, at(ErrKey, "link MAC", "key")
	case suite == SuiteCMAC:
		return cmacPRF(key.raw()), nil
	}
	return hmacPRF(key.raw()), nil
}

// counterKDF derives size bytes as NIST SP 800-108r1 section 4.1 does, counter
// and length in 32 bits: f([i]_32 ‖ label ‖ 0x00 ‖ context ‖ [size in bits]_32).
func counterKDF(f prf, label string, context []byte, size int) []byte {
	var out []byte
	for i := uint32(1); len(out) < size; i++ {
		input := binary.BigEndian.AppendUint32(nil, i)
		input = append(input, label...)
		input = append(input, 0)
		input = append(input, context...)
		input = binary.BigEndian.AppendUint32(input, uint32(size)*8)
		out = append(out, f(input)...)
	}
	return out[:size]
}

// cmac is AES-128-CMAC, RFC 4493 section 2.4.
func cmac(key [shortKeyLen]byte, message []byte) [aes.BlockSize]byte {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // aes refuses nothing but the length, which the type fixes
	}
	var last [aes.BlockSize]byte
	block.Encrypt(last[:], last[:])
	last = double(last) // K1

	n := 0 // length of everything before the last block
	if len(message) > 0 {
		n = (len(message) - 1) / aes.BlockSize * aes.BlockSize
	}
	tail := message[n:]
	if len(tail) < aes.BlockSize {
		last = double(last) // K2, for a last block that is padded
		last[len(tail)] ^= 0x80
	}
	xor(&last, tail)

	var x [aes.BlockSize]byte
	for i := 0; i < n; i += aes.BlockSize {
		xor(&x, message[i:i+aes.BlockSize])
		block.Encrypt(x[:], x[:])
	}
	xor(&x, last[:])
	block.Encrypt(x[:], x[:])
	return x
}

// double multiplies by x in GF(2^128), without a branch on the secret.
func double(b [aes.BlockSize]byte) [aes.BlockSize]byte {
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	carry := hi >> 63
	binary.BigEndian.PutUint64(b[:8], hi<<1|lo>>63)
	binary.BigEndian.PutUint64(b[8:], lo<<1^(0x87&-carry))
	return b
}

func xor(dst *[aes.BlockSize]byte, src []byte) {
	for i, b := range src {
		dst[i] ^= b
	}
}
