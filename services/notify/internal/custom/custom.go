// Package custom decides about partners' own events: which types there are, what their payloads look like, how many may be
// published, and who may. They go into the partner's own stream and nowhere else.
package custom

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

const (
	// MaxTypes is how many types a partner has.
	MaxTypes = 100
	// MaxPayload is how many bytes a payload has as JSON.
	MaxPayload = 16 << 10

	defaultQuota = 10_000
	// ownQuota is the most that a partner may allow itself.
	ownQuota = 100_000
	// maxDetail cuts what a schema objects to, in bytes.
	maxDetail = 300
)

// The reasons.
var (
	ErrTypeNotFound = fault.New(fault.NotFound, "EVENT_TYPE_NOT_FOUND", "there is no such event type, or it is not yours; create it first")
	ErrTypeExists   = fault.New(fault.AlreadyExists, "EVENT_TYPE_EXISTS", "there is an event type with this id; take another").WithField("event_type_id")
	ErrTooManyTypes = fault.New(fault.ResourceExhausted, "TOO_MANY_EVENT_TYPES", "a partner has at most %d event types; delete one first", MaxTypes)
	ErrQuota        = fault.New(fault.ResourceExhausted, "QUOTA_EXCEEDED", "the type's quota of today (UTC) is used up; publish the event tomorrow, or ask the operator for more")

	ErrETag = fault.New(fault.Aborted, "ETAG_MISMATCH", "somebody changed the type meanwhile; read it again and decide anew").WithField("event_type.etag")

	errQuotaTooHigh = fault.New(fault.PermissionDenied, "QUOTA_TOO_HIGH", "a partner allows itself at most %d events a day; ask the operator for more", ownQuota).
			WithField("event_type.daily_quota")
	errScope   = fault.New(fault.PermissionDenied, "SCOPE_MISSING", "the token grants neither events.publish nor the type's own scope; ask for a token with one of them")
	errPayload = fault.New(fault.Invalid, "PAYLOAD_INVALID", "the payload has more than %d bytes as JSON", MaxPayload).WithField("payload")
	errStream  = fault.New(fault.Unavailable, "NATS_UNAVAILABLE", "the partner's stream is being made; nothing was published, send the request again in a moment")
)

// Type is a kind of events of one partner.
type Type struct {
	Partner, ID string
	DisplayName string
	// Schema is a JSON Schema of the payloads.
	Schema string
	// DailyQuota is how many events may be published on a day of UTC, in each mode.
	DailyQuota int
	// Revision grows with every change.
	Revision             int64
	CreatedAt, UpdatedAt time.Time
}

// Event is one event that is to be published.
type Event struct {
	// ID is the partner's own, Type the id of the type.
	ID, Type string
	// Foreign says that the type named is another partner's.
	Foreign bool
	Payload map[string]any
	// Size is that of the payload as JSON, in bytes.
	Size     int
	Resource string
	// OccurTime may be zero for now.
	OccurTime time.Time
	// Fingerprint is the SHA-256 of all of it.
	Fingerprint []byte
}

// Published is the fact that an event was published.
type Published struct {
	Type  Type
	Event Event
	Mode  string
	// ID is the platform's.
	ID string
}

// Result is what became of one event: published now or before, or refused.
type Result struct {
	ID       string
	Repeated bool
	Err      *fault.Error
}

// Publisher is who publishes.
type Publisher struct {
	Partner, Mode string
	// May says whether the token permits events of a type.
	May func(typeID string) bool
}

// Store remembers types, and publishes.
type Store interface {
	// ChangeEventType lets change make the next type from the present one, nil when there is none, and of how many there are.
	ChangeEventType(ctx context.Context, req once.Request, partner, id string, now time.Time, change func(old *Type, count int) (Type, error)) (Type, error)
	// DeleteEventType fails with ErrTypeNotFound.
	DeleteEventType(ctx context.Context, req once.Request, partner, id string, now time.Time) error
	// EventType fails with ErrTypeNotFound.
	EventType(ctx context.Context, partner, id string) (Type, error)
	// PublishEvents publishes all that are new within their quotas, in one transaction. The results have the order of the
	// events; their Err is ErrQuota or once.ErrReused.
	PublishEvents(ctx context.Context, partner string, all []Published, now time.Time) ([]Result, error)
}

// Schemas knows JSON Schemas.
type Schemas interface {
	Check(schema string) error
	Validate(schema string, payload map[string]any) error
}

// Streams knows whether a partner's stream is there.
type Streams interface {
	// Ready is false while it is being made.
	Ready(partner string) bool
}

// Service applies the rules.
type Service struct {
	store   Store
	schemas Schemas
	streams Streams
	newID   func() string
}

// NewService makes a Service; newID makes UUIDs that sort by time.
func NewService(store Store, schemas Schemas, streams Streams, newID func() string) *Service {
	return &Service{store: store, schemas: schemas, streams: streams, newID: newID}
}

// Create makes a type. own says that the partner itself asks.
func (s *Service) Create(ctx context.Context, req once.Request, t Type, own bool, now time.Time) (Type, error) {
	if t.DailyQuota == 0 {
		t.DailyQuota = defaultQuota
	}
	if err := s.check(t, own); err != nil {
		return Type{}, err
	}
	return s.store.ChangeEventType(ctx, req, t.Partner, t.ID, now, func(old *Type, count int) (Type, error) {
		switch {
		case old != nil:
			return Type{}, ErrTypeExists
		case count >= MaxTypes:
			return Type{}, ErrTooManyTypes
		}
		t.Revision, t.CreatedAt, t.UpdatedAt = 1, now, now
		return t, nil
	})
}

// Update replaces what a type is; a quota of 0 stays as it is. A partner keeps a quota that the operator has given it. With a
// Revision it is refused when the type has another one by now.
func (s *Service) Update(ctx context.Context, req once.Request, t Type, own bool, now time.Time) (Type, error) {
	if err := s.check(t, own); err != nil {
		return Type{}, err
	}
	return s.store.ChangeEventType(ctx, req, t.Partner, t.ID, now, func(old *Type, _ int) (Type, error) {
		if old == nil {
			return Type{}, ErrTypeNotFound
		}
		if t.Revision != 0 && t.Revision != old.Revision {
			return Type{}, ErrETag
		}
		if t.DailyQuota == 0 {
			t.DailyQuota = old.DailyQuota
		}
		t.Revision, t.CreatedAt, t.UpdatedAt = old.Revision+1, old.CreatedAt, now
		return t, nil
	})
}

func (s *Service) check(t Type, own bool) error {
	if own && t.DailyQuota > ownQuota {
		return errQuotaTooHigh
	}
	return s.schemas.Check(t.Schema)
}

// Publish publishes what may be published of the events; the others' results say why not.
func (s *Service) Publish(ctx context.Context, by Publisher, all []Event, now time.Time) ([]Result, error) {
	if !s.streams.Ready(by.Partner) {
		return nil, errStream
	}
	results := make([]Result, len(all))
	types := map[string]Type{}
	var good []Published
	var places []int
	for i, e := range all {
		t, err := s.admit(ctx, by, e, types)
		if refusal, ok := fault.As(err); ok && refusal.Kind != fault.Internal && refusal.Kind != fault.Unavailable {
			results[i].Err = refusal
			continue
		}
		if err != nil {
			return nil, err
		}
		if e.OccurTime.IsZero() {
			e.OccurTime = now
		}
		good, places = append(good, Published{Type: t, Event: e, Mode: by.Mode, ID: s.newID()}), append(places, i)
	}
	if len(good) == 0 {
		return results, nil
	}
	done, err := s.store.PublishEvents(ctx, by.Partner, good, now)
	if err != nil {
		return nil, err
	}
	for i, r := range done {
		results[places[i]] = r
	}
	return results, nil
}

// admit finds an event's type and holds the event against it. Types that were read before are in types.
func (s *Service) admit(ctx context.Context, by Publisher, e Event, types map[string]Type) (Type, error) {
	if e.Foreign {
		return Type{}, ErrTypeNotFound.WithField("type")
	}
	if !by.May(e.Type) {
		return Type{}, errScope.WithField("type")
	}
	t, ok := types[e.Type]
	if !ok {
		var err error
		if t, err = s.store.EventType(ctx, by.Partner, e.Type); err != nil {
			return Type{}, err
		}
		types[e.Type] = t
	}
	if e.Size > MaxPayload {
		return Type{}, errPayload
	}
	if err := s.schemas.Validate(t.Schema, e.Payload); err != nil {
		why := err.Error()
		return Type{}, fault.New(fault.Invalid, "PAYLOAD_INVALID", "the payload is not what the type's schema wants: %s", why[:min(len(why), maxDetail)]).
			WithField("payload")
	}
	return t, nil
}
