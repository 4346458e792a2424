// Package bus tells others what happened in auth, and answers NATS servers that ask whether to let a partner in: it turns
// events of the domain into messages, relays the outbox to the stream EVT_AUTH, and is the auth-callout responder.
package bus

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/partner"
)

// Stream holds all events of auth.
const Stream = "EVT_AUTH"

const (
	source = "/services/auth"
	domain = "auth"
	mode   = "live"
	nobody = "_" // where no partner is concerned
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

// Encode turns an event of the domain into one for the outbox. It is a store.Encoder.
func Encode(ctx context.Context, ev any, now time.Time) (events.Event, error) {
	switch ev := ev.(type) {
	case partner.Created:
		return event(ctx, now, "partner", "created", ev.Partner.ID, ev.Partner.ID, "partners/"+ev.Partner.ID,
			&authv1.PartnerCreated{Partner: PartnerMessage(ev.Partner)})
	case partner.Changed:
		return event(ctx, now, "partner", "changed", ev.Partner.ID, ev.Partner.ID, ev.Partner.Name(),
			&authv1.PartnerChanged{Partner: PartnerMessage(ev.Partner)})
	case partner.Offboarded:
		return event(ctx, now, "partner", "offboarded", ev.Partner.ID, ev.Partner.ID, ev.Partner.Name(),
			&authv1.PartnerOffboarded{Partner: PartnerMessage(ev.Partner)})
	case partner.ClientChanged:
		of := ev.Client.Partner
		if of == "" {
			of = nobody
		}
		return event(ctx, now, "client", "changed", of, ev.Client.ID, ev.Client.Name(), &authv1.ClientChanged{Client: ClientMessage(ev.Client)})
	case partner.GrantChanged:
		msg := GrantMessage(ev.Grant)
		// A dot would make two tokens of one; "~" is in no scope.
		id := strings.ReplaceAll(ev.Grant.Scope, ".", "~")
		return event(ctx, now, "grant", "changed", ev.Grant.Partner, id, msg.GetName(),
			&authv1.GrantChanged{Partner: "partners/" + ev.Grant.Partner, Grant: msg})
	case challenge.DecisionMade:
		d := ev.Decision
		nonce := hex.EncodeToString(d.Nonce[:])
		return event(ctx, now, "decision", "made", d.Partner, nonce, "challenges/"+nonce, &authv1.DecisionMade{
			Challenge: "challenges/" + nonce, Device: d.Device, Purpose: authv1.Purpose(d.Purpose), Approved: d.Reason == "", Reason: d.Reason,
		})
	case challenge.CloneSuspected:
		return event(ctx, now, "device", "clone_suspected", ev.Partner, ev.UID.String(), ev.Device,
			&authv1.CloneSuspected{Device: ev.Device, Counter: ev.Counter, HighWater: ev.HighWater})
	}
	return events.Event{}, fmt.Errorf("no event is defined for %T", ev)
}

func event(ctx context.Context, now time.Time, entity, verb, partner, id, key string, msg proto.Message) (events.Event, error) {
	subject := events.Subject{Mode: mode, Domain: domain, Entity: entity, Verb: verb, Partner: partner, ID: id}
	return events.New(source, subject.String(), key, now, msg, ctx)
}
