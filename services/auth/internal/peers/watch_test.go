package peers

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/testkit"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// registry is the other end of a connection: it answers CheckDevice from a table and lets a test speak on the watch.
type registry struct {
	wireConn
	mu      sync.Mutex
	devices map[string]*devicesv1.CheckDeviceResponse
	asked   int
	down    bool
	during  func() // is called while a device is asked for, after the answer was made up
	streams chan *watchStream
}

// watchStream is one call of WatchDevices.
type watchStream struct {
	grpc.ClientStream // nil: nothing else is called

	r     *registry
	ctx   context.Context //nolint:containedctx // a stream has one
	began *devicesv1.WatchDevicesRequest
	said  chan any // a message or an error
}

func newRegistry() *registry {
	return &registry{devices: map[string]*devicesv1.CheckDeviceResponse{}, streams: make(chan *watchStream, 16)}
}

// put has the registry know the device with this serial, bound to the account.
func (r *registry) put(serial uint64, account string, change func(*devicesv1.CheckDeviceResponse)) *devicesv1.CheckDeviceResponse {
	d := proto.CloneOf(complete())
	u := wire.NewRangeUID(1, 2, serial)
	d.Device.Uid, d.Device.Name, d.Device.Account = u.String(), "partners/acme/devices/"+u.String(), account
	d.Device.Lot, d.Device.Model = "partners/acme/lots/2", "partners/acme/models/w1"
	d.Binding.Account = account
	if change != nil {
		change(d)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.devices[d.GetDevice().GetUid()], r.devices[account] = d, d
	return d
}

func (r *registry) Invoke(_ context.Context, _ string, in, out any, _ ...grpc.CallOption) error {
	r.mu.Lock()
	req, ok := in.(*devicesv1.CheckDeviceRequest)
	if !ok {
		r.mu.Unlock()
		return r.wireConn.Invoke(context.Background(), "", in, out)
	}
	r.asked++
	d, found := r.devices[req.GetUid()+req.GetAccount()]
	down, during := r.down, r.during
	r.mu.Unlock()
	if down {
		return fault.New(fault.Unavailable, "UNAVAILABLE", "away")
	}
	if !found {
		return challenge.ErrDeviceNotFound
	}
	proto.Merge(out.(proto.Message), d)
	if during != nil {
		during()
	}
	return nil
}

func (r *registry) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return &watchStream{r: r, ctx: ctx, said: make(chan any, 64)}, nil
}

func (s *watchStream) CloseSend() error                      { return nil }
func (s *watchStream) say(m *devicesv1.WatchDevicesResponse) { s.said <- m }
func (s *watchStream) breakOff(err error)                    { s.said <- err }

func (s *watchStream) device(d *devicesv1.CheckDeviceResponse, cursor string) {
	s.say(&devicesv1.WatchDevicesResponse{Change: &devicesv1.WatchDevicesResponse_Device{Device: d}, Cursor: cursor})
}

func (s *watchStream) synced(at time.Time, cursor string) {
	s.say(&devicesv1.WatchDevicesResponse{
		Change: &devicesv1.WatchDevicesResponse_Synced{Synced: &devicesv1.WatchSynced{AsOfTime: timestamppb.New(at)}}, Cursor: cursor,
	})
}

func (s *watchStream) SendMsg(m any) error {
	s.began = proto.CloneOf(m.(*devicesv1.WatchDevicesRequest))
	s.r.streams <- s
	return nil
}

func (s *watchStream) RecvMsg(m any) error {
	select {
	case said := <-s.said:
		if err, ok := said.(error); ok {
			return err
		}
		proto.Merge(m.(proto.Message), said.(proto.Message))
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// ear is a Heard that remembers.
type ear struct {
	mu      sync.Mutex
	noticed []challenge.Device
	reviews int
	fails   int // this many calls
	heard   chan struct{}
}

func (e *ear) take(f func()) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer func() { e.heard <- struct{}{} }()
	if e.fails > 0 {
		e.fails--
		return errors.New("not now")
	}
	f()
	return nil
}

func (e *ear) Notice(_ context.Context, d challenge.Device, _ time.Time) error {
	return e.take(func() { e.noticed = append(e.noticed, d) })
}

func (e *ear) Review(context.Context, func() time.Time) error { return e.take(func() { e.reviews++ }) }

// watched is a cache that is kept from a registry.
type watched struct {
	t     *testing.T
	r     *registry
	cache *Cache
	ear   *ear
	clock *testkit.FakeClock
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	w := &watched{t: t, r: newRegistry(), ear: &ear{heard: make(chan struct{}, 64)}, clock: testkit.Clock(noon)}
	w.cache = NewCache(NewRegistry(w.r), w.clock.Now)
	watch := NewWatch(w.r, w.cache, w.ear, slog.New(slog.DiscardHandler), w.clock.Now)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- watch.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

// stream is the next call of WatchDevices, with all that it began with told.
func (w *watched) stream(snapshot ...*devicesv1.CheckDeviceResponse) *watchStream {
	w.t.Helper()
	s := <-w.r.streams
	for _, d := range snapshot {
		s.device(d, "s")
	}
	s.synced(w.clock.Now(), "1")
	w.until(func() bool { return w.cache.lives(w.clock.Now()) })
	return s
}

// until waits for what the watch does by itself.
func (w *watched) until(ok func() bool) {
	w.t.Helper()
	for range 1000 {
		w.cache.mu.RLock()
		is := ok()
		w.cache.mu.RUnlock()
		if is {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.t.Fatal("it did not come to that")
}

func (w *watched) told(n uint64) { w.t.Helper(); w.until(func() bool { return w.cache.told == n }) }

// wants looks a device up and says whether the registry has to be asked for it.
func (w *watched) wants(what string, serial uint64, asks bool, block challenge.Block) {
	w.t.Helper()
	before := w.r.asked
	d, err := w.cache.ByUID(w.t.Context(), wire.NewRangeUID(1, 2, serial))
	if err != nil || d.Block != block || (w.r.asked > before) != asks {
		w.t.Errorf("%s: %v, block %d, asked: %t", what, err, d.Block, w.r.asked > before)
	}
}

func lost(d *devicesv1.CheckDeviceResponse) {
	d.CanPay, d.BlockReason = false, devicesv1.BlockReason_BLOCK_REASON_SUSPENDED
	d.Device.AuthEpoch++
}

func TestARememberedDeviceCountsWhileTheWatchLivesAndNoLonger(t *testing.T) {
	w := newWatched(t)
	one := w.r.put(1, "accounts/ann", nil)
	w.wants("before the watch lives", 1, true, challenge.NotBlocked)
	s := w.stream(one)
	w.wants("of the snapshot", 1, false, challenge.NotBlocked)
	w.clock.Advance(believed - time.Nanosecond)
	w.wants("just before the trust ends", 1, false, challenge.NotBlocked)
	w.clock.Advance(time.Nanosecond)
	w.wants("30 s after the last word", 1, true, challenge.NotBlocked)
	w.r.down = true
	if _, err := w.cache.ByUID(t.Context(), wire.NewRangeUID(1, 2, 1)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("with nobody to ask: %v", err)
	}
	w.r.down = false
	s.synced(w.clock.Now(), "2")
	w.until(func() bool { return w.cache.lives(w.clock.Now()) })
	w.wants("when the registry spoke again", 1, false, challenge.NotBlocked)
	s.synced(w.clock.Now().Add(-believed), "3") // a word that was on its way for long
	w.until(func() bool { return !w.cache.lives(w.clock.Now()) })
	w.wants("on an old word", 1, true, challenge.NotBlocked)
}

func TestAChangeCountsOnceItIsTold(t *testing.T) {
	w := newWatched(t)
	s := w.stream(w.r.put(1, "accounts/ann", nil), w.r.put(2, "accounts/bob", nil))
	before := w.cache.told
	s.device(w.r.put(1, "accounts/ann", lost), "2")
	w.told(before + 1)
	w.wants("a device reported lost", 1, true, challenge.Suspended)
	w.wants("the other one", 2, false, challenge.NotBlocked)
	found := w.r.put(1, "accounts/ann", func(d *devicesv1.CheckDeviceResponse) { d.Device.AuthEpoch = 2 })
	s.device(found, "3")
	w.told(before + 2)
	w.wants("found again", 1, false, challenge.NotBlocked)
	for i, change := range []func(*devicesv1.WatchDevicesResponse){
		func(m *devicesv1.WatchDevicesResponse) {
			m.Change = &devicesv1.WatchDevicesResponse_Lot{Lot: &devicesv1.Lot{Name: "partners/acme/lots/2"}}
		},
		func(m *devicesv1.WatchDevicesResponse) {
			m.Change = &devicesv1.WatchDevicesResponse_Model{Model: &devicesv1.Model{Name: "partners/acme/models/w1"}}
		},
		func(*devicesv1.WatchDevicesResponse) {}, // of a kind that is not known yet
	} {
		m := &devicesv1.WatchDevicesResponse{Cursor: "c"}
		change(m)
		s.say(m)
		w.told(before + 3 + uint64(i))
		w.wants("after a change of all", 1, true, challenge.NotBlocked)
		w.wants("asked for once", 1, false, challenge.NotBlocked)
	}
	s.say(&devicesv1.WatchDevicesResponse{Cursor: "d", Change: &devicesv1.WatchDevicesResponse_Lot{Lot: &devicesv1.Lot{Name: "partners/acme/lots/3"}}})
	w.told(before + 6)
	w.wants("after a change of another lot", 1, false, challenge.NotBlocked)
}

func TestAnAnswerThatWasOvertakenIsNotRemembered(t *testing.T) {
	w := newWatched(t)
	s := w.stream()
	w.r.put(1, "accounts/ann", nil)
	w.r.during = func() { // the device is lost while the answer is on its way
		before := w.cache.told
		w.r.during = nil
		s.device(w.r.put(1, "accounts/ann", lost), "2")
		w.told(before + 1)
	}
	w.wants("asked for before the loss", 1, true, challenge.NotBlocked)
	w.wants("and after it", 1, true, challenge.Suspended)
}

func TestAnAccountsDeviceIsTheOneBoundLast(t *testing.T) {
	w := newWatched(t)
	first := w.r.put(1, "accounts/ann", nil)
	s := w.stream(first)
	look := func(want uint64, asks bool) {
		t.Helper()
		before := w.r.asked
		d, err := w.cache.ByAccount(t.Context(), "accounts/ann")
		if err != nil || d.UID != wire.NewRangeUID(1, 2, want) || (w.r.asked > before) != asks {
			t.Errorf("%v of %s, asked %t", err, d.Name, w.r.asked > before)
		}
	}
	look(1, true) // which of an account's devices it is, the snapshot does not tell
	look(1, false)
	told := w.cache.told
	s.device(w.r.put(2, "accounts/ann", nil), "2")
	w.told(told + 1)
	look(2, true)
	look(2, false)
	w.r.put(1, "accounts/ann", nil)
	s.device(w.r.put(2, "", func(d *devicesv1.CheckDeviceResponse) {
		d.CanPay, d.Binding, d.BlockReason = false, nil, devicesv1.BlockReason_BLOCK_REASON_NOT_BOUND
	}), "3")
	w.told(told + 2)
	look(1, true)
	w.r.wireConn.answer = &devicesv1.Binding{Device: first.GetDevice().GetName(), Account: "accounts/ann"}
	must(t, w.cache.ReleaseBinding(t.Context(), wire.BindingID{}, "accounts/ann", "proof"))
	look(1, true) // what this process did itself is not waited for
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnAnswerThatChangesByItselfIsAskedForThen(t *testing.T) {
	w := newWatched(t)
	w.stream(w.r.put(1, "accounts/ann", func(d *devicesv1.CheckDeviceResponse) { d.RecheckTime = timestamppb.New(noon.Add(time.Second)) }))
	w.wants("before", 1, false, challenge.NotBlocked)
	w.clock.Advance(time.Second)
	w.wants("then", 1, true, challenge.NotBlocked)
}

func TestABrokenWatchIsTrustedNoMoreAndGoesOnWhereItWas(t *testing.T) {
	w := newWatched(t)
	s := w.stream(w.r.put(1, "accounts/ann", nil))
	if s.began.GetCursor() != "" || s.began.GetSkipSnapshot() {
		t.Errorf("it began with %v", s.began)
	}
	s.breakOff(errors.New("the line is cut"))
	w.until(func() bool { return !w.cache.lives(w.clock.Now()) })
	w.wants("while the line is cut", 1, true, challenge.NotBlocked)
	again := <-w.r.streams
	if again.began.GetCursor() != "1" {
		t.Errorf("it went on with %v", again.began)
	}
	again.device(w.r.put(1, "accounts/ann", lost), "2")
	again.synced(w.clock.Now(), "3")
	w.until(func() bool { return w.cache.lives(w.clock.Now()) })
	w.wants("with what was missed", 1, true, challenge.Suspended)
	again.breakOff(fault.New(fault.Invalid, "CURSOR_INVALID", "the log was set back"))
	anew := w.stream(w.r.put(1, "accounts/ann", nil))
	if anew.began.GetCursor() != "" {
		t.Errorf("it began anew with %v", anew.began)
	}
	w.wants("of the new snapshot", 1, false, challenge.NotBlocked)
}

func TestWhatIsHeardIsPassedOnUntilItIsTakenIn(t *testing.T) {
	w := newWatched(t)
	one := w.r.put(1, "accounts/ann", nil)
	w.ear.fails = 1
	s := w.stream(one)
	<-w.ear.heard
	<-w.ear.heard
	if w.ear.reviews != 1 || len(w.ear.noticed) != 0 {
		t.Errorf("in the beginning %d reviews and %d notices", w.ear.reviews, len(w.ear.noticed))
	}
	w.ear.mu.Lock() // while it is busy
	w.ear.fails = 1
	s.device(w.r.put(1, "accounts/ann", lost), "2")
	s.device(w.r.put(2, "accounts/bob", nil), "3")
	w.ear.mu.Unlock()
	var serials []uint32
	for range 20 {
		<-w.ear.heard
		w.ear.mu.Lock()
		serials = nil
		for _, d := range w.ear.noticed {
			serials = append(serials, uint32(d.UID[15]))
		}
		w.ear.mu.Unlock()
		if slices.Contains(serials, 1) && slices.Contains(serials, 2) {
			return
		}
	}
	t.Errorf("passed on %v", serials)
}
