// Package bus tells others what happened in payments: it turns facts of the domain into events and relays the outbox to
// the stream EVT_PAYMENTS. Payments consumes nothing.
package bus

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	typev1 "github.com/armlet-pay/armlet/proto/gen/armlet/type/v1"
	"github.com/armlet-pay/armlet/services/payments/internal/payment"
)

// Stream holds all events of payments.
const Stream = "EVT_PAYMENTS"

const (
	source = "/services/payments"
	domain = "payments"
	// keep is how long the stream remembers; a consumer that was away for longer has missed something.
	keep = 14 * 24 * time.Hour
)

// NewRelay is the worker that publishes the outbox of db.
func NewRelay(db *sqldb.DB, js jetstream.JetStream, log *slog.Logger) *events.Relay {
	return events.NewRelay(events.RelayConfig{
		Outbox:    events.NewOutbox(db),
		JetStream: js,
		Stream: jetstream.StreamConfig{
			Name:     Stream,
			Subjects: []string{"evt.v1.*." + domain + ".>"},
			Storage:  jetstream.FileStorage,
			MaxAge:   keep,
		},
		Log: log,
	})
}

// Encode turns a fact into an event. It is a store.Encode.
func Encode(ctx context.Context, e payment.Event) (events.Event, error) {
	switch e := e.(type) {
	case payment.CreatedEvent:
		return ofPayment(ctx, "created", e.Payment, &paymentsv1.PaymentCreated{Payment: facts(e.Payment, e.Payment.Amount)})
	case payment.AuthorizedEvent:
		return ofPayment(ctx, "authorized", e.Payment, &paymentsv1.PaymentAuthorized{
			Payment: facts(e.Payment, e.Payment.Amount), ExpireTime: timestamppb.New(e.Payment.AuthorizationExpireTime),
		})
	case payment.CapturedEvent:
		return ofPayment(ctx, "captured", e.Payment, &paymentsv1.PaymentCaptured{
			Payment: facts(e.Payment, e.Amount), Transaction: "transactions/" + e.Transaction,
		})
	case payment.ReleasedEvent:
		return ofPayment(ctx, "released", e.Payment, &paymentsv1.PaymentReleased{Payment: facts(e.Payment, e.Amount)})
	case payment.RefundedEvent:
		return ofPayment(ctx, "refunded", e.Payment, &paymentsv1.PaymentRefunded{
			Payment: facts(e.Payment, e.Amount), Transaction: "transactions/" + e.Transaction,
		})
	case payment.DeclinedEvent:
		return ofPayment(ctx, "declined", e.Payment, &paymentsv1.PaymentDeclined{
			Payment: facts(e.Payment, e.Payment.Amount), Reason: e.Payment.DeclineReason,
		})
	case payment.ExpiredEvent:
		return ofPayment(ctx, "expired", e.Payment, &paymentsv1.PaymentExpired{Payment: facts(e.Payment, e.Payment.Amount)})
	case payment.VoidedEvent:
		return ofPayment(ctx, "voided", e.Payment, &paymentsv1.PaymentVoided{Payment: facts(e.Payment, e.Payment.Amount)})
	}
	return encodeOther(ctx, e)
}

func ofPayment(ctx context.Context, verb string, p payment.Payment, msg proto.Message) (events.Event, error) {
	subject := events.Subject{Mode: string(p.Mode), Domain: domain, Entity: "payment", Verb: verb, Partner: p.Partner, ID: p.ID}
	return events.New(source, subject.String(), "payments/"+p.ID, p.UpdateTime, msg, ctx)
}

// facts is what every event of a payment carries; amount is what the event is about.
func facts(p payment.Payment, amount payment.Money) *paymentsv1.PaymentFacts {
	out := &paymentsv1.PaymentFacts{
		Payment: "payments/" + p.ID, Amount: money(amount), Merchant: "merchants/" + p.Merchant,
		MerchantDisplayName: p.MerchantDisplayName, Device: p.Device, Account: "accounts/" + p.Account,
		OccurTime: timestamppb.New(p.UpdateTime), PaymentAmount: money(p.Amount), CapturedAmount: money(p.CapturedAmount()),
		RefundedAmount: money(p.RefundedAmount()), Offline: p.Offline,
		State: paymentsv1.PaymentState(paymentsv1.PaymentState_value["PAYMENT_STATE_"+string(p.State)]),
	}
	if p.Offline {
		out.TapTime = timestamppb.New(p.TapTime)
	}
	if p.Terminal != "" {
		out.Terminal = "terminals/" + p.Terminal
	}
	out.Discount = DiscountProto(p)
	return out
}

func money(m payment.Money) *typev1.Money {
	return &typev1.Money{MinorUnits: m.Minor, CurrencyCode: m.Currency}
}
