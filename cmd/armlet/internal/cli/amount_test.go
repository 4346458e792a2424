package cli

import (
	"testing"

	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
)

func TestAmountsAreReadWithoutFloats(t *testing.T) {
	for _, c := range []struct {
		text, currency string
		want           int64 // 0: refused
	}{
		{"12", "CNY", 1200}, {"12.5", "CNY", 1250}, {"12.05", "CNY", 1205}, {"0.01", "CNY", 1}, {"500", "JPY", 500},
		{"1.234", "KWD", 1234}, {"92233720368547758.07", "CNY", 9223372036854775807},
		{"", "CNY", 0}, {"0", "CNY", 0}, {"-1", "CNY", 0}, {"1.", "CNY", 0}, {".5", "CNY", 0}, {"1.234", "CNY", 0},
		{"1e3", "CNY", 0}, {"1.5", "JPY", 0}, {"92233720368547758.08", "CNY", 0}, {"12,5", "CNY", 0}, {"١٢", "CNY", 0},
	} {
		got, err := parseAmount(c.text, c.currency)
		if (err != nil) != (c.want == 0) || got.GetMinorUnits() != c.want {
			t.Errorf("%q %s: %v, %v; want %d", c.text, c.currency, got, err, c.want)
		}
	}
}

func TestMoneyIsWrittenWithItsDecimals(t *testing.T) {
	for want, m := range map[string]*typev1.Money{
		"CNY 12.00":  {MinorUnits: 1200, CurrencyCode: "CNY"},
		"CNY 0.05":   {MinorUnits: 5, CurrencyCode: "CNY"},
		"CNY -0.05":  {MinorUnits: -5, CurrencyCode: "CNY"},
		"JPY 500":    {MinorUnits: 500, CurrencyCode: "JPY"},
		"KWD 1.234":  {MinorUnits: 1234, CurrencyCode: "KWD"},
		"CNY -12.34": {MinorUnits: -1234, CurrencyCode: "CNY"},
	} {
		if got := money(m); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
