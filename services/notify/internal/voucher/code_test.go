package voucher

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func testCodes(t testing.TB, fill byte) *Codes {
	t.Helper()
	c, err := NewCodes(bytes.Repeat([]byte{fill}, KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func drawID(t *rapid.T) string {
	b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func TestEverySingleSymbolTypoIsRefused(t *testing.T) {
	c := testCodes(t, 7)
	rapid.Check(t, func(t *rapid.T) {
		code := c.Code(drawID(t))
		for i := range len(code) {
			if code[i] == '-' {
				continue
			}
			for _, symbol := range []byte(alphabet + "U") {
				if symbol == code[i] {
					continue
				}
				typo := code[:i] + string(symbol) + code[i+1:]
				if _, ok := c.Parse(typo); ok {
					t.Fatalf("%s is taken for %s", typo, code)
				}
			}
		}
	})
}

// A 20-bit MAC alone lets one body in some 3,000 through with a typo; here such bodies are found and passed over.
func TestBodiesThatATypoWouldFitArePassedOver(t *testing.T) {
	c := testCodes(t, 7)
	passedOver := 0
	for i := range 30_000 {
		id := fmt.Sprintf("voucher-%d", i)
		body, rejected := c.bodyOf(id)
		passedOver += int(rejected)
		if rejected > 0 && c.confusable(body) {
			t.Fatalf("the body of %s is still confusable", id)
		}
	}
	if passedOver == 0 {
		t.Error("not one body in 30,000 was passed over: the search looks at nothing")
	}
}

func TestACodeIsFoundHoweverItIsTyped(t *testing.T) {
	c := testCodes(t, 7)
	lookAlikes := strings.NewReplacer("1", "l", "0", "o")
	rapid.Check(t, func(t *rapid.T) {
		id := drawID(t)
		code := c.Code(id)
		if len(code) != 17 || code[5] != '-' || code[11] != '-' {
			t.Fatalf("the code %q is not in groups of five", code)
		}
		if c.Code(id) != code {
			t.Fatal("the same voucher has another code")
		}
		for _, typed := range []string{
			code, strings.ToLower(code), strings.ReplaceAll(code, "-", ""), strings.ReplaceAll(code, "-", " "),
			lookAlikes.Replace(code), strings.ReplaceAll(code, "1", "I"), strings.ReplaceAll(code, "0", "O"),
		} {
			hash, ok := c.Parse(typed)
			if !ok || !bytes.Equal(hash, c.Hash(id)) {
				t.Fatalf("%q is not recognised as %s", typed, code)
			}
		}
	})
}

func TestForeignCodesAreRefused(t *testing.T) {
	ours, theirs := testCodes(t, 7), testCodes(t, 8)
	accepted := 0
	for i := range 20_000 {
		if _, ok := ours.Parse(theirs.Code(fmt.Sprint(i))); ok {
			accepted++
		}
	}
	if accepted > 2 { // 0.02 are expected
		t.Errorf("%d of 20,000 foreign codes pass the check", accepted)
	}
}

func TestNonsenseIsNoCode(t *testing.T) {
	c := testCodes(t, 7)
	good := c.Code("x")
	for _, code := range []string{"", "-", good[:16], good + "0", good + "-" + good, strings.Repeat("0", 15), strings.Repeat("-", 24), "７ZQ0K-3M9TB-X52HD"} {
		if _, ok := c.Parse(code); ok {
			t.Errorf("%q is taken for a code", code)
		}
	}
	if _, err := NewCodes([]byte("short")); err == nil {
		t.Error("a short key is taken")
	}
}

func FuzzParse(f *testing.F) {
	c := testCodes(f, 7)
	f.Add("7ZQ0K-3M9TB-X52HD")
	f.Add(c.Code("x"))
	f.Fuzz(func(t *testing.T, code string) {
		body, check, ok := parse(code)
		if !ok {
			return
		}
		again, checkAgain, ok := parse(format(body, check))
		if !ok || again != body || checkAgain != check {
			t.Fatalf("%q does not survive being written and read", code)
		}
	})
}

func BenchmarkCode(b *testing.B) {
	c := testCodes(b, 7)
	for b.Loop() {
		c.Code("0193a1de-0000-7000-8000-000000000000")
	}
}
