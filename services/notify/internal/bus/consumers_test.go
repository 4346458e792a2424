package bus

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/offboarding"
	"github.com/armlet-pay/armlet/services/notify/internal/store"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

var (
	discard = slog.New(slog.DiscardHandler)
	noon    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

const device = "partners/acme/devices/0000000000000000000000000a"

// office is everything that this package makes, running against a real NATS server and SQLite.
type office struct {
	t  *testing.T
	db *sqldb.DB
	st *store.Store
	// js and edge are connections of their own, as in the service.
	js, edge    jetstream.JetStream
	offboarding *offboarding.Service
}

func newOffice(t *testing.T) *office {
	t.Helper()
	_, url := testkit.NATS(t)
	o := &office{t: t, db: testkit.OpenDB(t, "sqlite:"+filepath.Join(t.TempDir(), "notify.db")), js: testkit.JetStream(t, url), edge: testkit.JetStream(t, url)}
	if err := store.Migrate(t.Context(), o.db); err != nil {
		t.Fatal(err)
	}
	o.st = store.New(o.db, Encode, func(string) {})
	for stream, subject := range map[string]string{
		"EVT_DEVICES": "evt.v1.*.devices.>", "EVT_AUTH": "evt.v1.*.auth.>", "EVT_PAYMENTS": "evt.v1.*.payments.>",
	} {
		_, err := o.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: stream, Subjects: []string{subject}, Duplicates: time.Second})
		if err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// run starts all workers until the test ends.
func (o *office) run() {
	o.t.Helper()
	fabric := NewFabric(o.edge, nil, o.st, discard)
	src := Source{JetStream: o.js, DB: o.db, Log: discard}
	workers := []func(context.Context) error{NewRelay(o.db, o.js, o.edge, discard).Run, fabric.Run}
	for _, c := range NewAlerter(o.st, func() time.Time { return noon }, uuid.NewString).Consumers(src) {
		workers = append(workers, c.Run)
	}
	for _, c := range NewEgress(fabric, o.st).Consumers(src) {
		workers = append(workers, c.Run)
	}
	o.offboarding = offboarding.NewService(o.st, fabric)
	offboarder := NewOffboarder(o.st, o.offboarding, func() time.Time { return noon }, discard)
	workers = append(workers, offboarder.Run)
	for _, c := range offboarder.Consumers(src) {
		workers = append(workers, c.Run)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(o.t.Context()))
	done := make(chan struct{})
	for _, run := range workers {
		go func() {
			_ = run(ctx)
			done <- struct{}{}
		}()
	}
	o.t.Cleanup(func() {
		cancel()
		for range workers {
			<-done
		}
	})
}

// happen publishes an event as a service's relay does.
func (o *office) happen(subject events.Subject, msg proto.Message) events.Event {
	o.t.Helper()
	ev, err := events.New("/services/test", subject.String(), "", noon, msg, o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	o.send(ev, "")
	return ev
}

// send publishes an event; another msgID lets a duplicate pass the stream.
func (o *office) send(ev events.Event, msgID string) {
	o.t.Helper()
	msg := nats.NewMsg(ev.Subject)
	msg.Data = ev.Data
	for k, v := range map[string]string{
		events.HeaderSpecVersion: "1.0", events.HeaderID: ev.ID, events.HeaderSource: ev.Source, events.HeaderType: ev.Type,
		events.HeaderTime: ev.Time.Format(time.RFC3339Nano), events.HeaderContentType: "application/protobuf", events.HeaderSubject: ev.Key,
	} {
		if v != "" {
			msg.Header[k] = []string{v}
		}
	}
	if _, err := o.js.PublishMsg(o.t.Context(), msg, jetstream.WithMsgID(ev.ID+msgID)); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) eventually(what string, check func() bool) {
	o.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !check() {
		if time.Now().After(deadline) {
			o.t.Fatalf("it did not happen that %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (o *office) alerts(account string) []alert.Alert {
	o.t.Helper()
	alerts, err := o.st.InboxAlerts(o.t.Context(), account, 0, 1000)
	if err != nil {
		o.t.Fatal(err)
	}
	return alerts
}

// messages are those in a stream, oldest first.
func (o *office) messages(stream string) []*jetstream.RawStreamMsg {
	o.t.Helper()
	s, err := o.js.Stream(o.t.Context(), stream)
	if err != nil {
		return nil
	}
	var all []*jetstream.RawStreamMsg
	for seq := uint64(1); ; seq++ {
		msg, err := s.GetMsg(o.t.Context(), seq)
		if err != nil {
			return all
		}
		all = append(all, msg)
	}
}

func captured(account string) *paymentsv1.PaymentCaptured {
	return &paymentsv1.PaymentCaptured{Payment: facts(account), Transaction: "transactions/t"}
}

func facts(account string) *paymentsv1.PaymentFacts {
	return &paymentsv1.PaymentFacts{
		Payment: "payments/p", Amount: &typev1.Money{MinorUnits: 1200, CurrencyCode: "CNY"}, Merchant: "merchants/m",
		MerchantDisplayName: "Tea House", Device: device, Account: account,
	}
}

func at(domain, entity, verb, partner string) events.Subject {
	return events.Subject{Mode: "live", Domain: domain, Entity: entity, Verb: verb, Partner: partner, ID: uuid.NewString()}
}

func TestEveryEventThatAWearerHearsOfBecomesOneAlert(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.run()
	for _, step := range []struct {
		subject events.Subject
		msg     proto.Message
		want    string // the band's text; empty for no alert
	}{
		{at("devices", "device", "bound", "acme"), &devicesv1.DeviceBound{Device: device, Account: "accounts/alice", AuthEpoch: 2}, "Band added"},
		{at("payments", "payment", "captured", "acme"), captured("accounts/alice"), "Paid ¥12.00"},
		{
			at("payments", "payment", "declined", "acme"),
			&paymentsv1.PaymentDeclined{Payment: facts("accounts/alice"), Reason: "INSUFFICIENT_FUNDS"}, "Declined ¥12.00",
		},
		{
			at("payments", "account", "topped_up", ""),
			&paymentsv1.AccountToppedUp{Account: "accounts/alice", Amount: &typev1.Money{MinorUnits: 10000, CurrencyCode: "JPY"}}, "Added ¥10000",
		},
		{
			at("devices", "device", "suspended", "acme"),
			&devicesv1.DeviceSuspended{Device: device, Account: "accounts/alice", Reason: devicesv1.SuspensionReason_SUSPENSION_REASON_RISK}, "Band suspended",
		},
		{
			at("devices", "device", "suspended", "acme"),
			&devicesv1.DeviceSuspended{Device: device, Reason: devicesv1.SuspensionReason_SUSPENSION_REASON_RISK}, "",
		},
		{at("payments", "payment", "authorized", "acme"), &paymentsv1.PaymentAuthorized{Payment: facts("accounts/alice")}, "Held ¥12.00"},
		{at("payments", "payment", "refunded", "acme"), &paymentsv1.PaymentRefunded{Payment: facts("accounts/alice")}, "Refund ¥12.00"},
		{at("payments", "payment", "voided", "acme"), &paymentsv1.PaymentVoided{Payment: facts("accounts/alice")}, "Void ¥12.00"},
		{at("payments", "payment", "expired", "acme"), &paymentsv1.PaymentExpired{Payment: facts("accounts/alice")}, "Lapsed ¥12.00"},
		{at("payments", "payment", "released", "acme"), &paymentsv1.PaymentReleased{Payment: facts("accounts/alice")}, "Freed ¥12.00"},
		{at("payments", "account", "withdrawn", ""), &paymentsv1.AccountWithdrawn{Account: "accounts/alice", Amount: facts("").GetAmount()}, "Out ¥12.00"},
		{
			at("vouchers", "voucher", "assigned", "acme"),
			&notifyv1.VoucherAssigned{Voucher: &notifyv1.Voucher{Account: "accounts/alice", Value: facts("").GetAmount()}}, "Gift ¥12.00",
		},
		{at("vouchers", "voucher", "issued", "acme"), &notifyv1.VoucherIssued{Voucher: &notifyv1.Voucher{Account: "accounts/alice"}}, "New voucher"},
		{at("payments", "account", "overdrawn", ""), &paymentsv1.AccountOverdrawn{Account: "accounts/alice", Owed: facts("").GetAmount()}, "Owed ¥12.00"},
		{at("payments", "account", "debt_collected", ""), &paymentsv1.AccountDebtCollected{Account: "accounts/alice", Amount: facts("").GetAmount()}, "Settled ¥12.00"},
		{at("payments", "account", "closed", ""), &paymentsv1.AccountClosed{Account: "accounts/alice"}, "Account closed"},
		{at("payments", "account", "frozen", ""), &paymentsv1.AccountFrozen{Account: "accounts/alice", Reason: "court order"}, "Account frozen"},
		{at("payments", "account", "unfrozen", ""), &paymentsv1.AccountUnfrozen{Account: "accounts/alice"}, "Account active"},
		{at("auth", "device", "clone_suspected", "acme"), &authv1.CloneSuspected{Device: device}, "Check your band"},
		{at("devices", "device", "suspension_lifted", "acme"), &devicesv1.SuspensionLifted{Device: device, Account: "accounts/alice"}, "Band active"},
		{
			at("devices", "device", "suspended", "acme"),
			&devicesv1.DeviceSuspended{Device: device, Account: "accounts/alice", Reason: devicesv1.SuspensionReason_SUSPENSION_REASON_OWNER_LOST}, "Band suspended",
		},
		{at("devices", "device", "released", "acme"), &devicesv1.DeviceReleased{Device: device, Account: "accounts/alice", AuthEpoch: 9}, "Band removed"},
		{at("auth", "device", "clone_suspected", "acme"), &authv1.CloneSuspected{Device: device}, ""},
		{at("devices", "device", "retired", "acme"), &devicesv1.DeviceEnded{Device: device, Account: "accounts/alice", AuthEpoch: 10}, "Band ended"},
	} {
		before := len(o.alerts("alice"))
		ev := o.happen(step.subject, step.msg)
		o.eventually("the event "+ev.Type+" is handled", func() bool {
			var n int
			err := o.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM inbox WHERE event_id = $1 AND consumer LIKE 'notify-alerts-%'`, ev.ID).Scan(&n)
			return err == nil && n == 1
		})
		all := o.alerts("alice")
		switch {
		case step.want == "" && len(all) != before:
			t.Errorf("%s: %+v", ev.Type, all[before:])
		case step.want != "" && (len(all) != before+1 || all[before].Text.Band != step.want):
			t.Errorf("%s: %+v, want %q", ev.Type, all[before:], step.want)
		}
	}
	for i, a := range o.alerts("alice") {
		if a.Sequence != int64(i+1) || a.Mode != "live" {
			t.Errorf("alert %d: %+v", i, a)
		}
	}
}

func TestADuplicateEventMakesOneAlertAndOneCopy(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.run()
	ev := o.happen(at("payments", "payment", "captured", "acme"), captured("accounts/alice"))
	for i := range 5 {
		o.send(ev, strings.Repeat("x", i+1)) // past the stream's own window
	}
	last := o.happen(at("payments", "payment", "captured", "acme"), captured("accounts/bob"))
	o.eventually("the last event is copied", func() bool {
		for _, m := range o.messages("PE_acme") {
			if m.Header.Get(events.HeaderID) == copyID(last) {
				return true
			}
		}
		return false
	})
	o.eventually("bob has an alert", func() bool { return len(o.alerts("bob")) == 1 })
	if n := len(o.alerts("alice")); n != 1 {
		t.Errorf("%d alerts of one event", n)
	}
	copies := func() (n int) {
		for _, m := range o.messages("PE_acme") {
			if m.Header.Get(events.HeaderID) == copyID(ev) {
				n++
			}
		}
		return n
	}
	// The first event may have had to wait for the stream to be made.
	o.eventually("the first event is copied", func() bool { return copies() > 0 })
	if n := copies(); n != 1 {
		t.Errorf("%d copies of one event", n)
	}
}

func copyID(ev events.Event) string { return uuid.NewSHA1(copies, []byte(ev.ID)).String() }

func TestAPoisonousEventGoesToTheDeadLettersAndHoldsNothingUp(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.run()
	unreadable := o.happen(at("payments", "payment", "captured", "acme"), captured("accounts/alice"))
	unreadable.ID, unreadable.Data = uuid.NewString(), []byte{0xff, 0xff, 0xff}
	o.send(unreadable, "")
	unknown := o.happen(at("payments", "payment", "captured", "acme"), &authv1.DecisionMade{})
	unknown.ID, unknown.Type = uuid.NewString(), "armlet.payments.v1.Nonsense"
	o.send(unknown, "")
	o.happen(at("payments", "payment", "captured", "acme"), captured("accounts/bob"))
	o.eventually("bob has an alert", func() bool { return len(o.alerts("bob")) == 1 })
	dead := func(durable, id string) bool {
		for _, m := range o.messages(events.DeadLetterStream) {
			if m.Subject == "dlq.v1."+durable && m.Header.Get(events.HeaderID) == id {
				return true
			}
		}
		return false
	}
	for _, durable := range []string{"notify-alerts-payments", "notify-egress-payments"} {
		o.eventually("both events are dead for "+durable, func() bool { return dead(durable, unreadable.ID) && dead(durable, unknown.ID) })
	}
	if n := len(o.alerts("alice")); n != 1 {
		t.Errorf("alice has %d alerts", n)
	}
}

func TestPartnersGetTheirEventsWithoutTheAccount(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.run()
	ev := o.happen(at("payments", "payment", "captured", "acme"), captured("accounts/alice"))
	o.happen(at("payments", "payment", "created", "bolt-2"), &paymentsv1.PaymentCreated{Payment: facts("accounts/alice")})
	o.happen(at("payments", "account", "topped_up", ""), &paymentsv1.AccountToppedUp{Account: "accounts/alice"})
	o.happen(at("devices", "device", "bound", "acme"), &devicesv1.DeviceBound{Device: device, Account: "accounts/alice", AuthEpoch: 2})
	o.happen(at("auth", "decision", "made", "acme"), &authv1.DecisionMade{Device: device, Approved: true})
	// payment, device, decision, and the alerts that the first two make: notify's own events are copied too
	o.eventually("acme has five events", func() bool { return len(o.messages("PE_acme")) == 5 })
	o.eventually("bolt-2 has one event", func() bool { return len(o.messages("PE_bolt-2")) == 1 })
	subjects := map[string]int{}
	for _, m := range append(o.messages("PE_acme"), o.messages("PE_bolt-2")...) {
		subjects[m.Subject]++
		for name, values := range m.Header {
			if strings.Contains(strings.Join(values, " "), "alice") {
				t.Errorf("%s has the account in %s", m.Subject, name)
			}
		}
		if strings.Contains(string(m.Data), "alice") {
			t.Errorf("%s has the account in its body", m.Subject)
		}
	}
	for subject, want := range map[string]int{
		"pevt.v1.acme.live.payments.payment.captured": 1, "pevt.v1.acme.live.devices.device.bound": 1,
		"pevt.v1.acme.live.auth.decision.made": 1, "pevt.v1.acme.live.alerts.alert.sent": 2,
		"pevt.v1.bolt-2.live.payments.payment.created": 1,
	} {
		if subjects[subject] != want {
			t.Errorf("%d events on %s, want %d", subjects[subject], subject, want)
		}
	}
	for _, m := range o.messages("PE_acme") {
		if m.Subject != "pevt.v1.acme.live.payments.payment.captured" {
			continue
		}
		var got paymentsv1.PaymentCaptured
		if err := proto.Unmarshal(m.Data, &got); err != nil {
			t.Fatal(err)
		}
		if want := captured(""); !proto.Equal(&got, want) {
			t.Errorf("got %v, want %v", &got, want)
		}
		if m.Header.Get(events.HeaderID) != copyID(ev) || m.Header.Get(events.HeaderType) != ev.Type ||
			m.Header.Get(jetstream.MsgIDHeader) != copyID(ev) || m.Header.Get(events.HeaderTime) != noon.Format(time.RFC3339Nano) {
			t.Errorf("the headers are %v", m.Header)
		}
	}
}

func TestNoMessageTellsAPartnerWhoseAccountItIs(t *testing.T) {
	for _, msg := range []proto.Message{
		captured("accounts/alice"), &paymentsv1.PaymentCreated{Payment: facts("accounts/alice")},
		&paymentsv1.PaymentDeclined{Payment: facts("accounts/alice")}, &paymentsv1.PaymentExpired{Payment: facts("accounts/alice")},
		&paymentsv1.AccountToppedUp{Account: "accounts/alice"},
		&devicesv1.DeviceBound{Account: "accounts/alice"}, &devicesv1.DeviceSuspended{Account: "accounts/alice"},
		&devicesv1.SuspensionLifted{Account: "accounts/alice"},
		&notifyv1.VoucherIssued{Voucher: &notifyv1.Voucher{Account: "accounts/alice"}},
		&notifyv1.VoucherRedeemed{
			Account: "accounts/alice", Redemption: &notifyv1.Redemption{Voucher: &notifyv1.Voucher{Account: "accounts/alice"}},
		},
		&notifyv1.AlertSent{Alert: "accounts/alice/alerts/1"}, &notifyv1.AlertStateChanged{Alert: "accounts/alice/alerts/1"},
		&paymentsv1.PaymentAuthorized{Payment: facts("accounts/alice")}, &paymentsv1.PaymentVoided{Payment: facts("accounts/alice")},
		&paymentsv1.PaymentReleased{Payment: facts("accounts/alice")}, &paymentsv1.PaymentRefunded{Payment: facts("accounts/alice")},
		&paymentsv1.AccountWithdrawn{Account: "accounts/alice"}, &paymentsv1.AccountClosed{Account: "accounts/alice"},
		&paymentsv1.AccountFrozen{Account: "accounts/alice", Reason: "alice owes"}, &paymentsv1.AccountUnfrozen{Account: "accounts/alice"},
		&devicesv1.DeviceReleased{Account: "accounts/alice"}, &devicesv1.DeviceEnded{Account: "accounts/alice"},
	} {
		redact(msg)
		data, err := proto.Marshal(msg)
		if err != nil || strings.Contains(string(data), "alice") {
			t.Errorf("%T still says %v (%v)", msg, msg, err)
		}
	}
	for name, msg := range known { // and none of them breaks on nothing
		redact(msg())
		if _, err := decode(events.Event{Type: name}); err != nil {
			t.Errorf("an empty %s: %v", name, err)
		}
	}
}

func TestFactsBecomeTheEventsOfTheContract(t *testing.T) {
	c := voucher.Campaign{ID: "c", Partner: "acme", Mode: "test", Kind: voucher.FixedAmount, Currency: "CNY", Value: 5}
	v := voucher.Voucher{ID: "v", CampaignID: "c", Account: "alice", MaxUses: 1, CreatedAt: noon}
	moved := func(from, to voucher.RedemptionState) voucher.MovedRedemption {
		return voucher.MovedRedemption{Redemption: voucher.Redemption{ID: "r", Voucher: v, State: to, Account: "alice"}, Campaign: c, From: from}
	}
	for _, tc := range []struct {
		fact    any
		subject string
		msg     proto.Message
	}{
		{voucher.Issued{Voucher: v, Campaign: c}, "evt.v1.test.vouchers.voucher.issued.acme.v", &notifyv1.VoucherIssued{}},
		{voucher.Assigned{Voucher: v, Campaign: c}, "evt.v1.test.vouchers.voucher.assigned.acme.v", &notifyv1.VoucherAssigned{}},
		{voucher.Generated{Batch: voucher.Batch{Count: 3}, Campaign: c}, "evt.v1.test.vouchers.campaign.generated.acme.c", &notifyv1.VouchersGenerated{}},
		{voucher.Changed{Campaign: c}, "evt.v1.test.vouchers.campaign.changed.acme.c", &notifyv1.CampaignChanged{}},
		{moved("", voucher.Reserved), "evt.v1.test.vouchers.voucher.reserved.acme.v", &notifyv1.VoucherReserved{}},
		{moved("", voucher.Confirmed), "evt.v1.test.vouchers.voucher.redeemed.acme.v", &notifyv1.VoucherRedeemed{}},
		{moved(voucher.Reserved, voucher.Confirmed), "evt.v1.test.vouchers.voucher.redeemed.acme.v", &notifyv1.VoucherRedeemed{}},
		{moved(voucher.Reserved, voucher.Cancelled), "evt.v1.test.vouchers.voucher.released.acme.v", &notifyv1.VoucherReleased{}},
		{moved(voucher.Reserved, voucher.Expired), "evt.v1.test.vouchers.voucher.released.acme.v", &notifyv1.VoucherReleased{}},
		{moved(voucher.Confirmed, voucher.Confirmed), "evt.v1.test.vouchers.voucher.rolled_back.acme.v", &notifyv1.RedemptionRolledBack{}},
		{moved(voucher.Confirmed, voucher.RolledBack), "evt.v1.test.vouchers.voucher.rolled_back.acme.v", &notifyv1.RedemptionRolledBack{}},
		{
			alert.Sent{Alert: alert.Alert{Order: alert.Order{ID: "a", Account: "alice", Mode: "live", Kind: alert.Key{ID: alert.AccountToppedUp}}}},
			"evt.v1.live.alerts.alert.sent._.a", &notifyv1.AlertSent{},
		},
		{
			alert.Moved{Alert: alert.Alert{Order: alert.Order{ID: "a", Account: "alice", Mode: "live", Partner: "acme"}}},
			"evt.v1.live.alerts.alert.state_changed.acme.a", &notifyv1.AlertStateChanged{},
		},
	} {
		ev, err := Encode(t.Context(), tc.fact, noon)
		if err != nil || ev.Subject != tc.subject || ev.Type != string(tc.msg.ProtoReflect().Descriptor().FullName()) {
			t.Errorf("%T: %s, %s, %v", tc.fact, ev.Subject, ev.Type, err)
		}
	}
	if _, err := Encode(t.Context(), "gossip", noon); err == nil {
		t.Error("an unknown fact is encoded")
	}
}

func TestAccountsInNamesAreReplaced(t *testing.T) {
	for name, want := range map[string]string{
		"accounts/alice/alerts/1": "accounts/-/alerts/1", "accounts/alice": "accounts/-", "payments/1": "payments/1", "": "",
	} {
		if got := WithoutAccount(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}
