package grpcapi

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/bus"
)

const streamBatch = 100

var (
	errNotYours = fault.New(fault.PermissionDenied, rpc.ReasonCallerNotAllowed, "this is another wearer's account; use your own")
	errReplaced = fault.New(fault.Aborted, "STREAM_REPLACED", "this client has a newer stream for the same surface; use that one")
)

// inboxOf is the account of an inbox that the caller may read.
func inboxOf(c rpc.Caller, name string) (string, error) {
	account := lastID(name)
	own := strings.TrimPrefix(c.Account, "accounts/")
	if c.Role == rpc.RoleWearer && (own == "" || own != account) {
		return "", errNotYours
	}
	return account, nil
}

// inboxStream is one call of StreamInbox. The store is the truth: the stream reads on from its own cursor, at the speed of
// its client, whenever it is woken or has been silent for long enough.
type inboxStream struct {
	reader  Inboxes
	out     grpc.ServerStreamingServer[notifyv1.StreamInboxResponse]
	now     func() time.Time
	account string
	surface alert.Surface
	cursor  alert.Cursor
	saw     func(sequence int64)
}

// StreamInbox implements notifyv1.NotifyServiceServer.
func (s *Server) StreamInbox(req *notifyv1.StreamInboxRequest, out grpc.ServerStreamingServer[notifyv1.StreamInboxResponse]) error {
	ctx := out.Context()
	account, err := inboxOf(rpc.CallerFrom(ctx), req.GetAccount())
	if err != nil {
		return err
	}
	surface := surfaceOf(req.GetSurface())
	client := req.GetClientId() + " " + string(surface)
	listener, leave := s.cfg.Hub.Join(account, client) // before the first read, so that nothing falls between
	defer leave()
	if s.cfg.Joined != nil {
		s.cfg.Joined(account, client)
	}
	st := &inboxStream{reader: s.cfg.Inboxes, out: out, now: s.cfg.Now, account: account, surface: surface, saw: listener.Saw}
	st.cursor = alert.Cursor{Epoch: req.GetCursor().GetEpoch(), Sequence: req.GetCursor().GetSequence()}
	if err := st.begin(ctx); err != nil {
		return err
	}
	return st.follow(ctx, listener, s.cfg.Heartbeat)
}

// begin goes on from the cursor where that is possible without a gap, and starts over where it is not.
func (st *inboxStream) begin(ctx context.Context) error {
	head, err := st.reader.OpenInbox(ctx, st.account, st.now())
	if err != nil {
		return err
	}
	if !head.Continues(st.cursor) {
		return st.startOver(ctx, head)
	}
	return st.steps(ctx)
}

func (st *inboxStream) follow(ctx context.Context, listener *alert.Listener, every time.Duration) error {
	heartbeat := time.NewTicker(every)
	defer heartbeat.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-listener.Ended:
			return errReplaced
		case <-listener.Wake:
			before := st.cursor
			if err := st.steps(ctx); err != nil {
				return err
			}
			if st.cursor != before {
				heartbeat.Reset(every)
			}
		case <-heartbeat.C:
			// It also looks for steps whose wake-up was lost, and whether the inbox has started over.
			if err := st.begin(ctx); err != nil {
				return err
			}
			if err := st.send(&notifyv1.StreamInboxResponse{Step: &notifyv1.StreamInboxResponse_Heartbeat{Heartbeat: &notifyv1.InboxHeartbeat{}}}); err != nil {
				return err
			}
		}
	}
}

// steps sends all steps after the cursor. Send blocks while the client is slow, and holds nobody else up.
func (st *inboxStream) steps(ctx context.Context) error {
	for {
		steps, err := st.reader.StepsAfter(ctx, st.account, st.cursor.Sequence, streamBatch)
		if err != nil {
			return err
		}
		for _, step := range steps {
			if step.Sequence != st.cursor.Sequence+1 { // steps were forgotten while the client was slow
				head, err := st.reader.Head(ctx, st.account)
				if err != nil {
					return err
				}
				return st.startOver(ctx, head)
			}
			st.cursor.Sequence = step.Sequence
			if err := st.send(st.stepProto(step)); err != nil {
				return err
			}
		}
		if len(steps) < streamBatch {
			st.saw(st.cursor.Sequence)
			return nil
		}
	}
}

// startOver sends all alerts of the inbox, without a cursor, and then where that is good for. What changes meanwhile comes
// as steps after that.
func (st *inboxStream) startOver(ctx context.Context, head alert.Head) error {
	step := &notifyv1.StreamInboxResponse{Step: &notifyv1.StreamInboxResponse_Reset_{Reset_: &notifyv1.InboxReset{}}}
	if err := st.out.Send(step); err != nil {
		return err
	}
	for after := int64(0); ; {
		found, err := st.reader.InboxAlerts(ctx, st.account, after, streamBatch)
		if err != nil {
			return err
		}
		for _, a := range found {
			after = a.Sequence
			if err := st.out.Send(st.upsert(a)); err != nil {
				return err
			}
		}
		if len(found) < streamBatch {
			break
		}
	}
	st.cursor = head.Cursor
	if err := st.send(&notifyv1.StreamInboxResponse{Step: &notifyv1.StreamInboxResponse_Heartbeat{Heartbeat: &notifyv1.InboxHeartbeat{}}}); err != nil {
		return err
	}
	return st.steps(ctx)
}

func (st *inboxStream) send(step *notifyv1.StreamInboxResponse) error {
	step.Cursor = &notifyv1.InboxCursor{Epoch: st.cursor.Epoch, Sequence: st.cursor.Sequence}
	return st.out.Send(step)
}

// stepProto is a step as it is now: an alert that has left the inbox since is not shown once more.
func (st *inboxStream) stepProto(step alert.Step) *notifyv1.StreamInboxResponse {
	a := step.Alert
	expired := a.Delivery == alert.SentOut && !a.ExpiresAt.IsZero() && !a.ExpiresAt.After(st.now())
	switch {
	case step.Kind == alert.Remove, !a.Delivery.InInbox(), step.Kind == alert.Upsert && expired:
		return &notifyv1.StreamInboxResponse{Step: &notifyv1.StreamInboxResponse_Remove{Remove: &notifyv1.InboxRemove{Alert: bus.AlertName(a)}}}
	case step.Kind == alert.State:
		return &notifyv1.StreamInboxResponse{Step: &notifyv1.StreamInboxResponse_State{State: stateProto(a)}}
	}
	return st.upsert(a)
}

// upsert is an alert, or its state alone where the wearer does not want it on this surface.
func (st *inboxStream) upsert(a alert.Alert) *notifyv1.StreamInboxResponse {
	for _, wanted := range a.Surfaces {
		if wanted == st.surface {
			return &notifyv1.StreamInboxResponse{Step: &notifyv1.StreamInboxResponse_Upsert{Upsert: alertProto(a)}}
		}
	}
	return &notifyv1.StreamInboxResponse{Step: &notifyv1.StreamInboxResponse_State{State: stateProto(a)}}
}

func stateProto(a alert.Alert) *notifyv1.InboxState {
	return &notifyv1.InboxState{Alert: bus.AlertName(a), Delivery: bus.DeliveryProto(a.Delivery), Engagement: bus.EngagementProto(a.Engagement)}
}
