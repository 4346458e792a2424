// Package subscription decides about partners' subscriptions: which part of a partner's event stream one may see, and
// what its stream and consumer on NATS are called.
package subscription

import (
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// The reasons.
var (
	ErrExists   = fault.New(fault.AlreadyExists, "SUBSCRIPTION_EXISTS", "there is a subscription with this id; take another").WithField("subscription_id")
	ErrNotFound = fault.New(fault.NotFound, "SUBSCRIPTION_NOT_FOUND", "there is no such subscription, or it is not yours")
)

// subjectTokens is how many tokens follow `pevt.v1.<partner>.`: mode, domain, entity and verb.
const subjectTokens = 4

// Subscription is a durable consumer on a partner's stream.
type Subscription struct {
	Partner string
	ID      string
	// Filter is the subject below `pevt.v1.<partner>.`, such as "live.payments.>".
	Filter string
	// Consumer is the name of the durable consumer. It cannot be guessed.
	Consumer  string
	CreatedAt time.Time
}

// ValidPartner reports whether a partner's id can be an account, a stream and a token of a subject: 2 to 31 lower-case
// letters, digits and hyphens, no hyphen first.
func ValidPartner(id string) bool {
	if len(id) < 2 || len(id) > 31 || id[0] == '-' {
		return false
	}
	return strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Stream is the name of a partner's stream.
func Stream(partner string) string { return "PE_" + partner }

// Subjects is what a partner's stream holds.
func Subjects(partner string) string { return subject(partner, ">") }

// Subject is the subject of one event in a partner's stream.
func Subject(partner, mode, domain, entity, verb string) string {
	return subject(partner, strings.Join([]string{mode, domain, entity, verb}, "."))
}

// Mode is "live" or "test".
func (s Subscription) Mode() string {
	mode, _, _ := strings.Cut(s.Filter, ".")
	return mode
}

// FilterSubject is what the consumer of the subscription is filtered by.
func (s Subscription) FilterSubject() string { return subject(s.Partner, s.Filter) }

// SubjectPrefix begins every subject of partners' streams.
const SubjectPrefix = "pevt.v1."

func subject(partner, rest string) string { return SubjectPrefix + partner + "." + rest }

// Filter is the filter that a caller of this mode asked for, and all of its mode when it asked for none. A filter that
// could never match anything is refused, as is one that reaches into the other mode.
func Filter(asked, mode string) (string, error) {
	if asked == "" {
		return mode + ".>", nil
	}
	tokens := strings.Split(asked, ".")
	open := tokens[len(tokens)-1] == ">"
	switch {
	case tokens[0] != mode:
		return "", fault.InvalidField("filter", "your credentials are for the mode %s; begin the filter with it", mode)
	case open && len(tokens) > subjectTokens, !open && len(tokens) != subjectTokens:
		return "", fault.InvalidField("filter", "no subject can match; name mode, domain, entity and verb, or end early with \".>\"")
	}
	return asked, nil
}
