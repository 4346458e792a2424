package grpcapi_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/armlet-pay/armlet/platform/fault"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

type inbox = grpc.ServerStreamingClient[notifyv1.StreamInboxResponse]

func (a *api) stream(ctx context.Context, token, account string, after int64) inbox {
	a.t.Helper()
	stream, err := a.as(token).StreamInbox(ctx, &notifyv1.StreamInboxRequest{Account: "accounts/" + account, AfterSequence: after})
	if err != nil {
		a.t.Fatal(err)
	}
	return stream
}

// next is the next alert, heartbeats passed over.
func next(t *testing.T, stream inbox) *notifyv1.Alert {
	t.Helper()
	for {
		step, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if step.GetAlert() != nil {
			return step.GetAlert()
		}
	}
}

func TestAStreamHasWhatWasMissedAndThenWhatComes(t *testing.T) {
	a := newAPI(t)
	for i := range 250 { // more than two batches
		a.alert("alice", fmt.Sprint(i))
	}
	a.alert("bob", "not for alice")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	all, late := a.stream(ctx, "alice", "alice", 0), a.stream(ctx, "alice", "alice", 248)
	for i := range int64(250) {
		if got := next(t, all); got.GetSequence() != i+1 || got.GetBandText() != fmt.Sprint(i) {
			t.Fatalf("alert %d is %v", i, got)
		}
	}
	for i := int64(249); i <= 250; i++ {
		if got := next(t, late); got.GetSequence() != i {
			t.Fatalf("after 248 comes %v", got)
		}
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { a.alert("alice", fmt.Sprint("new", i)) })
	}
	for _, stream := range []inbox{all, late} {
		for i := int64(251); i <= 300; i++ {
			if got := next(t, stream); got.GetSequence() != i {
				t.Fatalf("want %d, got %v", i, got)
			}
		}
	}
	wg.Wait()
}

func TestASilentStreamLivesAndSeesWhatNobodyWokeItFor(t *testing.T) {
	a := newAPI(t)
	a.alert("alice", "first")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stream := a.stream(ctx, "alice", "alice", 1)
	started := time.Now()
	step, err := stream.Recv()
	if err != nil || step.GetHeartbeatSequence() != 1 {
		t.Fatalf("got %v, %v", step, err)
	}
	if waited := time.Since(started); waited > 15*time.Second {
		t.Errorf("the first heartbeat came after %s", waited)
	}
	// As another replica would: without a wake-up in this process.
	_, err = a.db.ExecContext(ctx, `INSERT INTO alerts (id, account, sequence, type, band_text, phone_text, vibration, device, partner, mode, created_at)
		VALUES ('x', 'alice', 2, 'payment.captured', 'second', '', 0, '', '', 'live', 0)`)
	if err != nil {
		t.Fatal(err)
	}
	if got := next(t, stream); got.GetBandText() != "second" {
		t.Errorf("got %v", got)
	}
}

func TestASlowStreamHoldsNobodyUp(t *testing.T) {
	a := newAPI(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	slow, quick := a.stream(ctx, "alice", "alice", 0), a.stream(ctx, "alice", "alice", 0)
	text := strings.Repeat("x", 18)
	const n = 1500 // more than the flow-control window of a stream holds
	go func() {
		for range n {
			a.alert("alice", text)
		}
	}()
	for i := int64(1); i <= n; i++ {
		if got := next(t, quick); got.GetSequence() != i {
			t.Fatalf("want %d, got %d", i, got.GetSequence())
		}
	}
	for i := int64(1); i <= n; i++ { // and it misses nothing when it goes on
		if got := next(t, slow); got.GetSequence() != i {
			t.Fatalf("the slow one wants %d, got %d", i, got.GetSequence())
		}
	}
}

func TestACursorBeyondTheEndIsRefused(t *testing.T) {
	a := newAPI(t)
	a.alert("alice", "one")
	_, err := a.stream(t.Context(), "alice", "alice", 2).Recv()
	refused(t, "the cursor 2", err, fault.FailedPrecondition, "CURSOR_INVALID")
	_, err = a.stream(t.Context(), "bob", "alice", 0).Recv()
	refused(t, "bob", err, fault.PermissionDenied, "CALLER_NOT_ALLOWED")
}

func TestAlertsAreListedByPages(t *testing.T) {
	a := newAPI(t)
	for i := range 7 {
		a.alert("alice", fmt.Sprint(i))
	}
	alice := a.as("alice")
	var got []int64
	req := &notifyv1.ListAlertsRequest{Parent: "accounts/alice", PageSize: 3}
	for {
		page, err := alice.ListAlerts(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range page.GetAlerts() {
			got = append(got, one.GetSequence())
		}
		if page.GetNextPageToken() == "" {
			break
		}
		req.PageToken = page.GetNextPageToken()
	}
	if fmt.Sprint(got) != "[7 6 5 4 3 2 1]" {
		t.Errorf("got %v", got)
	}
	for name, token := range map[string]string{
		"damaged": flip(req.GetPageToken()), "nonsense": "!!", "short": "AAAA", "longer": req.GetPageToken() + "MQ",
	} {
		_, err := alice.ListAlerts(t.Context(), &notifyv1.ListAlertsRequest{Parent: "accounts/alice", PageToken: token})
		refused(t, name, err, fault.Invalid, "PAGE_TOKEN_INVALID")
	}
	_, err := a.as("bob").ListAlerts(t.Context(), &notifyv1.ListAlertsRequest{Parent: "accounts/bob", PageToken: req.GetPageToken()})
	refused(t, "another list's token", err, fault.Invalid, "PAGE_TOKEN_INVALID")
}

func TestAPartnerAlertsWhoeverWearsItsBand(t *testing.T) {
	a := newAPI(t)
	a.bind("alice", "live")
	acme := a.as("acme")
	req := &notifyv1.SendAlertRequest{Device: device, BandText: "Battery low ¥", PhoneText: "Charge your band.", RequestId: "r1"}
	sent, err := acme.SendAlert(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(sent.GetName(), "accounts/-/alerts/") || sent.GetSequence() != 0 || sent.GetBandText() != req.GetBandText() {
		t.Errorf("the partner gets %v", sent)
	}
	again, err := acme.SendAlert(t.Context(), req)
	if err != nil || again.GetName() != sent.GetName() {
		t.Errorf("repeated: %v, %v", again, err)
	}
	page, err := a.as("alice").ListAlerts(t.Context(), &notifyv1.ListAlertsRequest{Parent: "accounts/alice"})
	if err != nil || len(page.GetAlerts()) != 1 {
		t.Fatalf("alice has %v, %v", page, err)
	}
	got := page.GetAlerts()[0]
	if got.GetType() != "partner.message" || got.GetPhoneText() != "Charge your band." || got.GetDevice() != device ||
		got.GetSequence() != 1 || strings.Replace(got.GetName(), "alice", "-", 1) != sent.GetName() {
		t.Errorf("alice gets %v", got)
	}
	req.PhoneText = "Something else."
	_, err = acme.SendAlert(t.Context(), req)
	refused(t, "a reused id", err, fault.FailedPrecondition, "REQUEST_ID_REUSED")
}

func TestARecipientThatIsNotThePartnersIsNotFound(t *testing.T) {
	a := newAPI(t)
	a.bind("alice", "live")
	send := func(token, device string) error {
		_, err := a.as(token).SendAlert(t.Context(), &notifyv1.SendAlertRequest{Device: device, BandText: "hi", RequestId: token})
		return err
	}
	for name, err := range map[string]error{
		"another partner's device": send("bolt", device),
		"the other mode":           send("acme-test", device),
		"an unknown device":        send("acme", "partners/acme/devices/0000000000000000000000000z"),
		"nobody's device":          send("bolt", strings.Replace(device, "acme", "bolt", 1)),
	} {
		refused(t, name, err, fault.NotFound, "RECIPIENT_NOT_FOUND")
	}
	if n := a.count(`SELECT COUNT(*) FROM alerts`); n != 0 {
		t.Errorf("%d alerts were sent", n)
	}
}

// flip is a token with another first character.
func flip(token string) string {
	if token[0] == 'A' {
		return "B" + token[1:]
	}
	return "A" + token[1:]
}
