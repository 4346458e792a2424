package virtual

import (
	"fmt"
	"unicode/utf8"

	"github.com/armlet-pay/armlet/proto/wire"
)

// shown is what the band's screen shows of a challenge.
func shown(c wire.Challenge) string {
	switch c.Purpose {
	case wire.PurposePay:
		return c.Display + " " + Amount(c.Amount, c.Currency, c.Exponent)
	case wire.PurposeClaim:
		return "Claim this band?"
	default:
		return c.Display
	}
}

// Amount writes an amount of minor units for people, for example "CNY 12.00".
// The exponent is the number of decimal places of the currency, ISO 4217.
func Amount(minor uint64, currency string, exponent uint8) string {
	digits := fmt.Sprintf("%0*d", int(exponent)+1, minor)
	whole, part := digits[:len(digits)-int(exponent)], digits[len(digits)-int(exponent):]
	if part != "" {
		part = "." + part
	}
	return currency + " " + whole + part
}

// fit cuts s to at most n bytes between characters.
func fit(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
