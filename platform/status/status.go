// Package status looks at what a service stands on: its build, its database, its outbox and the streams of JetStream.
package status

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/events"
	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/platform/sqldb"
)

const (
	// most is how many streams, and how many consumers of each, are told of.
	most = 1000
	// streamsTimeout is how long the servers of JetStream may take to tell.
	streamsTimeout = 5 * time.Second
)

// Source is where the status of a service is read.
type Source struct {
	// Service is its name.
	Service string
	// DB is its database, with an outbox in it.
	DB *sqldb.DB
	// Migrations are those that the program knows.
	Migrations func() (fs.FS, error)
	// JetStream are the accounts whose streams are told of; none for a service that has nothing to tell of them.
	JetStream []jetstream.JetStream
	// Now is the clock.
	Now func() time.Time
}

// state has the names of the message's fields; see [Source.Into].
type state struct {
	Service           string    `json:"service"`
	Time              time.Time `json:"time"`
	Version           string    `json:"version"`
	Revision          string    `json:"revision"`
	AppliedMigrations int       `json:"applied_migrations"`
	KnownMigrations   int       `json:"known_migrations"`
	OutboxEvents      int       `json:"outbox_events"`
	OutboxAge         string    `json:"outbox_age"`
	Streams           []stream  `json:"streams"`
	StreamsProblem    string    `json:"streams_problem"`
}

type stream struct {
	Name            string     `json:"name"`
	Messages        uint64     `json:"messages"`
	Bytes           uint64     `json:"bytes"`
	MaxBytes        int64      `json:"max_bytes"`
	Replicas        int        `json:"replicas"`
	CurrentReplicas int        `json:"current_replicas"`
	Consumers       []consumer `json:"consumers"`
}

type consumer struct {
	Name           string `json:"name"`
	Pending        uint64 `json:"pending"`
	Unacknowledged int    `json:"unacknowledged"`
	Redelivered    int    `json:"redelivered"`
}

// Into fills the message in, whose fields have the names of armlet.status.v1.Status: this package does not know the contract.
// Its error is the database's; streams that cannot be looked at are a field of the message.
func (s Source) Into(ctx context.Context, m proto.Message) error {
	build := run.Build()
	st := state{Service: s.Service, Version: build.Version, Revision: build.Revision}
	if err := s.database(ctx, &st); err != nil {
		return err
	}
	var err error
	if st.Streams, err = s.streams(ctx); err != nil {
		st.StreamsProblem = err.Error()
	}
	st.Time = s.Now().UTC()
	text, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return protojson.Unmarshal(text, m)
}

func (s Source) database(ctx context.Context, st *state) error {
	files, err := s.Migrations()
	if err != nil {
		return err
	}
	schema, err := s.DB.Schema(ctx, files)
	if err != nil {
		return err
	}
	st.AppliedMigrations, st.KnownMigrations = schema.Applied, schema.Known
	n, oldest, err := events.NewOutbox(s.DB).Pending(ctx)
	if err != nil {
		return err
	}
	age := time.Duration(0)
	if n > 0 {
		age = max(0, s.Now().Sub(oldest))
	}
	st.OutboxEvents, st.OutboxAge = n, fmt.Sprintf("%.3fs", age.Seconds())
	return nil
}

func (s Source) streams(ctx context.Context) ([]stream, error) {
	ctx, cancel := context.WithTimeout(ctx, streamsTimeout)
	defer cancel()
	all := map[string]stream{} // accounts may be the same
	for _, js := range s.JetStream {
		if !js.Conn().IsConnected() {
			return nil, errors.New("there is no connection to NATS")
		}
		list := js.ListStreams(ctx)
		for info := range list.Info() {
			if _, seen := all[info.Config.Name]; seen || len(all) == most {
				continue // the list is read to its end
			}
			all[info.Config.Name] = newStream(info)
		}
		if err := list.Err(); err != nil {
			return nil, plain(err)
		}
		for name, of := range all {
			if of.Consumers != nil {
				continue
			}
			found, err := consumers(ctx, js, name)
			if err != nil {
				return nil, plain(err)
			}
			of.Consumers = found
			all[name] = of
		}
	}
	sorted := make([]stream, 0, len(all))
	for _, of := range all {
		sorted = append(sorted, of)
	}
	slices.SortFunc(sorted, func(a, b stream) int { return cmp.Compare(a.Name, b.Name) })
	return sorted, nil
}

func newStream(info *jetstream.StreamInfo) stream {
	of := stream{
		Name: info.Config.Name, Messages: info.State.Msgs, Bytes: info.State.Bytes, MaxBytes: max(0, info.Config.MaxBytes),
		Replicas: info.Config.Replicas, CurrentReplicas: 1,
	}
	if info.State.Consumers == 0 {
		of.Consumers = []consumer{} // which saves asking
	}
	if c := info.Cluster; c != nil {
		if c.Leader == "" {
			of.CurrentReplicas = 0
		}
		for _, peer := range c.Replicas {
			if peer.Current && !peer.Offline {
				of.CurrentReplicas++
			}
		}
	}
	return of
}

func consumers(ctx context.Context, js jetstream.JetStream, name string) ([]consumer, error) {
	found := []consumer{}
	of, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return found, nil // it was removed meanwhile
	}
	if err != nil {
		return nil, err
	}
	list := of.ListConsumers(ctx)
	for info := range list.Info() {
		if len(found) < most && info.Config.Durable != "" {
			found = append(found, consumer{info.Config.Durable, info.NumPending, info.NumAckPending, info.NumRedelivered})
		}
	}
	if err := list.Err(); err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b consumer) int { return cmp.Compare(a.Name, b.Name) })
	return found, nil
}

// plain is what an operator can do something with; addresses stay out of it.
func plain(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) {
		return errors.New("JetStream did not answer in time")
	}
	return errors.New("JetStream refused to tell")
}
