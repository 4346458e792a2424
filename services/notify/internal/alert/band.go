package alert

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// BandBytes is how many bytes of UTF-8 a band's screen takes (device protocol, RESULT frame).
const BandBytes = 18

// Band makes any text fit for a band: valid UTF-8, no control characters, cut at the last whole character that fits.
func Band(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) <= BandBytes {
		return text
	}
	end := BandBytes
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.TrimRightFunc(text[:end], unicode.IsSpace)
}

// fit is the first text that a band shows whole, so that no amount ever loses digits; the last one is cut when even it
// is too long.
func fit(texts ...string) string {
	for _, text := range texts {
		if len(text) <= BandBytes {
			return Band(text)
		}
	}
	return Band(texts[len(texts)-1])
}
