package alert

import (
	"strconv"
	"strings"

	"github.com/armlet-pay/armlet/platform/fault"
)

// A template is text with fields in braces and optional parts in brackets, and nothing else: it is read once from left to
// right, every field is replaced once, and what replaces it is not looked at again. So the time it takes is that of its
// length, and its result is as long as its text and its values, which are bounded.

const (
	maxTemplate = 1024
	maxFields   = 32
	maxDepth    = 4
	maxValue    = 200
)

type format string

const (
	plain     format = ""
	moneyForm format = "money"
	wordsForm format = "words"
)

// part is a literal, a field, or an optional group of both.
type part struct {
	literal string
	path    []string
	format  format
	group   []part
}

// Template is a parsed text.
type Template struct {
	parts  []part
	fields int
}

// Fixed reports whether it has no fields.
func (t Template) Fixed() bool { return t.fields == 0 }

func invalidTemplate(text, why string, a ...any) error {
	return fault.New(fault.Invalid, "TEMPLATE_INVALID", "the text %q "+why, append([]any{cut(text, 60)}, a...)...)
}

// ParseTemplate reads a text.
func ParseTemplate(text string) (Template, error) {
	if len(text) > maxTemplate {
		return Template{}, invalidTemplate(text, "is longer than %d bytes", maxTemplate)
	}
	p := templateParser{text: text, rest: text}
	parts, err := p.parts(false)
	if err != nil {
		return Template{}, err
	}
	if p.fields > maxFields {
		return Template{}, invalidTemplate(text, "has more than %d fields", maxFields)
	}
	return Template{parts: parts, fields: p.fields}, nil
}

type templateParser struct {
	text, rest string
	fields     int
}

// parts reads to the end of the text, or of the group.
func (p *templateParser) parts(inGroup bool) ([]part, error) {
	var all []part
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			all = append(all, part{literal: literal.String()})
			literal.Reset()
		}
	}
	for p.rest != "" {
		c := p.rest[0]
		p.rest = p.rest[1:]
		switch {
		case c == '\\':
			if p.rest == "" {
				return nil, invalidTemplate(p.text, "ends with a backslash")
			}
			literal.WriteByte(p.rest[0])
			p.rest = p.rest[1:]
		case c == '{':
			flush()
			field, err := p.field()
			if err != nil {
				return nil, err
			}
			all = append(all, field)
		case c == '[' && !inGroup:
			flush()
			group, err := p.parts(true)
			if err != nil {
				return nil, err
			}
			all = append(all, part{group: group})
		case c == ']' && inGroup:
			flush()
			if len(all) == 0 {
				return nil, invalidTemplate(p.text, "has empty brackets")
			}
			return all, nil
		case c == '}' || c == '[' || c == ']':
			return nil, invalidTemplate(p.text, "has a %q that nothing belongs to; write \\%c to show one", c, c)
		default:
			literal.WriteByte(c)
		}
	}
	if inGroup {
		return nil, invalidTemplate(p.text, "has a bracket that is not closed")
	}
	flush()
	return all, nil
}

func (p *templateParser) field() (part, error) {
	inner, rest, closed := strings.Cut(p.rest, "}")
	if !closed {
		return part{}, invalidTemplate(p.text, "has a brace that is not closed")
	}
	p.rest = rest
	p.fields++
	name, form, _ := strings.Cut(inner, "|")
	f := part{path: strings.Split(name, "."), format: format(form)}
	if f.format != plain && f.format != moneyForm && f.format != wordsForm || strings.HasSuffix(inner, "|") {
		return part{}, invalidTemplate(p.text, "asks for the form %q; there are money and words", form)
	}
	if len(f.path) > maxDepth {
		return part{}, invalidTemplate(p.text, "has a field more than %d deep", maxDepth)
	}
	for _, step := range f.path {
		if !isFieldName(step) {
			return part{}, invalidTemplate(p.text, "has a field %q; names are letters, digits and _", inner)
		}
	}
	return f, nil
}

func isFieldName(s string) bool {
	return s != "" && len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}

// Render fills the fields in. It is false when a field outside of brackets has no value.
func (t Template) Render(payload map[string]any, words map[string]string) (string, bool) {
	var out strings.Builder
	whole := true
	for _, p := range t.parts {
		if p.group == nil {
			text, ok := p.render(payload, words)
			out.WriteString(text)
			whole = whole && ok
			continue
		}
		var group strings.Builder
		all := true
		for _, inner := range p.group {
			text, ok := inner.render(payload, words)
			group.WriteString(text)
			all = all && ok
		}
		if all {
			out.WriteString(group.String())
		}
	}
	return out.String(), whole
}

func (p part) render(payload map[string]any, words map[string]string) (string, bool) {
	if p.path == nil {
		return p.literal, true
	}
	var value any = payload
	for _, step := range p.path {
		object, ok := value.(map[string]any)
		if !ok {
			return "", false
		}
		value = object[step]
	}
	var text string
	switch p.format {
	case moneyForm:
		text = moneyOf(value)
	case wordsForm:
		key := scalar(value)
		if text = words[key]; text == "" && key != "" {
			text = words["*"]
		}
	default:
		text = scalar(value)
	}
	return text, text != ""
}

func scalar(value any) string {
	switch v := value.(type) {
	case string:
		return cut(clean(v), maxValue)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// moneyOf reads {"minor_units": 1200, "currency_code": "CNY"}. In JSON a 64-bit number may be a string.
func moneyOf(value any) string {
	object, ok := value.(map[string]any)
	if !ok {
		return ""
	}
	currency, _ := object["currency_code"].(string)
	if len(currency) != 3 {
		return ""
	}
	var minor int64
	switch v := object["minor_units"].(type) {
	case int64:
		minor = v
	case float64:
		if minor = int64(v); float64(minor) != v {
			return ""
		}
	case string:
		var err error
		if minor, err = strconv.ParseInt(v, 10, 64); err != nil {
			return ""
		}
	default:
		return ""
	}
	return Money{MinorUnits: minor, Currency: clean(currency)}.String()
}
