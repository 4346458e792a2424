package grpcapi_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/armlet-pay/armlet/platform/fault"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

const (
	phone = notifyv1.Surface_SURFACE_PHONE
	band  = notifyv1.Surface_SURFACE_BAND
)

type inbox struct {
	t      *testing.T
	stream grpc.ServerStreamingClient[notifyv1.StreamInboxResponse]
	cursor *notifyv1.InboxCursor
}

func (a *api) stream(ctx context.Context, account, client string, surface notifyv1.Surface, cursor *notifyv1.InboxCursor) *inbox {
	a.t.Helper()
	stream, err := a.as(account).StreamInbox(ctx, &notifyv1.StreamInboxRequest{
		Account: "accounts/" + account, ClientId: client, Surface: surface, Cursor: cursor,
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return &inbox{t: a.t, stream: stream, cursor: cursor}
}

// next is the next step that is no heartbeat. It fails when a cursor does not follow the one before.
func (in *inbox) next() *notifyv1.StreamInboxResponse {
	in.t.Helper()
	for {
		step, err := in.stream.Recv()
		if err != nil {
			in.t.Fatal(err)
		}
		if step.GetReset_() != nil {
			in.cursor = nil
			return step
		}
		if now := step.GetCursor(); now != nil {
			follows := now.GetSequence() == in.cursor.GetSequence()+1 || step.GetHeartbeat() != nil && now.GetSequence() == in.cursor.GetSequence()
			if in.cursor != nil && (!follows || now.GetEpoch() != in.cursor.GetEpoch()) {
				in.t.Fatalf("after %v comes %v", in.cursor, step)
			}
			in.cursor = now
		}
		if step.GetHeartbeat() == nil {
			return step
		}
	}
}

// settled passes the reset and what follows it, and returns the alerts.
func (in *inbox) settled() []*notifyv1.Alert {
	in.t.Helper()
	if step := in.next(); step.GetReset_() == nil {
		in.t.Fatalf("a stream without a cursor begins with %v", step)
	}
	var all []*notifyv1.Alert
	for {
		step, err := in.stream.Recv()
		if err != nil {
			in.t.Fatal(err)
		}
		if in.cursor = step.GetCursor(); in.cursor != nil {
			return all
		}
		all = append(all, step.GetUpsert())
	}
}

func TestAStreamHasWhatWasMissedAndThenWhatComes(t *testing.T) {
	a := newAPI(t)
	for i := range 250 { // more than two batches
		a.alert("alice", fmt.Sprint(i))
	}
	a.alert("bob", "not for alice")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	all := a.stream(ctx, "alice", "p1", phone, nil)
	found := all.settled()
	if len(found) != 250 || found[249].GetBandText() != "249" || all.cursor.GetSequence() != 250 {
		t.Fatalf("%d alerts, then %v", len(found), all.cursor)
	}
	late := a.stream(ctx, "alice", "p2", phone, &notifyv1.InboxCursor{Epoch: all.cursor.GetEpoch(), Sequence: 248})
	for i := int64(249); i <= 250; i++ {
		if got := late.next(); got.GetUpsert().GetSequence() != i {
			t.Fatalf("after 248 comes %v", got)
		}
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { a.alert("alice", fmt.Sprint("new", i)) })
	}
	for _, stream := range []*inbox{all, late} {
		for range 50 {
			stream.next()
		}
		if stream.cursor.GetSequence() != 300 {
			t.Errorf("50 later it is at %v", stream.cursor)
		}
	}
	wg.Wait()
}

func TestACursorThatCannotBeContinuedStartsOverWithEverything(t *testing.T) {
	a := newAPI(t)
	a.alert("alice", "one")
	a.alert("alice", "two")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	first := a.stream(ctx, "alice", "p", phone, nil)
	first.settled()
	for name, cursor := range map[string]*notifyv1.InboxCursor{
		"another epoch":  {Epoch: "another", Sequence: 1},
		"beyond the end": {Epoch: first.cursor.GetEpoch(), Sequence: 3},
	} {
		if found := a.stream(ctx, "alice", name[:3], phone, cursor).settled(); len(found) != 2 {
			t.Errorf("%s: %d alerts", name, len(found))
		}
	}
	// An erased inbox starts over in an open stream too.
	if _, err := a.as("alice").EraseInbox(ctx, &notifyv1.EraseInboxRequest{Account: "accounts/alice", RequestId: "e"}); err != nil {
		t.Fatal(err)
	}
	for first.next().GetReset_() == nil { // the removes come first
	}
	_, err := a.stream(ctx, "bob", "p", phone, nil).stream.Recv()
	if err != nil {
		t.Error(err)
	}
	stranger, err := a.as("bob").StreamInbox(ctx, &notifyv1.StreamInboxRequest{Account: "accounts/alice", ClientId: "p", Surface: phone})
	if err == nil {
		_, err = stranger.Recv()
	}
	refused(t, "bob", err, fault.PermissionDenied, "CALLER_NOT_ALLOWED")
}

func TestAClientHasOneStreamForEachSurface(t *testing.T) {
	a := newAPI(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	older := a.stream(ctx, "alice", "p", phone, nil)
	older.settled()
	other := a.stream(ctx, "alice", "p", band, nil)
	other.settled()
	newer := a.stream(ctx, "alice", "p", phone, nil)
	newer.settled()
	var err error
	for err == nil {
		_, err = older.stream.Recv()
	}
	refused(t, "the older stream", err, fault.Aborted, "STREAM_REPLACED")
	a.alert("alice", "hi")
	for _, stream := range []*inbox{other, newer} {
		if got := stream.next(); got.GetUpsert().GetBandText() != "hi" {
			t.Errorf("got %v", got)
		}
	}
}

func TestASilentStreamLivesAndSeesWhatNobodyWokeItFor(t *testing.T) {
	a := newAPI(t)
	a.alert("alice", "first")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	in := a.stream(ctx, "alice", "p", phone, nil)
	in.settled()
	step, err := in.stream.Recv()
	if err != nil || step.GetHeartbeat() == nil || step.GetCursor().GetSequence() != 1 {
		t.Fatalf("got %v, %v", step, err)
	}
	// As another replica would: without a wake-up in this process.
	for _, query := range []string{
		`INSERT INTO alerts SELECT 'x', account, mode, kind_partner, kind_id, device, partner, sender, broadcast_id, collapse_key, category, priority,
			delivery, engagement, 2, attempt, content, request, decisions, created_at, expires_at, release_at, resend_at, redacted FROM alerts`,
		`INSERT INTO inbox_steps VALUES ('alice', 2, 'UPSERT', 'x', 0)`, `UPDATE inboxes SET last_sequence = 2 WHERE account = 'alice'`,
	} {
		if _, err = a.db.ExecContext(ctx, query); err != nil {
			t.Fatal(err)
		}
	}
	if got := in.next(); got.GetUpsert().GetName() != "accounts/alice/alerts/x" {
		t.Errorf("got %v", got)
	}
}

func TestASlowStreamHoldsNobodyUp(t *testing.T) {
	a := newAPI(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	slow, quick := a.stream(ctx, "alice", "slow", phone, nil), a.stream(ctx, "alice", "quick", phone, nil)
	const n = 600 // more than the flow-control window of a stream holds
	quick.settled()
	go func() {
		for range n {
			a.alert("alice", strings.Repeat("x", 18))
		}
	}()
	for range n {
		quick.next()
	}
	slow.settled() // and it misses nothing when it goes on
	for slow.cursor.GetSequence() < n {
		slow.next()
	}
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

// flip is a token with another first character.
func flip(token string) string {
	if token[0] == 'A' {
		return "B" + token[1:]
	}
	return "A" + token[1:]
}

func TestAPartnerAlertsWhoeverWearsItsBand(t *testing.T) {
	a := newAPI(t)
	a.bind("alice", "live")
	acme := a.as("acme")
	req := &notifyv1.SendAlertRequest{Device: device, BandText: "Battery low ¥", PhoneText: "Charge your band.", RequestId: "r1", Actions: actions("later")}
	answer, err := acme.SendAlert(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	sent := answer.GetAlert()
	if !strings.HasPrefix(sent.GetName(), "accounts/-/alerts/") || sent.GetSequence() != 0 || sent.GetBandText() != req.GetBandText() || strings.Contains(answer.String(), "alice") {
		t.Errorf("the partner gets %v", sent)
	}
	again, err := acme.SendAlert(t.Context(), req)
	if err != nil || again.GetAlert().GetName() != sent.GetName() {
		t.Errorf("repeated: %v, %v", again, err)
	}
	page, err := a.as("alice").ListAlerts(t.Context(), &notifyv1.ListAlertsRequest{Parent: "accounts/alice"})
	if err != nil || len(page.GetAlerts()) != 1 {
		t.Fatalf("alice has %v, %v", page, err)
	}
	got := page.GetAlerts()[0]
	if got.GetType() != "alertTypes/partner.message" || got.GetPhoneText() != "Charge your band." || got.GetDevice() != device ||
		got.GetSequence() != 1 || strings.Replace(got.GetName(), "alice", "-", 1) != sent.GetName() || got.GetActions()[0].GetId() != "later" {
		t.Errorf("alice gets %v", got)
	}
	req.PhoneText = "Something else."
	_, err = acme.SendAlert(t.Context(), req)
	refused(t, "a reused id", err, fault.FailedPrecondition, "REQUEST_ID_REUSED")

	ack := &notifyv1.AcknowledgeAlertsRequest{Account: "accounts/alice", ClientId: "alices-phone", RequestId: "a1", Acks: []*notifyv1.AlertAck{
		{Alert: got.GetName(), Surface: band, Kind: notifyv1.AckKind_ACK_KIND_RECEIVED},
		{Alert: got.GetName(), Surface: phone, Kind: notifyv1.AckKind_ACK_KIND_ACTED, ActionId: "later"},
	}}
	for range 2 {
		done, err := a.as("alice").AcknowledgeAlerts(t.Context(), ack)
		if err != nil || done.GetStates()[1].GetDelivery() != notifyv1.DeliveryState_DELIVERY_STATE_BAND_RECEIVED || done.GetStates()[1].GetEngagement() != notifyv1.Engagement_ENGAGEMENT_ACTED {
			t.Fatalf("acknowledged: %v, %v", done, err)
		}
	}
	explained, err := acme.ExplainAlert(t.Context(), &notifyv1.ExplainAlertRequest{Name: sent.GetName()})
	if err != nil || len(explained.GetDeliveries()) != 2 || explained.GetDeliveries()[1].GetActionId() != "later" && explained.GetDeliveries()[0].GetActionId() != "later" {
		t.Fatalf("explained: %v, %v", explained, err)
	}
	if text := explained.String(); strings.Contains(text, "alice") {
		t.Errorf("the partner learns whose band it is: %s", text)
	}
	var steps []string
	for _, d := range explained.GetDecisions() {
		steps = append(steps, d.GetStep())
	}
	want := []string{"AUTHORISE", "IDEMPOTENCY", "SCHEMA", "RECIPIENTS", "PREFERENCE", "THROTTLE", "RENDER", "STORE", "DISPATCH"}
	if !slices.Equal(steps, want) {
		t.Errorf("it was decided %v", steps)
	}
	_, err = a.as("bolt").ExplainAlert(t.Context(), &notifyv1.ExplainAlertRequest{Name: sent.GetName()})
	refused(t, "another partner", err, fault.NotFound, "ALERT_NOT_FOUND")
	_, err = acme.ExplainAlert(t.Context(), &notifyv1.ExplainAlertRequest{Name: got.GetName()})
	refused(t, "a guess of the account", err, fault.NotFound, "ALERT_NOT_FOUND")
}

func actions(ids ...string) []*notifyv1.AlertAction {
	var all []*notifyv1.AlertAction
	for _, id := range ids {
		all = append(all, &notifyv1.AlertAction{Id: id, Label: "Label"})
	}
	return all
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
	_, err := a.as("acme").SendAlert(t.Context(), &notifyv1.SendAlertRequest{Account: "accounts/alice", BandText: "hi", RequestId: "x"})
	refused(t, "a partner that names an account", err, fault.PermissionDenied, "CALLER_NOT_ALLOWED")
	_, err = a.as("acme").SendAlert(t.Context(), &notifyv1.SendAlertRequest{
		Device: device, BandText: "hi", RequestId: "y", Priority: notifyv1.AlertPriority_ALERT_PRIORITY_CRITICAL,
	})
	refused(t, "CRITICAL without the scope", err, fault.PermissionDenied, "SCOPE_MISSING")
	if n := a.count(`SELECT COUNT(*) FROM alerts`); n != 0 {
		t.Errorf("%d alerts were sent", n)
	}
}

func battery() *notifyv1.AlertTypeContent {
	return &notifyv1.AlertTypeContent{
		DisplayName: "Battery", Category: notifyv1.AlertCategory_ALERT_CATEGORY_PARTNERS, DefaultPriority: notifyv1.AlertPriority_ALERT_PRIORITY_NORMAL,
		PayloadSchema: `{"type":"object","required":["level"],"properties":{"level":{"type":"integer"}}}`, DefaultLocale: "en",
		Templates: []*notifyv1.AlertTemplate{
			{Surface: band, Locale: "en", Texts: []string{"Battery {level}%", "Battery low"}, Icon: "battery", Vibration: 1},
			{Surface: phone, Locale: "en", Title: "Battery", Texts: []string{"Your band is at {level}%."}},
			{Surface: phone, Locale: "zh", Title: "电量", Texts: []string{"手环电量{level}%。"}},
		},
		Throttle: &notifyv1.AlertThrottle{MaxCount: 2, Period: durationpb.New(time.Hour)},
	}
}

func TestAPartnersTypeIsMadePreviewedPublishedAndSent(t *testing.T) {
	a := newAPI(t)
	a.bind("alice", "live")
	acme, ctx := a.as("acme"), t.Context()
	made, err := acme.CreateAlertType(ctx, &notifyv1.CreateAlertTypeRequest{Parent: "partners/acme", AlertTypeId: "battery", Draft: battery(), RequestId: "c"})
	if err != nil || made.GetRevision() != 0 || made.GetPublished() != nil {
		t.Fatalf("made: %v, %v", made, err)
	}
	payload, _ := structpb.NewStruct(map[string]any{"level": 12})
	send := func(id string, p *structpb.Struct) (*notifyv1.SendAlertResponse, error) {
		return acme.SendAlert(ctx, &notifyv1.SendAlertRequest{Device: device, Type: made.GetName(), Payload: p, RequestId: id})
	}
	_, err = send("s0", payload)
	refused(t, "before it is published", err, fault.FailedPrecondition, "ALERT_TYPE_NOT_PUBLISHED")
	preview, err := acme.PreviewAlertType(ctx, &notifyv1.PreviewAlertTypeRequest{Name: made.GetName(), Payload: payload, Locale: "zh-Hans-CN"})
	if err != nil || preview.GetBandText() != "Battery 12%" || preview.GetPhoneText() != "手环电量12%。" || preview.GetLocale() != "zh" {
		t.Errorf("preview: %v, %v", preview, err)
	}
	if _, err = acme.PublishAlertType(ctx, &notifyv1.PublishAlertTypeRequest{Name: made.GetName(), Etag: made.GetEtag(), RequestId: "p"}); err != nil {
		t.Fatal(err)
	}
	_, err = acme.PublishAlertType(ctx, &notifyv1.PublishAlertTypeRequest{Name: made.GetName(), Etag: made.GetEtag(), RequestId: "p2"})
	refused(t, "an old etag", err, fault.Aborted, "ETAG_MISMATCH")
	sent, err := send("s1", payload)
	if err != nil || sent.GetAlert().GetBandText() != "Battery 12%" || sent.GetAlert().GetTitle() != "Battery" {
		t.Errorf("sent: %v, %v", sent, err)
	}
	_, err = send("s2", nil)
	refused(t, "a payload without a level", err, fault.Invalid, "PAYLOAD_INVALID")
	draft := battery()
	draft.DisplayName = "Power"
	draft.Templates[0].Texts = []string{"{{range .}}x{{end}}", "x"}
	update := &notifyv1.UpdateAlertTypeRequest{
		AlertType: &notifyv1.AlertType{Name: made.GetName(), Draft: draft}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"templates"}}, RequestId: "u",
	}
	_, err = acme.UpdateAlertType(ctx, update)
	refused(t, "a template that loops", err, fault.Invalid, "TEMPLATE_INVALID")
	update.UpdateMask.Paths[0] = "display_name"
	changed, err := acme.UpdateAlertType(ctx, update)
	if err != nil || changed.GetDraft().GetDisplayName() != "Power" || changed.GetPublished().GetDisplayName() != "Battery" || changed.GetRevision() != 1 {
		t.Errorf("changed: %v, %v", changed, err)
	}
	if sent, err = send("s3", payload); err != nil || sent.GetAlert().GetDelivery() != notifyv1.DeliveryState_DELIVERY_STATE_SENT {
		t.Errorf("the second: %v, %v", sent, err)
	}
	if sent, err = send("s4", payload); err != nil || sent.GetAlert().GetDelivery() != notifyv1.DeliveryState_DELIVERY_STATE_DROPPED {
		t.Errorf("the third in an hour: %v, %v", sent, err)
	}
	_, err = a.as("bolt").SendAlert(ctx, &notifyv1.SendAlertRequest{Device: device, Type: made.GetName(), Payload: payload, RequestId: "b"})
	refused(t, "another partner's type", err, fault.NotFound, "ALERT_TYPE_NOT_FOUND")
	_, err = acme.CreateAlertType(ctx, &notifyv1.CreateAlertTypeRequest{Parent: "partners/acme", AlertTypeId: "battery", Draft: battery(), RequestId: "c2"})
	refused(t, "twice", err, fault.AlreadyExists, "ALERT_TYPE_EXISTS")
	page, err := a.as("operator").ListAlertTypes(ctx, &notifyv1.ListAlertTypesRequest{PageSize: 5})
	if err != nil || len(page.GetAlertTypes()) != 5 || page.GetNextPageToken() == "" || !page.GetAlertTypes()[0].GetBuiltIn() {
		t.Errorf("the built-in types: %v, %v", page, err)
	}
}

func TestQuietHoursAndPreferencesOfTheWearer(t *testing.T) {
	a := newAPI(t) // it is noon in UTC
	a.bind("alice", "live")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	change := func(token string, s *notifyv1.AlertSettings, paths ...string) (*notifyv1.AlertSettings, error) {
		return a.as(token).UpdateAlertSettings(ctx, &notifyv1.UpdateAlertSettingsRequest{Settings: s, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}, RequestId: uuid.NewString()})
	}
	mine := "accounts/alice/alertSettings"
	set, err := change("alice", &notifyv1.AlertSettings{Name: mine, TimeZone: "UTC", QuietHours: &notifyv1.QuietHours{Start: "19:00", End: "07:00"}})
	if err != nil || set.GetEtag() != "1" {
		t.Fatalf("%v, %v", set, err)
	}
	if _, err = change("alice", &notifyv1.AlertSettings{Name: device + "/alertSettings", TimeZone: "Asia/Shanghai"}, "time_zone"); err != nil { // 20:00 there
		t.Fatal(err)
	}
	sent, err := a.as("acme").SendAlert(ctx, &notifyv1.SendAlertRequest{Device: device, BandText: "hi", RequestId: "1"})
	if err != nil || sent.GetAlert().GetDelivery() != notifyv1.DeliveryState_DELIVERY_STATE_HELD {
		t.Fatalf("in quiet hours: %v, %v", sent, err)
	}
	explained, err := a.as("acme").ExplainAlert(ctx, &notifyv1.ExplainAlertRequest{Name: sent.GetAlert().GetName()})
	last := explained.GetDecisions()[len(explained.GetDecisions())-1]
	if err != nil || last.GetReason() != "QUIET_HOURS" || last.GetDetail() != "" {
		t.Errorf("the partner is told %v, %v", last, err)
	}
	if n, err := a.st.ReleaseDue(ctx, noon.Add(11*time.Hour), 10); err != nil || n != 1 {
		t.Fatalf("%d released, %v", n, err)
	}
	off := []*notifyv1.AlertPreference{{Category: notifyv1.AlertCategory_ALERT_CATEGORY_PARTNERS, Surface: band}}
	if _, err = change("alice", &notifyv1.AlertSettings{Name: mine, Preferences: off}, "preferences", "quiet_hours"); err != nil {
		t.Fatal(err)
	}
	wrist := a.stream(ctx, "alice", "p", band, nil)
	wrist.settled()
	a.alert("alice", "not on the wrist")
	if step := wrist.next(); step.GetState() == nil || strings.Contains(step.String(), "not on the wrist") {
		t.Errorf("the band gets %v", step)
	}
	for name, tc := range map[string]struct {
		s      *notifyv1.AlertSettings
		reason string
	}{
		"a zone that is none":    {&notifyv1.AlertSettings{Name: mine, TimeZone: "Mars/Olympus"}, "INVALID_FIELD"},
		"a language":             {&notifyv1.AlertSettings{Name: mine, Locale: "klingon_1"}, "INVALID_FIELD"},
		"an hour that is none":   {&notifyv1.AlertSettings{Name: mine, QuietHours: &notifyv1.QuietHours{Start: "25:00", End: "07:00"}}, "INVALID_FIELD"},
		"a device's quiet hours": {&notifyv1.AlertSettings{Name: device + "/alertSettings", QuietHours: &notifyv1.QuietHours{Start: "05:00", End: "07:00"}}, "INVALID_FIELD"},
		"an old etag":            {&notifyv1.AlertSettings{Name: mine, Etag: "1"}, "ETAG_MISMATCH"},
	} {
		if _, err := change("alice", tc.s); fault.ReasonOf(err) != tc.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = change("bob", &notifyv1.AlertSettings{Name: device + "/alertSettings", TimeZone: "UTC"})
	refused(t, "another wearer", err, fault.NotFound, "RECIPIENT_NOT_FOUND")
}

func TestATopicAndABatchReachTheirRecipients(t *testing.T) {
	a := newAPI(t)
	a.bind("alice", "live")
	acme, ctx := a.as("acme"), t.Context()
	topic, err := acme.CreateTopic(ctx, &notifyv1.CreateTopicRequest{Parent: "partners/acme", TopicId: "news", DisplayName: "News", RequestId: "t"})
	if err != nil {
		t.Fatal(err)
	}
	add := &notifyv1.ChangeTopicMembersRequest{Topic: topic.GetName(), Add: []string{device, "accounts/alice"}, RequestId: "m"}
	_, err = acme.ChangeTopicMembers(ctx, add)
	refused(t, "an account in a partner's topic", err, fault.PermissionDenied, "MEMBER_NOT_ALLOWED")
	add.Add = []string{device, strings.Replace(device, "0a", "0b", 1)}
	if topic, err = acme.ChangeTopicMembers(ctx, add); err != nil || topic.GetMemberCount() != 2 {
		t.Fatalf("%v, %v", topic, err)
	}
	batch, err := acme.BatchSendAlerts(ctx, &notifyv1.BatchSendAlertsRequest{Requests: []*notifyv1.SendAlertRequest{
		{Device: device, BandText: "one", RequestId: "b1"},
		{Device: strings.Replace(device, "0a", "0b", 1), BandText: "nobody", RequestId: "b2"},
		{Topic: topic.GetName(), BandText: "all", RequestId: "b3"},
		{Topic: "partners/bolt/topics/news", BandText: "not mine", RequestId: "b4"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	results := batch.GetResults()
	if results[0].GetSent().GetAlert() == nil || results[1].GetReason() != "RECIPIENT_NOT_FOUND" || results[1].GetField() != "device" ||
		results[2].GetSent().GetBroadcast() == nil || results[3].GetReason() != "TOPIC_NOT_FOUND" {
		t.Fatalf("got %v", results)
	}
	for more := true; more; {
		if more, err = a.st.AdvanceBroadcast(ctx, noon, 1); err != nil {
			t.Fatal(err)
		}
	}
	done, err := acme.GetAlertBroadcast(ctx, &notifyv1.GetAlertBroadcastRequest{Name: results[2].GetSent().GetBroadcast().GetName()})
	if err != nil || done.GetState() != notifyv1.BroadcastState_BROADCAST_STATE_DONE || done.GetSentCount() != 1 || done.GetDroppedCount() != 1 {
		t.Errorf("%v, %v", done, err)
	}
	_, err = a.as("bolt").GetAlertBroadcast(ctx, &notifyv1.GetAlertBroadcastRequest{Name: done.GetName()})
	refused(t, "another partner", err, fault.NotFound, "BROADCAST_NOT_FOUND")
	members, err := acme.ListTopicMembers(ctx, &notifyv1.ListTopicMembersRequest{Parent: topic.GetName(), PageSize: 1})
	if err != nil || len(members.GetMembers()) != 1 || members.GetNextPageToken() == "" {
		t.Errorf("%v, %v", members, err)
	}
	if n := a.count(`SELECT COUNT(*) FROM alerts WHERE account = 'alice'`); n != 2 {
		t.Errorf("alice has %d alerts", n)
	}
}
