package peers

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

const (
	// silence is how long a watch may say nothing before it is taken for dead; the registry speaks every 5 s.
	silence = 15 * time.Second
	// Between two attempts to watch, and to pass on what was heard.
	firstPause, longestPause = 100 * time.Millisecond, 2 * time.Second
)

// Heard takes in what the registry tells by itself.
type Heard interface {
	// Notice takes in what is now known of one device.
	Notice(ctx context.Context, d challenge.Device, now time.Time) error
	// Review looks at all devices: each may have changed.
	Review(ctx context.Context, now func() time.Time) error
}

// Watch follows every change of every device. It keeps a [Cache], and passes on what it hears. It goes on where it broke
// off, so nothing is missed while the process lives; in the beginning, and whenever it has to begin anew, all is reviewed.
type Watch struct {
	client devicesv1.DeviceRegistryServiceClient
	cache  *Cache // nil when nothing is remembered
	heard  Heard
	log    *slog.Logger
	now    func() time.Time

	cursor string // behind the last message; empty to begin anew

	mu      sync.Mutex
	pending map[wire.UID]challenge.Device
	all     bool
	more    chan struct{} // has room for one word that something is pending
}

// NewWatch makes a Watch of the registry at conn. The cache may be nil.
func NewWatch(conn grpc.ClientConnInterface, cache *Cache, heard Heard, log *slog.Logger, now func() time.Time) *Watch {
	return &Watch{
		client: devicesv1.NewDeviceRegistryServiceClient(conn), cache: cache, heard: heard, log: log, now: now,
		pending: map[wire.UID]challenge.Device{}, more: make(chan struct{}, 1),
	}
}

// Run watches until the context ends.
func (w *Watch) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { w.passOn(ctx) })
	pause := firstPause
	for ctx.Err() == nil {
		began := w.now()
		err := w.follow(ctx)
		if w.cache != nil {
			w.cache.broken(w.cursor == "")
		}
		if ctx.Err() != nil {
			break
		}
		w.log.WarnContext(ctx, "the registry is not watched at present; it is asked about each device until it is", "error", err)
		if w.now().Sub(began) > silence { // it did go well for a while
			pause = firstPause
		}
		wait(ctx, pause)
		pause = min(2*pause, longestPause)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// follow is one stream, until it breaks.
func (w *Watch) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() { cancel(errors.New("the registry has been silent for too long")) })
	defer quiet.Stop()
	stream, err := w.client.WatchDevices(ctx, &devicesv1.WatchDevicesRequest{Cursor: w.cursor, SkipSnapshot: w.cache == nil})
	if err != nil {
		return err
	}
	// What comes before the first word that all was told is a snapshot, unless the watch goes on from somewhere.
	tail := w.cursor != ""
	for {
		m, err := stream.Recv()
		if err != nil {
			if fault.ReasonOf(err) == "CURSOR_INVALID" {
				w.cursor = ""
			}
			return errors.Join(err, context.Cause(ctx))
		}
		quiet.Reset(silence)
		w.take(ctx, m, tail)
		if m.GetSynced() != nil && !tail {
			w.reviewAll()
			tail = true
		}
		w.cursor = m.GetCursor()
	}
}

// take takes in one message.
func (w *Watch) take(ctx context.Context, m *devicesv1.WatchDevicesResponse, tail bool) {
	switch change := m.GetChange().(type) {
	case *devicesv1.WatchDevicesResponse_Device:
		w.takeDevice(ctx, change.Device, tail)
	case *devicesv1.WatchDevicesResponse_Lot:
		w.changedAll(func(a answer) bool { return a.lot == change.Lot.GetName() })
	case *devicesv1.WatchDevicesResponse_Model:
		w.changedAll(func(a answer) bool { return a.model == change.Model.GetName() })
	case *devicesv1.WatchDevicesResponse_Synced:
		if w.cache != nil {
			w.cache.synced(change.Synced.GetAsOfTime().AsTime())
		}
	default: // a newer registry tells of something else; whatever it is, it may concern any device
		w.changedAll(func(answer) bool { return true })
	}
}

func (w *Watch) takeDevice(ctx context.Context, in *devicesv1.CheckDeviceResponse, tail bool) {
	a, err := answerOf(in)
	switch {
	case err != nil: // whoever asks for it gets the same error
		w.log.ErrorContext(ctx, "the registry told of a device that cannot be read", "device", in.GetDevice().GetName(), "error", err)
		if w.cache != nil {
			w.cache.forget(in.GetDevice().GetName(), in.GetDevice().GetAccount())
		}
		return
	case w.cache != nil:
		w.cache.changed(a)
	}
	if tail {
		w.noticed(a.Device)
	}
}

func (w *Watch) changedAll(of func(answer) bool) {
	if w.cache != nil {
		w.cache.changedAll(of)
	}
	w.reviewAll()
}

// noticed has the device passed on, once as it is last.
func (w *Watch) noticed(d challenge.Device) {
	w.mu.Lock()
	w.pending[d.UID] = d
	w.mu.Unlock()
	w.wake()
}

func (w *Watch) reviewAll() {
	w.mu.Lock()
	w.all = true
	w.mu.Unlock()
	w.wake()
}

func (w *Watch) wake() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// passOn tells what was heard, again and again until it was taken in. The stream does not wait for it.
func (w *Watch) passOn(ctx context.Context) {
	pause := firstPause
	for {
		select {
		case <-w.more:
		case <-ctx.Done():
			return
		}
		err := w.passOnAll(ctx)
		if err == nil {
			pause = firstPause
			continue
		}
		if ctx.Err() == nil {
			w.log.WarnContext(ctx, "what the registry told could not be taken in; it is tried again", "error", err)
		}
		wait(ctx, pause)
		pause = min(2*pause, longestPause)
		w.wake()
	}
}

func (w *Watch) passOnAll(ctx context.Context) error {
	w.mu.Lock()
	devices, all := w.pending, w.all
	w.pending, w.all = map[wire.UID]challenge.Device{}, false
	w.mu.Unlock()
	var errs []error
	for uid, d := range devices {
		if err := w.heard.Notice(ctx, d, w.now()); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(devices, uid)
	}
	if all {
		err := w.heard.Review(ctx, w.now)
		errs, all = append(errs, err), err != nil
	}
	w.putBack(devices, all)
	return errors.Join(errs...)
}

// putBack keeps what was not passed on, but for devices of which something newer was heard.
func (w *Watch) putBack(devices map[wire.UID]challenge.Device, all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = w.all || all
	for uid, d := range devices {
		if _, newer := w.pending[uid]; !newer {
			w.pending[uid] = d
		}
	}
}
