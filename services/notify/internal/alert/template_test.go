package alert

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/armlet-pay/armlet/platform/fault"
)

func TestAmountsAreWrittenWithTheExponentOfTheirCurrency(t *testing.T) {
	for _, tc := range []struct {
		minor    int64
		currency string
		want     string
	}{
		{1200, "CNY", "¥12.00"},
		{5, "CNY", "¥0.05"},
		{0, "EUR", "€0.00"},
		{1200, "JPY", "¥1200"},
		{1200, "KRW", "KRW 1200"},
		{1250, "KWD", "KWD 1.250"},
		{7, "BHD", "BHD 0.007"},
		{12345, "CLF", "CLF 1.2345"},
		{999, "GBP", "£9.99"},
		{100, "CHF", "CHF 1.00"},
		{-1250, "USD", "-$12.50"},
		{math.MaxInt64, "USD", "$92233720368547758.07"},
		{math.MinInt64, "USD", "-$92233720368547758.08"},
	} {
		if got := (Money{tc.minor, tc.currency}).String(); got != tc.want {
			t.Errorf("%d %s is written %q, want %q", tc.minor, tc.currency, got, tc.want)
		}
	}
}

func yuan(minor int64) map[string]any {
	return map[string]any{"minor_units": minor, "currency_code": "CNY"}
}

func builtInKindOf(t testing.TB, id string) *Published {
	t.Helper()
	content, ok := BuiltIn(id)
	if !ok {
		t.Fatalf("there is no built-in type %s", id)
	}
	p, err := Compile(content, 1)
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return p
}

func TestEachBuiltInTypeReadsAsItShould(t *testing.T) {
	for _, tc := range []struct {
		kind, locale string
		payload      map[string]any
		band, phone  string
		vibration    Vibration
	}{
		{PaymentCaptured, "", map[string]any{"amount": yuan(1200), "merchant": "Tea House"}, "Paid ¥12.00", "Paid ¥12.00 to Tea House.", VibrateOneShort},
		{PaymentCaptured, "en-GB", map[string]any{"amount": yuan(1200)}, "Paid ¥12.00", "Paid ¥12.00.", VibrateOneShort},
		{PaymentCaptured, "zh-Hans-CN", map[string]any{"amount": yuan(1200), "merchant": "茶馆"}, "已付 ¥12.00", "已向茶馆支付¥12.00。", VibrateOneShort},
		{
			PaymentCaptured, "", map[string]any{"amount": yuan(800), "discount": yuan(200), "merchant": "Tea House"},
			"Paid ¥8.00", "Paid ¥8.00 to Tea House, ¥2.00 off with a voucher.", VibrateOneShort,
		},
		{
			PaymentCaptured, "zh", map[string]any{"amount": yuan(800), "discount": yuan(200), "merchant": "茶馆"},
			"已付 ¥8.00", "已向茶馆支付¥8.00，礼券抵扣¥2.00。", VibrateOneShort,
		},
		{
			PaymentAuthorized, "", map[string]any{"amount": yuan(800), "discount": yuan(200)},
			"Held ¥8.00", "¥8.00 is held, ¥2.00 off with a voucher.", VibrateOneShort,
		},
		{PaymentCaptured, "fi", map[string]any{"amount": yuan(math.MaxInt64)}, "Paid: see phone", "Paid ¥92233720368547758.07.", VibrateOneShort},
		{
			PaymentDeclined, "", map[string]any{"amount": yuan(1200), "merchant": "Tea House", "reason": "INSUFFICIENT_FUNDS"},
			"Declined ¥12.00", "The payment of ¥12.00 to Tea House was declined: there is not enough money in the account.", VibrateOneLong,
		},
		{
			PaymentDeclined, "", map[string]any{"amount": yuan(1200), "reason": "SOMETHING_INTERNAL"},
			"Declined ¥12.00", "The payment of ¥12.00 was declined: it could not be completed.", VibrateOneLong,
		},
		{DeviceSuspended, "", map[string]any{"reason": "OWNER_LOST"}, "Band suspended", "Your band was reported lost. It pays for nobody until this is lifted.", VibrateOneLong},
		{VoucherRedeemed, "", map[string]any{"amount": yuan(500)}, "Voucher ¥5.00", "Your voucher of ¥5.00 was redeemed.", VibrateTwoShort},
		{PaymentRefunded, "", map[string]any{"amount": yuan(500), "merchant": "Tea House"}, "Refund ¥5.00", "Refund of ¥5.00 from Tea House.", VibrateTwoShort},
		{PaymentReleased, "", map[string]any{"amount": yuan(500)}, "Freed ¥5.00", "The hold of ¥5.00 was released.", VibrateNone},
		{PartnerMessage, "", map[string]any{"band_text": "Hi", "phone_text": "Hello {amount}"}, "Hi", "Hello {amount}", VibrateTwoShort},
	} {
		got := builtInKindOf(t, tc.kind).Render(tc.payload, tc.locale)
		if got.Band != tc.band || got.Phone != tc.phone || got.Vibration != tc.vibration {
			t.Errorf("%s in %q: got %q, %q, %d", tc.kind, tc.locale, got.Band, got.Phone, got.Vibration)
		}
	}
}

func TestWhateverThePayloadTheBandShowsAWholeText(t *testing.T) {
	ids := BuiltIns()
	rapid.Check(t, func(rt *rapid.T) {
		amount := Money{rapid.Int64().Draw(rt, "minor"), rapid.SampledFrom([]string{"CNY", "JPY", "KWD", "CLF"}).Draw(rt, "currency")}
		payload := map[string]any{
			"amount":    map[string]any{"minor_units": amount.MinorUnits, "currency_code": amount.Currency},
			"discount":  map[string]any{"minor_units": rapid.Int64().Draw(rt, "off"), "currency_code": amount.Currency},
			"merchant":  rapid.String().Draw(rt, "merchant"),
			"reason":    rapid.String().Draw(rt, "reason"),
			"band_text": rapid.StringN(0, -1, 40).Draw(rt, "text"), "phone_text": rapid.String().Draw(rt, "phone"),
		}
		kind := rapid.SampledFrom(ids).Draw(rt, "kind")
		got := builtInKindOf(t, kind).Render(payload, rapid.SampledFrom([]string{"", "en", "zh", "zh-Hant", "xx"}).Draw(rt, "locale"))
		if len(got.Band) == 0 || len(got.Band) > BandBytes || !utf8.ValidString(got.Band) {
			rt.Fatalf("%s: the band gets %q, %d bytes", kind, got.Band, len(got.Band))
		}
		if kind != PartnerMessage && strings.ContainsAny(got.Band, "0123456789") && !strings.HasSuffix(got.Band, amount.String()) {
			rt.Fatalf("%q shows a part of %s", got.Band, amount)
		}
		if utf8.RuneCountInString(got.Phone) > PhoneRunes || utf8.RuneCountInString(got.Full) > FullRunes || utf8.RuneCountInString(got.Title) > TitleRunes {
			rt.Fatalf("too long: %+v", got)
		}
	})
}

func TestATemplateThatIsNoneIsRefusedWithAReason(t *testing.T) {
	for _, text := range []string{
		"{", "{}", "{a", "a}", "[a", "a]", "[]", "[[a]]", "{a|upper}", "{a|}", "{a b}", "{a.b.c.d.e}", `a\`, "{{range .}}x{{end}}", "{.}", "{a..b}",
		"{$x}", strings.Repeat("{a}", maxFields+1), strings.Repeat("x", maxTemplate+1), "{for i in x}",
	} {
		if _, err := ParseTemplate(text); fault.ReasonOf(err) != "TEMPLATE_INVALID" {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func TestATemplateIsReadOnceAndItsValuesAreNot(t *testing.T) {
	deep := map[string]any{"a": map[string]any{"b": "deep"}, "x": "{a.b}[!]", "n": 12.5, "on": true, "list": []any{"no"}}
	for text, want := range map[string]string{
		"{a.b}": "deep", "{x}": "{a.b}[!]", "[{missing} gone]kept": "kept", "{n} {on}": "12.5 true", `\{x\} \[y\] \\`: `{x} [y] \`, "{list}{a}": "",
		"[{a.b}, ]{x.y}": "deep, ",
	} {
		parsed, err := ParseTemplate(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got, _ := parsed.Render(deep, nil); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// The worst that a template can be asked to do is bounded by its own length and that of its values.
func TestTheWorstTemplateIsSmallAndQuick(t *testing.T) {
	huge := strings.Repeat("漢", 1<<20)
	text := strings.Repeat("[{a}{a}]", maxFields/2)
	parsed, err := ParseTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := parsed.Render(map[string]any{"a": huge}, nil)
	if most := maxFields * maxValue * 3; len(got) > most {
		t.Errorf("%d bytes, at most %d", len(got), most)
	}
}

func FuzzParseTemplate(f *testing.F) {
	for _, seed := range []string{"Paid {amount|money}[ to {merchant}].", `\{`, "[{a}]", "{{range}}"} {
		f.Add(seed, "value")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		parsed, err := ParseTemplate(text)
		if err != nil {
			return
		}
		got, _ := parsed.Render(map[string]any{"a": value, "amount": value}, map[string]string{"*": value})
		if len(got) > maxTemplate+maxFields*max(maxValue*4, len(value)) {
			t.Errorf("%q gives %d bytes", text, len(got))
		}
	})
}

func TestLanguagesFallBackByBCP47(t *testing.T) {
	have := map[string]bool{"en": true, "zh": true, "zh-hant": true, "de-ch": true}
	for wanted, want := range map[string]string{
		"zh-Hant-TW": "zh-hant", "zh-Hans-CN": "zh", "EN-us": "en", "de": "", "de-CH-1996": "de-ch", "": "", "fr-FR": "", "zh-Hant-x-private": "zh-hant",
	} {
		if got := lookup(wanted, func(tag string) bool { return have[tag] }); got != want {
			t.Errorf("%q finds %q, want %q", wanted, got, want)
		}
	}
	for tag, want := range map[string]bool{
		"en": true, "zh-Hant-TW": true, "de-CH-1996": true, "x": false, "": false, "en_US": false, "en-": false, "toolonglanguage": false, "1a": false,
		"en-US-": false, strings.Repeat("aa-", 20) + "aa": false,
	} {
		if ValidLocale(tag) != want {
			t.Errorf("ValidLocale(%q) = %v", tag, !want)
		}
	}
}

func TestQuietHoursEndInTheWearersZone(t *testing.T) {
	shanghai, err := zone("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	berlin := zoneOf("", "Nowhere/Unknown", "Europe/Berlin")
	night, noonNap, always := Quiet{22 * 60, 7 * 60}, Quiet{12 * 60, 14 * 60}, Quiet{0, 0}
	for _, tc := range []struct {
		name  string
		quiet Quiet
		now   string
		loc   *time.Location
		until string // empty: not quiet
	}{
		{"before midnight", night, "2026-03-01T15:00:00Z", shanghai, "2026-03-01T23:00:00Z"},
		{"after midnight", night, "2026-03-01T20:00:00Z", shanghai, "2026-03-01T23:00:00Z"},
		{"by day", night, "2026-03-01T04:00:00Z", shanghai, ""},
		{"at the start", night, "2026-03-01T22:00:00Z", time.UTC, "2026-03-02T07:00:00Z"},
		{"at the end", night, "2026-03-01T07:00:00Z", time.UTC, ""},
		{"within a day", noonNap, "2026-03-01T12:30:00Z", time.UTC, "2026-03-01T14:00:00Z"},
		{"after it", noonNap, "2026-03-01T14:00:00Z", time.UTC, ""},
		{"all day", always, "2026-03-01T12:00:00Z", time.UTC, "2026-03-02T00:00:00Z"},
		{"over the change to summer time", night, "2026-03-28T22:30:00Z", berlin, "2026-03-29T05:00:00Z"},
		{"over the change to winter time", night, "2026-10-24T21:30:00Z", berlin, "2026-10-25T06:00:00Z"},
	} {
		now, err := time.Parse(time.RFC3339, tc.now)
		if err != nil {
			t.Fatal(err)
		}
		got := tc.quiet.Until(now, tc.loc)
		if tc.until == "" && !got.IsZero() || tc.until != "" && got.UTC().Format(time.RFC3339) != tc.until {
			t.Errorf("%s: until %s, want %q", tc.name, got.UTC(), tc.until)
		}
	}
	if zoneOf() != time.UTC || zoneOf("Local") != time.UTC {
		t.Error("without a zone it is not UTC")
	}
}

func TestQuietHoursEndAheadAndWithinADay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		q := Quiet{rapid.IntRange(0, dayMinutes-1).Draw(rt, "start"), rapid.IntRange(0, dayMinutes-1).Draw(rt, "end")}
		loc := zoneOf(rapid.SampledFrom([]string{"", "Asia/Shanghai", "Europe/Berlin", "Pacific/Apia", "America/St_Johns"}).Draw(rt, "zone"))
		now := time.Unix(rapid.Int64Range(1.7e9, 1.9e9).Draw(rt, "now"), 0)
		until := q.Until(now, loc)
		if until.IsZero() {
			return
		}
		if wait := until.Sub(now); wait <= 0 || wait > 25*time.Hour+time.Minute {
			rt.Fatalf("%s waits %s", now, wait)
		}
	})
}

func TestAStreamThatHasReadAsFarIsNotWoken(t *testing.T) {
	h := NewHub()
	l, leave := h.Join("alice", "phone PHONE")
	defer leave()
	l.Saw(4)
	for sequence, want := range map[int64]int{3: 0, 4: 0} {
		if h.WakeTo("alice", sequence); len(l.Wake) != want {
			t.Errorf("%d: woken %d times", sequence, len(l.Wake))
		}
	}
	if h.WakeTo("alice", 5); len(l.Wake) != 1 {
		t.Error("not woken for what it has not read")
	}
}

func TestTheHubWakesEveryStreamOfTheAccountOnceAndNoOther(t *testing.T) {
	h := NewHub()
	first, leaveFirst := h.Join("alice", "phone PHONE")
	second, leaveSecond := h.Join("alice", "phone BAND")
	other, leaveOther := h.Join("bob", "phone PHONE")
	h.Wake("alice")
	h.Wake("alice") // nobody has looked yet: this must neither block nor queue
	if len(first.Wake) != 1 || len(second.Wake) != 1 || len(other.Wake) != 0 {
		t.Fatalf("woken: %d %d, other %d", len(first.Wake), len(second.Wake), len(other.Wake))
	}
	again, leaveAgain := h.Join("alice", "phone PHONE")
	select {
	case <-first.Ended:
	default:
		t.Error("the client's older stream goes on")
	}
	leaveFirst() // must not take the newer one with it
	h.Wake("alice")
	if len(again.Wake) != 1 {
		t.Error("the newer stream is not woken")
	}
	h.Replace("alice", "phone PHONE")
	<-again.Ended
	leaveAgain()
	leaveSecond()
	leaveOther()
	if !h.Idle() {
		t.Error("streams that left are still known")
	}
}
