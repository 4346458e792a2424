package sdk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

// script is a service whose n-th stream does what the n-th function says.
type script struct {
	notifyv1.UnimplementedNotifyServiceServer

	mu      sync.Mutex
	streams []func(*notifyv1.StreamInboxRequest, func(...*notifyv1.StreamInboxResponse)) error
	cursors []string
}

func (s *script) StreamInbox(req *notifyv1.StreamInboxRequest, out grpc.ServerStreamingServer[notifyv1.StreamInboxResponse]) error {
	s.mu.Lock()
	s.cursors = append(s.cursors, fmt.Sprint(req.GetCursor().GetEpoch(), req.GetCursor().GetSequence()))
	do := s.streams[0]
	s.streams = s.streams[1:]
	s.mu.Unlock()
	return do(req, func(steps ...*notifyv1.StreamInboxResponse) {
		for _, step := range steps {
			_ = out.Send(step)
		}
	})
}

func (s *script) client(t *testing.T) notifyv1.NotifyServiceClient {
	t.Helper()
	lis := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	notifyv1.RegisterNotifyServiceServer(server, s)
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:script", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return notifyv1.NewNotifyServiceClient(conn)
}

func upsert(name string, at int64) *notifyv1.StreamInboxResponse {
	step := &notifyv1.StreamInboxResponse{Step: &notifyv1.StreamInboxResponse_Upsert{Upsert: &notifyv1.Alert{Name: name}}}
	if at > 0 {
		step.Cursor = &notifyv1.InboxCursor{Epoch: "e", Sequence: at}
	}
	return step
}

func beat(at int64) *notifyv1.StreamInboxResponse {
	return &notifyv1.StreamInboxResponse{
		Step:   &notifyv1.StreamInboxResponse_Heartbeat{Heartbeat: &notifyv1.InboxHeartbeat{}},
		Cursor: &notifyv1.InboxCursor{Epoch: "e", Sequence: at},
	}
}

var reset = &notifyv1.StreamInboxResponse{Step: &notifyv1.StreamInboxResponse_Reset_{Reset_: &notifyv1.InboxReset{}}}

func TestAnInboxResumesAndNeverShowsAPart(t *testing.T) {
	away := status.Error(codes.Unavailable, "away")
	type say = func(...*notifyv1.StreamInboxResponse)
	s := &script{streams: []func(*notifyv1.StreamInboxRequest, say) error{
		func(_ *notifyv1.StreamInboxRequest, say say) error { say(reset, upsert("a", 0)); return away }, // half of it
		func(_ *notifyv1.StreamInboxRequest, say say) error {
			say(reset, upsert("a", 0), upsert("b", 0), beat(7))
			return away
		},
		func(_ *notifyv1.StreamInboxRequest, say say) error { say(upsert("c", 8), beat(8)); return nil }, // the server stops
		func(_ *notifyv1.StreamInboxRequest, say say) error {
			say(upsert("d", 9))
			time.Sleep(2 * time.Second)
			return nil
		},
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	in := &Inbox{Client: s.client(t), Account: "accounts/alice", ClientID: "p", Surface: notifyv1.Surface_SURFACE_PHONE}
	var seen []string
	err := in.Follow(ctx, func(change InboxChange) error {
		one := fmt.Sprint(change.Reset)
		for _, a := range change.Upserts {
			one += a.GetName()
		}
		if seen = append(seen, one); len(seen) == 3 {
			return ErrStop
		}
		return nil
	})
	if err != nil || fmt.Sprint(seen) != "[trueab falsec falsed]" {
		t.Errorf("seen %v, %v", seen, err)
	}
	if fmt.Sprint(s.cursors) != "[0 0 e7 e8]" {
		t.Errorf("it went on from %v", s.cursors)
	}
	if in.Cursor.GetSequence() != 8 {
		t.Errorf("a change that was not taken moved the cursor to %v", in.Cursor)
	}
}

func TestAnInboxEndsOnWhatWillNotPass(t *testing.T) {
	s := &script{streams: []func(*notifyv1.StreamInboxRequest, func(...*notifyv1.StreamInboxResponse)) error{
		func(*notifyv1.StreamInboxRequest, func(...*notifyv1.StreamInboxResponse)) error {
			return status.Error(codes.PermissionDenied, "another's")
		},
	}}
	in := &Inbox{Client: s.client(t), Account: "accounts/alice"}
	if err := in.Follow(t.Context(), func(InboxChange) error { return nil }); status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v", err)
	}
	broken := errors.New("the disk is full")
	s.streams = append(s.streams, func(_ *notifyv1.StreamInboxRequest, say func(...*notifyv1.StreamInboxResponse)) error {
		say(upsert("a", 1))
		return nil
	})
	if err := in.Follow(t.Context(), func(InboxChange) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
