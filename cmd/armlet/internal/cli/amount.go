package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
)

// exponents of ISO 4217 where they are not 2.
var exponents = map[string]int{
	"BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
	"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0,
	"RWF": 0, "UGX": 0, "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
}

func exponent(currency string) int {
	if e, ok := exponents[currency]; ok {
		return e
	}
	return 2
}

// parseAmount reads "12", "12.5" or "12.50" without ever touching a float.
func parseAmount(text, currency string) (*typev1.Money, error) {
	e := exponent(currency)
	whole, part, dotted := strings.Cut(text, ".")
	if whole == "" || (dotted && (part == "" || len(part) > e)) || strings.Trim(whole+part, "0123456789") != "" {
		return nil, usageError{fmt.Errorf("the amount %q is not a number of %s with at most %d decimal places", text, currency, e)}
	}
	minor, err := strconv.ParseInt(whole+part+strings.Repeat("0", e-len(part)), 10, 64)
	if err != nil || minor == 0 {
		return nil, usageError{fmt.Errorf("the amount %q is not between 1 and %d minor units", text, int64(math.MaxInt64))}
	}
	return &typev1.Money{MinorUnits: minor, CurrencyCode: currency}, nil
}

func money(m *typev1.Money) string {
	e := exponent(m.GetCurrencyCode())
	sign, units := "", m.GetMinorUnits()
	digits := strconv.FormatInt(units, 10)
	if units < 0 {
		sign, digits = "-", digits[1:]
	}
	if pad := e + 1 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	cut := len(digits) - e
	if e == 0 {
		return fmt.Sprintf("%s %s%s", m.GetCurrencyCode(), sign, digits)
	}
	return fmt.Sprintf("%s %s%s.%s", m.GetCurrencyCode(), sign, digits[:cut], digits[cut:])
}
