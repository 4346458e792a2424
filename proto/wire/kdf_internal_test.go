package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The four examples of RFC 4493 section 4.
func TestCMACGivesTheAnswersOfRFC4493(t *testing.T) {
	key := [16]byte(unhex(t, "2b7e151628aed2a6abf7158809cf4f3c"))
	message := unhex(t, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"+
		"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	for _, tt := range []struct {
		n    int
		want string
	}{
		{0, "bb1d6929e95937287fa37d129b756746"},
		{16, "070a16b46b4d4144f79bdd9dd04a287c"},
		{40, "dfa66747de9ae63030ca32611497c827"},
		{64, "51f0bebf7e3b9d92fc49741779363cfe"},
	} {
		if got := cmac(key, message[:tt.n]); !bytes.Equal(got[:], unhex(t, tt.want)) {
			t.Errorf("%d bytes: %x, want %s", tt.n, got, tt.want)
		}
	}
}

// The doubling has a branchless carry; the subkeys of RFC 4493 section 4 take
// both ways.
func TestSubkeysAreThoseOfRFC4493(t *testing.T) {
	l := [16]byte(unhex(t, "7df76b0c1ab899b33e42f047b91b546f"))
	k1 := double(l)
	if want := unhex(t, "fbeed618357133667c85e08f7236a8de"); !bytes.Equal(k1[:], want) {
		t.Errorf("K1 %x, want %x", k1, want)
	}
	k2 := double(k1)
	if want := unhex(t, "f7ddac306ae266ccf90bc11ee46d513b"); !bytes.Equal(k2[:], want) {
		t.Errorf("K2 %x, want %x", k2, want)
	}
}

// HMAC-SHA-256, test cases 1 and 2 of RFC 4231.
func TestHMACGivesTheAnswersOfRFC4231(t *testing.T) {
	for _, tt := range []struct{ key, message, want string }{
		{"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
			"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		{"4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
			"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
	} {
		if got := hmacPRF(unhex(t, tt.key))(unhex(t, tt.message)); !bytes.Equal(got, unhex(t, tt.want)) {
			t.Errorf("got %x, want %s", got, tt.want)
		}
	}
}

func TestKDFCountsBlocksAndCutsTheLast(t *testing.T) {
	var inputs [][]byte
	f := func(m []byte) []byte {
		inputs = append(inputs, m)
		return bytes.Repeat([]byte{byte(len(inputs))}, 16)
	}
	out := counterKDF(f, "LABEL", []byte("context"), 40)
	want := bytes.Join([][]byte{bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 16), bytes.Repeat([]byte{3}, 8)}, nil)
	if !bytes.Equal(out, want) {
		t.Errorf("output %x, want %x", out, want)
	}
	if len(inputs) != 3 {
		t.Fatalf("%d blocks, want 3", len(inputs))
	}
	for i, got := range inputs {
		want := binary.BigEndian.AppendUint32(nil, uint32(i+1))
		want = append(want, "LABEL\x00context\x00\x00\x01\x40"...)
		if !bytes.Equal(got, want) {
			t.Errorf("block %d: %q, want %q", i+1, got, want)
		}
	}
}

func TestDomainSeparationTagsAreSixteenBytes(t *testing.T) {
	seen := map[string]bool{}
	for name, tag := range map[string]string{
		"CHALLENGE": dstChallenge, "RESPONSE": dstResponse, "RESULT": dstResult, "OFFLINE": dstOffline, "PONG": dstPong,
	} {
		want := append([]byte("ARML1/"+name), make([]byte, 10-len(name))...)
		if tag != string(want) {
			t.Errorf("%s: %q, want %q", name, tag, want)
		}
		seen[tag] = true
	}
	if len(seen) != 5 {
		t.Error("two tags are the same")
	}
}
