package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

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
	row      row
	js       jetstream.JetStream
	ok       <-chan *jetstream.PubAck
	err      <-chan error
	deadline time.Time
}

// sendAll sends rows one after the other without waiting for what becomes of them. Its error is an outage; what was sent
// before it is in flight all the same.
func (r *Relay) sendAll(ctx context.Context, rows []row) ([]flight, error) {
	flights := make([]flight, 0, len(rows))
	for _, e := range rows {
		f, err := r.send(e)
		if err == nil {
			flights = append(flights, f)
		} else if err = r.refused(ctx, e, err); err != nil {
			return flights, err
		}
	}
	return flights, nil
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
	return flight{row: e, js: js, ok: future.Ok(), err: future.Err(), deadline: time.Now().Add(ackWait)}, nil
}

func (r *Relay) route(subject string) jetstream.JetStream {
	if r.cfg.Route != nil {
		if js := r.cfg.Route(subject); js != nil {
			return js
		}
	}
	return r.cfg.JetStream
}

var errNoAck = errors.New("no acknowledgement")

// wait waits for what becomes of a row, until its time is up or ctx ends.
func (f flight) wait(ctx context.Context) error {
	select { // what has arrived counts even when the time is up
	case <-f.ok:
		return nil
	case err := <-f.err:
		return err
	default:
	}
	late := time.NewTimer(time.Until(f.deadline))
	defer late.Stop()
	select {
	case <-f.ok:
		return nil
	case err := <-f.err:
		return err
	case <-late.C:
		// An acknowledgement that never comes would hold its place among those in flight for ever.
		f.js.CleanupPublisher()
		return errNoAck
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errNoAck, ctx.Err())
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
	r.mu.Lock()
	r.prepared = false // perhaps the stream was deleted
	delay := min(max(2*r.parked[e.seq].delay, firstParking), maxParking)
	r.parked[e.seq] = parking{until: time.Now().Add(delay), delay: delay}
	delete(r.open, e.seq)
	r.mu.Unlock()
	r.cfg.Log.WarnContext(ctx, "an event cannot be published and is kept",
		"event", e.id, "subject", e.subject, "retry_in", delay, "error", err)
	return nil
}

func message(e row) (*nats.Msg, error) {
	header, err := parseHeaders(e.headers)
	if err != nil {
		return nil, fmt.Errorf("%w: headers: %w", errBadRow, err)
	}
	return &nats.Msg{Subject: e.subject, Header: header, Data: e.data}, nil
}

// escaped says whether a rune may not stand for itself in a JSON string.
func escaped(r rune) bool { return r < ' ' || r == '\\' || r == utf8.RuneError }

// parseHeaders reads a JSON object of strings. Relays spend more time here than on anything else of their own, so the form
// that [Append] writes, without escapes, is cut at its quotes: {"name":"value","name":"value"}.
func parseHeaders(text string) (nats.Header, error) {
	parts := strings.Split(text, `"`)
	n := len(parts) / 4
	header := make(nats.Header, n+2) // the client adds two
	values := make([]string, n)
	plain := len(parts)%4 == 1 && n > 0 && parts[0] == "{" && parts[len(parts)-1] == "}" && !strings.ContainsFunc(text, escaped)
	for i := 0; plain && i < n; i++ {
		values[i] = parts[4*i+3]
		header[parts[4*i+1]] = values[i : i+1 : i+1]
		plain = parts[4*i+2] == ":" && (i == n-1 || parts[4*i+4] == ",")
	}
	if plain {
		return header, nil
	}
	var all map[string]string
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, err
	}
	header = nats.Header{}
	for name, value := range all {
		header[name] = []string{value}
	}
	return header, nil
}
