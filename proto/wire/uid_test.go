package wire_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/armlet-pay/armlet/proto/wire"
)

// reference writes u as a number with the alphabet, most significant digit first.
func reference(u wire.UID) (text, check string) {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz*~$=u"
	n := new(big.Int).SetBytes(u[:])
	check = string(alphabet[new(big.Int).Mod(n, big.NewInt(37)).Int64()])
	for range 26 {
		digit := new(big.Int)
		n.DivMod(n, big.NewInt(32), digit)
		text = string(alphabet[digit.Int64()]) + text
	}
	return text, check
}

func TestUIDTextIsTheNumberInCrockfordBase32(t *testing.T) {
	all := wire.UID{}
	for i := range all {
		all[i] = 0xff
	}
	for _, tt := range []struct {
		uid  wire.UID
		text string
	}{
		{wire.UID{}, "00000000000000000000000000"},
		{wire.UID{15: 1}, "00000000000000000000000001"},
		{wire.UID{15: 32}, "00000000000000000000000010"},
		{wire.UID{0: 0x80}, "40000000000000000000000000"},
		{all, "7zzzzzzzzzzzzzzzzzzzzzzzzz"},
	} {
		want, check := reference(tt.uid)
		if got := tt.uid.String(); got != want {
			t.Errorf("%x: text %q, want %q", tt.uid[:], got, want)
		}
		if got := tt.uid.QR(); got != want+check {
			t.Errorf("%x: QR %q, want %q", tt.uid[:], got, want+check)
		}
		if tt.text != want {
			t.Errorf("%x: reference gives %q, known %q", tt.uid[:], want, tt.text)
		}
	}
}

func TestUIDIsReadLenientlyButNotLoosely(t *testing.T) {
	u := wire.NewRangeUID(0x00ff1234, 1, 0x0102030405060708)
	text := u.String()
	if !strings.Contains(text, "1") || !strings.Contains(text, "0") {
		t.Fatalf("%q does not exercise the substitutes", text)
	}
	for _, s := range []string{
		text, strings.ToUpper(text),
		strings.ReplaceAll(text, "1", "i"), strings.ReplaceAll(text, "1", "I"),
		strings.ReplaceAll(text, "1", "l"), strings.ReplaceAll(text, "1", "L"),
		strings.ReplaceAll(text, "0", "o"), strings.ReplaceAll(text, "0", "O"),
	} {
		if got, err := wire.ParseUID(s); err != nil || got != u {
			t.Errorf("%q: got %v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", text[1:], text + "0", "8" + text[1:], "z" + text[1:], text[:25] + "u", text[:25] + "*", text[:25] + "~",
		text[:25] + "-", text[:25] + " ", text[:24] + "é", text[:25] + "\x00", text[:25] + "\xff",
	} {
		if got, err := wire.ParseUID(s); !errors.Is(err, wire.ErrUID) {
			t.Errorf("%q: got %v, %v; want ErrUID", s, got, err)
		}
	}
}

func TestQRNoticesEveryMisreadCharacter(t *testing.T) {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	u := wire.NewRangeUID(42, 7, 123456789)
	qr := u.QR()
	for _, s := range []string{qr, strings.ToUpper(qr)} {
		if got, err := wire.ParseQR(s); err != nil || got != u {
			t.Errorf("%q: got %v, %v", s, got, err)
		}
	}
	for i := range wire.UIDQRLen {
		for _, c := range alphabet {
			read := qr[:i] + string(c) + qr[i+1:]
			if read == qr || i == 0 && c > '7' {
				continue
			}
			if _, err := wire.ParseQR(read); !errors.Is(err, wire.ErrCheckSymbol) {
				t.Errorf("%q read as %q: %v, want ErrCheckSymbol", qr, read, err)
			}
		}
	}
	for i := range wire.UIDTextLen - 1 {
		swapped := []byte(qr)
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
		if string(swapped) == qr || swapped[0] > '7' {
			continue
		}
		if _, err := wire.ParseQR(string(swapped)); !errors.Is(err, wire.ErrCheckSymbol) {
			t.Errorf("%q with neighbours swapped, %q: %v", qr, swapped, err)
		}
	}
	for _, s := range []string{"", qr[1:], qr + "0", qr[:26] + "!", "9" + qr[1:]} {
		if _, err := wire.ParseQR(s); !errors.Is(err, wire.ErrUID) {
			t.Errorf("%q: %v, want ErrUID", s, err)
		}
	}
}

func TestEveryCheckSymbolOccursAndIsRead(t *testing.T) {
	seen := map[string]bool{}
	for serial := range uint64(37) {
		u := wire.NewRangeUID(1, 1, serial)
		qr := u.QR()
		_, check := reference(u)
		if qr[26:] != check {
			t.Errorf("check symbol %q, want %q", qr[26:], check)
		}
		seen[qr[26:]] = true
		if got, err := wire.ParseQR(strings.ToUpper(qr)); err != nil || got != u {
			t.Errorf("%q: got %v, %v", qr, got, err)
		}
	}
	if len(seen) != 37 {
		t.Errorf("%d check symbols, want 37", len(seen))
	}
}

func TestRangeUIDHoldsItsParts(t *testing.T) {
	u := wire.NewRangeUID(0x01020304, 0x05060708, 0x090a0b0c0d0e0f10)
	if u != (wire.UID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}) {
		t.Errorf("layout %x", u[:])
	}
	if u.PartnerNo() != 0x01020304 || u.LotNo() != 0x05060708 || u.Serial() != 0x090a0b0c0d0e0f10 {
		t.Errorf("parts %x %x %x", u.PartnerNo(), u.LotNo(), u.Serial())
	}
	if u.IsZero() || !(wire.UID{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestUIDTravelsInJSONAsText(t *testing.T) {
	in := map[wire.UID]wire.UID{wire.NewRangeUID(1, 2, 3): wire.NewRangeUID(4, 5, 6)}
	text := must(json.Marshal(in))(t)
	out := map[wire.UID]wire.UID{}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	if out[wire.NewRangeUID(1, 2, 3)] != wire.NewRangeUID(4, 5, 6) {
		t.Errorf("%s became %v", text, out)
	}
	kept := wire.NewRangeUID(1, 2, 3)
	if err := kept.UnmarshalText([]byte("nonsense")); !errors.Is(err, wire.ErrUID) || kept != wire.NewRangeUID(1, 2, 3) {
		t.Errorf("failed UnmarshalText: %v, uid %v", err, kept)
	}
}
