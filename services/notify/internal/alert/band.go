package alert

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// BandBytes is how many bytes of UTF-8 a band's screen takes (device protocol, RESULT frame).
const BandBytes = 18

// clean is valid UTF-8 without control characters.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// cut is the longest beginning of at most n characters.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	for i := range text {
		if n == 0 {
			return strings.TrimRightFunc(text[:i], unicode.IsSpace)
		}
		n--
	}
	return text
}
