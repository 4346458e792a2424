package journey

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

// TestAPartnerBuildsAFeatureOfItsOwn grants a bundle and uses what it turns on: events and alerts of the partner's own
// types, and a proof that a wearer is there.
func TestAPartnerBuildsAFeatureOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	ctx := callCtx(t)
	account, phone := w.newWearer(0)
	makeType := func() error {
		_, err := w.partner.Notify.CreateEventType(ctx, &notifyv1.CreateEventTypeRequest{
			Parent: w.name, EventTypeId: "slept", RequestId: "type", EventType: &notifyv1.EventType{
				PayloadSchema: `{"type":"object","properties":{"minutes":{"type":"integer"}},"required":["minutes"]}`,
			},
		})
		return err
	}
	wantRefused(t, makeType(), codes.PermissionDenied, "SCOPE_MISSING")
	_, err := w.operator.Auth.ApplyGrantBundle(ctx, &authv1.ApplyGrantBundleRequest{Parent: w.name, Bundle: authv1.GrantBundle_GRANT_BUNDLE_EXTENDED, RequestId: id()})
	must(t, err)
	w.tokens = w.addClient(w.name)
	w.partner = w.d.client(t, w.tokens)
	must(t, makeType())

	feed := w.subscribe("live.custom.>")
	publish := func(minutes any) *notifyv1.PublishEventsResult {
		payload, err := structpb.NewStruct(map[string]any{"minutes": minutes})
		must(t, err)
		out, err := w.partner.Notify.PublishEvents(ctx, &notifyv1.PublishEventsRequest{Parent: w.name, Events: []*notifyv1.PublishedEvent{{
			EventId: "night-1", Type: w.name + "/eventTypes/slept", Payload: payload, Resource: "night/1",
		}}})
		must(t, err)
		return out.GetResults()[0]
	}
	if got := publish("long"); got.GetReason() != "PAYLOAD_INVALID" {
		t.Errorf("a payload that the schema does not want: %v", got)
	}
	first, again := publish(431.0), publish(431.0)
	if first.GetId() == "" || again.GetId() != first.GetId() || !again.GetRepeatedEvent() {
		t.Errorf("published %v and again %v", first, again)
	}
	seen := &notifyv1.CustomEventPublished{}
	feed.await("armlet.notify.v1.CustomEventPublished", seen)
	if seen.GetEventId() != "night-1" || seen.GetPayload().GetFields()["minutes"].GetNumberValue() != 431 {
		t.Errorf("the partner's stream has %v", seen)
	}
	if all := feed.all("armlet.notify.v1.CustomEventPublished"); len(all) != 1 || all[first.GetId()] == nil {
		t.Errorf("%d events came", len(all))
	}

	kind := w.name + "/alertTypes/slept"
	_, err = w.partner.Notify.CreateAlertType(ctx, &notifyv1.CreateAlertTypeRequest{Parent: w.name, AlertTypeId: "slept", RequestId: id(), Draft: &notifyv1.AlertTypeContent{
		DisplayName: "Slept", Category: notifyv1.AlertCategory_ALERT_CATEGORY_PARTNERS, DefaultPriority: notifyv1.AlertPriority_ALERT_PRIORITY_NORMAL,
		PayloadSchema: `{"type":"object","properties":{"hours":{"type":"string"}},"required":["hours"]}`, DefaultLocale: "en",
		Templates: []*notifyv1.AlertTemplate{
			{Surface: notifyv1.Surface_SURFACE_BAND, Locale: "en", Texts: []string{"Slept {hours} h", "Slept"}},
			{Surface: notifyv1.Surface_SURFACE_PHONE, Locale: "en", Title: "Sleep", Texts: []string{"You slept {hours} hours."}},
		},
	}})
	must(t, err)
	_, err = w.partner.Notify.PublishAlertType(ctx, &notifyv1.PublishAlertTypeRequest{Name: kind, RequestId: id()})
	must(t, err)
	hours, err := structpb.NewStruct(map[string]any{"hours": "7.2"})
	must(t, err)
	_, err = w.partner.Notify.SendAlert(ctx, &notifyv1.SendAlertRequest{Device: w.name + "/devices/" + phone.Band.UID().String(), Type: kind, Payload: hours, RequestId: id()})
	must(t, err)
	if alert := awaitAlert(t, phone, account, kind); alert.GetBandText() != "Slept 7.2 h" || phone.Band.Screen() != "Slept 7.2 h" {
		t.Errorf("the band shows %q of %v", phone.Band.Screen(), alert)
	}
	w.provesPresence(phone)
}

// provesPresence has the band answer the partner's own challenge, which the partner verifies with nothing but the published
// keys; then the wearer gives the band up.
func (w *world) provesPresence(phone *virtual.Phone) {
	t, ctx := w.t, callCtx(w.t)
	audience, intent := uuid.New(), uuid.New()
	phone.Band.Knock()
	assertion, err := phone.Prove(ctx, w.partner, audience, intent, "Here?")
	must(t, err)
	door := &sdk.PresenceVerifier{Keys: &sdk.KeySet{URL: w.d.at.JWKSURL}, Issuer: w.issuer(), Partner: w.name}
	who, err := door.Verify(ctx, assertion)
	must(t, err)
	if who.Intent != intent.String() || who.Audience != audience.String() || who.Device != w.name+"/devices/"+phone.Band.UID().String() || who.Assurance < 1 {
		t.Errorf("there is %+v", who)
	}
	if _, err := door.Verify(ctx, assertion); !errors.Is(err, sdk.ErrPresence) {
		t.Errorf("the same assertion once more: %v", err)
	}
	phone.Band.Knock()
	must(t, phone.Unbind(ctx))
	if phone.Band.Bound() {
		t.Error("the band did not forget its wearer")
	}
	phone.Band.Knock()
	_, err = phone.Prove(ctx, w.partner, audience, uuid.New(), "Here?")
	wantRefused(t, err, codes.FailedPrecondition, "DEVICE_NOT_BOUND")
}

// issuer is what auth calls itself.
func (w *world) issuer() string {
	w.t.Helper()
	resp, err := http.Get(strings.TrimSuffix(w.d.at.JWKSURL, "jwks.json") + "oauth-authorization-server")
	must(w.t, err)
	defer resp.Body.Close()
	var document struct {
		Issuer string `json:"issuer"`
	}
	must(w.t, json.NewDecoder(resp.Body).Decode(&document))
	return document.Issuer
}
