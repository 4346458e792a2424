package bus

import (
	"log/slog"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

// NewRelay publishes the outbox: this service's events on core, partners' copies on edge.
func NewRelay(db *sqldb.DB, core, edge jetstream.JetStream, log *slog.Logger) *events.Relay {
	return events.NewRelay(events.RelayConfig{
		Outbox: events.NewOutbox(db), JetStream: core, Stream: OwnStream(), Log: log,
		Route: func(subject string) jetstream.JetStream {
			if strings.HasPrefix(subject, subscription.SubjectPrefix) {
				return edge
			}
			return nil
		},
	})
}
