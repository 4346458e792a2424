package bus

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
)

// Inbox is where alerts go, and where it is remembered who wears what.
type Inbox interface {
	AppendAlert(ctx context.Context, tx *sqldb.Tx, d alert.Draft, now time.Time) (alert.Alert, error)
	// SetWearer ignores what is older than what it knows.
	SetWearer(ctx context.Context, tx *sqldb.Tx, w alert.Wearer, epoch int64, now time.Time) error
}

// Source is what all consumers of this service read from and write to.
type Source struct {
	JetStream jetstream.JetStream
	DB        *sqldb.DB
	Log       *slog.Logger
	Tracer    trace.TracerProvider
}

func (s Source) consumer(stream, durable string, handle func(context.Context, *sqldb.Tx, events.Event) error, filters ...string) *events.Consumer {
	return events.NewConsumer(events.ConsumerConfig{
		JetStream: s.JetStream, DB: s.DB, Log: s.Log, TracerProvider: s.Tracer,
		Stream: stream, Durable: durable, Filters: filters, Handle: handle,
	})
}

// Alerter turns events into alerts.
type Alerter struct {
	inbox Inbox
	now   func() time.Time
}

// NewAlerter makes an Alerter.
func NewAlerter(inbox Inbox, now func() time.Time) *Alerter { return &Alerter{inbox: inbox, now: now} }

// Consumers are the consumers of the events that wearers hear of.
func (a *Alerter) Consumers(src Source) []*events.Consumer {
	return []*events.Consumer{
		src.consumer("EVT_PAYMENTS", "notify-alerts-payments", a.Handle,
			"evt.v1.*.payments.payment.captured.>", "evt.v1.*.payments.payment.declined.>", "evt.v1.*.payments.account.topped_up.>"),
		src.consumer("EVT_DEVICES", "notify-alerts-devices", a.Handle,
			"evt.v1.*.devices.device.bound.>", "evt.v1.*.devices.device.suspended.>"),
		src.consumer(Stream, "notify-alerts-vouchers", a.Handle, "evt.v1.*.vouchers.voucher.redeemed.>"),
	}
}

// Handle puts the alert of an event into its wearer's inbox, in the transaction of the consumer.
func (a *Alerter) Handle(ctx context.Context, tx *sqldb.Tx, ev events.Event) error {
	msg, err := decode(ev)
	if err != nil {
		return err
	}
	subject, err := events.ParseSubject(ev.Subject)
	if err != nil {
		return fault.New(fault.Invalid, "EVENT_INVALID", "the subject cannot be read").WithCause(err)
	}
	if bound, ok := msg.(*devicesv1.DeviceBound); ok {
		w := alert.Wearer{Device: bound.GetDevice(), Partner: subject.Partner, Account: accountID(bound.GetAccount()), Mode: subject.Mode}
		if err := a.inbox.SetWearer(ctx, tx, w, bound.GetAuthEpoch(), a.now()); err != nil {
			return err
		}
	}
	happened, ok := story(msg)
	if !ok {
		return nil
	}
	happened.Partner, happened.Mode = subject.Partner, subject.Mode
	draft, ok := alert.Render(happened)
	if !ok {
		return nil
	}
	_, err = a.inbox.AppendAlert(ctx, tx, draft, a.now())
	return err
}

// story is an event in the words of the domain; false when no wearer is to hear of it.
func story(msg proto.Message) (alert.Event, bool) {
	switch m := msg.(type) {
	case *paymentsv1.PaymentCaptured:
		return payment(alert.PaymentCaptured, m.GetPayment(), ""), true
	case *paymentsv1.PaymentDeclined:
		return payment(alert.PaymentDeclined, m.GetPayment(), m.GetReason()), true
	case *paymentsv1.AccountToppedUp:
		return alert.Event{Type: alert.AccountToppedUp, Account: accountID(m.GetAccount()), Amount: money(m.GetAmount())}, true
	case *devicesv1.DeviceBound:
		return alert.Event{Type: alert.DeviceBound, Account: accountID(m.GetAccount()), Device: m.GetDevice()}, true
	case *devicesv1.DeviceSuspended:
		lost := m.GetReason() == devicesv1.SuspensionReason_SUSPENSION_REASON_OWNER_LOST
		return alert.Event{Type: alert.DeviceSuspended, Account: accountID(m.GetAccount()), Device: m.GetDevice()}, lost
	case *notifyv1.VoucherRedeemed:
		return alert.Event{
			Type: alert.VoucherRedeemed, Account: accountID(m.GetAccount()), Amount: money(m.GetRedemption().GetAmount()),
		}, true
	}
	return alert.Event{}, false
}

func payment(t alert.Type, p *paymentsv1.PaymentFacts, reason string) alert.Event {
	return alert.Event{
		Type: t, Account: accountID(p.GetAccount()), Device: p.GetDevice(), Amount: money(p.GetAmount()),
		Merchant: p.GetMerchantDisplayName(), Reason: reason,
	}
}

func money(m *typev1.Money) alert.Money {
	return alert.Money{MinorUnits: m.GetMinorUnits(), Currency: m.GetCurrencyCode()}
}

func accountID(name string) string { return strings.TrimPrefix(name, "accounts/") }
