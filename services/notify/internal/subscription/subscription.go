// Package subscription decides about partners' subscriptions: which part of a partner's event stream one may see, where its
// events go, what its stream and consumer on NATS are called, and what becomes of an event that a webhook does not take.
//
//	         pause                 the webhook answered 410, or nothing for five days
//	ACTIVE ─────────▶ PAUSED     ACTIVE ──────────────────────────────────────────────▶ DISABLED
//	   ▲                │          ▲                                                       │
//	   └──── resume ────┘          └──────────────────────── resume ───────────────────────┘
//
// Start here, then lifecycle.go, webhook.go and sign.go.
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
	ErrLimit    = fault.New(fault.ResourceExhausted, "SUBSCRIPTION_LIMIT", "a partner has at most %d subscriptions; delete one first", MaxPerPartner)
)

const (
	// MaxPerPartner is how many subscriptions a partner may have in both modes together.
	MaxPerPartner = 100
	// subjectTokens is how many tokens follow `pevt.v1.<partner>.`: mode, domain, entity and verb.
	subjectTokens = 4
)

// Sink is where events go. The texts are stored.
type Sink string

// The sinks.
const (
	NATS    Sink = "nats"
	Webhook Sink = "webhook"
	GRPC    Sink = "grpc"
)

// State says whether events are delivered. The texts are stored.
type State string

// The states.
const (
	Active   State = "active"
	Paused   State = "paused"
	Disabled State = "disabled"
)

// Signature is how the deliveries of a webhook are signed. The texts are stored.
type Signature string

// The signatures; the names are those of the Standard Webhooks specification.
const (
	Ed25519 Signature = "v1a"
	HMAC    Signature = "v1"
)

// Subscription is a durable consumer on a partner's stream.
type Subscription struct {
	Partner string
	ID      string
	// Filters are the subjects below `pevt.v1.<partner>.`, such as "live.payments.>". There is at least one.
	Filters []string
	// Consumer is the name of the durable consumer. It cannot be guessed.
	Consumer string
	Sink     Sink
	// Thin leaves out what happened and says only that it did.
	Thin  bool
	State State
	// Start is where the consumer begins: zero is at the beginning of the stream.
	Start time.Time
	// Round grows with every replay; the consumer on NATS is made anew with it.
	Round int64
	// URL, Signature and Keys are those of a webhook. Keys are newest first.
	URL       string
	Signature Signature
	Keys      []KeyRef
	// FailingSince is when a webhook began to take nothing; zero while it does.
	FailingSince  time.Time
	DisableReason string
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

// KeyRef names a signing key and, once there is a newer one, until when it still signs.
type KeyRef struct {
	Name  string    `json:"name"`
	Until time.Time `json:"until"`
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
	mode, _, _ := strings.Cut(s.Filters[0], ".")
	return mode
}

// TestSubject is the subject of test events for this subscription.
func (s Subscription) TestSubject() string {
	return Subject(s.Partner, s.Mode(), "subscriptions", s.ID, "tested")
}

// FilterSubjects is what the consumer of the subscription is filtered by: its filters and its own test events.
func (s Subscription) FilterSubjects() []string {
	all := make([]string, 0, len(s.Filters)+1)
	covered := false
	for _, f := range s.Filters {
		all = append(all, subject(s.Partner, f))
		covered = covered || overlap(all[len(all)-1], s.TestSubject())
	}
	if !covered {
		all = append(all, s.TestSubject())
	}
	return all
}

// SubjectPrefix begins every subject of partners' streams.
const SubjectPrefix = "pevt.v1."

func subject(partner, rest string) string { return SubjectPrefix + partner + "." + rest }

// Filters are the filters that a caller of this mode asked for, and all of its mode when it asked for none. A filter that
// could never match anything is refused, as is one that reaches into the other mode, and two that overlap.
func Filters(asked []string, mode string) ([]string, error) {
	if len(asked) == 0 {
		return []string{mode + ".>"}, nil
	}
	for i, f := range asked {
		tokens := strings.Split(f, ".")
		open := tokens[len(tokens)-1] == ">"
		switch {
		case tokens[0] != mode:
			return nil, fault.InvalidField("filters", "your credentials are for the mode %s; begin each filter with it", mode)
		case open && len(tokens) > subjectTokens, !open && len(tokens) != subjectTokens:
			return nil, fault.InvalidField("filters", "no subject can match %q; name mode, domain, entity and verb, or end early with \".>\"", f)
		}
		for _, other := range asked[:i] {
			if overlap(other, f) {
				return nil, fault.InvalidField("filters", "%q and %q overlap; leave one out", other, f)
			}
		}
	}
	return asked, nil
}

// overlap reports whether some subject matches both.
func overlap(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; i < len(as) && i < len(bs); i++ {
		switch {
		case as[i] == ">" || bs[i] == ">":
			return true
		case as[i] != bs[i] && as[i] != "*" && bs[i] != "*":
			return false
		}
	}
	return len(as) == len(bs)
}
