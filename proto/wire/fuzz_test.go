package wire_test

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/proto/wire"
)

// codec ties a layout's parser to its encoder. trailer is what follows the
// encoded layout in a frame: the tag, the authenticator, or nothing.
type codec[T encoding.BinaryAppender] struct {
	parse   func([]byte) (value T, trailer []byte, err error)
	trailer func(T) int
	// fill makes any value at all, also one that the layout cannot carry.
	fill func(*source) T
}

// fuzz runs both directions: what parses encodes to the same bytes, and what
// encodes parses to the same value.
func fuzz[T encoding.BinaryAppender](f *testing.F, c codec[T], seeds ...[]byte) {
	f.Helper()
	for _, seed := range seeds {
		f.Add(seed)
		f.Add(append(slices.Clone(seed), 0))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		kept := slices.Clone(b)
		if value, trailer, err := c.parse(b); err == nil {
			again, err := value.AppendBinary(nil)
			if err != nil {
				t.Fatalf("%x parses to %+v, which does not encode: %v", b, value, err)
			}
			if again = append(again, trailer...); !bytes.Equal(again, b) {
				t.Fatalf("%x encodes again to %x", b, again)
			}
			exact(t, c, b)
		}
		if !bytes.Equal(b, kept) {
			t.Fatal("the parser changed its input")
		}
		s := &source{rest: b}
		value := c.fill(s)
		encoded, err := value.AppendBinary(nil)
		if err != nil {
			return
		}
		tail := s.bytes(c.trailer(value))
		got, trailer, err := c.parse(append(encoded, tail...))
		if err != nil || !reflect.DeepEqual(got, value) || !bytes.Equal(trailer, tail) {
			t.Fatalf("%+v came back as %+v with %x, %v", value, got, trailer, err)
		}
		exact(t, c, append(encoded, tail...))
	})
}

// exact checks that a frame that parses does not with a byte more or less.
func exact[T encoding.BinaryAppender](t *testing.T, c codec[T], frame []byte) {
	t.Helper()
	for _, more := range [][]byte{{0}, {0xff}, make([]byte, 8), make([]byte, 16), make([]byte, 48)} {
		if _, _, err := c.parse(append(slices.Clone(frame), more...)); err == nil {
			t.Fatalf("%x is accepted with %x trailing", frame, more)
		}
	}
	if _, _, err := c.parse(frame[:len(frame)-1]); err == nil {
		t.Fatalf("%x is accepted without its last byte", frame)
	}
}

// source turns fuzzed bytes into fields; at its end it yields zeros.
type source struct{ rest []byte }

func (s *source) bytes(n int) []byte {
	b := make([]byte, n)
	s.rest = s.rest[copy(b, s.rest):]
	return b
}

func (s *source) u8() uint8   { return s.bytes(1)[0] }
func (s *source) u16() uint16 { return binary.BigEndian.Uint16(s.bytes(2)) }
func (s *source) u32() uint32 { return binary.BigEndian.Uint32(s.bytes(4)) }
func (s *source) u64() uint64 { return binary.BigEndian.Uint64(s.bytes(8)) }

// enum stays near the n known values, so that most inputs get past it.
func (s *source) enum(n uint8) uint8 { return s.u8() % (n + 2) }

// currency is three capital letters for most inputs, anything for the others.
func (s *source) currency() string {
	b := s.bytes(3)
	if b[0]%8 == 7 {
		return string(b)
	}
	for i := range b {
		b[i] = 'A' + b[i]%26
	}
	return string(b)
}

func (s *source) grant() wire.Grant {
	return wire.Grant{
		ID: s.u32(), Alias: wire.Alias(s.bytes(8)), ValidUntil: s.u32(), MaxTap: s.u32(), CumulativeLimit: s.u32(),
		MaxTaps: s.u16(), Currency: s.currency(), Exponent: s.u8(), MCCGroup: wire.MCCGroup(s.u8()),
	}
}

func suiteVectors(f *testing.F) []vectorSuite {
	f.Helper()
	v, err := readVectors()
	if err != nil {
		f.Fatal(err)
	}
	return v.Suites
}

func FuzzParseChallenge(f *testing.F) {
	var seeds [][]byte
	for _, s := range suiteVectors(f) {
		seeds = append(seeds, join(s.Challenge, s.ChallengeTag), join(s.ClaimChallenge, s.ClaimTag))
	}
	fuzz(f, codec[wire.Challenge]{
		parse: func(b []byte) (wire.Challenge, []byte, error) {
			c, tag, err := wire.ParseChallenge(b)
			return c, tag[:], err
		},
		trailer: func(wire.Challenge) int { return wire.TagLen },
		fill:    fillChallenge,
	}, seeds...)
}

func FuzzParseChallengeBody(f *testing.F) {
	var seeds [][]byte
	for _, s := range suiteVectors(f) {
		seeds = append(seeds, s.Challenge, s.ClaimChallenge)
	}
	fuzz(f, codec[wire.Challenge]{
		parse: func(b []byte) (wire.Challenge, []byte, error) {
			c, err := wire.ParseChallengeBody(b)
			return c, nil, err
		},
		trailer: func(wire.Challenge) int { return 0 },
		fill:    fillChallenge,
	}, seeds...)
}

func fillChallenge(s *source) wire.Challenge {
	return wire.Challenge{
		Suite: wire.Suite(s.enum(4)), Purpose: wire.Purpose(s.enum(7)), Require: wire.Require(s.enum(31)),
		Nonce: wire.Nonce(s.bytes(16)), BindingID: wire.BindingID(s.bytes(8)), Amount: s.u64(), Currency: s.currency(),
		Exponent: s.u8(), Merchant: [16]byte(s.bytes(16)), MCC: s.u16(), Intent: [16]byte(s.bytes(16)), IssuedAt: s.u32(),
		TTL: s.u16(), Epoch: s.u16(), Display: string(s.bytes(int(s.enum(wire.MaxDisplay)))),
	}
}

func FuzzParseResponse(f *testing.F) {
	var seeds [][]byte
	for _, s := range suiteVectors(f) {
		seeds = append(seeds, join(s.ResponseBody, s.ResponseAuth), join(s.ClaimBody, s.ClaimAuth))
	}
	fuzz(f, codec[wire.Response]{
		parse:   wire.ParseResponse,
		trailer: func(r wire.Response) int { return r.Suite.AuthenticatorLen() },
		fill: func(s *source) wire.Response {
			r := wire.Response{
				Suite: wire.Suite(s.enum(4)), Status: wire.Status(s.enum(9)), Flags: wire.Flags(s.enum(127)), Counter: s.u32(),
				MinutesWorn: s.u16(), Firmware: s.u16(), MinRTT: s.u16(), Proximity: wire.Proximity(s.enum(1)),
			}
			for range s.enum(wire.MaxRounds) {
				r.Rounds = append(r.Rounds, wire.Round{BandNonce: [4]byte(s.bytes(4)), Answer: [4]byte(s.bytes(4))})
			}
			return r
		},
	}, seeds...)
}

func FuzzParseResult(f *testing.F) {
	withGrant, err := aResult().MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	seeds := [][]byte{append(withGrant, make([]byte, wire.TagLen)...)}
	for _, s := range suiteVectors(f) {
		seeds = append(seeds, join(s.ResultBody, s.ResultTag))
	}
	fuzz(f, codec[wire.Result]{
		parse: func(b []byte) (wire.Result, []byte, error) {
			r, tag, err := wire.ParseResult(b)
			return r, tag[:], err
		},
		trailer: func(wire.Result) int { return wire.TagLen },
		fill: func(s *source) wire.Result {
			r := wire.Result{
				Suite: wire.Suite(s.enum(4)), Outcome: wire.Outcome(s.enum(5)), AlertPattern: s.u8(), CounterEcho: s.u32(),
			}
			if s.u8()%2 == 1 {
				g := s.grant()
				r.Grant = &g
			}
			return r
		},
	}, seeds...)
}

func FuzzParseGrant(f *testing.F) {
	seed, err := aGrant().MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	fuzz(f, codec[wire.Grant]{
		parse:   untrailed(wire.ParseGrant),
		trailer: func(wire.Grant) int { return 0 },
		fill:    (*source).grant,
	}, seed)
}

func FuzzParseTerminalTap(f *testing.F) {
	var seeds [][]byte
	for _, s := range suiteVectors(f) {
		seeds = append(seeds, s.Terminal)
	}
	fuzz(f, codec[wire.TerminalTap]{
		parse:   untrailed(wire.ParseTerminalTap),
		trailer: func(wire.TerminalTap) int { return 0 },
		fill: func(s *source) wire.TerminalTap {
			return wire.TerminalTap{
				TerminalID: wire.TerminalID(s.bytes(8)), Unpredictable: [8]byte(s.bytes(8)), FareCap: s.u32(),
				Currency: s.currency(), MCC: s.u16(), Time: s.u32(),
			}
		},
	}, seeds...)
}

func FuzzParseOfflineTap(f *testing.F) {
	var seeds [][]byte
	for _, s := range suiteVectors(f) {
		seeds = append(seeds, join(s.OfflineBody, s.OfflineAuth))
	}
	fuzz(f, codec[wire.OfflineTap]{
		parse:   wire.ParseOfflineTap,
		trailer: func(o wire.OfflineTap) int { return o.Suite.AuthenticatorLen() },
		fill: func(s *source) wire.OfflineTap {
			return wire.OfflineTap{
				Suite: wire.Suite(s.enum(4)), Status: wire.Status(s.enum(9)), Flags: wire.Flags(s.enum(127)), Counter: s.u32(),
				GrantID: s.u32(), Alias: wire.Alias(s.bytes(8)), Cumulative: s.u32(),
			}
		},
	}, seeds...)
}

func FuzzParsePing(f *testing.F) {
	fuzz(f, codec[wire.Ping]{
		parse:   untrailed(wire.ParsePing),
		trailer: func(wire.Ping) int { return 0 },
		fill:    func(s *source) wire.Ping { return wire.Ping{Index: s.enum(4), Nonce: [4]byte(s.bytes(4))} },
	}, []byte{0x31, 0, 0xde, 0xad, 0xbe, 0xef})
}

func FuzzParsePong(f *testing.F) {
	fuzz(f, codec[wire.Pong]{
		parse:   untrailed(wire.ParsePong),
		trailer: func(wire.Pong) int { return 0 },
		fill:    func(s *source) wire.Pong { return wire.Pong{Index: s.enum(4), Answer: [4]byte(s.bytes(4))} },
	}, []byte{0x32, 3, 0x7e, 0xc6, 0x48, 0x57})
}

// untrailed is a parser of a layout that has nothing behind it.
func untrailed[T any](parse func([]byte) (T, error)) func([]byte) (T, []byte, error) {
	return func(b []byte) (T, []byte, error) {
		value, err := parse(b)
		return value, nil, err
	}
}

func FuzzParseUID(f *testing.F) {
	u := wire.NewRangeUID(42, 7, 123456789)
	for _, seed := range []string{u.String(), u.QR(), strings.ToUpper(u.QR()), "", "7zzzzzzzzzzzzzzzzzzzzzzzzz"} {
		f.Add(seed, u[:])
	}
	substitutes := strings.NewReplacer("i", "1", "l", "1", "o", "0")
	f.Fuzz(func(t *testing.T, s string, raw []byte) {
		if u, err := wire.ParseUID(s); err == nil {
			if want := substitutes.Replace(strings.ToLower(s)); u.String() != want {
				t.Fatalf("%q encodes again to %q", s, u)
			}
			if _, err := wire.ParseUID(s + "0"); err == nil {
				t.Fatalf("%q is accepted with a trailing character", s)
			}
		}
		if u, err := wire.ParseQR(s); err == nil {
			if want := substitutes.Replace(strings.ToLower(s)); u.QR() != want {
				t.Fatalf("%q encodes again to %q", s, u.QR())
			}
		}
		var u wire.UID
		copy(u[:], raw)
		if got, err := wire.ParseUID(u.String()); err != nil || got != u {
			t.Fatalf("%x comes back as %x, %v", u[:], got[:], err)
		}
		if got, err := wire.ParseQR(u.QR()); err != nil || got != u {
			t.Fatalf("%x comes back from its QR form as %x, %v", u[:], got[:], err)
		}
	})
}

func FuzzParseCredential(f *testing.F) {
	v, err := readVectors()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(wire.SuiteP256), []byte(v.Params.P256Pub))
	f.Add(uint8(wire.SuiteEd25519), []byte(v.Params.Ed25519Pub))
	for _, text := range smallOrder {
		raw, err := hex.DecodeString(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(wire.SuiteEd25519), raw)
	}
	f.Fuzz(func(t *testing.T, suite uint8, raw []byte) {
		c, err := wire.ParseCredential(wire.Suite(suite), raw)
		if err != nil {
			return
		}
		if !bytes.Equal(c.Bytes(), raw) || c.Suite() != wire.Suite(suite) {
			t.Fatalf("suite %d, %x became suite %d, %x", suite, raw, c.Suite(), c.Bytes())
		}
		if _, err := wire.ParseCredential(wire.Suite(suite), append(slices.Clone(raw), 0)); err == nil {
			t.Fatalf("%x is accepted with a trailing byte", raw)
		}
		if c.Suite() == wire.SuiteEd25519 {
			y := slices.Clone(raw)
			y[31] &= 0x7f
			slices.Reverse(y)
			if new(big.Int).SetBytes(y).Cmp(prime) >= 0 || slices.Contains(smallOrder, hex.EncodeToString(raw)) {
				t.Fatalf("%x is accepted", raw)
			}
		}
	})
}

// FuzzReassembler feeds any frames: it never panics, never returns a message
// over the limit, and afterwards takes a proper message all the same.
func FuzzReassembler(f *testing.F) {
	for _, n := range []int{1, 16, 40, 256} {
		frames, err := wire.Fragment(message(n), 1, 23)
		if err != nil {
			f.Fatal(err)
		}
		var stream []byte
		for _, frame := range frames {
			stream = append(append(stream, byte(len(frame)), 0), frame...)
		}
		f.Add(stream, uint16(23))
	}
	f.Fuzz(func(t *testing.T, stream []byte, mtu uint16) {
		var r wire.Reassembler
		now := noon
		for s := (&source{rest: stream}); len(s.rest) > 0; {
			size := int(s.u8())
			now = now.Add(time.Duration(s.u8()) * 10 * time.Millisecond)
			frame := s.bytes(min(size, len(s.rest)))
			got, err := r.Push(frame, now)
			if err != nil && got != nil || got != nil && (len(got) == 0 || len(got) > wire.MaxMessage) {
				t.Fatalf("message of %d bytes, %v", len(got), err)
			}
		}
		frames, err := wire.Fragment(stream, 9, int(mtu))
		if err != nil {
			if mtu >= wire.MinMTU && len(stream) > 0 && len(stream) <= wire.MaxMessage {
				t.Fatalf("%d bytes at MTU %d: %v", len(stream), mtu, err)
			}
			return
		}
		var got []byte
		for _, frame := range frames {
			if got, err = r.Push(frame, now); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, stream) {
			t.Fatalf("%x came back as %x", stream, got)
		}
	})
}
