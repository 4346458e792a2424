package alert

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
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

func TestEachEventHasItsTexts(t *testing.T) {
	amount := Money{1200, "CNY"}
	for _, tc := range []struct {
		event       Event
		band, phone string
		vibration   Vibration
	}{
		{Event{Type: PaymentCaptured, Amount: amount, Merchant: "Tea House"}, "Paid ¥12.00", "Paid ¥12.00 to Tea House.", VibrateOneShort},
		{Event{Type: PaymentCaptured, Amount: amount}, "Paid ¥12.00", "Paid ¥12.00.", VibrateOneShort},
		{
			Event{Type: PaymentDeclined, Amount: amount, Merchant: "Tea House", Reason: "INSUFFICIENT_FUNDS"},
			"Declined ¥12.00", "The payment of ¥12.00 to Tea House was declined: there is not enough money in the account.", VibrateOneLong,
		},
		{
			Event{Type: PaymentDeclined, Amount: amount, Reason: "SOMETHING_INTERNAL"},
			"Declined ¥12.00", "The payment of ¥12.00 was declined: it could not be completed.", VibrateOneLong,
		},
		{Event{Type: DeviceSuspended}, "Reported lost", "Your band was reported lost. It pays for nobody until you lift this.", VibrateOneLong},
		{Event{Type: DeviceBound}, "Band added", "A band was added to your account. If this was not you, report it lost now.", VibrateTwoShort},
		{Event{Type: VoucherRedeemed, Amount: amount}, "Voucher ¥12.00", "Your voucher of ¥12.00 was redeemed.", VibrateTwoShort},
		{Event{Type: AccountToppedUp, Amount: amount}, "Added ¥12.00", "¥12.00 was added to your account.", VibrateOneShort},
	} {
		tc.event.Account = "alice"
		got, ok := Render(tc.event)
		if !ok || got.Band != tc.band || got.Phone != tc.phone || got.Vibration != tc.vibration {
			t.Errorf("%s: got %q, %q, %d, %v", tc.event.Type, got.Band, got.Phone, got.Vibration, ok)
		}
	}
}

func TestNobodyIsToldOfAnEventWithoutAnAccountOrOfAnUnknownType(t *testing.T) {
	if _, ok := Render(Event{Type: DeviceSuspended}); ok {
		t.Error("an unbound device's suspension alerts somebody")
	}
	if _, ok := Render(Event{Type: "weather.changed", Account: "alice"}); ok {
		t.Error("an unknown type alerts somebody")
	}
}

func TestAnAmountOnTheBandIsWholeOrNotThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		event := Event{
			Type:    rapid.SampledFrom([]Type{PaymentCaptured, PaymentDeclined, VoucherRedeemed, AccountToppedUp}).Draw(t, "type"),
			Account: "alice",
			Amount: Money{
				rapid.Int64().Draw(t, "minor"),
				rapid.SampledFrom([]string{"CNY", "JPY", "KWD", "CHF", "CLF"}).Draw(t, "currency"),
			},
			Merchant: rapid.String().Draw(t, "merchant"),
		}
		got, _ := Render(event)
		if len(got.Band) == 0 || len(got.Band) > BandBytes || !utf8.ValidString(got.Band) {
			t.Fatalf("the band gets %q, %d bytes", got.Band, len(got.Band))
		}
		if strings.ContainsAny(got.Band, "0123456789") && !strings.HasSuffix(got.Band, event.Amount.String()) {
			t.Fatalf("%q shows a part of %s", got.Band, event.Amount)
		}
	})
}

func TestAnyTextIsCutBetweenCharacters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) + rapid.String().Draw(t, "text")
		got := Band(text)
		if len(got) > BandBytes || !utf8.ValidString(got) {
			t.Fatalf("Band(%q) = %q, %d bytes", text, got, len(got))
		}
		if Band(got) != got {
			t.Fatalf("Band is not idempotent on %q", got)
		}
	})
	for text, want := range map[string]string{
		"eighteen bytes  ok": "eighteen bytes  ok",
		"¥¥¥¥¥¥¥¥¥¥":         "¥¥¥¥¥¥¥¥¥",
		"abcdefghijklmnopq¥": "abcdefghijklmnopq",
		"a\nb\x00c":          "abc",
		"bad \xff byte":      "bad \uFFFD byte",
	} {
		if got := Band(text); got != want {
			t.Errorf("Band(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestTheHubWakesEveryStreamOfTheAccountOnceAndNoOther(t *testing.T) {
	h := NewHub()
	first, leaveFirst := h.Join("alice")
	second, leaveSecond := h.Join("alice")
	other, leaveOther := h.Join("bob")
	h.Wake("alice")
	h.Wake("alice") // nobody has looked yet: this must neither block nor queue
	if len(first) != 1 || len(second) != 1 || len(other) != 0 {
		t.Fatalf("woken: %d %d, other %d", len(first), len(second), len(other))
	}
	leaveFirst()
	<-second
	h.Wake("alice")
	if len(second) != 1 {
		t.Error("the remaining stream was not woken")
	}
	leaveSecond()
	leaveOther()
	if !h.Idle() {
		t.Error("streams that left are still known")
	}
}
