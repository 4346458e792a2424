package bus

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
)

// eventBatch is how many events may share a transaction when they come fast: a commit costs more than what is in it.
const eventBatch = 64

// Inbox is where alerts go, and where it is remembered who wears what.
type Inbox interface {
	// DeliverAll takes alerts through the pipeline; causes are the trace contexts of what each tells of.
	DeliverAll(ctx context.Context, tx *sqldb.Tx, all []alert.Alert, causes []string, now time.Time) ([]alert.Alert, error)
	// SetWearer ignores what is older than what it knows.
	SetWearer(ctx context.Context, tx *sqldb.Tx, w alert.Wearer, epoch int64, now time.Time) error
	// Wearer is who wears a device.
	Wearer(ctx context.Context, device string) (alert.Wearer, error)
}

// Source is what all consumers of this service read from and write to.
type Source struct {
	JetStream jetstream.JetStream
	DB        *sqldb.DB
	Log       *slog.Logger
	Tracer    trace.TracerProvider
	// AckWait is how long an event may take before it comes again, to another replica or to this one after a crash.
	AckWait time.Duration
}

func (s Source) consumer(stream, durable string, handle func(context.Context, *sqldb.Tx, []events.Event) error, filters ...string) *events.Consumer {
	return events.NewConsumer(events.ConsumerConfig{
		JetStream: s.JetStream, DB: s.DB, Log: s.Log, TracerProvider: s.Tracer,
		Stream: stream, Durable: durable, Filters: filters, Batch: eventBatch, AckWait: s.AckWait, HandleAll: handle,
		Handle: func(ctx context.Context, tx *sqldb.Tx, ev events.Event) error {
			return handle(ctx, tx, []events.Event{ev})
		},
	})
}

// Alerter turns events into alerts.
type Alerter struct {
	inbox Inbox
	now   func() time.Time
	newID func() string
}

// NewAlerter makes an Alerter.
func NewAlerter(inbox Inbox, now func() time.Time, newID func() string) *Alerter {
	return &Alerter{inbox: inbox, now: now, newID: newID}
}

// Consumers are the consumers of the events that wearers hear of.
func (a *Alerter) Consumers(src Source) []*events.Consumer {
	of := func(prefix string, verbs ...string) []string {
		for i, verb := range verbs {
			verbs[i] = "evt.v1.*." + prefix + "." + verb + ".>"
		}
		return verbs
	}
	return []*events.Consumer{
		src.consumer("EVT_PAYMENTS", "notify-alerts-payments", a.Handle, append(
			of("payments.payment", "authorized", "captured", "declined", "expired", "voided", "released", "refunded"),
			of("payments.account", "topped_up", "withdrawn", "overdrawn", "debt_collected", "closed", "frozen", "unfrozen")...)...),
		src.consumer("EVT_DEVICES", "notify-alerts-devices", a.Handle,
			of("devices.device", "bound", "suspended", "suspension_lifted", "released", "retired", "revoked")...),
		src.consumer("EVT_AUTH", "notify-alerts-auth", a.Handle, of("auth.device", "clone_suspected")...),
		src.consumer(Stream, "notify-alerts-vouchers", a.Handle, of("vouchers.voucher", "issued", "assigned", "redeemed")...),
	}
}

// Handle takes the alerts of events through the pipeline, in the transaction of the consumer.
func (a *Alerter) Handle(ctx context.Context, tx *sqldb.Tx, evs []events.Event) error {
	now := a.now()
	var learned []binding
	var orders []alert.Alert
	var causes []string
	for _, ev := range evs {
		msg, err := decode(ev)
		if err != nil {
			return err
		}
		subject, err := events.ParseSubject(ev.Subject)
		if err != nil {
			return fault.New(fault.Invalid, "EVENT_INVALID", "the subject cannot be read").WithCause(err)
		}
		if b, ok := bindingOf(msg, subject); ok {
			learned = append(learned, b)
		}
		order, ok, err := a.order(ctx, ev, msg, subject, now)
		if err != nil {
			return err
		}
		if ok {
			orders, causes = append(orders, order), append(causes, ev.TraceParent)
		}
	}
	// In the order of the devices, so that two replicas do not wait for each other; the epochs say which is the newest.
	slices.SortStableFunc(learned, func(x, y binding) int { return strings.Compare(x.wearer.Device, y.wearer.Device) })
	for _, b := range learned {
		if err := a.inbox.SetWearer(ctx, tx, b.wearer, b.epoch, now); err != nil {
			return err
		}
	}
	if len(orders) == 0 {
		return nil
	}
	_, err := a.inbox.DeliverAll(ctx, tx, orders, causes, now)
	return err
}

// order is the alert that tells of an event, if there is one to tell it to.
func (a *Alerter) order(ctx context.Context, ev events.Event, msg proto.Message, subject events.Subject, now time.Time) (alert.Alert, bool, error) {
	told, ok := story(msg)
	if !ok {
		return alert.Alert{}, false, nil
	}
	if _, ok := msg.(*authv1.CloneSuspected); ok { // auth knows devices only
		w, err := a.inbox.Wearer(ctx, told.device)
		if err != nil {
			return alert.Alert{}, false, err
		}
		told.account = w.Account
	}
	return alert.Alert{CreatedAt: now, Order: alert.Order{
		ID: a.newID(), Account: told.account, Mode: subject.Mode, Kind: alert.Key{ID: told.kind}, Payload: told.payload,
		Device: told.device, Partner: subject.Partner,
	}, Decisions: []alert.Decision{{Step: alert.StepRecipients, Outcome: alert.Passed, Detail: ev.Type, At: now}}}, told.account != "", nil
}

// binding is who wears a device since an epoch.
type binding struct {
	wearer alert.Wearer
	epoch  int64
}

func bindingOf(msg any, subject events.Subject) (binding, bool) {
	b := binding{wearer: alert.Wearer{Partner: subject.Partner, Mode: subject.Mode}}
	switch m := msg.(type) {
	case *devicesv1.DeviceBound:
		b.wearer.Device, b.wearer.Account, b.epoch = m.GetDevice(), accountID(m.GetAccount()), m.GetAuthEpoch()
	case *devicesv1.DeviceReleased:
		b.wearer.Device, b.epoch = m.GetDevice(), m.GetAuthEpoch()
	case *devicesv1.DeviceEnded:
		b.wearer.Device, b.epoch = m.GetDevice(), m.GetAuthEpoch()
	default:
		return b, false
	}
	return b, true
}

func accountID(name string) string { return strings.TrimPrefix(name, "accounts/") }
