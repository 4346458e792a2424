package alert

import (
	"context"
	"strings"
	"time"
	"unicode"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// Store remembers what is sent.
type Store interface {
	// Send has order make an alert for whoever wears the device, or for the account when device is empty, and takes it
	// through the pipeline, all in one transaction. A device that nobody wears is the zero Wearer. A repeated request gets
	// the alert that the first one made.
	Send(ctx context.Context, req once.Request, to Recipient, kind Key, now time.Time, order func(Wearer, *Published) (Alert, error)) (Alert, error)
	// Broadcast stores a broadcast that check agrees to.
	Broadcast(ctx context.Context, req once.Request, b Broadcast, check func(*Published) error) (Broadcast, error)
	// ChangeKind changes a type; old is nil when there is none, count how many its owner has.
	ChangeKind(ctx context.Context, req once.Request, key Key, now time.Time, change func(old *Kind, count int) (Kind, error)) (Kind, error)
	// Kind reads a type, a built-in one included.
	Kind(ctx context.Context, key Key) (Kind, error)
	// ChangeSettings changes settings; of a device with who wears it.
	ChangeSettings(ctx context.Context, req once.Request, subject string, now time.Time, change func(Settings, Wearer) (Settings, error)) (Settings, error)
	// Wearer is who wears a device.
	Wearer(ctx context.Context, device string) (Wearer, error)
}

// Sender is who sends an alert of their own: a partner, or the operator when Partner is empty.
type Sender struct {
	Partner string
	Mode    string
	// Critical is true when the sender may send CRITICAL alerts.
	Critical bool
}

func (s Sender) name() string {
	if s.Partner == "" {
		return Operator
	}
	return s.Partner
}

// Recipient is an account, or whoever wears a device.
type Recipient struct {
	Account string
	Device  string
}

// Request is an alert that somebody wants to send.
type Request struct {
	// One of these is set.
	Account, Device, Topic string
	// TopicPartner is the owner of Topic.
	TopicPartner string
	Kind         Key
	Payload      map[string]any
	PayloadBytes int
	Priority     Priority
	// TTL is nil for the longest.
	TTL         *time.Duration
	CollapseKey string
	DeliverAt   time.Time
	Actions     []Action
}

// Service sends alerts and keeps types and settings.
type Service struct {
	store   Store
	schemas Schemas
	newID   func() string
}

// NewService makes a Service.
func NewService(store Store, schemas Schemas, newID func() string) *Service {
	return &Service{store: store, schemas: schemas, newID: newID}
}

var (
	errAccountByPartner = fault.New(fault.PermissionDenied, "CALLER_NOT_ALLOWED", "partners send to devices and topics; they know no accounts").WithField("account")
	errCritical         = fault.New(fault.PermissionDenied, "SCOPE_MISSING", "a CRITICAL alert needs the scope alerts.critical").WithField("priority")
)

// Send alerts one wearer. A partner does not learn who that is: a device that is not the partner's, of the other mode or on
// nobody's wrist is RECIPIENT_NOT_FOUND alike.
func (s *Service) Send(ctx context.Context, by Sender, req once.Request, r Request, now time.Time) (Alert, error) {
	if err := by.check(r, now); err != nil {
		return Alert{}, err
	}
	if r.Account != "" && by.Partner != "" {
		return Alert{}, errAccountByPartner
	}
	return s.store.Send(ctx, req, Recipient{Account: r.Account, Device: r.Device}, r.Kind, now, func(w Wearer, kind *Published) (Alert, error) {
		if r.Device != "" && (w.Account == "" || by.Partner != "" && (w.Partner != by.Partner || w.Mode != by.Mode)) {
			return Alert{}, errRecipient
		}
		if err := s.schemas.Validate(kind.Schema, r.Payload); err != nil {
			return Alert{}, errPayloadSchema.WithCause(err).WithMeta("detail", cut(err.Error(), maxValue))
		}
		a := r.order(by, now)
		a.ID, a.Account, a.Device, a.Mode = s.newID(), r.Account, r.Device, by.Mode
		if r.Device != "" {
			a.Account, a.Partner, a.Mode, a.ToDevice = w.Account, w.Partner, w.Mode, true
		}
		a.note(now, StepRecipients, Passed, "", "")
		return a, nil
	})
}

// order is an alert without a recipient.
func (r Request) order(by Sender, now time.Time) Alert {
	a := Alert{CreatedAt: now, Order: Order{
		Kind: r.Kind, Payload: r.Payload, Sender: by.name(), Partner: by.Partner, Asked: r.Priority, CollapseKey: r.CollapseKey, Actions: r.Actions,
		DeliverAt: r.DeliverAt, ExpiresAt: now.Add(MaxTTL),
	}}
	begin := now
	if r.DeliverAt.After(now) {
		begin = r.DeliverAt
	}
	if r.TTL != nil {
		a.ExpiresAt, a.NowOrNever = begin.Add(*r.TTL), *r.TTL == 0
		if a.NowOrNever {
			a.ExpiresAt = time.Time{} // it gets one when it enters the inbox, which is now or never
		}
	}
	for _, step := range []string{StepAuthorise, StepIdempotency, StepSchema} {
		a.note(now, step, Passed, "", "")
	}
	return a
}

// check names what is wrong with a request, whoever it is for.
func (s Sender) check(r Request, now time.Time) error {
	recipients := 0
	for _, to := range []string{r.Account, r.Device, r.Topic} {
		if to != "" {
			recipients++
		}
	}
	switch {
	case recipients != 1:
		return fault.InvalidField("device", "name one recipient: an account, a device or a topic")
	case s.Partner != "" && r.Kind.Partner != s.Partner && r.Kind != (Key{ID: PartnerMessage}):
		return ErrKindNotFound.WithField("type")
	case s.Partner != "" && r.Priority == Critical && !s.Critical:
		return errCritical
	case r.PayloadBytes > MaxPayload:
		return fault.InvalidField("payload", "a payload has at most %d bytes as JSON", MaxPayload)
	case r.DeliverAt.After(now.Add(MaxTTL)):
		return fault.InvalidField("deliver_time", "it lies more than 28 days ahead")
	case r.DeliverAt.After(now) && r.TTL != nil && *r.TTL == 0:
		return fault.InvalidField("ttl", "an alert with a ttl of 0 cannot wait for its deliver_time")
	case strings.ContainsFunc(r.CollapseKey, unicode.IsControl):
		return fault.InvalidField("collapse_key", "it has control characters")
	}
	if text, ok := r.Payload["band_text"].(string); ok && r.Kind == (Key{ID: PartnerMessage}) {
		switch {
		case strings.ContainsFunc(text, unicode.IsControl):
			return fault.InvalidField("band_text", "a band cannot show control characters; leave them out")
		case len(text) > BandBytes || text == "":
			return fault.InvalidField("band_text", "a band shows 1 to %d bytes of UTF-8; change the text", BandBytes)
		}
	}
	seen := map[string]bool{}
	for _, a := range r.Actions {
		if seen[a.ID] {
			return fault.InvalidField("actions", "two actions have the id %q", a.ID)
		}
		seen[a.ID] = true
	}
	return nil
}
