package alert

import "strings"

// ValidLocale reports whether a tag has the form of BCP 47: a language of 2 to 8 letters, then subtags of 1 to 8 letters
// and digits.
func ValidLocale(tag string) bool {
	if len(tag) > 35 {
		return false
	}
	for i, sub := range strings.Split(tag, "-") {
		if len(sub) == 0 || len(sub) > 8 || i == 0 && len(sub) < 2 {
			return false
		}
		for _, r := range sub {
			letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
			if !letter && (i == 0 || r < '0' || r > '9') {
				return false
			}
		}
	}
	return true
}

// lookup is the Lookup of RFC 4647: the wanted tag is shortened from its end until there is one like it; "" when there is
// none. A single letter at the end, which only introduces what was cut off, goes with it.
func lookup(wanted string, have func(lower string) bool) string {
	for tag := strings.ToLower(wanted); tag != ""; {
		if have(tag) {
			return tag
		}
		end := strings.LastIndexByte(tag, '-')
		if end < 0 {
			return ""
		}
		tag = tag[:end]
		if n := len(tag); n >= 2 && tag[n-2] == '-' {
			tag = tag[:n-2]
		}
	}
	return ""
}
