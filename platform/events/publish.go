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

// flight is rows that were sent and whose acknowledgement is awaited: one alone, or a batch.
type flight struct {
	rows     []row
	batch    <-chan batchAnswer // nil for a row alone
	js       jetstream.JetStream
	ok       <-chan *jetstream.PubAck
	err      <-chan error
	deadline time.Time
}

// sendAll sends rows one after the other without waiting for what becomes of them. Its error is an outage; what was sent
// before it is in flight all the same.
func (r *Relay) sendAll(ctx context.Context, batcher *batcher, rows []row) ([]flight, error) {
	alone, together := r.divide(rows)
	var flights []flight
	if len(together) > 0 {
		answer, err := batcher.send(together, r.cfg.Stream.Name)
		if err == nil {
			flights = append(flights, flight{rows: together, batch: answer, deadline: time.Now().Add(ackWait)})
		} else {
			alone = append(alone, together...) // it is found out there what is wrong with which
		}
	}
	for _, e := range alone {
		f, err := r.send(e)
		if err == nil {
			flights = append(flights, f)
		} else if err = r.refused(ctx, e, err); err != nil {
			return flights, err
		}
	}
	return flights, nil
}

// divide says which rows are sent one by one and which in a batch: those for the relay's own stream that were not refused before,
// when there are some and the server takes batches.
func (r *Relay) divide(rows []row) (alone, together []row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.batches || len(rows) < fewest {
		return rows, nil
	}
	together = make([]row, 0, len(rows))
	for _, e := range rows {
		if _, refused := r.parked[e.seq]; refused || r.route(e.subject) != r.cfg.JetStream {
			alone = append(alone, e)
		} else {
			together = append(together, e)
		}
	}
	if len(together) < fewest {
		return rows, nil
	}
	return alone, together
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
	return flight{rows: []row{e}, js: js, ok: future.Ok(), err: future.Err(), deadline: time.Now().Add(ackWait)}, nil
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

// sendAlone has rows that a batch has not stored sent again one by one, where it is found out what is wrong with which.
func (r *Relay) sendAlone(ctx context.Context, rows []row, err error) {
	r.mu.Lock()
	r.prepared = false // perhaps the stream was deleted, or an earlier version's relay has turned batches off
	for _, e := range rows {
		r.parked[e.seq] = parking{}
		delete(r.open, e.seq)
	}
	r.mu.Unlock()
	r.cfg.Log.DebugContext(ctx, "events of a batch are sent again one by one", "events", len(rows), "error", err)
	r.cfg.Outbox.waker.wake()
}

func message(e row) (*nats.Msg, error) {
	header := make(nats.Header, 10)
	if _, err := parseHeaders(header, nil, e.headers); err != nil {
		return nil, fmt.Errorf("%w: headers: %w", errBadRow, err)
	}
	return &nats.Msg{Subject: e.subject, Header: header, Data: e.data}, nil
}

// parseHeaders reads a JSON object of strings into header, which is empty, and appends the values to values, where header has
// them. Relays spend more time here than on anything else of their own, so the form that [Append] writes, without escapes, is cut at
// its quotes: {"name":"value","name":"value"}.
func parseHeaders(header nats.Header, values []string, text string) ([]string, error) {
	if all, ok := cutHeaders(header, values, text); ok {
		return all, nil
	}
	var all map[string]string
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, err
	}
	clear(header)
	for name, value := range all {
		header[name] = []string{value}
	}
	return values, nil
}

func cutHeaders(header nats.Header, values []string, text string) (all []string, plain bool) {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '\\' || c >= utf8.RuneSelf {
			return nil, false
		}
	}
	rest, plain := strings.CutPrefix(text, "{")
	for plain {
		var name, value string
		if name, rest, plain = cutQuoted(rest, ":"); !plain {
			break
		}
		if value, rest, plain = cutQuoted(rest, ""); !plain {
			break
		}
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
		if rest == "}" {
			return values, true
		}
		rest, plain = strings.CutPrefix(rest, ",")
	}
	return nil, false
}

// cutQuoted cuts the quoted text that s begins with, and what follows it.
func cutQuoted(s, then string) (text, rest string, ok bool) {
	if s, ok = strings.CutPrefix(s, `"`); !ok {
		return "", "", false
	}
	text, rest, ok = strings.Cut(s, `"`)
	if !ok {
		return "", "", false
	}
	rest, ok = strings.CutPrefix(rest, then)
	return text, rest, ok
}
