package wire

import (
	"encoding/binary"
	"fmt"
)

// Lengths of the text forms of a UID, in characters.
const (
	UIDTextLen = 26 // as in resource names
	UIDQRLen   = 27 // with the check symbol
)

// crockford is the alphabet of Douglas Crockford's base32; the last five
// symbols occur only as check symbols.
const crockford = "0123456789abcdefghjkmnpqrstvwxyz*~$=u"

// UID is a device_uid: the partner's number in 4 bytes, then 12 bytes that the
// partner chooses. In a range lot those are the lot's number in 4 bytes and a
// serial number in 8. It is never advertised over the air.
type UID [16]byte

// NewRangeUID returns the identity of one device of a range lot.
func NewRangeUID(partnerNo, lotNo uint32, serial uint64) UID {
	var u UID
	binary.BigEndian.PutUint32(u[0:], partnerNo)
	binary.BigEndian.PutUint32(u[4:], lotNo)
	binary.BigEndian.PutUint64(u[8:], serial)
	return u
}

// PartnerNo is the number of the partner that made the device.
func (u UID) PartnerNo() uint32 { return binary.BigEndian.Uint32(u[0:]) }

// LotNo is the number of the lot. It means something only if the device
// belongs to a range lot; the UID alone does not tell.
func (u UID) LotNo() uint32 { return binary.BigEndian.Uint32(u[4:]) }

// Serial is the serial number within a range lot; see LotNo.
func (u UID) Serial() uint64 { return binary.BigEndian.Uint64(u[8:]) }

// IsZero reports whether u is all zeros, which no device is.
func (u UID) IsZero() bool { return u == UID{} }

// String returns the canonical text form: 26 characters of lower-case
// Crockford base32, the first of them 0 to 7.
func (u UID) String() string {
	text := u.text()
	return string(text[:])
}

// QR returns the text form for a QR code: String followed by Crockford's check
// symbol, which is the UID as a number modulo 37.
func (u UID) QR() string {
	text := u.text()
	return string(append(text[:], crockford[u.mod37()]))
}

func (u UID) text() (text [UIDTextLen]byte) {
	hi, lo := binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:])
	for i := UIDTextLen - 1; i >= 0; i-- {
		text[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return text
}

func (u UID) mod37() int {
	rest := 0
	for _, b := range u {
		rest = (rest<<8 | int(b)) % 37
	}
	return rest
}

// ParseUID reads the text form. As Crockford's base32 asks, it accepts either
// case, i and l for 1, and o for 0; String gives the canonical form. It returns
// ErrUID for anything else, hyphens and a first character above 7 included.
func ParseUID(s string) (UID, error) {
	if len(s) != UIDTextLen {
		return UID{}, fmt.Errorf("%w: want %d characters, got %d", ErrUID, UIDTextLen, len(s))
	}
	var hi, lo uint64
	for i := range len(s) {
		v := symbol(s[i])
		if v < 0 || v > 31 || i == 0 && v > 7 {
			return UID{}, fmt.Errorf("%w: character %d does not belong there", ErrUID, i+1)
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(v)
	}
	var u UID
	binary.BigEndian.PutUint64(u[:8], hi)
	binary.BigEndian.PutUint64(u[8:], lo)
	return u, nil
}

// ParseQR reads the form that QR writes, as leniently as ParseUID does. It
// returns ErrUID for a malformed text and ErrCheckSymbol for a misread one.
func ParseQR(s string) (UID, error) {
	if len(s) != UIDQRLen {
		return UID{}, fmt.Errorf("%w: want %d characters, got %d", ErrUID, UIDQRLen, len(s))
	}
	u, err := ParseUID(s[:UIDTextLen])
	if err != nil {
		return UID{}, err
	}
	check := symbol(s[UIDTextLen])
	if check < 0 {
		return UID{}, fmt.Errorf("%w: character %d does not belong there", ErrUID, UIDQRLen)
	}
	if check != u.mod37() {
		return UID{}, ErrCheckSymbol
	}
	return u, nil
}

// AppendText appends the text form of u to b; it never fails.
func (u UID) AppendText(b []byte) ([]byte, error) {
	text := u.text()
	return append(b, text[:]...), nil
}

// MarshalText returns the text form of u; it never fails.
func (u UID) MarshalText() ([]byte, error) { return u.AppendText(nil) }

// UnmarshalText is ParseUID; u is unchanged when it fails.
func (u *UID) UnmarshalText(text []byte) error {
	parsed, err := ParseUID(string(text))
	if err == nil {
		*u = parsed
	}
	return err
}

// symbol returns the value of a base32 or check symbol, or -1.
func symbol(c byte) int {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	switch c {
	case 'i', 'l':
		return 1
	case 'o':
		return 0
	}
	for v := range len(crockford) {
		if crockford[v] == c {
			return v
		}
	}
	return -1
}
