package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

const worn = "partners/acme/devices/0000000000000000000000000a"

// steps are all steps of an inbox; it fails when one is missing.
func (b *box) steps(account string) []alert.Step {
	b.t.Helper()
	all, err := b.StepsAfter(b.t.Context(), account, 0, 10000)
	if err != nil {
		b.t.Fatal(err)
	}
	for i, step := range all {
		if step.Sequence != int64(i+1) {
			b.t.Fatalf("step %d of %s has the sequence %d", i, account, step.Sequence)
		}
	}
	head, err := b.Head(b.t.Context(), account)
	if err != nil || head.Sequence != int64(len(all)) {
		b.t.Fatalf("%d steps, the head is %+v, %v", len(all), head, err)
	}
	return all
}

func (b *box) alert(id string) alert.Alert {
	b.t.Helper()
	a, err := b.Alert(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func (b *box) setWearer(device, account string, epoch int64) {
	b.t.Helper()
	err := b.db.InTx(b.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		return b.SetWearer(ctx, tx, alert.Wearer{Device: device, Partner: "acme", Account: account, Mode: "live"}, epoch, now)
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) settings(s alert.Settings) {
	b.t.Helper()
	_, err := b.ChangeSettings(b.t.Context(), request("UpdateAlertSettings", uuid.NewString(), s.Subject), s.Subject, now,
		func(old alert.Settings, _ alert.Wearer) (alert.Settings, error) {
			s.Version = old.Version + 1
			return s, nil
		})
	if err != nil {
		b.t.Fatal(err)
	}
}

func TestAlertsAreReadAsTheyWereWritten(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		a := order("alice", "¥1")
		a.Device, a.ExpiresAt, a.CollapseKey, a.Broadcast = worn, now.Add(time.Hour), "k", "b"
		a.Actions = []alert.Action{{ID: "yes", Label: "Yes"}}
		want := b.mustDeliver(a)
		want.Payload = nil // it is rendered and not needed any more
		want.Counted = false
		if diff := cmp.Diff(want, b.alert(a.ID)); diff != "" {
			t.Error(diff)
		}
		if want.Text.Band != "¥1" || want.Text.Phone != "¥1!" || want.Sequence != 1 || want.Attempt != 1 || want.Delivery != alert.SentOut {
			t.Errorf("got %+v", want)
		}
		b.mustDeliver(order("alice", "2"))
		b.mustDeliver(order("alice", "3"))
		back, err := b.AlertsBefore(t.Context(), "alice", 3, 5)
		if err != nil || len(back) != 2 || back[0].Sequence != 2 || back[1].Sequence != 1 {
			t.Errorf("before 3: %+v, %v", back, err)
		}
		for since, want := range map[time.Time]int{now: 1, now.Add(time.Microsecond): 0} {
			if grown, err := b.InboxesUpdatedSince(t.Context(), since); err != nil || len(grown) != want {
				t.Errorf("changed since %s: %v, %v", since, grown, err)
			}
		}
		if _, err := b.Alert(t.Context(), uuid.NewString()); !errors.Is(err, alert.ErrNotFound) {
			t.Errorf("an unknown one: %v", err)
		}
	})
}

func TestAnOlderBindingDoesNotReplaceANewerOne(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		for _, step := range []struct {
			account string
			epoch   int64
			want    string
		}{{"alice", 2, "alice"}, {"bob", 5, "bob"}, {"alice", 2, "bob"}, {"carol", 5, "bob"}, {"", 6, ""}, {"bob", 5, ""}, {"dave", 7, "dave"}} {
			b.setWearer(worn, step.account, step.epoch)
			if got, err := b.Wearer(t.Context(), worn); err != nil || got.Account != step.want {
				t.Errorf("epoch %d: worn by %+v, want %s (%v)", step.epoch, got, step.want, err)
			}
		}
	})
}

func (b *box) send(requestID string, a alert.Alert) (alert.Alert, error) {
	return b.Send(context.WithoutCancel(b.t.Context()), request("SendAlert", requestID, a.Payload["band_text"].(string)), alert.Recipient{Device: worn},
		a.Kind, now, func(w alert.Wearer, _ *alert.Published) (alert.Alert, error) {
			a.ID, a.Account, a.Device, a.ToDevice = uuid.NewString(), w.Account, worn, true
			return a, nil
		})
}

func TestOneRequestSixtyFourTimesSendsOneAlert(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		b.setWearer(worn, "alice", 2)
		ids := make([]string, 64)
		together(len(ids), func(i int) {
			got, err := b.send("r1", order("", "hi"))
			if err != nil {
				t.Errorf("call %d: %v", i, err)
			}
			ids[i] = got.ID
		})
		if slices.Sort(ids); ids[0] == "" || ids[0] != ids[63] {
			t.Errorf("the answers name %s and %s", ids[0], ids[63])
		}
		if n := len(b.steps("alice")); n != 1 {
			t.Errorf("%d steps", n)
		}
		if _, err := b.send("r1", order("", "other")); !errors.Is(err, once.ErrReused) {
			t.Errorf("reused: %v", err)
		}
	})
}

func TestTheThrottleLetsExactlySoManyThrough(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		content, _ := alert.BuiltIn(alert.PartnerMessage)
		content.Throttle = alert.Throttle{Max: 5, Period: time.Minute}
		key := alert.Key{Partner: "acme", ID: "battery"}
		b.kind(key, content)
		together(20, func(i int) {
			a := order("alice", fmt.Sprint(i))
			a.Kind = key
			if _, err := b.deliver(a, now); err != nil {
				t.Error(err)
			}
		})
		if n := b.count(`SELECT COUNT(*) FROM alerts WHERE delivery = 'SENT'`); n != 5 {
			t.Errorf("%d of 20 were sent, 5 may be", n)
		}
		if n := b.count(`SELECT COUNT(*) FROM alerts WHERE delivery = 'DROPPED'`); n != 15 {
			t.Errorf("%d were dropped", n)
		}
		later := order("alice", "later")
		later.Kind = key
		if got, err := b.deliver(later, now.Add(time.Minute)); err != nil || got.Delivery != alert.SentOut {
			t.Errorf("a minute later: %s, %v", got.Delivery, err)
		}
		b.steps("alice")
	})
}

// kind makes and publishes a type.
func (b *box) kind(key alert.Key, content alert.Content) {
	b.t.Helper()
	_, err := b.ChangeKind(b.t.Context(), request("CreateAlertType", uuid.NewString(), key.ID), key, now, func(old *alert.Kind, _ int) (alert.Kind, error) {
		next := alert.Kind{Key: key, Version: 1, CreatedAt: now}
		if old != nil {
			next = *old
			next.Version++
		}
		next.Draft, next.Published = content, &content
		next.Revision++
		return next, nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func TestTypesChangeOneAfterTheOther(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		content, _ := alert.BuiltIn(alert.PaymentCaptured)
		together(8, func(i int) { // changes of a built-in type that has no row yet
			_, _ = b.ChangeKind(context.WithoutCancel(t.Context()), request("UpdateAlertType", fmt.Sprint(i), "x"), alert.Key{ID: alert.PaymentCaptured}, now,
				func(old *alert.Kind, _ int) (alert.Kind, error) {
					next := *old
					next.Draft.DisplayName = fmt.Sprint("changed ", i)
					next.Version++
					return next, nil
				})
		})
		got, err := b.Kind(t.Context(), alert.Key{ID: alert.PaymentCaptured})
		changes := b.count(`SELECT COUNT(*) FROM requests WHERE method = 'UpdateAlertType'`)
		if err != nil || got.Version != int64(1+changes) || changes == 0 || !got.BuiltIn || got.Published.DisplayName != content.DisplayName {
			t.Errorf("after %d changes: version %d, %+v, %v", changes, got.Version, got.Published, err)
		}
		key := alert.Key{Partner: "acme", ID: "battery"}
		if _, err := b.deliver(func() alert.Alert { a := order("alice", "x"); a.Kind = key; return a }(), now); !errors.Is(err, alert.ErrKindNotFound) {
			t.Errorf("an unknown type: %v", err)
		}
		b.kind(key, content)
		kinds, err := b.Kinds(t.Context(), "acme", "", 10)
		if err != nil || len(kinds) != 1 || kinds[0].ID != "battery" {
			t.Errorf("acme has %v, %v", kinds, err)
		}
		if kinds, err = b.Kinds(t.Context(), "", "", 100); err != nil || len(kinds) != len(alert.BuiltIns()) {
			t.Errorf("the operator has %d, %v", len(kinds), err)
		}
	})
}

func TestHeldAlertsAreReleasedOnceThoughTwoLook(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		b.settings(alert.Settings{Subject: "accounts/alice", Quiet: &alert.Quiet{Start: 11 * 60, End: 13 * 60}, Locale: "zh"})
		b.setWearer(worn, "alice", 2)
		held := b.mustDeliver(order("alice", "one"))
		late := order("alice", "late")
		late.DeliverAt, late.ExpiresAt = now.Add(10*time.Minute), now.Add(24*time.Hour)
		scheduled := b.mustDeliver(late)
		moving := order("alice", "moving")
		moving.Device, moving.ToDevice = worn, true
		if held.Delivery != alert.Held || scheduled.Delivery != alert.Scheduled || len(b.steps("alice")) != 0 {
			t.Fatalf("%s, %s", held.Delivery, scheduled.Delivery)
		}
		sent, err := b.send("r", moving)
		if err != nil || sent.Delivery != alert.Held {
			t.Fatalf("%s, %v", sent.Delivery, err)
		}
		b.setWearer(worn, "bob", 3)
		if n, err := b.ReleaseDue(t.Context(), now.Add(time.Hour-time.Second), 10); err != nil || n != 1 {
			t.Fatalf("%d due, %v", n, err)
		}
		if got := b.alert(scheduled.ID); got.Delivery != alert.Held { // it is quiet when its time comes
			t.Errorf("the scheduled one is %s", got.Delivery)
		}
		together(8, func(int) {
			if _, err := b.ReleaseDue(context.WithoutCancel(t.Context()), now.Add(time.Hour), 10); err != nil {
				t.Error(err)
			}
		})
		if n := len(b.steps("alice")); n != 2 {
			t.Errorf("%d steps of 2 alerts", n)
		}
		if got := b.alert(held.ID); got.Delivery != alert.SentOut || got.Text.Band != "one" || got.Text.Locale != "zh" {
			t.Errorf("released: %+v", got)
		}
		if got := b.alert(sent.ID); got.Delivery != alert.Dropped || got.Decisions[len(got.Decisions)-1].Reason != "RECIPIENT_CHANGED" {
			t.Errorf("the band is bob's: %+v", got)
		}
	})
}

func TestCriticalAlertsAreSentAgainUntilSomebodyHasThem(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		var sent, resent atomic.Int64
		b.OnAlerts(func(d alert.Delivery) {
			if d == alert.SentOut {
				sent.Add(1)
			}
		}, func() { resent.Add(1) })
		critical := order("alice", "fire")
		critical.Asked = alert.Critical
		a := b.mustDeliver(critical)
		after := now.Add(alert.DefaultTerms().ResendAfter)
		if n, err := b.ResendDue(t.Context(), after.Add(-time.Second), 10); err != nil || n != 0 {
			t.Fatalf("too early: %d, %v", n, err)
		}
		together(4, func(int) {
			if _, err := b.ResendDue(context.WithoutCancel(t.Context()), after, 10); err != nil {
				t.Error(err)
			}
		})
		steps := b.steps("alice")
		if len(steps) != 2 || steps[1].Kind != alert.Upsert || steps[1].Alert.Attempt != 2 {
			t.Fatalf("the steps are %+v", steps)
		}
		if sent.Load() != 1 || resent.Load() != 1 {
			t.Errorf("counted %d sent and %d sent again", sent.Load(), resent.Load())
		}
		b.ack("ack", alert.Ack{AlertID: a.ID, Surface: alert.Phone, Kind: alert.AckReceived})
		if n, err := b.ResendDue(t.Context(), after.Add(time.Hour), 10); err != nil || n != 0 {
			t.Errorf("after the acknowledgement: %d, %v", n, err)
		}
	})
}

func (b *box) ack(requestID string, ack alert.Ack) alert.Alert {
	b.t.Helper()
	got, err := b.Acknowledge(context.WithoutCancel(b.t.Context()), request("AcknowledgeAlerts", requestID, ack.AlertID), "alice", []alert.Ack{ack}, now)
	if err != nil {
		b.t.Fatal(err)
	}
	return got[0]
}

func TestAcknowledgementsMoveAnAlertOnceAndAreLogged(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		wanted := order("alice", "hi")
		wanted.Actions = []alert.Action{{ID: "yes", Label: "Yes"}}
		a := b.mustDeliver(wanted)
		together(8, func(i int) {
			b.ack(fmt.Sprint("received", i), alert.Ack{AlertID: a.ID, Surface: alert.Band, Kind: alert.AckReceived, ClientID: "phone"})
		})
		got := b.ack("acted", alert.Ack{AlertID: a.ID, Surface: alert.Phone, Kind: alert.AckActed, ActionID: "yes", ClientID: "phone"})
		if got.Delivery != alert.BandReceived || got.Engagement != alert.Acted {
			t.Errorf("%s, %s", got.Delivery, got.Engagement)
		}
		steps := b.steps("alice")
		if len(steps) != 3 || steps[1].Kind != alert.State {
			t.Errorf("the steps are %+v", steps)
		}
		acks, err := b.Acks(t.Context(), a.ID)
		if err != nil || len(acks) != 2 {
			t.Errorf("the log has %+v, %v", acks, err)
		}
		if n := b.count(`SELECT COUNT(*) FROM outbox WHERE type = 'armlet.notify.v1.AlertStateChanged'`); n != 2 {
			t.Errorf("%d events for the sender", n)
		}
		_, err = b.Acknowledge(t.Context(), request("AcknowledgeAlerts", "other", "x"), "bob", []alert.Ack{{AlertID: a.ID, Surface: alert.Phone, Kind: alert.AckRead}}, now)
		if !errors.Is(err, alert.ErrNotFound) {
			t.Errorf("another's alert: %v", err)
		}
		_, err = b.Acknowledge(t.Context(), request("AcknowledgeAlerts", "no", "x"), "alice",
			[]alert.Ack{{AlertID: a.ID, Surface: alert.Phone, Kind: alert.AckActed, ActionID: "no"}}, now)
		if fault.ReasonOf(err) != "ACTION_NOT_FOUND" {
			t.Errorf("another action: %v", err)
		}
	})
}

func TestANewAlertTakesThePlaceOfThoseWithItsKey(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		together(12, func(i int) {
			a := order("alice", fmt.Sprint(i))
			a.CollapseKey = "score"
			if _, err := b.deliver(a, now); err != nil {
				t.Error(err)
			}
		})
		another := order("alice", "other")
		another.CollapseKey, another.Sender, another.Partner = "score", "bolt", "bolt"
		b.mustDeliver(another)
		left, err := b.InboxAlerts(t.Context(), "alice", 0, 100)
		if err != nil || len(left) != 2 {
			t.Errorf("%d are left, %v", len(left), err)
		}
		if n := len(b.steps("alice")); n != 12+11+1 {
			t.Errorf("%d steps", n)
		}
	})
}

func TestWhatNobodyReceivedExpiresAndTheRestStays(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		short := func(text string) alert.Alert {
			a := order("alice", text)
			a.ExpiresAt = now.Add(time.Minute)
			return b.mustDeliver(a)
		}
		lost, seen := short("lost"), short("seen")
		b.ack("seen", alert.Ack{AlertID: seen.ID, Surface: alert.Phone, Kind: alert.AckRead})
		together(4, func(int) {
			if _, err := b.ExpireDue(context.WithoutCancel(t.Context()), now.Add(time.Minute), 10); err != nil {
				t.Error(err)
			}
		})
		steps := b.steps("alice")
		if len(steps) != 4 || steps[3].Kind != alert.Remove || steps[3].Alert.ID != lost.ID || b.alert(lost.ID).Delivery != alert.Expired {
			t.Errorf("the steps are %+v", steps)
		}
		if got := b.alert(seen.ID).Delivery; got != alert.PhoneReceived {
			t.Errorf("the one that was read is %s", got)
		}
	})
}

func TestOldAlertsLoseTheirTextsThenTheirRecordsAndStreamsStartOver(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		old := b.mustDeliver(order("alice", "secret"))
		b.ack("read", alert.Ack{AlertID: old.ID, Surface: alert.Phone, Kind: alert.AckRead})
		terms := alert.DefaultTerms()
		after := now.Add(terms.KeepAlerts + time.Second)
		young := order("alice", "young")
		young.CreatedAt = after
		if _, err := b.deliver(young, after); err != nil {
			t.Fatal(err)
		}
		if n, err := b.RedactDue(t.Context(), after, 10); err != nil || n != 1 {
			t.Fatalf("%d redacted, %v", n, err)
		}
		got := b.alert(old.ID)
		if got.Text != (alert.Text{}) || got.Delivery != alert.Removed || len(got.Decisions) < 3 {
			t.Errorf("redacted: %+v", got)
		}
		if n := b.count(`SELECT COUNT(*) FROM alerts WHERE content LIKE '%secret%' OR request LIKE '%secret%' OR decisions LIKE '%secret%'`); n != 0 {
			t.Errorf("the text is still in %d rows", n)
		}
		before, err := b.Head(t.Context(), "alice")
		if err != nil || len(b.steps("alice")) != 4 {
			t.Fatalf("%+v, %v", before, err)
		}
		if err := b.Forget(t.Context(), after.Add(terms.KeepSteps-time.Minute)); err != nil {
			t.Fatal(err)
		}
		head, err := b.Head(t.Context(), "alice")
		if err != nil || head.TrimmedThrough != 2 || head.Continues(alert.Cursor{Epoch: head.Epoch, Sequence: 1}) || !head.Continues(alert.Cursor{Epoch: head.Epoch, Sequence: 2}) {
			t.Errorf("the head is %+v, %v", head, err)
		}
		if err := b.Forget(t.Context(), now.Add(terms.KeepRecords+terms.KeepSteps)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Alert(t.Context(), old.ID); !errors.Is(err, alert.ErrNotFound) {
			t.Errorf("its record: %v", err)
		}
		if n := b.count(`SELECT COUNT(*) FROM alert_acks`); n != 0 {
			t.Errorf("%d acknowledgements are left", n)
		}
	})
}

func TestAnErasedInboxStartsOverWithNothing(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		a := b.mustDeliver(order("alice", "secret"))
		before, err := b.Head(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		n, err := b.EraseInbox(t.Context(), request("EraseInbox", "e", "alice"), "alice", "new-epoch", now)
		if err != nil || n != 1 {
			t.Fatalf("%d erased, %v", n, err)
		}
		head, err := b.Head(t.Context(), "alice")
		if err != nil || head.Continues(before.Cursor) || b.alert(a.ID).Text.Band != "" {
			t.Errorf("%+v, %v", head, err)
		}
		if left, err := b.InboxAlerts(t.Context(), "alice", 0, 10); err != nil || len(left) != 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

func TestEachMemberOfATopicIsAlertedOnce(t *testing.T) {
	each(t, func(t *testing.T, b *box) {
		ctx := context.WithoutCancel(t.Context())
		if _, err := b.CreateTopic(ctx, request("CreateTopic", "t", "t"), alert.Topic{Partner: "acme", ID: "news", DisplayName: "News", CreatedAt: now}); err != nil {
			t.Fatal(err)
		}
		var members []string
		for i := range 60 {
			device := fmt.Sprintf("partners/acme/devices/%026d", i)
			members = append(members, device)
			if i%6 != 0 { // each sixth is on nobody's wrist; two devices have one wearer
				b.setWearer(device, fmt.Sprint("wearer", i/2), 2)
			}
		}
		got, err := b.ChangeMembers(ctx, request("ChangeTopicMembers", "m", "m"), "acme", "news", append(members, members[0]), nil, now)
		if err != nil || got.Members != 60 {
			t.Fatalf("%+v, %v", got, err)
		}
		broadcast := alert.Broadcast{
			ID: uuid.NewString(), Sender: alert.Sender{Partner: "acme", Mode: "live"}, Partner: "acme", Topic: "news", State: alert.BroadcastRunning, CreatedAt: now,
			Request: alert.Request{Topic: "news", TopicPartner: "acme", Kind: alert.Key{ID: alert.PartnerMessage}, Payload: map[string]any{"band_text": "hi"}},
		}
		if _, err := b.Broadcast(ctx, request("SendAlert", "b", "b"), broadcast, func(*alert.Published) error { return nil }); err != nil {
			t.Fatal(err)
		}
		together(6, func(int) { // as replicas do, each in small steps
			for {
				more, err := b.AdvanceBroadcast(ctx, now, 7)
				if err != nil {
					t.Error(err)
				}
				if !more || err != nil {
					return
				}
			}
		})
		done, err := b.BroadcastByID(ctx, broadcast.ID)
		if err != nil || done.State != alert.BroadcastDone || done.Members != 60 || done.Sent != 50 || done.Dropped != 10 {
			t.Errorf("%+v, %v", done, err)
		}
		if n := b.count(`SELECT COUNT(DISTINCT device) FROM alerts`); n != 50 || b.count(`SELECT COUNT(*) FROM alerts`) != 50 {
			t.Errorf("%d devices were alerted", n)
		}
		b.steps("wearer1")
		if err := b.DeleteTopic(ctx, request("DeleteTopic", "d", "d"), "acme", "news", now); err != nil {
			t.Error(err)
		}
		if left, err := b.Members(ctx, "acme", "news", "", 10); err != nil || len(left) != 0 {
			t.Errorf("members of a topic that is gone: %v, %v", left, err)
		}
	})
}
