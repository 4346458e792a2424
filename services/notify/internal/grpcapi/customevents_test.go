package grpcapi_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

const sleepSchema = `{"type":"object","properties":{"minutes":{"type":"integer","minimum":0}},"required":["minutes"],"additionalProperties":false}`

func (a *api) eventType(id string, quota int32) *notifyv1.EventType {
	a.t.Helper()
	t, err := a.as("acme").CreateEventType(a.t.Context(), &notifyv1.CreateEventTypeRequest{
		Parent: "partners/acme", EventTypeId: id, EventType: &notifyv1.EventType{DisplayName: "Slept", PayloadSchema: sleepSchema, DailyQuota: quota}, RequestId: id,
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return t
}

// slept is an event of the type sleep.
func slept(id string, minutes any) *notifyv1.PublishedEvent {
	payload, err := structpb.NewStruct(map[string]any{"minutes": minutes})
	if err != nil {
		panic(err)
	}
	return &notifyv1.PublishedEvent{EventId: id, Type: "partners/acme/eventTypes/sleep", Payload: payload, OccurTime: timestamppb.New(noon)}
}

func (a *api) publish(token string, events ...*notifyv1.PublishedEvent) []*notifyv1.PublishEventsResult {
	a.t.Helper()
	out, err := a.as(token).PublishEvents(a.t.Context(), &notifyv1.PublishEventsRequest{Parent: "partners/acme", Events: events})
	if err != nil {
		a.t.Fatal(err)
	}
	if len(out.GetResults()) != len(events) {
		a.t.Fatalf("%d results of %d events", len(out.GetResults()), len(events))
	}
	return out.GetResults()
}

func TestEventsArePublishedOnceIntoThePartnersOwnSubjects(t *testing.T) {
	a := newAPI(t)
	a.eventType("sleep", 0)
	first := a.publish("acme", slept("e1", 7.0), slept("e2", 8.0), slept("e1", 7.0))
	if first[0].GetId() == "" || first[0].GetRepeatedEvent() || first[2].GetId() != first[0].GetId() || !first[2].GetRepeatedEvent() {
		t.Errorf("published %v", first)
	}
	again := a.publish("acme", slept("e2", 8.0), slept("e1", 9.0))
	if again[0].GetId() != first[1].GetId() || !again[0].GetRepeatedEvent() || again[1].GetReason() != "REQUEST_ID_REUSED" || again[1].GetField() != "event_id" {
		t.Errorf("repeated %v", again)
	}
	if n := a.count(`SELECT COUNT(*) FROM outbox WHERE type = 'armlet.notify.v1.CustomEventPublished' AND subject = 'pevt.v1.acme.live.custom.sleep.published'`); n != 2 {
		t.Errorf("%d events are on their way", n)
	}
	if n := a.count(`SELECT COUNT(*) FROM outbox WHERE subject LIKE 'evt.%'`); n != 0 {
		t.Errorf("%d events go inside", n)
	}
	if got := a.publish("acme-test", slept("e1", 7.0)); got[0].GetRepeatedEvent() || got[0].GetReason() != "" {
		t.Errorf("the other mode has ids of its own: %v", got)
	}
}

func TestWhyAnEventIsRefusedStandsInItsResult(t *testing.T) {
	a := newAPI(t)
	a.eventType("sleep", 2)
	a.eventType("steps", 0)
	big := slept("big", 1.0)
	big.Payload.Fields["note"] = structpb.NewStringValue(strings.Repeat("x", 16<<10))
	other, foreign, steps := slept("o", 1.0), slept("f", 1.0), slept("s", 1.0)
	other.Type, foreign.Type, steps.Type = "partners/acme/eventTypes/none", "partners/bolt/eventTypes/sleep", "partners/acme/eventTypes/steps"
	got := a.publish("acme", slept("a", "long"), big, other, foreign, slept("b", 1.0), slept("c", 1.0), slept("d", 1.0))
	for i, want := range []string{"PAYLOAD_INVALID", "PAYLOAD_INVALID", "EVENT_TYPE_NOT_FOUND", "EVENT_TYPE_NOT_FOUND", "", "", "QUOTA_EXCEEDED"} {
		if got[i].GetReason() != want || (want == "") != (got[i].GetId() != "") || (want == "") != (got[i].GetMessage() == "") {
			t.Errorf("%d: %v, want %s", i, got[i], want)
		}
	}
	if !strings.Contains(got[0].GetMessage(), "minutes") && !strings.Contains(got[0].GetMessage(), "integer") {
		t.Errorf("what the schema objects to: %s", got[0].GetMessage())
	}
	if got := a.publish("acme", slept("b", 1.0)); !got[0].GetRepeatedEvent() {
		t.Errorf("a repeat counts against the quota: %v", got)
	}
	a.clock.Advance(24 * time.Hour)
	if got := a.publish("acme", slept("d", 1.0)); got[0].GetReason() != "" || got[0].GetRepeatedEvent() {
		t.Errorf("tomorrow: %v", got)
	}
	one := a.publish("acme-one", slept("g", 1.0), steps)
	if one[0].GetReason() != "" || one[1].GetReason() != "SCOPE_MISSING" {
		t.Errorf("with the scope of one type: %v", one)
	}
	if got := a.publish("acme-bare", slept("h", 1.0)); got[0].GetReason() != "SCOPE_MISSING" {
		t.Errorf("without a scope: %v", got)
	}
	a.fabric.fail(errors.New("no stream"))
	_, err := a.as("acme").PublishEvents(t.Context(), &notifyv1.PublishEventsRequest{Parent: "partners/acme", Events: []*notifyv1.PublishedEvent{slept("i", 1.0)}})
	refused(t, "without a stream", err, fault.Unavailable, "NATS_UNAVAILABLE")
}

func TestAnEventTypeIsMadeChangedAndDeleted(t *testing.T) {
	a := newAPI(t)
	acme := a.as("acme")
	made := a.eventType("sleep", 0)
	if made.GetDailyQuota() != 10_000 || made.GetRevision() != 1 {
		t.Errorf("made %v", made)
	}
	create := func(token, id, schema string, quota int32) error {
		_, err := a.as(token).CreateEventType(t.Context(), &notifyv1.CreateEventTypeRequest{
			Parent: "partners/acme", EventTypeId: id, EventType: &notifyv1.EventType{PayloadSchema: schema, DailyQuota: quota}, RequestId: "again-" + id + token,
		})
		return err
	}
	refused(t, "the same id", create("acme", "sleep", sleepSchema, 0), fault.AlreadyExists, "EVENT_TYPE_EXISTS")
	refused(t, "no schema", create("acme", "x", "", 0), fault.Invalid, "SCHEMA_INVALID")
	refused(t, "a schema that refers", create("acme", "x", `{"type":"object","$ref":"http://10.0.0.1/x"}`, 0), fault.Invalid, "SCHEMA_INVALID")
	refused(t, "a quota of its own choice", create("acme", "x", sleepSchema, 100_001), fault.PermissionDenied, "QUOTA_TOO_HIGH")
	if err := create("operator", "steps", sleepSchema, 1_000_000); err != nil {
		t.Error(err)
	}
	update := func(token, id string, t *notifyv1.EventType) (*notifyv1.EventType, error) {
		return a.as(token).UpdateEventType(a.t.Context(), &notifyv1.UpdateEventTypeRequest{EventType: t, RequestId: id})
	}
	looser := &notifyv1.EventType{Name: "partners/acme/eventTypes/steps", DisplayName: "Steps", PayloadSchema: `{"type":"object"}`}
	for range 2 {
		got, err := update("acme", "u1", looser)
		if err != nil || got.GetDailyQuota() != 1_000_000 || got.GetRevision() != 2 || got.GetDisplayName() != "Steps" {
			t.Errorf("updated %v, %v", got, err)
		}
	}
	_, err := update("bolt", "u2", looser)
	refused(t, "another's", err, fault.NotFound, "EVENT_TYPE_NOT_FOUND")
	_, err = update("acme", "u3", &notifyv1.EventType{Name: "steps", PayloadSchema: sleepSchema})
	refused(t, "no name", err, fault.Invalid, fault.ReasonInvalidField)
	list, err := acme.ListEventTypes(t.Context(), &notifyv1.ListEventTypesRequest{Parent: "partners/acme"})
	if err != nil || len(list.GetEventTypes()) != 2 || list.GetEventTypes()[0].GetName() != made.GetName() {
		t.Errorf("listed %v, %v", list, err)
	}
	for range 2 {
		if _, err := acme.DeleteEventType(t.Context(), &notifyv1.DeleteEventTypeRequest{Name: made.GetName(), RequestId: "d1"}); err != nil {
			t.Error(err)
		}
	}
	_, err = acme.GetEventType(t.Context(), &notifyv1.GetEventTypeRequest{Name: made.GetName()})
	refused(t, "deleted", err, fault.NotFound, "EVENT_TYPE_NOT_FOUND")
}

func TestAnEventTypeThatChangedMeanwhileIsNotOverwritten(t *testing.T) {
	a := newAPI(t)
	first := a.eventType("sleep", 0)
	update := func(etag string) (*notifyv1.EventType, error) {
		return a.as("acme").UpdateEventType(t.Context(), &notifyv1.UpdateEventTypeRequest{
			EventType: &notifyv1.EventType{Name: first.GetName(), DisplayName: "by " + etag, PayloadSchema: sleepSchema, Etag: etag}, RequestId: uuid.NewString(),
		})
	}
	second, err := update(first.GetEtag())
	if err != nil || second.GetEtag() == first.GetEtag() || second.GetRevision() != first.GetRevision()+1 {
		t.Fatalf("%v, %v", second, err)
	}
	for _, stale := range []string{first.GetEtag(), "other", "-1", "999"} {
		_, err = update(stale)
		refused(t, "the etag "+stale, err, fault.Aborted, "ETAG_MISMATCH")
	}
	if third, err := update(""); err != nil || third.GetRevision() != 3 {
		t.Errorf("without an etag: %v, %v", third, err)
	}
	if got, err := a.as("acme").GetEventType(t.Context(), &notifyv1.GetEventTypeRequest{Name: first.GetName()}); err != nil || got.GetEtag() != "3" {
		t.Errorf("read: %v, %v", got, err)
	}
}

// Whoever reads a type, decides, and finds that another was faster has to decide anew; nobody's change is lost unseen.
func TestOfManyUpdatesWithOneETagOneWins(t *testing.T) {
	a := newAPI(t)
	made := a.eventType("sleep", 0)
	const callers = 16
	names := make(chan string, callers)
	var all sync.WaitGroup
	for i := range callers {
		name := fmt.Sprintf("by caller %d", i)
		all.Go(func() {
			_, err := a.as("acme").UpdateEventType(t.Context(), &notifyv1.UpdateEventTypeRequest{
				EventType: &notifyv1.EventType{Name: made.GetName(), DisplayName: name, PayloadSchema: sleepSchema, Etag: made.GetEtag()}, RequestId: uuid.NewString(),
			})
			if err == nil {
				names <- name
				return
			}
			refused(t, name, err, fault.Aborted, "ETAG_MISMATCH")
		})
	}
	all.Wait()
	got, err := a.as("acme").GetEventType(t.Context(), &notifyv1.GetEventTypeRequest{Name: made.GetName()})
	if err != nil || len(names) != 1 {
		t.Fatalf("%d of %d won, %v", len(names), callers, err)
	}
	if winner := <-names; got.GetDisplayName() != winner || got.GetRevision() != made.GetRevision()+1 {
		t.Errorf("%s won and there is %v", winner, got)
	}
}
