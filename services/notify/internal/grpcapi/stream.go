package grpcapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/subscription"
)

const (
	// maxInFlight is how many events a stream has sent and not heard of.
	maxInFlight = 256
	pullBatch   = 32
	pullWait    = time.Second
	// pullRetries is how often in a row nothing can be pulled before the stream ends.
	pullRetries = 10
)

var errOpenRequired = fault.New(fault.FailedPrecondition, "STREAM_OPEN_REQUIRED",
	"the first message names the subscription, and no other does").WithField("open")

// Puller gives the events of a subscription.
type Puller interface {
	Pull(ctx context.Context, sub subscription.Subscription, limit int, wait time.Duration) ([]subscription.Pulled, error)
}

type eventStream = interface {
	Context() context.Context
	Recv() (*notifyv1.StreamEventsRequest, error)
	Send(*notifyv1.StreamEventsResponse) error
}

// StreamEvents implements notifyv1.NotifyServiceServer.
func (s *Server) StreamEvents(stream notifyv1.NotifyService_StreamEventsServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetOpen() == "" {
		return errOpenRequired
	}
	sub, err := s.ownSubscription(stream.Context(), first.GetOpen())
	if err == nil {
		err = sub.Streams()
	}
	if err != nil {
		return err
	}
	f := &flights{sent: map[string]subscription.Pulled{}, room: make(chan struct{}, 1)}
	defer f.giveBack()
	ended := make(chan error, 1)
	go func() { ended <- f.hear(stream) }()
	for failures := 0; ; {
		select {
		case err := <-ended:
			return err
		case <-stream.Context().Done():
			return nil
		default:
		}
		room := min(pullBatch, maxInFlight-f.count())
		if room <= 0 {
			f.wait(stream.Context())
			continue
		}
		events, err := s.cfg.Puller.Pull(stream.Context(), sub, room, pullWait)
		if err := f.send(stream, events); err != nil {
			return err
		}
		if err == nil {
			failures = 0
			continue
		}
		// A replay makes the consumer anew under those who read it; only when the subscription itself is gone is it over.
		if _, gone := s.ownSubscription(stream.Context(), first.GetOpen()); gone != nil {
			return gone
		}
		if failures++; failures > pullRetries {
			return err
		}
		f.wait(stream.Context())
	}
}

// send sends events and remembers that they are under way.
func (f *flights) send(stream eventStream, events []subscription.Pulled) error {
	for _, ev := range events {
		f.add(ev)
		if err := stream.Send(&notifyv1.StreamEventsResponse{
			EventId: ev.EventID, EventType: ev.EventType, Subject: ev.Subject, Resource: ev.Resource, EventTime: timestamppb.New(ev.EventTime),
			Data: ev.Data, Traceparent: ev.TraceParent,
		}); err != nil {
			return err
		}
	}
	return nil
}

// flights are the events of a stream that were sent and not acknowledged.
type flights struct {
	mu   sync.Mutex
	sent map[string]subscription.Pulled
	room chan struct{}
}

func (f *flights) add(ev subscription.Pulled) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent[ev.EventID] = ev
}

func (f *flights) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sent)
}

// wait waits until there is room, or a moment.
func (f *flights) wait(ctx context.Context) {
	t := time.NewTimer(pullWait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-f.room:
	case <-t.C:
	}
}

// hear takes acknowledgements until the client has no more. One for an event that is not under way changes nothing.
func (f *flights) hear(stream eventStream) error {
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if msg.GetOpen() != "" {
			return errOpenRequired
		}
		f.mu.Lock()
		ev, ok := f.sent[msg.GetAck()]
		delete(f.sent, msg.GetAck())
		f.mu.Unlock()
		if !ok {
			continue
		}
		if err := ev.Ack(); err != nil {
			return fault.New(fault.Unavailable, "NATS_UNAVAILABLE", "the acknowledgement was not taken; the event comes again").WithCause(err)
		}
		select {
		case f.room <- struct{}{}:
		default:
		}
	}
}

// giveBack lets others have at once what was not acknowledged.
func (f *flights) giveBack() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, ev := range f.sent {
		_ = ev.Nak() // when this is lost too, it comes again after 30 seconds
		delete(f.sent, id)
	}
}

// GetNatsCredentials implements notifyv1.NotifyServiceServer.
func (s *Server) GetNatsCredentials(ctx context.Context, req *notifyv1.GetNatsCredentialsRequest) (*notifyv1.NatsCredentials, error) {
	partner := lastID(req.GetParent())
	if partner != rpc.CallerFrom(ctx).Partner {
		return nil, errNotYourPartner
	}
	var token string
	for _, v := range metadata.ValueFromIncomingContext(ctx, "authorization") {
		if scheme, rest, ok := strings.Cut(v, " "); ok && strings.EqualFold(scheme, "Bearer") {
			token = rest
		}
	}
	text, err := json.Marshal(map[string]string{
		"description": "Armlet, partner " + partner, "url": s.cfg.NATSURL, "token": token, "jetstream_api_prefix": s.cfg.APIPrefix,
	})
	if err != nil {
		return nil, err
	}
	return &notifyv1.NatsCredentials{
		NatsUrl: s.cfg.NATSURL, Token: token, ApiPrefix: s.cfg.APIPrefix, Stream: subscription.Stream(partner), ContextJson: string(text),
	}, nil
}
