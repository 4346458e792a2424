package grpcapi

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/services/device-registry/internal/binding"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

const (
	// watchPoll is how often a watcher looks for what other processes put into the log; its own process wakes it. After it has found
	// something it looks sooner, since more may follow.
	watchPoll      = 20 * time.Millisecond
	watchPollAgain = 5 * time.Millisecond
	// watchBeat is how often a watcher is told that it knows all.
	watchBeat = 5 * time.Second
	// watchAtOnce is how many devices, or entries of the log, are read at once.
	watchAtOnce = 500
)

// Feed is the log of all changes as it grows, and the devices that it speaks of.
type Feed interface {
	// Place gives every entry that was committed before the call its place in the log.
	Place(ctx context.Context) error
	// Grown is closed when this process next gives an entry its place. Get it before reading the log.
	Grown() <-chan struct{}
	// Changes lists what the entries of the log are about; of each it gives Subject, UID and Position.
	Changes(ctx context.Context, after int64, limit int) ([]device.Entry, error)
	LogHead(ctx context.Context) (device.Head, error)
	Standings(ctx context.Context, after device.UID, limit int) ([]binding.Standing, error)
	StandingsOf(ctx context.Context, uids []device.UID) ([]binding.Standing, error)
}

// watchCursor is where a watcher stands: in the snapshot behind a device, or behind a position of the log. The log that
// follows a snapshot begins where its end was before the snapshot was begun, so that nothing falls between them.
type watchCursor struct {
	position int64
	snapshot bool
	after    device.UID
}

const watchList = "watch"

func (s *Server) watchToken(c watchCursor) string {
	text := strconv.FormatInt(c.position, 10)
	if c.snapshot {
		text += " " + UIDText(c.after)
	}
	return s.pages.token(watchList, text)
}

// watchFrom reads a cursor, or finds where to begin without one.
func (s *Server) watchFrom(ctx context.Context, req *devicesv1.WatchDevicesRequest) (watchCursor, error) {
	if err := s.cfg.Feed.Place(ctx); err != nil {
		return watchCursor{}, err
	}
	head, err := s.cfg.Feed.LogHead(ctx)
	if err != nil {
		return watchCursor{}, err
	}
	if req.GetCursor() == "" {
		return watchCursor{position: head.Sequence, snapshot: !req.GetSkipSnapshot()}, nil
	}
	invalid := fault.New(fault.Invalid, "CURSOR_INVALID",
		"the cursor is not one that this registry gave out, or its log was set back since; begin anew without it").WithField("cursor")
	text, err := s.pages.after(watchList, req.GetCursor())
	if err != nil {
		return watchCursor{}, invalid
	}
	var c watchCursor
	position, uid, snapshot := strings.Cut(text, " ")
	if c.position, err = strconv.ParseInt(position, 10, 64); err != nil {
		return c, invalid
	}
	if c.snapshot = snapshot; snapshot {
		if c.after, err = parseUID("cursor", uid); err != nil {
			return c, invalid
		}
	}
	if c.position > head.Sequence {
		return c, invalid
	}
	return c, nil
}

// watch is one stream of WatchDevices.
type watch struct {
	*Server
	send   func(*devicesv1.WatchDevicesResponse) error
	viewer device.Actor
	at     watchCursor
}

// WatchDevices implements the contract.
func (s *Server) WatchDevices(req *devicesv1.WatchDevicesRequest, stream devicesv1.DeviceRegistryService_WatchDevicesServer) error {
	ctx := stream.Context()
	at, err := s.watchFrom(ctx, req)
	if err != nil {
		return err
	}
	w := &watch{s, stream.Send, actorFrom(ctx), at}
	if err := w.snapshot(ctx); err != nil {
		return err
	}
	return w.tail(ctx)
}

// snapshot sends every device that has a row.
func (w *watch) snapshot(ctx context.Context) error {
	for w.at.snapshot {
		found, err := w.cfg.Feed.Standings(ctx, w.at.after, watchAtOnce)
		if err != nil {
			return err
		}
		for _, st := range found {
			w.at.after = st.Device.UID
			if err := w.sendDevice(st); err != nil {
				return err
			}
		}
		if len(found) < watchAtOnce {
			w.at = watchCursor{position: w.at.position}
		}
	}
	return nil
}

// tail follows the log for as long as the caller likes.
func (w *watch) tail(ctx context.Context) error {
	goal, asOf, err := w.end(ctx)
	if err != nil {
		return err
	}
	beat := time.NewTicker(watchBeat)
	defer beat.Stop()
	poll := watchPoll
	for synced := false; ; {
		grown := w.cfg.Feed.Grown()
		sent, err := w.follow(ctx)
		if err != nil {
			return err
		}
		if !synced && w.at.position >= goal {
			synced = true
			if err := w.sendSynced(asOf); err != nil {
				return err
			}
		}
		if sent == watchAtOnce {
			continue
		}
		select {
		case <-grown:
		case <-time.After(poll):
		case <-beat.C:
			if goal, asOf, err = w.end(ctx); err != nil {
				return err
			}
			synced = false
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end is the end of the log with everything in it that was committed before the moment that it also returns.
func (w *watch) end(ctx context.Context) (goal int64, asOf time.Time, err error) {
	asOf = w.now()
	if err := w.cfg.Feed.Place(ctx); err != nil {
		return 0, asOf, err
	}
	head, err := w.cfg.Feed.LogHead(ctx)
	return head.Sequence, asOf, err
}

// follow sends what the next entries of the log changed and returns how many there were. A thing that changed several times is
// sent once, at its last entry: whoever goes on behind an earlier message finds it there.
func (w *watch) follow(ctx context.Context) (int, error) {
	entries, err := w.cfg.Feed.Changes(ctx, w.at.position, watchAtOnce)
	if err != nil || len(entries) == 0 {
		return 0, err
	}
	last := map[string]int64{}
	var uids []device.UID
	for _, e := range entries {
		if key := e.Subject + UIDText(e.UID); last[key] == 0 && e.Subject == "" {
			uids = append(uids, e.UID)
		}
		last[e.Subject+UIDText(e.UID)] = e.Position
	}
	found, err := w.cfg.Feed.StandingsOf(ctx, uids)
	if err != nil {
		return 0, err
	}
	standings := make(map[device.UID]binding.Standing, len(found))
	for _, st := range found {
		standings[st.Device.UID] = st
	}
	for _, e := range entries {
		w.at.position = e.Position
		if last[e.Subject+UIDText(e.UID)] != e.Position {
			continue
		}
		if err := w.sendEntry(ctx, e, standings); err != nil {
			return 0, err
		}
	}
	return len(entries), nil
}

func (w *watch) sendEntry(ctx context.Context, e device.Entry, standings map[device.UID]binding.Standing) error {
	if e.Subject == "" {
		if st, ok := standings[e.UID]; ok {
			return w.sendDevice(st)
		}
		return nil
	}
	out := &devicesv1.WatchDevicesResponse{Cursor: w.watchToken(w.at)}
	switch kind, partner, id := part(e.Subject, 0), part(e.Subject, 1), part(e.Subject, 2); kind {
	case "lots":
		no, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return err
		}
		l, err := w.cfg.Catalog.Lot(ctx, partner, uint32(no))
		if err != nil {
			return err
		}
		out.Change = &devicesv1.WatchDevicesResponse_Lot{Lot: LotMessage(l)}
	default:
		m, err := w.cfg.Catalog.Model(ctx, partner, id)
		if err != nil {
			return err
		}
		out.Change = &devicesv1.WatchDevicesResponse_Model{Model: ModelMessage(m)}
	}
	return w.send(out)
}

func (w *watch) sendDevice(st binding.Standing) error {
	return w.send(&devicesv1.WatchDevicesResponse{
		Cursor: w.watchToken(w.at),
		Change: &devicesv1.WatchDevicesResponse_Device{Device: standingMessage(st, w.viewer, w.now())},
	})
}

func (w *watch) sendSynced(asOf time.Time) error {
	return w.send(&devicesv1.WatchDevicesResponse{
		Cursor: w.watchToken(w.at), Change: &devicesv1.WatchDevicesResponse_Synced{Synced: &devicesv1.WatchSynced{AsOfTime: timestamppb.New(asOf)}},
	})
}
