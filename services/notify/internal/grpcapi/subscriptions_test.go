package grpcapi_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

func (a *api) subscribe(req *notifyv1.CreateSubscriptionRequest) *notifyv1.Subscription {
	a.t.Helper()
	req.Parent, req.RequestId = "partners/acme", "create-"+req.GetSubscriptionId()
	sub, err := a.as("acme").CreateSubscription(a.t.Context(), req)
	if err != nil {
		a.t.Fatal(err)
	}
	return sub
}

func webhook(url string, how notifyv1.WebhookSignature) *notifyv1.CreateSubscriptionRequest {
	return &notifyv1.CreateSubscriptionRequest{
		SubscriptionId: "hook", Sink: notifyv1.Sink_SINK_WEBHOOK, Webhook: &notifyv1.Webhook{Url: url, Signature: how},
	}
}

func TestASubscriptionIsPausedResumedReplayedAndDeleted(t *testing.T) {
	a := newAPI(t)
	acme := a.as("acme")
	name := a.subscribe(&notifyv1.CreateSubscriptionRequest{SubscriptionId: "main", Content: notifyv1.EventContent_EVENT_CONTENT_THIN}).GetName()
	for range 2 {
		sub, err := acme.PauseSubscription(t.Context(), &notifyv1.PauseSubscriptionRequest{Name: name})
		if err != nil || sub.GetState() != notifyv1.SubscriptionState_SUBSCRIPTION_STATE_PAUSED {
			t.Fatalf("%v, %v", sub, err)
		}
	}
	if sub, err := acme.ResumeSubscription(t.Context(), &notifyv1.ResumeSubscriptionRequest{Name: name}); err != nil ||
		sub.GetState() != notifyv1.SubscriptionState_SUBSCRIPTION_STATE_ACTIVE || sub.GetContent() != notifyv1.EventContent_EVENT_CONTENT_THIN {
		t.Fatalf("%v, %v", sub, err)
	}
	replay := &notifyv1.ReplaySubscriptionRequest{Name: name, FromTime: timestamppb.New(noon.Add(-time.Hour)), RequestId: "r1"}
	for range 2 { // the second is a repetition and begins nothing anew
		if _, err := acme.ReplaySubscription(t.Context(), replay); err != nil {
			t.Fatal(err)
		}
	}
	if last := a.fabric.made[len(a.fabric.made)-1]; last.Round != 1 || !last.Start.Equal(noon.Add(-time.Hour)) || !last.Thin {
		t.Errorf("NATS is told %+v", last)
	}
	replay.RequestId, replay.FromTime = "r2", timestamppb.New(noon.Add(time.Hour))
	_, err := acme.ReplaySubscription(t.Context(), replay)
	refused(t, "a replay of the future", err, fault.Invalid, fault.ReasonInvalidField)
	_, err = a.as("acme-test").PauseSubscription(t.Context(), &notifyv1.PauseSubscriptionRequest{Name: name})
	refused(t, "the other mode", err, fault.NotFound, "SUBSCRIPTION_NOT_FOUND")

	for _, token := range []string{"bolt", "acme", "acme"} { // a stranger deletes nothing, and what is gone is gone
		if _, err := a.as(token).DeleteSubscription(t.Context(), &notifyv1.DeleteSubscriptionRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
		list, err := acme.ListSubscriptions(t.Context(), &notifyv1.ListSubscriptionsRequest{Parent: "partners/acme"})
		if want := map[bool]int{true: 1, false: 0}[token == "bolt"]; err != nil || len(list.GetSubscriptions()) != want {
			t.Fatalf("after %s: %v, %v", token, list, err)
		}
	}
}

func TestAWebhookShowsItsPublicKeysAndHidesItsSecret(t *testing.T) {
	a := newAPI(t)
	acme := a.as("acme")
	sub := a.subscribe(webhook("https://example.com/", notifyv1.WebhookSignature_WEBHOOK_SIGNATURE_UNSPECIFIED))
	if keys := sub.GetWebhook().GetPublicKeys(); len(keys) != 1 || !strings.HasPrefix(keys[0], "whpk_") {
		t.Fatalf("%v", sub)
	}
	_, err := acme.GetWebhookSecret(t.Context(), &notifyv1.GetWebhookSecretRequest{Name: sub.GetName()})
	refused(t, "a secret where there is none", err, fault.FailedPrecondition, "SUBSCRIPTION_SINK")
	for range 2 { // rotated once, asked twice
		rotated, err := acme.RotateWebhookKey(t.Context(), &notifyv1.RotateWebhookKeyRequest{Name: sub.GetName(), RequestId: "rotate"})
		if err != nil || len(rotated.GetWebhook().GetPublicKeys()) != 2 || rotated.GetWebhook().GetPublicKeys()[1] != sub.GetWebhook().GetPublicKeys()[0] {
			t.Fatalf("%v, %v", rotated, err)
		}
	}
	hmac := webhook("https://example.com/", notifyv1.WebhookSignature_WEBHOOK_SIGNATURE_HMAC_SHA256)
	hmac.SubscriptionId = "shared"
	secret, err := acme.GetWebhookSecret(t.Context(), &notifyv1.GetWebhookSecretRequest{Name: a.subscribe(hmac).GetName()})
	if err != nil || len(secret.GetSecrets()) != 1 || !strings.HasPrefix(secret.GetSecrets()[0], "whsec_") {
		t.Fatal(err)
	}
	if n := a.count(`SELECT COUNT(*) FROM requests WHERE response LIKE '%whsec_%'`); n != 0 {
		t.Error("the secret is kept with the answer")
	}
}

func TestAWebhookInsideIsRefused(t *testing.T) {
	a := newAPI(t)
	for _, url := range []string{"http://example.com/", "https://localhost/", "https://10.0.0.1/", "https://169.254.169.254/", "nonsense"} {
		req := webhook(url, 0)
		req.Parent, req.RequestId = "partners/acme", "r"
		_, err := a.as("acme").CreateSubscription(t.Context(), req)
		refused(t, url, err, fault.Invalid, "WEBHOOK_URL_REFUSED")
	}
	req := &notifyv1.CreateSubscriptionRequest{Parent: "partners/acme", SubscriptionId: "x", RequestId: "r", Sink: notifyv1.Sink_SINK_WEBHOOK}
	_, err := a.as("acme").CreateSubscription(t.Context(), req)
	refused(t, "no URL", err, fault.Invalid, fault.ReasonInvalidField)
	if n := a.count(`SELECT COUNT(*) FROM subscriptions`); n != 0 {
		t.Errorf("%d were made", n)
	}
}

func TestATestEventHasTheSameIDWhenItIsAskedForAgain(t *testing.T) {
	a := newAPI(t)
	req := &notifyv1.SendTestEventRequest{Name: a.subscribe(&notifyv1.CreateSubscriptionRequest{SubscriptionId: "main"}).GetName(), RequestId: "t1"}
	first, err := a.as("acme").SendTestEvent(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.as("acme").SendTestEvent(t.Context(), req); err != nil || again.GetEventId() != first.GetEventId() {
		t.Errorf("%v, %v", again, err)
	}
	if n := a.count(`SELECT COUNT(*) FROM outbox WHERE subject = 'pevt.v1.acme.live.subscriptions.main.tested'`); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestAStreamSendsEventsAndTakesAcknowledgements(t *testing.T) {
	a := newAPI(t)
	name := a.subscribe(&notifyv1.CreateSubscriptionRequest{SubscriptionId: "stream", Sink: notifyv1.Sink_SINK_GRPC}).GetName()
	for _, id := range []string{"e1", "e2", "e3"} {
		a.fabric.queue = append(a.fabric.queue, subscription.Delivery{EventID: id, EventType: "t", EventTime: noon})
	}
	stream, err := a.as("acme").StreamEvents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send := func(m *notifyv1.StreamEventsRequest) {
		t.Helper()
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	send(&notifyv1.StreamEventsRequest{Message: &notifyv1.StreamEventsRequest_Open{Open: name}})
	for _, want := range []string{"e1", "e2", "e3"} {
		got, err := stream.Recv()
		if err != nil || got.GetEventId() != want {
			t.Fatalf("%v, %v", got, err)
		}
	}
	for _, id := range []string{"e2", "never sent"} {
		send(&notifyv1.StreamEventsRequest{Message: &notifyv1.StreamEventsRequest_Ack{Ack: id}})
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	a.fabric.mu.Lock()
	defer a.fabric.mu.Unlock()
	if len(a.fabric.acked) != 1 || a.fabric.acked[0] != "e2" || len(a.fabric.queue) != 2 {
		t.Errorf("acknowledged %v, given back %d", a.fabric.acked, len(a.fabric.queue))
	}
}

func TestAStreamBeginsWithOpen(t *testing.T) {
	a := newAPI(t)
	nats := a.subscribe(&notifyv1.CreateSubscriptionRequest{SubscriptionId: "nats"}).GetName()
	for want, first := range map[string]*notifyv1.StreamEventsRequest{
		"STREAM_OPEN_REQUIRED": {Message: &notifyv1.StreamEventsRequest_Ack{Ack: "e1"}},
		"SUBSCRIPTION_SINK":    {Message: &notifyv1.StreamEventsRequest_Open{Open: nats}},
	} {
		stream, err := a.as("acme").StreamEvents(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(first); err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		refused(t, want, err, fault.FailedPrecondition, want)
	}
}
