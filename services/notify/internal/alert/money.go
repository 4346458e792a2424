package alert

import (
	"strconv"
	"strings"
)

// Money is an amount in the smallest unit of its currency.
type Money struct {
	MinorUnits int64
	// Currency is an alphabetic code of ISO 4217.
	Currency string
}

// exponents lists the currencies whose minor unit is not a hundredth (ISO 4217, list one).
var exponents = map[string]int{
	"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0, "UGX": 0, "UYI": 0,
	"VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
	"BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
	"CLF": 4, "UYW": 4,
}

var symbols = map[string]string{"CNY": "¥", "JPY": "¥", "EUR": "€", "USD": "$", "GBP": "£"}

const usualExponent = 2

// String is the amount as a wearer reads it: "¥12.00", "¥1200" in yen, "KWD 1.250". A symbol stands close, a code with a
// space.
func (m Money) String() string {
	exponent, known := exponents[m.Currency]
	if !known {
		exponent = usualExponent
	}
	sign := ""
	// The magnitude of the smallest int64 fits only an unsigned number.
	magnitude := uint64(m.MinorUnits)
	if m.MinorUnits < 0 {
		sign, magnitude = "-", -magnitude
	}
	digits := strconv.FormatUint(magnitude, 10)
	if exponent > 0 {
		if missing := exponent + 1 - len(digits); missing > 0 {
			digits = strings.Repeat("0", missing) + digits
		}
		point := len(digits) - exponent
		digits = digits[:point] + "." + digits[point:]
	}
	if symbol, ok := symbols[m.Currency]; ok {
		return sign + symbol + digits
	}
	return sign + m.Currency + " " + digits
}
