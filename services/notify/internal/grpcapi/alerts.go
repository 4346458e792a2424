package grpcapi

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/rpc"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
	"github.com/armlet-pay/armlet/services/notify/internal/alert"
	"github.com/armlet-pay/armlet/services/notify/internal/bus"
)

const streamBatch = 100

var errNotYours = fault.New(fault.PermissionDenied, rpc.ReasonCallerNotAllowed, "this is another wearer's account; use your own")

// inboxOf is the account of an inbox that the caller may read.
func inboxOf(c rpc.Caller, name string) (string, error) {
	account := lastID(name)
	own := strings.TrimPrefix(c.Account, "accounts/")
	if c.Role == rpc.RoleWearer && (own == "" || own != account) {
		return "", errNotYours
	}
	return account, nil
}

// StreamInbox implements notifyv1.NotifyServiceServer. The store is the truth: the stream reads on from its own cursor,
// at the speed of its client, whenever it is woken or has been silent for long enough.
func (s *Server) StreamInbox(req *notifyv1.StreamInboxRequest, stream grpc.ServerStreamingServer[notifyv1.StreamInboxResponse]) error {
	ctx := stream.Context()
	account, err := inboxOf(rpc.CallerFrom(ctx), req.GetAccount())
	if err != nil {
		return err
	}
	wake, leave := s.cfg.Hub.Join(account) // before the first read, so that nothing falls between
	defer leave()
	last, err := s.cfg.Reader.LastSequence(ctx, account)
	if err != nil {
		return err
	}
	cursor := req.GetAfterSequence()
	if cursor > last {
		return alert.ErrCursor
	}
	heartbeat := time.NewTicker(s.cfg.Heartbeat)
	defer heartbeat.Stop()
	for {
		sent, err := s.sendAfter(stream, account, cursor)
		if err != nil {
			return err
		}
		if sent > cursor {
			cursor = sent
			heartbeat.Reset(s.cfg.Heartbeat)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		case <-heartbeat.C:
			// It also looks for alerts whose wake-up was lost.
			if cursor, err = s.sendAfter(stream, account, cursor); err != nil {
				return err
			}
			step := &notifyv1.StreamInboxResponse{Step: &notifyv1.StreamInboxResponse_HeartbeatSequence{HeartbeatSequence: cursor}}
			if err := stream.Send(step); err != nil {
				return err
			}
		}
	}
}

// sendAfter sends all alerts after the cursor and returns the new cursor. Send blocks while the client is slow.
func (s *Server) sendAfter(stream grpc.ServerStreamingServer[notifyv1.StreamInboxResponse], account string, cursor int64) (int64, error) {
	for {
		alerts, err := s.cfg.Reader.AlertsAfter(stream.Context(), account, cursor, streamBatch)
		if err != nil {
			return cursor, err
		}
		for _, a := range alerts {
			step := &notifyv1.StreamInboxResponse{Step: &notifyv1.StreamInboxResponse_Alert{Alert: alertProto(a)}}
			if err := stream.Send(step); err != nil {
				return cursor, err
			}
			cursor = a.Sequence
		}
		if len(alerts) < streamBatch {
			return cursor, nil
		}
	}
}

// ListAlerts implements notifyv1.NotifyServiceServer.
func (s *Server) ListAlerts(ctx context.Context, req *notifyv1.ListAlertsRequest) (*notifyv1.ListAlertsResponse, error) {
	account, err := inboxOf(rpc.CallerFrom(ctx), req.GetParent())
	if err != nil {
		return nil, err
	}
	list := "alerts/" + account
	cursor, err := s.pages.cursor(list, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	before := int64(math.MaxInt64)
	if cursor != "" {
		if before, err = strconv.ParseInt(cursor, 10, 64); err != nil {
			return nil, errPageToken
		}
	}
	size := pageSize(req.GetPageSize())
	alerts, err := s.cfg.Reader.AlertsBefore(ctx, account, before, size)
	if err != nil {
		return nil, err
	}
	out := &notifyv1.ListAlertsResponse{}
	for _, a := range alerts {
		out.Alerts = append(out.Alerts, alertProto(a))
	}
	if n := len(alerts); n == size && alerts[n-1].Sequence > 1 {
		out.NextPageToken = s.pages.next(list, strconv.FormatInt(alerts[n-1].Sequence, 10))
	}
	return out, nil
}

// SendAlert implements notifyv1.NotifyServiceServer.
func (s *Server) SendAlert(ctx context.Context, req *notifyv1.SendAlertRequest) (*notifyv1.Alert, error) {
	caller := rpc.CallerFrom(ctx)
	r, err := request(caller, "SendAlert", req.GetRequestId(), req)
	if err != nil {
		return nil, err
	}
	by := alert.Sender{Partner: caller.Partner, Mode: mode(caller)}
	a, err := s.cfg.Alerts.Send(ctx, by, r, req.GetDevice(), req.GetBandText(), req.GetPhoneText(), s.cfg.Now())
	if err != nil {
		return nil, err
	}
	out := alertProto(a)
	// A partner is not told who wears its band, nor how much else that wearer hears.
	out.Name, out.Sequence = bus.WithoutAccount(out.GetName()), 0
	return out, nil
}

func alertProto(a alert.Alert) *notifyv1.Alert {
	return &notifyv1.Alert{
		Name: bus.AlertName(a), Type: string(a.Type), BandText: a.Band, PhoneText: a.Phone, Vibration: uint32(a.Vibration),
		Device: a.Device, Sequence: a.Sequence, CreateTime: timestamppb.New(a.CreatedAt),
	}
}
