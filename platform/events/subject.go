package events

import (
	"fmt"
	"strings"
)

const (
	subjectPrefix = "evt.v1."
	noPartner     = "_"
	maxToken      = 128
)

// Subject is where an event is published inside: evt.v1.<mode>.<domain>.<entity>.<verb>.<partner>.<id>.
type Subject struct {
	// Mode is "live" or "test".
	Mode string
	// Domain groups the subjects of one stream, such as "payments".
	Domain string
	// Entity is the kind of thing the event is about, such as "payment".
	Entity string
	// Verb is what happened to it, in the past tense, such as "captured".
	Verb string
	// Partner is the id of the partner concerned, or empty, which the subject shows as "_".
	Partner string
	// ID is the id of the entity.
	ID string
}

// String is the NATS subject. It is meaningful only for a valid Subject; see [Subject.Validate].
func (s Subject) String() string {
	partner := s.Partner
	if partner == "" {
		partner = noPartner
	}
	return subjectPrefix + strings.Join([]string{s.Mode, s.Domain, s.Entity, s.Verb, partner, s.ID}, ".")
}

// Validate reports a part that is missing or cannot be one token of a NATS subject: mode, domain, entity and verb are 1 to
// 128 of a-z, 0-9, "_" and "-"; partner and id are visible ASCII without ".", "*" and ">"; the partner is not "_", which
// stands for none; mode is "live" or "test".
func (s Subject) Validate() error {
	if s.Mode != "live" && s.Mode != "test" {
		return fmt.Errorf("events: the mode %q of a subject must be live or test", s.Mode)
	}
	for _, part := range []struct{ name, value string }{{"domain", s.Domain}, {"entity", s.Entity}, {"verb", s.Verb}} {
		if !isToken(part.value, isWordByte) {
			return fmt.Errorf("events: the %s %q of a subject must be 1 to %d of a-z, 0-9, _ and -", part.name, part.value, maxToken)
		}
	}
	if s.Partner == noPartner || s.Partner != "" && !isToken(s.Partner, isTokenByte) {
		return fmt.Errorf("events: the partner %q of a subject is not one NATS token, or is the token for none", s.Partner)
	}
	if !isToken(s.ID, isTokenByte) {
		return fmt.Errorf("events: the id %q of a subject is not one NATS token", s.ID)
	}
	return nil
}

// ParseSubject is the inverse of [Subject.String]. It accepts nothing that String does not produce from a valid Subject.
func ParseSubject(subject string) (Subject, error) {
	rest, found := strings.CutPrefix(subject, subjectPrefix)
	tokens := strings.Split(rest, ".")
	if !found || len(tokens) != 6 {
		return Subject{}, fmt.Errorf("events: the subject %q is not evt.v1.<mode>.<domain>.<entity>.<verb>.<partner>.<id>", subject)
	}
	s := Subject{Mode: tokens[0], Domain: tokens[1], Entity: tokens[2], Verb: tokens[3], Partner: tokens[4], ID: tokens[5]}
	switch s.Partner {
	case noPartner:
		s.Partner = ""
	case "":
		return Subject{}, fmt.Errorf("events: the subject %q has an empty partner: use %s for none", subject, noPartner)
	}
	if err := s.Validate(); err != nil {
		return Subject{}, err
	}
	return s, nil
}

// checkSubject refuses what cannot be published: besides events' own subjects there are others, of partners' streams.
func checkSubject(subject string) error {
	if strings.HasPrefix(subject, subjectPrefix) {
		_, err := ParseSubject(subject)
		return err
	}
	for token := range strings.SplitSeq(subject, ".") {
		if !isToken(token, isTokenByte) {
			return fmt.Errorf("events: %q is not a NATS subject to publish on", subject)
		}
	}
	return nil
}

func isToken(s string, allowed func(byte) bool) bool {
	if s == "" || len(s) > maxToken {
		return false
	}
	for i := range len(s) {
		if !allowed(s[i]) {
			return false
		}
	}
	return true
}

func isWordByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '_' || b == '-'
}

func isTokenByte(b byte) bool {
	return b > ' ' && b < 0x7f && b != '.' && b != '*' && b != '>'
}
