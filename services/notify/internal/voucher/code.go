package voucher

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
)

const (
	// KeyBytes is the length of the key that codes are made from.
	KeyBytes = 32

	symbolBits   = 5
	bodySymbols  = 11
	checkSymbols = 4
	codeSymbols  = bodySymbols + checkSymbols
	groupSymbols = 5
	bodyBits     = bodySymbols * symbolBits  // 55
	checkBits    = checkSymbols * symbolBits // 20

	alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford's base32
)

// A code is 15 symbols of Crockford's base32: a body of 55 bits and a check of 20.
//
//	body  = the first 55 bits of HMAC-SHA-256(K_body, voucher id ‖ attempt)
//	check = the first 20 bits of AES-256(K_check, body)
//
// The body is as good as random to anybody without the key, and the same voucher always has the same code, so that a
// repeated request can show it again although it is not stored. The check is a MAC: a made-up code passes with
// probability 2^-20. A plain 20-bit MAC would also let one single-symbol typo in a million pass, so [Codes.Code] takes
// the first attempt whose check no body that differs in one symbol shares. Typos in the check itself never pass.

// Codes makes and checks the codes of vouchers. It is safe for concurrent use.
type Codes struct {
	body  []byte
	hash  []byte
	check cipher.Block
}

// NewCodes derives the keys of bodies, checks and hashes from one key of [KeyBytes] bytes.
func NewCodes(key []byte) (*Codes, error) {
	if len(key) != KeyBytes {
		return nil, fmt.Errorf("the code key has %d bytes, want %d", len(key), KeyBytes)
	}
	check, err := aes.NewCipher(mac(key, []byte("armlet voucher check v1")))
	if err != nil {
		return nil, err
	}
	return &Codes{
		body:  mac(key, []byte("armlet voucher body v1")),
		hash:  mac(key, []byte("armlet voucher hash v1")),
		check: check,
	}, nil
}

// Code is the code of a voucher, in groups of five: "7ZQ0K-3M9TB-X52HD". Secret.
func (c *Codes) Code(voucherID string) string {
	body, _ := c.bodyOf(voucherID)
	return format(body, c.checkOf(body))
}

// Hash is what is stored of a voucher's code.
func (c *Codes) Hash(voucherID string) []byte {
	body, _ := c.bodyOf(voucherID)
	return c.hashOf(body)
}

// Parse checks a code as typed and gives the hash to look it up by. It is false for codes that were never issued here,
// with certainty for any single wrong symbol and otherwise with probability 1 - 2^-20. Case, hyphens and spaces do not
// matter, and the look-alikes i, l and o are read as 1, 1 and 0.
func (c *Codes) Parse(code string) (hash []byte, ok bool) {
	body, check, ok := parse(code)
	if !ok || check != c.checkOf(body) {
		return nil, false
	}
	return c.hashOf(body), true
}

// bodyOf also tells how many attempts were rejected.
func (c *Codes) bodyOf(voucherID string) (body uint64, rejected byte) {
	for ; ; rejected++ {
		sum := mac(c.body, append([]byte(voucherID), rejected))
		body = binary.BigEndian.Uint64(sum) >> (64 - bodyBits)
		if !c.confusable(body) {
			return body, rejected
		}
	}
}

// confusable reports whether a body that differs in one symbol has the same check. It happens to one body in 3,000.
func (c *Codes) confusable(body uint64) bool {
	check := c.checkOf(body)
	for i := range bodySymbols {
		for delta := uint64(1); delta < 1<<symbolBits; delta++ {
			if c.checkOf(body^delta<<(i*symbolBits)) == check {
				return true
			}
		}
	}
	return false
}

// checkOf is one block of AES, a pseudo-random function of its fixed-length input.
func (c *Codes) checkOf(body uint64) uint32 {
	var block [aes.BlockSize]byte
	binary.BigEndian.PutUint64(block[:], body)
	c.check.Encrypt(block[:], block[:])
	return binary.BigEndian.Uint32(block[:]) >> (32 - checkBits)
}

func (c *Codes) hashOf(body uint64) []byte {
	return mac(c.hash, binary.BigEndian.AppendUint64(nil, body))
}

func mac(key, data []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(data)
	return m.Sum(nil)
}

func format(body uint64, check uint32) string {
	var b strings.Builder
	for i := range codeSymbols {
		if i > 0 && i%groupSymbols == 0 {
			b.WriteByte('-')
		}
		var symbol uint64
		if i < bodySymbols {
			symbol = body >> ((bodySymbols - 1 - i) * symbolBits)
		} else {
			symbol = uint64(check) >> ((codeSymbols - 1 - i) * symbolBits)
		}
		b.WriteByte(alphabet[symbol&(1<<symbolBits-1)])
	}
	return b.String()
}

func parse(code string) (body uint64, check uint32, ok bool) {
	n := 0
	for i := range len(code) {
		if code[i] == '-' || code[i] == ' ' {
			continue
		}
		symbol, known := symbolOf(code[i])
		switch {
		case !known || n == codeSymbols:
			return 0, 0, false
		case n < bodySymbols:
			body = body<<symbolBits | uint64(symbol)
		default:
			check = check<<symbolBits | symbol
		}
		n++
	}
	return body, check, n == codeSymbols
}

func symbolOf(b byte) (uint32, bool) {
	if b >= 'a' && b <= 'z' {
		b -= 'a' - 'A'
	}
	switch b {
	case 'I', 'L':
		return 1, true
	case 'O':
		return 0, true
	}
	i := strings.IndexByte(alphabet, b)
	return uint32(max(i, 0)), i >= 0
}
