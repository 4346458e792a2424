package wire_test

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/armlet-pay/armlet/proto/wire"
)

// The 14 encodings of small order that libsodium's ge25519_has_small_order
// refuses; the last six are not canonical.
var smallOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

func TestEd25519RefusesEverySmallOrderEncoding(t *testing.T) {
	for _, text := range smallOrder {
		raw := must(hex.DecodeString(text))(t)
		if _, err := wire.ParseCredential(wire.SuiteEd25519, raw); !errors.Is(err, wire.ErrCredential) || !strings.Contains(err.Error(), "small order") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// edwards25519 in affine coordinates, plain and slow: -x² + y² = 1 + d·x²·y².
type point struct{ x, y *big.Int }

var (
	prime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	d     = mod(new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), prime)))
)

func mod(x *big.Int) *big.Int { return x.Mod(x, prime) }

func mul(factors ...*big.Int) *big.Int {
	out := big.NewInt(1)
	for _, f := range factors {
		mod(out.Mul(out, f))
	}
	return out
}

func (p point) add(q point) point {
	k := mul(d, p.x, q.x, p.y, q.y)
	one := big.NewInt(1)
	x := new(big.Int).Add(mul(p.x, q.y), mul(p.y, q.x))
	y := new(big.Int).Add(mul(p.y, q.y), mul(p.x, q.x))
	return point{
		mul(x, new(big.Int).ModInverse(mod(new(big.Int).Add(one, k)), prime)),
		mul(y, new(big.Int).ModInverse(mod(new(big.Int).Sub(one, k)), prime)),
	}
}

// encodings returns every 32-byte string that a lenient decoder, which reduces
// y modulo p and ignores the sign of x = 0, takes for p.
func (p point) encodings() (all []string) {
	for y := new(big.Int).Set(p.y); y.BitLen() <= 255; y.Add(y, prime) {
		b := y.FillBytes(make([]byte, 32))
		slices.Reverse(b)
		for sign := range uint(2) {
			if p.x.Sign() != 0 && p.x.Bit(0) != sign {
				continue
			}
			b[31] = b[31]&0x7f | byte(sign<<7)
			all = append(all, hex.EncodeToString(b))
		}
	}
	return all
}

// The list is found again by arithmetic: the multiples of a point of order 8.
func TestSmallOrderListIsWholeTorsionSubgroup(t *testing.T) {
	raw := must(hex.DecodeString(smallOrder[4]))(t)
	slices.Reverse(raw)
	y := new(big.Int).SetBytes(raw)
	u := mod(new(big.Int).Sub(mul(y, y), big.NewInt(1)))
	v := mod(new(big.Int).Add(mul(d, y, y), big.NewInt(1)))
	x := new(big.Int).ModSqrt(mul(u, new(big.Int).ModInverse(v, prime)), prime)
	if x == nil {
		t.Fatal("the fifth of the list is no point")
	}
	generator := point{x, y}
	var found []string
	at := point{big.NewInt(0), big.NewInt(1)}
	for order := 1; order <= 8; order++ {
		found = append(found, at.encodings()...)
		at = at.add(generator)
		identity := at.x.Sign() == 0 && at.y.Cmp(big.NewInt(1)) == 0
		if identity != (order == 8) {
			t.Fatalf("the generator has order %d, want 8", order)
		}
	}
	want := slices.Clone(smallOrder)
	slices.Sort(want)
	slices.Sort(found)
	if !slices.Equal(found, want) {
		t.Errorf("found %q\nlisted %q", found, want)
	}
}

func TestEd25519RefusesEveryNonCanonicalEncoding(t *testing.T) {
	for k := range 19 { // y = p+k for all that fit in 255 bits
		y := new(big.Int).Add(prime, big.NewInt(int64(k)))
		raw := y.FillBytes(make([]byte, 32))
		slices.Reverse(raw)
		for _, sign := range []byte{0, 0x80} {
			raw[31] = raw[31]&0x7f | sign
			if _, err := wire.ParseCredential(wire.SuiteEd25519, raw); !errors.Is(err, wire.ErrCredential) {
				t.Errorf("y = p+%d, sign %#x: %v", k, sign, err)
			}
		}
	}
}

// Under the identity key Ed25519 takes one constant signature for any message.
// The library does, so the key has to be refused when it arrives.
func TestIdentityKeyWouldVerifyAnything(t *testing.T) {
	identity := must(hex.DecodeString(smallOrder[2]))(t)
	signature := append(slices.Clone(identity), make([]byte, 32)...)
	if !ed25519.Verify(identity, []byte("any message"), signature) {
		t.Fatal("the premise of the check does not hold")
	}
	if _, err := wire.ParseCredential(wire.SuiteEd25519, identity); !errors.Is(err, wire.ErrCredential) {
		t.Errorf("identity key: %v", err)
	}
	if _, err := wire.NewCredential(ed25519.PublicKey(identity)); !errors.Is(err, wire.ErrCredential) {
		t.Errorf("identity key as a Go key: %v", err)
	}
}

func TestEd25519RefusesWhatIsNoPoint(t *testing.T) {
	accepted := 0
	for y := byte(2); y < 66; y++ {
		raw := make([]byte, 32)
		raw[0] = y
		yy := mul(big.NewInt(int64(y)), big.NewInt(int64(y)))
		u := mod(new(big.Int).Sub(yy, big.NewInt(1)))
		v := mod(new(big.Int).Add(mul(d, yy), big.NewInt(1)))
		isPoint := new(big.Int).ModSqrt(mul(u, new(big.Int).ModInverse(v, prime)), prime) != nil
		_, err := wire.ParseCredential(wire.SuiteEd25519, raw)
		if (err == nil) != isPoint || err != nil && !errors.Is(err, wire.ErrCredential) {
			t.Errorf("y = %d is a point: %v; error %v", y, isPoint, err)
		}
		if err == nil {
			accepted++
		}
	}
	if accepted == 0 || accepted == 64 {
		t.Errorf("%d of 64 accepted: the test says nothing", accepted)
	}
}

func TestEveryGeneratedKeyIsAccepted(t *testing.T) {
	for range 200 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := must(wire.ParseCredential(wire.SuiteEd25519, public))(t)
		equal(t, "Ed25519 key", c.Bytes(), public)
	}
	for range 50 {
		private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
		raw := must(private.PublicKey.Bytes())(t)
		c := must(wire.ParseCredential(wire.SuiteP256, raw))(t)
		equal(t, "P-256 key", c.Bytes(), raw)
	}
}

func TestP256RefusesWhatIsNotAnUncompressedPoint(t *testing.T) {
	v, _ := load(t)
	good := []byte(v.Params.P256Pub)
	change := func(f func([]byte)) []byte { b := slices.Clone(good); f(b); return b }
	fieldP := elliptic.P256().Params().P.Bytes()
	for name, raw := range map[string][]byte{
		"empty": nil, "infinity": {0}, "65 zeros": make([]byte, 65), "0x04 and zeros": change(func(b []byte) { clear(b[1:]) }),
		"compressed": append([]byte{2 + good[64]&1}, good[1:33]...), "hybrid": change(func(b []byte) { b[0] = 6 + b[64]&1 }),
		"short": good[:64], "long": append(slices.Clone(good), 0), "off the curve": change(func(b []byte) { b[64] ^= 1 }),
		"x = p": change(func(b []byte) { copy(b[1:], fieldP) }), "y = p": change(func(b []byte) { copy(b[33:], fieldP) }),
		"coordinates swapped": append(append([]byte{4}, good[33:]...), good[1:33]...),
	} {
		if _, err := wire.ParseCredential(wire.SuiteP256, raw); !errors.Is(err, wire.ErrCredential) {
			t.Errorf("%s: %v, want ErrCredential", name, err)
		}
	}
	for bit := range len(good) * 8 {
		raw := slices.Clone(good)
		raw[bit/8] ^= 1 << (bit % 8)
		if _, err := wire.ParseCredential(wire.SuiteP256, raw); !errors.Is(err, wire.ErrCredential) {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
	}
}

func TestCredentialsAreForSuitesThreeAndFour(t *testing.T) {
	v, _ := load(t)
	for _, suite := range []wire.Suite{0, wire.SuiteHMAC, wire.SuiteCMAC, 5} {
		if _, err := wire.ParseCredential(suite, v.Params.P256Pub); !errors.Is(err, wire.ErrSuite) {
			t.Errorf("suite %v: %v", suite, err)
		}
	}
	if _, err := wire.ParseCredential(wire.SuiteEd25519, v.Params.P256Pub); !errors.Is(err, wire.ErrCredential) {
		t.Errorf("P-256 key as Ed25519: %v", err)
	}
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t)
	x25519 := must(ecdh.X25519().GenerateKey(rand.Reader))(t)
	for name, public := range map[string]any{
		"P-384": &p384.PublicKey, "X25519": x25519.PublicKey(), "nil": nil, "nil ECDSA": (*ecdsa.PublicKey)(nil), "text": "key",
	} {
		if _, err := wire.NewCredential(public); !errors.Is(err, wire.ErrCredential) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCredentialKeepsItsOwnCopy(t *testing.T) {
	v, _ := load(t)
	raw := slices.Clone([]byte(v.Params.Ed25519Pub))
	c := must(wire.ParseCredential(wire.SuiteEd25519, raw))(t)
	same := must(wire.ParseCredential(wire.SuiteEd25519, v.Params.Ed25519Pub))(t)
	raw[0] ^= 1
	c.Bytes()[1] ^= 1
	if !c.Equal(same) {
		t.Error("the credential changed with its caller's bytes")
	}
	other := must(wire.ParseCredential(wire.SuiteP256, v.Params.P256Pub))(t)
	if c.Equal(other) || c.Equal(wire.Credential{}) {
		t.Error("different credentials are equal")
	}
}
