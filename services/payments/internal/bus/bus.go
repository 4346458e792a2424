// Package bus tells others what happened in payments: it turns facts of the domain into events and relays the outbox to
// the stream EVT_PAYMENTS. Payments consumes nothing.
package bus

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
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
		return ofPayment(ctx, "created", e.Payment, &paymentsv1.PaymentCreated{Payment: facts(e.Payment)})
	case payment.CapturedEvent:
		return ofPayment(ctx, "captured", e.Payment, &paymentsv1.PaymentCaptured{
			Payment: facts(e.Payment), Transaction: "transactions/" + e.Payment.Transaction,
		})
	case payment.DeclinedEvent:
		return ofPayment(ctx, "declined", e.Payment, &paymentsv1.PaymentDeclined{Payment: facts(e.Payment), Reason: e.Payment.DeclineReason})
	case payment.ExpiredEvent:
		return ofPayment(ctx, "expired", e.Payment, &paymentsv1.PaymentExpired{Payment: facts(e.Payment)})
	case payment.ToppedUpEvent:
		// An account's id may have dots, which a subject cannot; "~" is in no id.
		subject := events.Subject{
			Mode: string(payment.Live), Domain: domain, Entity: "account", Verb: "topped_up", ID: strings.ReplaceAll(e.Account, ".", "~"),
		}
		return events.New(source, subject.String(), "accounts/"+e.Account, e.Time, &paymentsv1.AccountToppedUp{
			Account: "accounts/" + e.Account, Amount: money(e.Amount), Transaction: "transactions/" + e.Transaction,
		}, ctx)
	}
	return events.Event{}, fmt.Errorf("no event is defined for %T", e)
}

func ofPayment(ctx context.Context, verb string, p payment.Payment, msg proto.Message) (events.Event, error) {
	subject := events.Subject{Mode: string(p.Mode), Domain: domain, Entity: "payment", Verb: verb, Partner: p.Partner, ID: p.ID}
	return events.New(source, subject.String(), "payments/"+p.ID, p.UpdateTime, msg, ctx)
}

func facts(p payment.Payment) *paymentsv1.PaymentFacts {
	return &paymentsv1.PaymentFacts{
		Payment: "payments/" + p.ID, Amount: money(p.Amount), Merchant: "merchants/" + p.Merchant,
		MerchantDisplayName: p.MerchantDisplayName, Device: p.Device, Account: "accounts/" + p.Account,
		OccurTime: timestamppb.New(p.UpdateTime),
	}
}

func money(m payment.Money) *typev1.Money {
	return &typev1.Money{MinorUnits: m.Minor, CurrencyCode: m.Currency}
}
