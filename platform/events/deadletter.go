package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/platform/fault"
)

// DeadLetterStream is the stream of events that a consumer gave up on, with subjects dlq.v1.<durable>. Each keeps its body
// and headers and has the Dead- headers besides; nothing reads the stream but operators. Letters are kept for 30 days.
const DeadLetterStream = "DLQ"

// The headers a dead letter has besides those of the event.
const (
	HeaderDeadReason     = "Dead-Reason"     // the fault's reason, or UNCLASSIFIED
	HeaderDeadError      = "Dead-Error"      // the whole error, on one line
	HeaderDeadSubject    = "Dead-Subject"    // where the event was published
	HeaderDeadStream     = "Dead-Stream"     // the stream it was in
	HeaderDeadSequence   = "Dead-Sequence"   // its sequence number there
	HeaderDeadDeliveries = "Dead-Deliveries" // how often it was tried

	deadLetterPrefix = "dlq.v1."
	deadLetterAge    = 30 * 24 * time.Hour
	maxDeadError     = 1000
	unclassified     = "UNCLASSIFIED"
)

func checkDeadLetterSubject(subject string) error {
	if !strings.HasPrefix(subject, deadLetterPrefix) {
		return fmt.Errorf("events: the dead-letter subject %q must begin with %s", subject, deadLetterPrefix)
	}
	return checkSubject(subject)
}

// bury puts msg into the dead letters and ends its deliveries. When the dead letters cannot take it, it comes again.
func (c *Consumer) bury(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata, cause error) {
	reason := unclassified
	if f, ok := fault.As(cause); ok {
		reason = f.Reason
	}
	log := c.cfg.Log.With("subject", msg.Subject(), "event", first(msg.Headers(), HeaderID), "reason", reason)
	if err := c.publishDeadLetter(ctx, deadLetter(c.cfg, msg, meta, reason, cause)); err != nil {
		log.ErrorContext(ctx, "a dead letter cannot be stored; the event is kept in its stream", "error", err, "cause", cause)
		c.settle(ctx, "nak", msg.NakWithDelay(c.retryDelay(meta.NumDelivered)))
		return
	}
	c.gauge.meters.buried.Add(ctx, 1, c.gauge.group)
	log.ErrorContext(ctx, "an event was given up and is in the dead letters", "deliveries", meta.NumDelivered, "error", cause)
	c.settle(ctx, "term", msg.TermWithReason(reason))
}

func deadLetter(cfg ConsumerConfig, msg jetstream.Msg, meta *jetstream.MsgMetadata, reason string, cause error) *nats.Msg {
	letter := nats.NewMsg(cfg.DeadLetterSubject)
	letter.Data = msg.Data()
	for name, values := range msg.Headers() {
		if !strings.HasPrefix(name, "Nats-") { // instructions to the server about the first publish
			letter.Header[name] = values
		}
	}
	sequence := strconv.FormatUint(meta.Sequence.Stream, 10)
	letter.Header.Set(jetstream.MsgIDHeader, cfg.Durable+"/"+meta.Stream+"/"+sequence)
	letter.Header.Set(HeaderDeadReason, reason)
	letter.Header.Set(HeaderDeadError, oneLine(cause.Error()))
	letter.Header.Set(HeaderDeadSubject, msg.Subject())
	letter.Header.Set(HeaderDeadStream, meta.Stream)
	letter.Header.Set(HeaderDeadSequence, sequence)
	letter.Header.Set(HeaderDeadDeliveries, strconv.FormatUint(meta.NumDelivered, 10))
	return letter
}

func (c *Consumer) publishDeadLetter(ctx context.Context, letter *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if err := c.prepareDeadLetters(ctx); err != nil {
		return err
	}
	_, err := c.cfg.JetStream.PublishMsg(ctx, letter, jetstream.WithExpectStream(DeadLetterStream))
	return err
}

// prepareDeadLetters makes the stream of dead letters, or has it kept on as many nodes as is wanted now; whatever else an
// operator has changed of it stays.
func (c *Consumer) prepareDeadLetters(ctx context.Context) error {
	js := c.cfg.JetStream
	stream, err := js.Stream(ctx, DeadLetterStream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name:     DeadLetterStream,
			Subjects: []string{deadLetterPrefix + ">"},
			MaxAge:   deadLetterAge,
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // somebody else was faster
			err = nil
		}
	case err == nil:
		_, err = js.UpdateStream(ctx, stream.CachedInfo().Config)
	}
	if err != nil {
		return fmt.Errorf("make the stream %s: %w", DeadLetterStream, err)
	}
	return nil
}

func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	return s[:min(len(s), maxDeadError)]
}
