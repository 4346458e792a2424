package grpcapi

import (
	"context"
	"crypto/sha256"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/custom"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// EventTypes answers plain reads of partners' own event types.
type EventTypes interface {
	EventType(ctx context.Context, partner, id string) (custom.Type, error)
	EventTypes(ctx context.Context, partner string) ([]custom.Type, error)
	DeleteEventType(ctx context.Context, req once.Request, partner, id string, now time.Time) error
}

var eventTypeName = regexp.MustCompile(`^partners/[a-z0-9][a-z0-9-]{1,30}/eventTypes/[a-z0-9-]{1,40}$`)

// CreateEventType implements notifyv1.NotifyServiceServer.
func (s *Server) CreateEventType(ctx context.Context, req *notifyv1.CreateEventTypeRequest) (*notifyv1.EventType, error) {
	caller, partner := rpc.CallerFrom(ctx), lastID(req.GetParent())
	if caller.Role == rpc.RolePartner && partner != caller.Partner {
		return nil, errNotYourPartner
	}
	r, err := request(caller, "CreateEventType", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	t := eventType(partner, req.GetEventTypeId(), req.GetEventType())
	return eventTypeOr(s.cfg.Custom.Create(ctx, r, t, caller.Role == rpc.RolePartner, s.cfg.Now()))
}

// UpdateEventType implements notifyv1.NotifyServiceServer.
func (s *Server) UpdateEventType(ctx context.Context, req *notifyv1.UpdateEventTypeRequest) (*notifyv1.EventType, error) {
	caller := rpc.CallerFrom(ctx)
	partner, id, err := ownEventType(caller, req.GetEventType().GetName())
	if err != nil {
		return nil, err
	}
	r, err := request(caller, "UpdateEventType", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	t := eventType(partner, id, req.GetEventType())
	if t.Revision, err = versionOf(req.GetEventType().GetEtag()); err != nil {
		return nil, custom.ErrETag
	}
	return eventTypeOr(s.cfg.Custom.Update(ctx, r, t, caller.Role == rpc.RolePartner, s.cfg.Now()))
}

// DeleteEventType implements notifyv1.NotifyServiceServer.
func (s *Server) DeleteEventType(ctx context.Context, req *notifyv1.DeleteEventTypeRequest) (*notifyv1.DeleteEventTypeResponse, error) {
	caller := rpc.CallerFrom(ctx)
	partner, id, err := ownEventType(caller, req.GetName())
	if err != nil {
		return nil, err
	}
	r, err := request(caller, "DeleteEventType", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	if err := s.cfg.EventTypes.DeleteEventType(ctx, r, partner, id, s.cfg.Now()); err != nil {
		return nil, err
	}
	return &notifyv1.DeleteEventTypeResponse{}, nil
}

// GetEventType implements notifyv1.NotifyServiceServer.
func (s *Server) GetEventType(ctx context.Context, req *notifyv1.GetEventTypeRequest) (*notifyv1.EventType, error) {
	partner, id, err := ownEventType(rpc.CallerFrom(ctx), req.GetName())
	if err != nil {
		return nil, err
	}
	return eventTypeOr(s.cfg.EventTypes.EventType(ctx, partner, id))
}

// ListEventTypes implements notifyv1.NotifyServiceServer.
func (s *Server) ListEventTypes(ctx context.Context, req *notifyv1.ListEventTypesRequest) (*notifyv1.ListEventTypesResponse, error) {
	caller, partner := rpc.CallerFrom(ctx), lastID(req.GetParent())
	if caller.Role == rpc.RolePartner && partner != caller.Partner {
		return nil, errNotYourPartner
	}
	all, err := s.cfg.EventTypes.EventTypes(ctx, partner)
	if err != nil {
		return nil, err
	}
	out := &notifyv1.ListEventTypesResponse{}
	for _, t := range all {
		out.EventTypes = append(out.EventTypes, eventTypeProto(t))
	}
	return out, nil
}

// PublishEvents implements notifyv1.NotifyServiceServer.
func (s *Server) PublishEvents(ctx context.Context, req *notifyv1.PublishEventsRequest) (*notifyv1.PublishEventsResponse, error) {
	caller, partner := rpc.CallerFrom(ctx), lastID(req.GetParent())
	if partner != caller.Partner {
		return nil, errNotYourPartner
	}
	all := make([]custom.Event, len(req.GetEvents()))
	for i, in := range req.GetEvents() {
		var err error
		if all[i], err = customEvent(caller, in); err != nil {
			return nil, err
		}
	}
	by := custom.Publisher{Partner: caller.Partner, Mode: mode(caller), May: func(typeID string) bool {
		return caller.HasScope(scopePublish) || caller.HasScope("custom:"+caller.Partner+"/"+typeID)
	}}
	results, err := s.cfg.Custom.Publish(ctx, by, all, s.cfg.Now())
	if err != nil {
		return nil, err
	}
	out := &notifyv1.PublishEventsResponse{}
	for _, r := range results {
		one := &notifyv1.PublishEventsResult{Id: r.ID, RepeatedEvent: r.Repeated}
		if r.Err != nil {
			one.Reason, one.Message, one.Field = r.Err.Reason, r.Err.Message, r.Err.Field
		}
		out.Results = append(out.Results, one)
	}
	return out, nil
}

func customEvent(c rpc.Caller, in *notifyv1.PublishedEvent) (custom.Event, error) {
	partner, id := ownerAndID(in.GetType())
	e := custom.Event{ID: in.GetEventId(), Type: id, Foreign: partner != c.Partner, Resource: in.GetResource()}
	var err error
	if e.Payload, e.Size, err = payloadOf(in.GetPayload()); err != nil {
		return e, err
	}
	if t := in.GetOccurTime(); t != nil {
		if !t.IsValid() {
			return e, fault.InvalidField("events.occur_time", "this is not a time")
		}
		e.OccurTime = t.AsTime()
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(in)
	if err != nil {
		return e, fmt.Errorf("fingerprint an event: %w", err)
	}
	sum := sha256.Sum256(b)
	e.Fingerprint = sum[:]
	return e, nil
}

// ownEventType takes `partners/{partner}/eventTypes/{type}` apart. To a partner nobody else's types exist.
func ownEventType(c rpc.Caller, name string) (partner, id string, err error) {
	if !eventTypeName.MatchString(name) {
		return "", "", fault.InvalidField("event_type.name", "must be partners/{partner}/eventTypes/{type}")
	}
	partner, id = ownerAndID(name)
	if c.Role == rpc.RolePartner && partner != c.Partner {
		return "", "", custom.ErrTypeNotFound
	}
	return partner, id, nil
}

func eventType(partner, id string, in *notifyv1.EventType) custom.Type {
	return custom.Type{
		Partner: partner, ID: id, DisplayName: in.GetDisplayName(), Schema: in.GetPayloadSchema(), DailyQuota: int(in.GetDailyQuota()),
	}
}

func eventTypeOr(t custom.Type, err error) (*notifyv1.EventType, error) {
	if err != nil {
		return nil, err
	}
	return eventTypeProto(t), nil
}

func eventTypeProto(t custom.Type) *notifyv1.EventType {
	return &notifyv1.EventType{
		Name: "partners/" + t.Partner + "/eventTypes/" + t.ID, DisplayName: t.DisplayName, PayloadSchema: t.Schema, DailyQuota: int32(t.DailyQuota),
		Revision: t.Revision, CreateTime: timestamppb.New(t.CreatedAt), UpdateTime: timestamppb.New(t.UpdatedAt),
		Etag: strconv.FormatInt(t.Revision, 10),
	}
}
