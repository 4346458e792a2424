package wire_test

import (
	"encoding"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/armlet-pay/armlet/proto/wire"
)

func aChallenge() wire.Challenge {
	return wire.Challenge{
		Suite: wire.SuiteHMAC, Purpose: wire.PurposePay, Require: wire.RequireGesture, Nonce: wire.Nonce{1},
		BindingID: wire.BindingID{2}, Amount: 1250, Currency: "CNY", Exponent: 2, Merchant: [16]byte{3}, MCC: 4111,
		Intent: [16]byte{4}, IssuedAt: 1767225600, TTL: 30, Epoch: 1, Display: "Shuashua Bus",
	}
}

func aResponse() wire.Response {
	return wire.Response{
		Suite: wire.SuiteHMAC, Flags: wire.FlagOnWrist | wire.FlagRTTValid, Counter: 42, MinutesWorn: 137, Firmware: 7,
		MinRTT: 183, Proximity: wire.ProximityRTT, Rounds: []wire.Round{{BandNonce: [4]byte{1}, Answer: [4]byte{2}}},
	}
}

func aGrant() wire.Grant {
	return wire.Grant{
		ID: 3, Alias: wire.Alias{0xa1}, ValidUntil: 1767312000, MaxTap: 600, CumulativeLimit: 5000, MaxTaps: 20,
		Currency: "CNY", Exponent: 2, MCCGroup: wire.MCCGroupTransit,
	}
}

func aResult() wire.Result {
	g := aGrant()
	return wire.Result{Suite: wire.SuiteHMAC, Outcome: wire.OutcomeApproved, AlertPattern: 1, CounterEcho: 42, Grant: &g}
}

func aTerminalTap() wire.TerminalTap {
	return wire.TerminalTap{
		TerminalID: wire.TerminalID{1}, Unpredictable: [8]byte{2}, FareCap: 200, Currency: "CNY", MCC: 4111, Time: 1767225700,
	}
}

func anOfflineTap() wire.OfflineTap {
	return wire.OfflineTap{
		Suite: wire.SuiteHMAC, Flags: wire.FlagOnWrist, Counter: 7, GrantID: 3, Alias: wire.Alias{0xa1}, Cumulative: 600,
	}
}

// layout is a valid frame and how to parse one, for what all parsers share.
type layout struct {
	name  string
	frame []byte
	parse func([]byte) error
}

func layouts(t *testing.T) []layout {
	t.Helper()
	encode := func(m encoding.BinaryMarshaler, more int) []byte {
		return append(must(m.MarshalBinary())(t), make([]byte, more)...)
	}
	plain := aResult()
	plain.Grant = nil
	return []layout{
		{"challenge", encode(aChallenge(), 8), func(b []byte) error { _, _, err := wire.ParseChallenge(b); return err }},
		{"challenge body", encode(aChallenge(), 0), func(b []byte) error { _, err := wire.ParseChallengeBody(b); return err }},
		{"response", encode(aResponse(), 16), func(b []byte) error { _, _, err := wire.ParseResponse(b); return err }},
		{"result", encode(plain, 8), func(b []byte) error { _, _, err := wire.ParseResult(b); return err }},
		{"result with grant", encode(aResult(), 8), func(b []byte) error { _, _, err := wire.ParseResult(b); return err }},
		{"grant", encode(aGrant(), 0), func(b []byte) error { _, err := wire.ParseGrant(b); return err }},
		{"terminal tap", encode(aTerminalTap(), 0), func(b []byte) error { _, err := wire.ParseTerminalTap(b); return err }},
		{"offline tap", encode(anOfflineTap(), 16), func(b []byte) error { _, _, err := wire.ParseOfflineTap(b); return err }},
		{"ping", encode(wire.Ping{Index: 1}, 0), func(b []byte) error { _, err := wire.ParsePing(b); return err }},
		{"pong", encode(wire.Pong{Index: 1}, 0), func(b []byte) error { _, err := wire.ParsePong(b); return err }},
	}
}

func TestParsersTakeExactlyTheirLength(t *testing.T) {
	for _, l := range layouts(t) {
		if err := l.parse(l.frame); err != nil {
			t.Errorf("%s: %v", l.name, err)
		}
		for n := range l.frame {
			if err := l.parse(l.frame[:n]); !errors.Is(err, wire.ErrLength) {
				t.Errorf("%s cut to %d of %d bytes: %v", l.name, n, len(l.frame), err)
			}
		}
		for _, more := range []int{1, 7, 8, 16, 48, 64, 300} {
			if err := l.parse(append(l.frame[:len(l.frame):len(l.frame)], make([]byte, more)...)); !errors.Is(err, wire.ErrLength) {
				t.Errorf("%s with %d bytes more: %v", l.name, more, err)
			}
		}
	}
}

func TestParsersRefuseWhatTheProtocolDoesNotKnow(t *testing.T) {
	byName := map[string]layout{}
	for _, l := range layouts(t) {
		byName[l.name] = l
	}
	for _, tt := range []struct {
		layout string
		offset int
		value  byte
		want   error
	}{
		{"challenge", 0, 0x12, wire.ErrType},
		{"challenge", 1, 0, wire.ErrSuite},
		{"challenge", 1, 5, wire.ErrSuite},
		{"challenge", 2, 0, wire.ErrPurpose},
		{"challenge", 2, 8, wire.ErrPurpose},
		{"challenge", 3, 0x20, wire.ErrReserved},
		{"challenge", 3, 0x40, wire.ErrReserved},
		{"challenge", 3, 0x80, wire.ErrReserved},
		{"challenge", 36, 'c', wire.ErrCurrency},
		{"challenge", 38, 0, wire.ErrCurrency},
		{"challenge", 82, 1, wire.ErrReserved},
		{"challenge", 83, 25, wire.ErrDisplay},
		{"challenge", 83, 255, wire.ErrDisplay},
		{"challenge", 83, 11, wire.ErrLength},
		{"challenge", 90, 0xff, wire.ErrDisplay},
		{"challenge body", 0, 0x13, wire.ErrType},
		{"response", 0, 0x11, wire.ErrType},
		{"response", 1, 0, wire.ErrSuite},
		{"response", 1, 5, wire.ErrSuite},
		{"response", 1, 3, wire.ErrLength},
		{"response", 2, 10, wire.ErrStatus},
		{"response", 3, 0x80, wire.ErrReserved},
		{"response", 14, 2, wire.ErrProximity},
		{"response", 15, 5, wire.ErrRounds},
		{"response", 15, 255, wire.ErrRounds},
		{"response", 15, 2, wire.ErrLength},
		{"result", 0, 0x11, wire.ErrType},
		{"result", 1, 0, wire.ErrSuite},
		{"result", 2, 6, wire.ErrOutcome},
		{"result", 8, 1, wire.ErrLength},
		{"result", 8, 32, wire.ErrLength},
		{"result with grant", 8, 0, wire.ErrLength},
		{"result with grant", 8, 31, wire.ErrLength},
		{"result with grant", 9 + 26, 'c', wire.ErrCurrency},
		{"result with grant", 9 + 31, 1, wire.ErrReserved},
		{"grant", 26, ' ', wire.ErrCurrency},
		{"grant", 31, 0x80, wire.ErrReserved},
		{"terminal tap", 0, 0x22, wire.ErrType},
		{"terminal tap", 1, 1, wire.ErrReserved},
		{"terminal tap", 31, 1, wire.ErrReserved},
		{"terminal tap", 22, '[', wire.ErrCurrency},
		{"offline tap", 0, 0x21, wire.ErrType},
		{"offline tap", 1, 0, wire.ErrSuite},
		{"offline tap", 1, 4, wire.ErrLength},
		{"offline tap", 2, 10, wire.ErrStatus},
		{"offline tap", 3, 0xff, wire.ErrReserved},
		{"ping", 0, 0x32, wire.ErrType},
		{"ping", 1, 4, wire.ErrRounds},
		{"pong", 0, 0x31, wire.ErrType},
		{"pong", 1, 255, wire.ErrRounds},
	} {
		l := byName[tt.layout]
		frame := append([]byte(nil), l.frame...)
		frame[tt.offset] = tt.value
		if err := l.parse(frame); !errors.Is(err, tt.want) {
			t.Errorf("%s with %#x at %d: %v, want %v", tt.layout, tt.value, tt.offset, err, tt.want)
		}
	}
}

func TestEncodersRefuseWhatTheLayoutCannotCarry(t *testing.T) {
	challenge := func(change func(*wire.Challenge)) wire.Challenge { c := aChallenge(); change(&c); return c }
	response := func(change func(*wire.Response)) wire.Response { r := aResponse(); change(&r); return r }
	result := func(change func(*wire.Result)) wire.Result { r := aResult(); change(&r); return r }
	for _, tt := range []struct {
		name  string
		value encoding.BinaryAppender
		want  error
	}{
		{"zero challenge", wire.Challenge{}, wire.ErrSuite},
		{"purpose", challenge(func(c *wire.Challenge) { c.Purpose = 8 }), wire.ErrPurpose},
		{"require", challenge(func(c *wire.Challenge) { c.Require = 0x20 }), wire.ErrReserved},
		{"no currency", challenge(func(c *wire.Challenge) { c.Currency = "" }), wire.ErrCurrency},
		{"long currency", challenge(func(c *wire.Challenge) { c.Currency = "EURO" }), wire.ErrCurrency},
		{"small currency", challenge(func(c *wire.Challenge) { c.Currency = "eur" }), wire.ErrCurrency},
		{"long display", challenge(func(c *wire.Challenge) { c.Display = strings.Repeat("x", 25) }), wire.ErrDisplay},
		{"display", challenge(func(c *wire.Challenge) { c.Display = "\xff" }), wire.ErrDisplay},
		{"zero response", wire.Response{}, wire.ErrSuite},
		{"status", response(func(r *wire.Response) { r.Status = 10 }), wire.ErrStatus},
		{"flags", response(func(r *wire.Response) { r.Flags = 0x80 }), wire.ErrReserved},
		{"proximity", response(func(r *wire.Response) { r.Proximity = 2 }), wire.ErrProximity},
		{"rounds", response(func(r *wire.Response) { r.Rounds = make([]wire.Round, 5) }), wire.ErrRounds},
		{"zero result", wire.Result{}, wire.ErrSuite},
		{"outcome", result(func(r *wire.Result) { r.Outcome = 6 }), wire.ErrOutcome},
		{"empty grant inside", result(func(r *wire.Result) { r.Grant = &wire.Grant{} }), wire.ErrCurrency},
		{"grant", wire.Grant{Currency: "C\x00Y"}, wire.ErrCurrency},
		{"terminal tap", wire.TerminalTap{Currency: "CN"}, wire.ErrCurrency},
		{"zero offline tap", wire.OfflineTap{}, wire.ErrSuite},
		{"offline status", wire.OfflineTap{Suite: 1, Status: 10}, wire.ErrStatus},
		{"offline flags", wire.OfflineTap{Suite: 1, Flags: 0x80}, wire.ErrReserved},
		{"ping", wire.Ping{Index: 4}, wire.ErrRounds},
		{"pong", wire.Pong{Index: 4}, wire.ErrRounds},
	} {
		b, err := tt.value.AppendBinary([]byte("kept"))
		if !errors.Is(err, tt.want) || string(b) != "kept" {
			t.Errorf("%s: %q, %v; want %v", tt.name, b, err, tt.want)
		}
	}
}

func TestLargestFramesHaveTheDocumentedSizes(t *testing.T) {
	c := aChallenge()
	c.Display = strings.Repeat("x", wire.MaxDisplay)
	r := aResponse()
	r.Rounds = make([]wire.Round, wire.MaxRounds)
	for _, tt := range []struct {
		name      string
		got, want int
	}{
		{"challenge", len(must(c.MarshalBinary())(t)) + wire.TagLen, wire.MaxChallengeFrame},
		{"response", len(must(r.MarshalBinary())(t)) + 64, wire.MaxResponseFrame},
		{"result", len(must(aResult().MarshalBinary())(t)) + wire.TagLen, wire.MaxResultFrame},
		{"M", len(must(wire.ResponseMessage(wire.UID{}, c, r))(t)), 188},
		{"grant", len(must(aGrant().MarshalBinary())(t)), wire.GrantLen},
		{"terminal tap", len(must(aTerminalTap().MarshalBinary())(t)), wire.TerminalTapLen},
		{"offline tap", len(must(anOfflineTap().MarshalBinary())(t)), wire.OfflineTapLen},
	} {
		if tt.got != tt.want {
			t.Errorf("%s has %d bytes, want %d", tt.name, tt.got, tt.want)
		}
	}
}

func TestGrantStandsWhereTheTextPutsIt(t *testing.T) {
	b := must(aGrant().MarshalBinary())(t)
	want := join([]byte{0, 0, 0, 3}, []byte{0xa1, 0, 0, 0, 0, 0, 0, 0}, []byte{0x69, 0x57, 0x0a, 0x80}, []byte{0, 0, 0x02, 0x58},
		[]byte{0, 0, 0x13, 0x88}, []byte{0, 20}, []byte("CNY"), []byte{2, 1, 0})
	equal(t, "grant", b, want)
}

func TestParsedPartsDoNotShareTheFrame(t *testing.T) {
	r := aResponse()
	frame := append(must(r.MarshalBinary())(t), make([]byte, 16)...)
	_, auth, err := wire.ParseResponse(frame)
	if err != nil {
		t.Fatal(err)
	}
	frame[len(frame)-1] = 9
	if auth[15] != 0 {
		t.Error("the authenticator changes with the frame")
	}
}

func TestFitDisplayCutsBetweenCharacters(t *testing.T) {
	for in, want := range map[string]string{
		"":                            "",
		"Shuashua Bus":                "Shuashua Bus",
		strings.Repeat("x", 30):       strings.Repeat("x", 24),
		"x" + strings.Repeat("é", 12): "x" + strings.Repeat("é", 11),
		strings.Repeat("世", 9):        strings.Repeat("世", 8),
		"a\xffb":                      "ab",
		"a\uFFFDb":                    "a\uFFFDb",
		strings.Repeat("😀", 7):        strings.Repeat("😀", 6),
	} {
		got := wire.FitDisplay(in)
		if got != want || !utf8.ValidString(got) {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestUnmetMapsRequiredBitsToFlags(t *testing.T) {
	all := wire.RequireOnWrist | wire.RequireGesture | wire.RequireUnlocked | wire.RequireRTT | wire.RequireDisplayConfirm
	if got := all.Unmet(0); got != all {
		t.Errorf("nothing confirmed leaves %v", got)
	}
	for flag, require := range map[wire.Flags]wire.Require{
		wire.FlagOnWrist: wire.RequireOnWrist, wire.FlagGesture: wire.RequireGesture, wire.FlagUnlocked: wire.RequireUnlocked,
		wire.FlagRTTValid: wire.RequireRTT, wire.FlagDisplayConfirmed: wire.RequireDisplayConfirm,
		wire.FlagTamper: 0, wire.FlagClockValid: 0,
	} {
		if got := all.Unmet(flag); got != all&^require {
			t.Errorf("%v leaves %v, want %v", flag, got, all&^require)
		}
	}
	if got := wire.RequireGesture.Unmet(wire.FlagOnWrist | wire.FlagGesture); got != 0 {
		t.Errorf("more than required leaves %v", got)
	}
}

func TestMCCGroupAllowsItsCategoriesOnly(t *testing.T) {
	var allowed []int
	for mcc := range 0x10000 {
		if wire.MCCGroupTransit.Allows(uint16(mcc)) {
			allowed = append(allowed, mcc)
		}
		if wire.MCCGroup(0).Allows(uint16(mcc)) || wire.MCCGroup(2).Allows(uint16(mcc)) {
			t.Fatalf("an unknown group allows %d", mcc)
		}
	}
	want := []int{4111, 4112, 4131, 4784, 7523}
	if len(allowed) != len(want) {
		t.Fatalf("transit allows %v, want %v", allowed, want)
	}
	for i := range want {
		if allowed[i] != want[i] {
			t.Errorf("transit allows %v, want %v", allowed, want)
		}
	}
}

func TestNamesAreTheProtocols(t *testing.T) {
	for _, tt := range []struct {
		value interface{ String() string }
		want  string
	}{
		{wire.SuiteHMAC, "HMAC_SHA256"}, {wire.SuiteEd25519, "ED25519"}, {wire.Suite(0), "SUITE(0)"}, {wire.Suite(5), "SUITE(5)"},
		{wire.PurposePay, "PAY"}, {wire.PurposePresence, "PRESENCE"}, {wire.Purpose(0), "PURPOSE(0)"}, {wire.Purpose(8), "PURPOSE(8)"},
		{wire.StatusOK, "OK"}, {wire.StatusUnsupported, "UNSUPPORTED"}, {wire.Status(10), "STATUS(10)"},
		{wire.OutcomeApproved, "APPROVED"}, {wire.OutcomeSuspended, "SUSPENDED"}, {wire.Outcome(6), "OUTCOME(6)"},
		{wire.ProximityRTT, "RTT"}, {wire.Proximity(2), "PROXIMITY(2)"},
		{wire.MCCGroupTransit, "TRANSIT"}, {wire.MCCGroup(2), "MCC_GROUP(2)"},
		{wire.Require(0), "NONE"}, {wire.RequireOnWrist | wire.RequireDisplayConfirm, "ON_WRIST|DISPLAY_CONFIRM"},
		{wire.Require(0x82), "GESTURE|BIT7"},
		{wire.FlagGesture | wire.FlagClockValid, "GESTURE|CLOCK_VALID"}, {wire.Flags(0x80), "BIT7"},
	} {
		if got := tt.value.String(); got != tt.want {
			t.Errorf("%#v prints %q, want %q", tt.value, got, tt.want)
		}
	}
}
