package alert

import "strings"

// How many characters a phone and a full screen show.
const (
	TitleRunes = 60
	PhoneRunes = 200
	FullRunes  = 2000
)

// Text is how an alert reads on each surface.
type Text struct {
	// Locale is the language that was found for the phone.
	Locale    string    `json:"locale,omitempty"`
	Band      string    `json:"band"`
	Icon      string    `json:"icon,omitempty"`
	Vibration Vibration `json:"vibration,omitempty"`
	Title     string    `json:"title,omitempty"`
	Phone     string    `json:"phone,omitempty"`
	Full      string    `json:"full,omitempty"`
}

// Render writes an alert in a language, or the nearest one there is. The band's text is never cut, so that no amount loses
// digits: it is the first that fits whole.
func (p *Published) Render(payload map[string]any, locale string) Text {
	band, _ := p.find(Band, locale)
	phone, _ := p.find(Phone, locale)
	full, ok := p.find(Full, locale)
	if !ok {
		full = phone
	}
	text := Text{Locale: phone.locale, Band: band.band(payload), Icon: band.icon, Vibration: band.vibration}
	if phone.icon != "" {
		text.Icon = phone.icon
	}
	text.Phone = phone.text(payload, PhoneRunes)
	text.Full = full.text(payload, FullRunes)
	if phone.hasTitle {
		title, _ := phone.title.Render(payload, phone.words)
		text.Title = cut(clean(title), TitleRunes)
	}
	return text
}

// find is the template for a surface in a language, else in the default one.
func (p *Published) find(s Surface, locale string) (rendering, bool) {
	have := p.templates[s]
	tag := lookup(locale, func(tag string) bool {
		_, ok := have[tag]
		return ok
	})
	if tag == "" {
		tag = strings.ToLower(p.DefaultLocale)
	}
	r, ok := have[tag]
	return r, ok
}

func (r rendering) band(payload map[string]any) string {
	for _, t := range r.texts {
		text, whole := t.Render(payload, r.words)
		if text = clean(text); whole && text != "" && len(text) <= BandBytes {
			return text
		}
	}
	return r.bandDefault
}

func (r rendering) text(payload map[string]any, runes int) string {
	text, _ := r.texts[0].Render(payload, r.words)
	return cut(clean(text), runes)
}
