package alert

import (
	"context"
	"strings"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// Faults about topics.
var (
	ErrTopicNotFound     = fault.New(fault.NotFound, "TOPIC_NOT_FOUND", "there is no such topic, or it is not yours")
	ErrTopicExists       = fault.New(fault.AlreadyExists, "TOPIC_EXISTS", "there is a topic with this id").WithField("topic_id")
	ErrTooManyTopics     = fault.New(fault.ResourceExhausted, "TOO_MANY_TOPICS", "a partner can have %d topics", MaxTopics)
	ErrBroadcastNotFound = fault.New(fault.NotFound, "BROADCAST_NOT_FOUND", "there is no such broadcast, or it is not yours")
	errMember            = fault.New(fault.PermissionDenied, "MEMBER_NOT_ALLOWED", "a partner's topic has the partner's own devices only").WithField("add")
)

// MaxTopics is how many topics one owner can have.
const MaxTopics = 1000

// Topic is a list of recipients.
type Topic struct {
	// Partner is its owner; empty for the operator.
	Partner     string
	ID          string
	DisplayName string
	Members     int64
	CreatedAt   time.Time
}

// CheckMembers refuses what cannot be a member of a partner's topic. An operator's topic takes everybody.
func CheckMembers(partner string, members []string) error {
	for _, m := range members {
		if partner != "" && !strings.HasPrefix(m, "partners/"+partner+"/devices/") {
			return errMember
		}
	}
	return nil
}

// BroadcastState is where a broadcast is.
type BroadcastState string

// The states of a broadcast.
const (
	BroadcastScheduled BroadcastState = "SCHEDULED"
	BroadcastRunning   BroadcastState = "RUNNING"
	BroadcastDone      BroadcastState = "DONE"
	BroadcastExpired   BroadcastState = "EXPIRED"
)

// Broadcast is an alert to all members of a topic.
type Broadcast struct {
	ID     string
	Sender Sender
	// Partner and Topic name the topic.
	Partner, Topic string
	Request        Request
	State          BroadcastState
	// After is the last member that was alerted.
	After                        string
	Members, Sent, Held, Dropped int64
	CreatedAt                    time.Time
}

// DueAt is when it begins.
func (b Broadcast) DueAt() time.Time {
	if b.Request.DeliverAt.After(b.CreatedAt) {
		return b.Request.DeliverAt
	}
	return b.CreatedAt
}

// Over reports whether the ttl has run out, so that nobody else is alerted.
func (b Broadcast) Over(now time.Time) bool {
	ttl := MaxTTL
	if b.Request.TTL != nil {
		ttl = max(*b.Request.TTL, nowWindow)
	}
	return !now.Before(b.DueAt().Add(ttl))
}

// Member is a member of a topic as it is resolved when it is alerted.
type Member struct {
	Name string
	// Wearer is who wears it, or for an account only has that.
	Wearer Wearer
}

// Order is the alert of one member; false when there is nobody to alert.
func (b Broadcast) Order(m Member, id string, now time.Time) (Alert, bool) {
	a := b.Request.order(b.Sender, b.CreatedAt)
	a.ID, a.Broadcast, a.CreatedAt = id, b.ID, now
	if account, ok := strings.CutPrefix(m.Name, "accounts/"); ok {
		a.Account, a.Mode = account, b.Sender.Mode
	} else {
		w := m.Wearer
		if w.Account == "" || b.Sender.Partner != "" && (w.Partner != b.Sender.Partner || w.Mode != b.Sender.Mode) {
			return Alert{}, false
		}
		a.Account, a.Device, a.Partner, a.Mode, a.ToDevice = w.Account, m.Name, w.Partner, w.Mode, true
	}
	a.DeliverAt = time.Time{} // the broadcast has waited for it
	a.note(now, StepRecipients, Passed, "", "")
	return a, true
}

// Broadcast alerts all members of a topic, little by little.
func (s *Service) Broadcast(ctx context.Context, by Sender, req once.Request, r Request, now time.Time) (Broadcast, error) {
	if err := by.check(r, now); err != nil {
		return Broadcast{}, err
	}
	if by.Partner != "" && r.TopicPartner != by.Partner {
		return Broadcast{}, ErrTopicNotFound.WithField("topic")
	}
	b := Broadcast{ID: s.newID(), Sender: by, Partner: r.TopicPartner, Topic: r.Topic, Request: r, State: BroadcastRunning, CreatedAt: now}
	if r.DeliverAt.After(now) {
		b.State = BroadcastScheduled
	}
	return s.store.Broadcast(ctx, req, b, func(kind *Published) error {
		if err := s.schemas.Validate(kind.Schema, r.Payload); err != nil {
			return errPayloadSchema.WithCause(err).WithMeta("detail", cut(err.Error(), maxValue))
		}
		return nil
	})
}
