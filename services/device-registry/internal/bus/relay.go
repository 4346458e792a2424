package bus

import (
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/sqldb"
)

// eventAge is how long the stream keeps an event for consumers that are away.
const eventAge = 7 * 24 * time.Hour

// NewRelay makes the relay that publishes the outbox of db to the registry's stream, which is kept on so many nodes.
func NewRelay(db *sqldb.DB, conn *nats.Conn, replicas int, log *slog.Logger) (*events.Relay, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	return events.NewRelay(events.RelayConfig{
		Outbox: events.NewOutbox(db), JetStream: events.Replicated(js, replicas), Log: log,
		Stream: jetstream.StreamConfig{
			Name: Stream, Subjects: []string{Subjects}, MaxAge: eventAge, Storage: jetstream.FileStorage,
			Description: "facts about devices, published by device-registry",
		},
	}), nil
}
