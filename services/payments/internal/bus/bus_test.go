package bus_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/bus"
	"github.com/armlet-pay/armlet/services/payments/internal/limit"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestEachFactHasItsEvent(t *testing.T) {
	p := payment.Payment{
		ID: "p1", Amount: payment.Money{Minor: 1200, Currency: "CNY"}, Merchant: "m1", MerchantDisplayName: "Noodles",
		Device: "partners/acme/devices/d1", Partner: "acme", Account: "alice", Mode: payment.Live, UpdateTime: noon,
		Transaction: "x1", DeclineReason: "TAP_DECLINED",
	}
	facts := &paymentsv1.PaymentFacts{
		Payment: "payments/p1", Amount: &typev1.Money{MinorUnits: 1200, CurrencyCode: "CNY"}, Merchant: "merchants/m1",
		MerchantDisplayName: "Noodles", Device: "partners/acme/devices/d1", Account: "accounts/alice", OccurTime: timestamppb.New(noon),
		PaymentAmount: &typev1.Money{MinorUnits: 1200, CurrencyCode: "CNY"}, CapturedAmount: &typev1.Money{CurrencyCode: "CNY"},
		RefundedAmount: &typev1.Money{CurrencyCode: "CNY"},
	}
	held, offline := p, p
	held.AuthorizationExpireTime, offline.Offline, offline.TapTime = noon, true, noon
	offlineFacts := proto.CloneOf(facts)
	offlineFacts.Offline, offlineFacts.TapTime = true, timestamppb.New(noon)
	told := map[protoreflect.FullName]bool{"armlet.payments.v1.PaymentFacts": true}
	for name, c := range map[string]struct {
		fact    payment.Event
		subject string
		key     string
		want    proto.Message
	}{
		"created":  {payment.CreatedEvent{Payment: p}, "evt.v1.live.payments.payment.created.acme.p1", "payments/p1", &paymentsv1.PaymentCreated{Payment: facts}},
		"captured": {payment.CapturedEvent{Payment: p, Amount: p.Amount, Transaction: "x1"}, "evt.v1.live.payments.payment.captured.acme.p1", "payments/p1", &paymentsv1.PaymentCaptured{Payment: facts, Transaction: "transactions/x1"}},
		"declined": {payment.DeclinedEvent{Payment: p}, "evt.v1.live.payments.payment.declined.acme.p1", "payments/p1", &paymentsv1.PaymentDeclined{Payment: facts, Reason: "TAP_DECLINED"}},
		"expired":  {payment.ExpiredEvent{Payment: p}, "evt.v1.live.payments.payment.expired.acme.p1", "payments/p1", &paymentsv1.PaymentExpired{Payment: facts}},
		"voided":   {payment.VoidedEvent{Payment: p}, "evt.v1.live.payments.payment.voided.acme.p1", "payments/p1", &paymentsv1.PaymentVoided{Payment: facts}},
		"released": {payment.ReleasedEvent{Payment: p, Amount: p.Amount}, "evt.v1.live.payments.payment.released.acme.p1", "payments/p1", &paymentsv1.PaymentReleased{Payment: facts}},
		"refunded": {payment.RefundedEvent{Payment: p, Amount: p.Amount, Transaction: "x3"}, "evt.v1.live.payments.payment.refunded.acme.p1", "payments/p1", &paymentsv1.PaymentRefunded{Payment: facts, Transaction: "transactions/x3"}},
		"opened": {
			payment.OpenedEvent{Account: payment.Account{ID: "alice", Balance: payment.Money{Currency: "JPY"}, CreateTime: noon}},
			"evt.v1.live.payments.account.created._.alice", "accounts/alice", &paymentsv1.AccountCreated{Account: "accounts/alice", CurrencyCode: "JPY"},
		},
		"topped up": {
			payment.ToppedUpEvent{Account: "al.ice", Amount: payment.Money{Minor: 5, Currency: "JPY"}, Balance: payment.Money{Minor: 9, Currency: "JPY"}, Transaction: "x2", Time: noon},
			"evt.v1.live.payments.account.topped_up._.al~ice", "accounts/al.ice",
			&paymentsv1.AccountToppedUp{
				Account: "accounts/al.ice", Amount: &typev1.Money{MinorUnits: 5, CurrencyCode: "JPY"}, Transaction: "transactions/x2",
				Balance: &typev1.Money{MinorUnits: 9, CurrencyCode: "JPY"},
			},
		},
		"overdrawn": {
			payment.OverdrawnEvent{Account: "alice", Owed: payment.Money{Minor: 5, Currency: "JPY"}, Payment: "p1", Time: noon},
			"evt.v1.live.payments.account.overdrawn._.alice", "accounts/alice",
			&paymentsv1.AccountOverdrawn{Account: "accounts/alice", Owed: &typev1.Money{MinorUnits: 5, CurrencyCode: "JPY"}, Payment: "payments/p1"},
		},
		"collected": {
			payment.CollectedEvent{Account: "alice", Amount: payment.Money{Minor: 5, Currency: "JPY"}, Owed: payment.Money{Minor: 2, Currency: "JPY"}, Transaction: "x2", Time: noon},
			"evt.v1.live.payments.account.debt_collected._.alice", "accounts/alice",
			&paymentsv1.AccountDebtCollected{
				Account: "accounts/alice", Amount: &typev1.Money{MinorUnits: 5, CurrencyCode: "JPY"}, Owed: &typev1.Money{MinorUnits: 2, CurrencyCode: "JPY"},
				Transaction: "transactions/x2",
			},
		},
		"withdrawn": {
			payment.WithdrawnEvent{Account: "alice", Amount: payment.Money{Minor: 5, Currency: "JPY"}, Balance: payment.Money{Minor: 1, Currency: "JPY"}, Transaction: "x2", Time: noon},
			"evt.v1.live.payments.account.withdrawn._.alice", "accounts/alice",
			&paymentsv1.AccountWithdrawn{
				Account: "accounts/alice", Amount: &typev1.Money{MinorUnits: 5, CurrencyCode: "JPY"}, Transaction: "transactions/x2",
				Balance: &typev1.Money{MinorUnits: 1, CurrencyCode: "JPY"},
			},
		},
		"frozen": {
			payment.FrozenEvent{Account: "alice", Reason: "odd taps", Time: noon}, "evt.v1.live.payments.account.frozen._.alice", "accounts/alice",
			&paymentsv1.AccountFrozen{Account: "accounts/alice", Reason: "odd taps"},
		},
		"unfrozen": {
			payment.UnfrozenEvent{Account: "alice", Time: noon}, "evt.v1.live.payments.account.unfrozen._.alice", "accounts/alice",
			&paymentsv1.AccountUnfrozen{Account: "accounts/alice"},
		},
		"closed": {
			payment.ClosedEvent{Account: "alice", Time: noon}, "evt.v1.live.payments.account.closed._.alice", "accounts/alice",
			&paymentsv1.AccountClosed{Account: "accounts/alice"},
		},
		"a new terminal": {
			payment.TerminalEvent{Terminal: payment.TerminalDevice{ID: "t1", Merchant: "m1", DisplayName: "till"}, New: true, Time: noon},
			"evt.v1.live.payments.terminal.created._.t1", "terminals/t1",
			&paymentsv1.TerminalCreated{Terminal: "terminals/t1", Merchant: "merchants/m1", DisplayName: "till"},
		},
		"terminal": {
			payment.TerminalEvent{Terminal: payment.TerminalDevice{ID: "t1", Merchant: "m1", DisplayName: "till", Suspended: true}, Time: noon},
			"evt.v1.live.payments.terminal.changed._.t1", "terminals/t1",
			&paymentsv1.TerminalChanged{Terminal: "terminals/t1", Merchant: "merchants/m1", DisplayName: "till", Suspended: true},
		},
		"a new merchant": {
			payment.MerchantEvent{Merchant: shop(false), New: true, Time: noon}, "evt.v1.live.payments.merchant.created._.m1", "merchants/m1",
			&paymentsv1.MerchantCreated{
				Merchant: "merchants/m1", DisplayName: "Noodles", CategoryCode: 5812, CurrencyCode: "CNY",
				FeeSchedule: &paymentsv1.FeeSchedule{BasisPoints: 30}, Settlement: &paymentsv1.SettlementSchedule{CutOff: "22:00"},
			},
		},
		"merchant": {
			payment.MerchantEvent{Merchant: shop(true), Time: noon}, "evt.v1.live.payments.merchant.changed._.m1", "merchants/m1",
			&paymentsv1.MerchantChanged{
				Merchant: "merchants/m1", Suspended: true, DisplayName: "Noodles", CategoryCode: 5812, CurrencyCode: "CNY",
				FeeSchedule: &paymentsv1.FeeSchedule{BasisPoints: 30}, Settlement: &paymentsv1.SettlementSchedule{CutOff: "22:00"},
			},
		},
		"limits": {
			payment.PolicyEvent{Policy: limit.Policy{Currency: "CNY", TapLimit: 5, UpdateTime: noon}, Time: noon},
			"evt.v1.live.payments.limit_policy.set._.CNY", "limitPolicies/CNY",
			&paymentsv1.LimitPolicySet{Policy: &paymentsv1.LimitPolicy{Name: "limitPolicies/CNY", TapLimit: 5, UpdateTime: timestamppb.New(noon)}},
		},
		"no limits": {
			payment.PolicyEvent{Policy: limit.Policy{Currency: "CNY"}, Deleted: true, Time: noon},
			"evt.v1.live.payments.limit_policy.deleted._.CNY", "limitPolicies/CNY", &paymentsv1.LimitPolicyDeleted{Policy: "limitPolicies/CNY"},
		},
		"settled": {
			payment.SettledEvent{ID: "s1", Merchant: "m1", PaidOut: payment.Money{Minor: 5, Currency: "JPY"}, EndTime: noon, Time: noon},
			"evt.v1.live.payments.settlement.created._.s1", "settlements/s1",
			&paymentsv1.SettlementCreated{
				Settlement: "settlements/s1", Merchant: "merchants/m1", PaidOut: &typev1.Money{MinorUnits: 5, CurrencyCode: "JPY"}, EndTime: timestamppb.New(noon),
			},
		},
		"authorized": {
			payment.AuthorizedEvent{Payment: held}, "evt.v1.live.payments.payment.authorized.acme.p1", "payments/p1",
			&paymentsv1.PaymentAuthorized{Payment: facts, ExpireTime: timestamppb.New(noon)},
		},
		"tapped offline": {
			payment.CapturedEvent{Payment: offline, Amount: p.Amount, Transaction: "x1"}, "evt.v1.live.payments.payment.captured.acme.p1", "payments/p1",
			&paymentsv1.PaymentCaptured{Payment: offlineFacts, Transaction: "transactions/x1"},
		},
	} {
		told[c.want.ProtoReflect().Descriptor().FullName()] = true
		ev, err := bus.Encode(t.Context(), c.fact)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if ev.Subject != c.subject || ev.Key != c.key || ev.Source != "/services/payments" || !ev.Time.Equal(noon) {
			t.Errorf("%s: got %+v", name, ev)
		}
		got := c.want.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(ev.Data, got); err != nil || ev.Type != string(got.ProtoReflect().Descriptor().FullName()) {
			t.Fatalf("%s: a %s: %v", name, ev.Type, err)
		}
		if diff := cmp.Diff(c.want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if _, err := bus.Encode(t.Context(), nil); err == nil {
		t.Error("nothing became an event")
	}
	for promised := range messages(paymentsv1.File_armlet_payments_v1_events_proto) {
		if !told[promised] {
			t.Errorf("%s is in the contract, and no fact becomes one here", promised)
		}
	}
}

func messages(file protoreflect.FileDescriptor) iter.Seq[protoreflect.FullName] {
	return func(yield func(protoreflect.FullName) bool) {
		all := file.Messages()
		for i := range all.Len() {
			if !yield(all.Get(i).FullName()) {
				return
			}
		}
	}
}

// shop is a merchant whose bank account is nobody's business.
func shop(suspended bool) payment.Merchant {
	return payment.Merchant{
		ID: "m1", DisplayName: "Noodles", CategoryCode: 5812, Currency: "CNY", Fees: payment.FeeSchedule{BasisPoints: 30},
		Settlement: payment.SettlementSchedule{CutOff: "22:00", PayoutAccount: "DE02 1203"}, Suspended: suspended,
	}
}

// What is in the outbox reaches the stream, which the relay makes itself.
func TestTheRelayPublishesTheOutbox(t *testing.T) {
	db := testkit.OpenDB(t, testkit.DBURL(t, sqldb.SQLite))
	if err := db.Migrate(t.Context(), store.Migrations()); err != nil {
		t.Fatal(err)
	}
	_, url := testkit.NATS(t)
	js := testkit.JetStream(t, url)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- bus.NewRelay(db, js, nil).Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	ev, err := bus.Encode(ctx, payment.ToppedUpEvent{Account: "alice", Transaction: "x1", Time: noon})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return events.Append(ctx, tx, ev) }); err != nil {
		t.Fatal(err)
	}
	msg := await(t, js, ev.Subject)
	if msg.Header.Get(events.HeaderID) != ev.ID || msg.Header.Get(events.HeaderType) != "armlet.payments.v1.AccountToppedUp" {
		t.Errorf("got %v", msg.Header)
	}
}

func await(t *testing.T, js jetstream.JetStream, subject string) *jetstream.RawStreamMsg {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		stream, err := js.Stream(t.Context(), bus.Stream)
		if err == nil {
			var msg *jetstream.RawStreamMsg
			if msg, err = stream.GetLastMsgForSubject(t.Context(), subject); err == nil {
				return msg
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing came: %v", err)
		}
	}
}
