package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

// ErrStop is what a function given to [Inbox.Follow] returns to end it without an error.
var ErrStop = errors.New("sdk: stop following")

const (
	resumeFirst = 100 * time.Millisecond
	resumeMost  = 10 * time.Second
	// silence is how long a stream may say nothing; the platform sends a heartbeat at least every 15 seconds.
	silence = 40 * time.Second
)

// Inbox follows the alerts of an account and resumes where it was when the connection breaks.
type Inbox struct {
	Client   notifyv1.NotifyServiceClient // with the wearer's session
	Account  string                       // `accounts/{account}`
	ClientID string                       // which phone or program this is; it has one stream for each surface
	Surface  notifyv1.Surface             // what it shows alerts on

	// Cursor is where to go on; nil begins with all alerts. Keep it with what you
	// keep of the inbox, and set it before Follow.
	Cursor *notifyv1.InboxCursor
}

// InboxChange is what happened in an inbox. It is whole: either one step, or after
// a reset everything there is.
type InboxChange struct {
	Reset   bool                   // forget all alerts that you have: Upserts are all there are
	Upserts []*notifyv1.Alert      // new, or sent again
	States  []*notifyv1.InboxState // moved; also alerts that the wearer does not want on this surface
	Removes []string               // names of alerts that are gone
	Cursor  *notifyv1.InboxCursor  // where the inbox is after this change; store it together with the change
}

// Follow calls do with every change, one after the other, until ctx ends, do
// returns an error, or the platform refuses for good. It connects again by itself,
// with growing pauses, and goes on after the last change that do took without an error.
func (in *Inbox) Follow(ctx context.Context, do func(InboxChange) error) error {
	pause := resumeFirst
	for {
		progress, err := in.session(ctx, do)
		var stop followError
		switch {
		case errors.As(err, &stop):
			if errors.Is(stop.error, ErrStop) {
				return nil
			}
			return stop.error
		case ctx.Err() != nil:
			return ctx.Err()
		case !Retryable(err) || Reason(err) == "STREAM_REPLACED":
			return err
		}
		if progress {
			pause = resumeFirst
		}
		wait := time.NewTimer(pause/2 + rand.N(pause)) //nolint:gosec // so that many do not come back together
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
		pause = min(2*pause, resumeMost)
	}
}

// followError is what the caller's function returned.
type followError struct{ error }

// session is one stream, until it breaks.
func (in *Inbox) session(ctx context.Context, do func(InboxChange) error) (progress bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := in.Client.StreamInbox(ctx, &notifyv1.StreamInboxRequest{
		Account: in.Account, ClientId: in.ClientID, Surface: in.Surface, Cursor: in.Cursor,
	})
	if err != nil {
		return false, err
	}
	watch := time.AfterFunc(silence, func() { cancel(errors.New("sdk: the stream is silent")) })
	defer watch.Stop()
	var whole *InboxChange // what came since a reset
	for {
		step, err := stream.Recv()
		if err == io.EOF { //nolint:errorlint // grpc returns io.EOF itself
			return progress, status.Error(codes.Unavailable, fmt.Sprintf("sdk: the inbox stream of %s ended", in.Account))
		}
		if err != nil {
			if context.Cause(ctx) != nil && status.Code(err) == codes.Canceled {
				err = status.Error(codes.Unavailable, context.Cause(ctx).Error())
			}
			return progress, err
		}
		watch.Reset(silence)
		if step.GetReset_() != nil {
			whole = &InboxChange{Reset: true}
			continue
		}
		change := InboxChange{}
		if whole != nil {
			change = *whole
		}
		change.add(step)
		if step.GetCursor() == nil {
			whole = &change
			continue
		}
		whole = nil
		change.Cursor = step.GetCursor()
		if change.empty() {
			in.Cursor = change.Cursor
			continue
		}
		if err := do(change); err != nil {
			return progress, followError{err}
		}
		in.Cursor, progress = change.Cursor, true
	}
}

func (c *InboxChange) add(step *notifyv1.StreamInboxResponse) {
	switch s := step.GetStep().(type) {
	case *notifyv1.StreamInboxResponse_Upsert:
		c.Upserts = append(c.Upserts, s.Upsert)
	case *notifyv1.StreamInboxResponse_State:
		c.States = append(c.States, s.State)
	case *notifyv1.StreamInboxResponse_Remove:
		c.Removes = append(c.Removes, s.Remove.GetAlert())
	}
}

func (c *InboxChange) empty() bool {
	return !c.Reset && len(c.Upserts)+len(c.States)+len(c.Removes) == 0
}
