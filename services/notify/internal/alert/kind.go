package alert

import (
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Faults about types.
var (
	ErrKindNotFound  = fault.New(fault.NotFound, "ALERT_TYPE_NOT_FOUND", "there is no such alert type, or it is not yours")
	ErrKindExists    = fault.New(fault.AlreadyExists, "ALERT_TYPE_EXISTS", "there is an alert type with this id").WithField("alert_type_id")
	ErrKindDraft     = fault.New(fault.FailedPrecondition, "ALERT_TYPE_NOT_PUBLISHED", "the alert type was never published; publish it first")
	ErrTooManyKinds  = fault.New(fault.ResourceExhausted, "TOO_MANY_ALERT_TYPES", "a partner can have %d alert types", MaxKinds)
	ErrETag          = fault.New(fault.Aborted, "ETAG_MISMATCH", "somebody changed it meanwhile; read it again").WithField("etag")
	errPayloadSchema = fault.New(fault.Invalid, "PAYLOAD_INVALID", "the payload is not what the type's schema wants").WithField("payload")
)

// MaxKinds is how many types one partner can have.
const MaxKinds = 200

func invalidKind(field, why string, a ...any) error {
	return fault.New(fault.Invalid, "ALERT_TYPE_INVALID", why, a...).WithField("draft." + field)
}

// Key names a type.
type Key struct {
	// Partner is its owner; empty for the operator's and the built-in ones.
	Partner string `json:"partner,omitempty"`
	ID      string `json:"id"`
}

// Schemas reads JSON Schemas.
type Schemas interface {
	// Check is nil for a schema that payloads can be held against; its cost is bounded.
	Check(schema string) error
	// Validate is nil for a payload that is as the schema wants; its error says in words what is not, and nothing else.
	Validate(schema string, payload map[string]any) error
}

// TemplateSpec says what one surface shows in one language.
type TemplateSpec struct {
	Surface   Surface           `json:"surface"`
	Locale    string            `json:"locale"`
	Title     string            `json:"title,omitempty"`
	Texts     []string          `json:"texts"`
	Icon      string            `json:"icon,omitempty"`
	Vibration Vibration         `json:"vibration,omitempty"`
	Words     map[string]string `json:"words,omitempty"`
}

// Throttle limits how many alerts of a type a recipient gets; zero does not.
type Throttle struct {
	Max    int           `json:"max,omitempty"`
	Period time.Duration `json:"period,omitempty"`
}

// Window is the beginning of the period that now is in.
func (t Throttle) Window(now time.Time) time.Time { return now.Truncate(t.Period) }

// Content is what a type says.
type Content struct {
	DisplayName   string         `json:"display_name"`
	Category      Category       `json:"category"`
	Priority      Priority       `json:"priority"`
	Schema        string         `json:"schema"`
	DefaultLocale string         `json:"default_locale"`
	Templates     []TemplateSpec `json:"templates"`
	Throttle      Throttle       `json:"throttle,omitzero"`
}

// Kind is a type of alerts.
type Kind struct {
	Key
	Draft Content
	// Published is nil while it was never published.
	Published *Content
	Revision  int
	BuiltIn   bool
	// Version changes with every change.
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Published is a type's content in effect, ready to render.
type Published struct {
	Content
	Revision int

	templates map[Surface]map[string]rendering
}

type rendering struct {
	locale      string
	title       Template
	texts       []Template
	icon        string
	vibration   Vibration
	words       map[string]string
	hasTitle    bool
	bandDefault string
}

// Compile reads a content's templates. What it accepts can always be rendered.
func Compile(c Content, revision int) (*Published, error) {
	p := &Published{Content: c, Revision: revision, templates: map[Surface]map[string]rendering{}}
	if !ValidLocale(c.DefaultLocale) {
		return nil, invalidKind("default_locale", "%q is no language tag (BCP 47)", cut(c.DefaultLocale, 35))
	}
	if c.Throttle.Max < 0 || c.Throttle.Max > 0 && c.Throttle.Period < time.Minute {
		return nil, invalidKind("throttle", "a throttle has a count and a period of at least a minute")
	}
	for _, spec := range c.Templates {
		r, err := compile(spec)
		if err != nil {
			return nil, err
		}
		locale := strings.ToLower(spec.Locale)
		if p.templates[spec.Surface] == nil {
			p.templates[spec.Surface] = map[string]rendering{}
		}
		if _, twice := p.templates[spec.Surface][locale]; twice {
			return nil, invalidKind("templates", "there are two templates for %s in %s", spec.Surface, spec.Locale)
		}
		p.templates[spec.Surface][locale] = r
	}
	for _, s := range []Surface{Band, Phone} {
		if _, ok := p.templates[s][strings.ToLower(c.DefaultLocale)]; !ok {
			return nil, invalidKind("templates", "a template for %s in the default language %s is needed", s, c.DefaultLocale)
		}
	}
	return p, nil
}

func compile(spec TemplateSpec) (rendering, error) {
	r := rendering{locale: spec.Locale, icon: spec.Icon, vibration: spec.Vibration, words: spec.Words, hasTitle: spec.Title != ""}
	if !ValidLocale(spec.Locale) {
		return r, invalidKind("templates", "%q is no language tag (BCP 47)", cut(spec.Locale, 35))
	}
	var err error
	if r.title, err = ParseTemplate(spec.Title); err != nil {
		return r, err
	}
	for _, text := range spec.Texts {
		t, err := ParseTemplate(text)
		if err != nil {
			return r, err
		}
		r.texts = append(r.texts, t)
	}
	if len(r.texts) == 0 || spec.Surface != Band && len(r.texts) != 1 {
		return r, invalidKind("templates", "PHONE and FULL have one text, BAND has one or more")
	}
	if spec.Surface == Band {
		last := r.texts[len(r.texts)-1]
		text, _ := last.Render(nil, nil)
		if r.bandDefault = clean(text); !last.Fixed() || r.bandDefault == "" || len(r.bandDefault) > BandBytes {
			return r, invalidKind("templates",
				"the last text for BAND is what is shown when nothing else fits: it has no fields and 1 to %d bytes", BandBytes)
		}
	}
	return r, nil
}

// Check reports what is wrong with a content that a partner, or with an empty partner the operator, wants to publish.
func (c Content) Check(partner string, schemas Schemas) error {
	if partner != "" && c.Category != Partners {
		return invalidKind("category", "a partner's alerts are of the category PARTNERS")
	}
	if partner != "" && c.Priority == Critical {
		return invalidKind("default_priority", "a partner's type cannot be CRITICAL by default; ask for it when you send")
	}
	if _, err := Compile(c, 0); err != nil {
		return err
	}
	return schemas.Check(c.Schema)
}
