package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	firstParking = time.Second
	maxParking   = 30 * time.Second
)

// errBadRow is a row that cannot be made a message.
var errBadRow = errors.New("the stored event is damaged")

// flight is a row that was sent and whose acknowledgement is awaited.
type flight struct {
	row row
	js  jetstream.JetStream
	ok  <-chan *jetstream.PubAck
	err <-chan error
}

// publish sends rows all at once, waits for what becomes of each, and marks those that were stored.
func (r *Relay) publish(ctx context.Context, rows []row) error {
	var flights []flight
	var outage error
	for _, e := range rows {
		f, err := r.send(e)
		if err == nil {
			flights = append(flights, f)
		} else if outage = r.refused(ctx, e, err); outage != nil {
			break
		}
	}

	waitCtx, cancel := context.WithTimeout(ctx, ackWait)
	defer cancel()
	var stored []int64
	for _, f := range flights {
		err := f.wait(waitCtx)
		if err == nil {
			stored = append(stored, f.row.seq)
			delete(r.parked, f.row.seq)
			continue
		}
		if errors.Is(err, context.DeadlineExceeded) {
			// An acknowledgement that never comes would hold its place among those in flight for ever.
			f.js.CleanupPublisher()
		}
		if lost := r.refused(ctx, f.row, err); lost != nil {
			outage = lost
		}
	}
	return errors.Join(r.mark(ctx, stored), outage)
}

func (r *Relay) send(e row) (flight, error) {
	msg, err := message(e)
	if err != nil {
		return flight{}, err
	}
	js := r.route(e.subject)
	opts := []jetstream.PublishOpt{jetstream.WithMsgID(e.id)}
	if js == r.cfg.JetStream && r.cfg.Stream.Name != "" {
		opts = append(opts, jetstream.WithExpectStream(r.cfg.Stream.Name))
	}
	future, err := js.PublishMsgAsync(msg, opts...)
	if err != nil {
		return flight{}, err
	}
	return flight{row: e, js: js, ok: future.Ok(), err: future.Err()}, nil
}

func (r *Relay) route(subject string) jetstream.JetStream {
	if r.cfg.Route != nil {
		if js := r.cfg.Route(subject); js != nil {
			return js
		}
	}
	return r.cfg.JetStream
}

func (f flight) wait(ctx context.Context) error {
	select { // what has arrived counts even when the time is up
	case <-f.ok:
		return nil
	case err := <-f.err:
		return err
	default:
	}
	select {
	case <-f.ok:
		return nil
	case err := <-f.err:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no acknowledgement: %w", ctx.Err())
	}
}

// refused decides what a failed publish means: nil when it is the row's own trouble, which is parked so that others go on,
// and otherwise the error, an outage.
func (r *Relay) refused(ctx context.Context, e row, err error) error {
	var api *jetstream.APIError
	own := errors.Is(err, jetstream.ErrNoStreamResponse) || errors.As(err, &api) || errors.Is(err, nats.ErrMaxPayload) ||
		errors.Is(err, nats.ErrBadSubject) || errors.Is(err, errBadRow)
	if !own {
		return err
	}
	r.prepared = false // perhaps the stream was deleted
	delay := min(max(2*r.parked[e.seq].delay, firstParking), maxParking)
	r.parked[e.seq] = parking{until: time.Now().Add(delay), delay: delay}
	r.cfg.Log.WarnContext(ctx, "an event cannot be published and is kept",
		"event", e.id, "subject", e.subject, "retry_in", delay, "error", err)
	return nil
}

func message(e row) (*nats.Msg, error) {
	headers := map[string]string{}
	if err := json.Unmarshal([]byte(e.headers), &headers); err != nil {
		return nil, fmt.Errorf("%w: headers: %w", errBadRow, err)
	}
	msg := nats.NewMsg(e.subject)
	msg.Data = e.data
	for name, value := range headers {
		msg.Header[name] = []string{value}
	}
	return msg, nil
}
