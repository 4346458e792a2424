package grpcapi_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
)

// keepLog runs the worker that gives entries their places, as the service does.
func (w *world) keepLog() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.store.KeepLog(ctx); err != nil && ctx.Err() == nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(func() { cancel(); wg.Wait() })
}

type watching struct {
	t      *testing.T
	stream devicesv1.DeviceRegistryService_WatchDevicesClient
	end    context.CancelFunc
}

func (w *world) watch(t *testing.T, req *devicesv1.WatchDevicesRequest) watching {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stream, err := w.auth().WatchDevices(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return watching{t, stream, cancel}
}

func (s watching) next() *devicesv1.WatchDevicesResponse {
	s.t.Helper()
	got, err := s.stream.Recv()
	if err != nil {
		s.t.Fatal(err)
	}
	if got.GetCursor() == "" {
		s.t.Errorf("no cursor: %v", got)
	}
	return got
}

// untilSynced returns what comes before the watcher knows all, and the cursor there.
func (s watching) untilSynced() (all []*devicesv1.WatchDevicesResponse, cursor string) {
	s.t.Helper()
	for {
		got := s.next()
		if got.GetSynced() != nil {
			return all, got.GetCursor()
		}
		all = append(all, got)
	}
}

func TestAWatcherGetsTheSnapshotThenEveryChange(t *testing.T) {
	onBothWorlds(t, func(t *testing.T, w *world) {
		w.keepLog()
		w.bind(1000, "alice")
		w.bind(1001, "bob")
		s := w.watch(t, &devicesv1.WatchDevicesRequest{})
		all, cursor := s.untilSynced()
		var uids []string
		for _, m := range all {
			uids = append(uids, m.GetDevice().GetDevice().GetUid())
		}
		if diff := cmp.Diff([]string{uid(1000), uid(1001)}, uids); diff != "" {
			t.Error(diff)
		}
		must(w, w.as("alice").ReportDeviceLost, &devicesv1.ReportDeviceLostRequest{Name: name(1000), RequestId: "lost"})
		got := s.next()
		want := must(w, w.auth().CheckDevice, &devicesv1.CheckDeviceRequest{Subject: &devicesv1.CheckDeviceRequest_Uid{Uid: uid(1000)}})
		if diff := cmp.Diff(want, got.GetDevice(), protocmp.Transform()); diff != "" || want.GetCanPay() {
			t.Error(diff)
		}
		must(w, w.as("operator").RecallLot, &devicesv1.RecallLotRequest{Name: "partners/acme/lots/3", Note: "fire", RequestId: "r"})
		if l := s.next().GetLot(); l.GetState() != devicesv1.LotState_LOT_STATE_RECALLED {
			t.Errorf("%v", l)
		}
		must(w, w.as("operator").SetModelStatus, &devicesv1.SetModelStatusRequest{Name: "partners/acme/models/w1", Status: 2, RequestId: "s"})
		last := s.next()
		if last.GetModel().GetStatus() != 2 {
			t.Errorf("%v", last)
		}
		s.end()

		again := w.watch(t, &devicesv1.WatchDevicesRequest{Cursor: cursor})
		all, _ = again.untilSynced()
		kinds := []bool{all[0].GetDevice() != nil, all[1].GetLot() != nil, all[2].GetModel() != nil}
		if len(all) != 3 || slices.Contains(kinds, false) {
			t.Errorf("behind the cursor of the snapshot come %v", all)
		}
		behind := w.watch(t, &devicesv1.WatchDevicesRequest{Cursor: last.GetCursor()})
		if all, _ := behind.untilSynced(); len(all) != 0 {
			t.Errorf("behind the end comes %v", all)
		}
		bare := w.watch(t, &devicesv1.WatchDevicesRequest{SkipSnapshot: true})
		if all, _ := bare.untilSynced(); len(all) != 0 {
			t.Errorf("without the snapshot comes %v", all)
		}
	})
}

func TestAWatcherRefusesACursorThatIsNone(t *testing.T) {
	w := newWorld(t)
	s := w.watch(t, &devicesv1.WatchDevicesRequest{SkipSnapshot: true})
	_, cursor := s.untilSynced()
	page := must(w, w.as("operator").ListLots, &devicesv1.ListLotsRequest{Parent: "partners/acme", PageSize: 1})
	for _, bad := range []string{"x", cursor[1:], cursor + "A", page.GetNextPageToken() + "AAAAAAAA"} {
		stream, err := w.auth().WatchDevices(t.Context(), &devicesv1.WatchDevicesRequest{Cursor: bad})
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		if f, ok := fault.As(err); !ok || f.Reason != "CURSOR_INVALID" || f.Field != "cursor" || f.Kind != fault.Invalid {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
}

// A watcher that breaks off anywhere and goes on behind its last cursor ends up with the truth, while devices change all the
// time: whatever it saw last of each device is what the registry says.
func TestAWatcherThatBreaksOffMissesNothing(t *testing.T) {
	onBothWorlds(t, func(t *testing.T, w *world) {
		w.keepLog()
		const devices, rounds = 20, 6
		for i := range uint64(devices) {
			w.bind(1000+i, fmt.Sprintf("a%d", i/2))
		}
		var changes sync.WaitGroup
		for part := range 4 {
			changes.Go(func() {
				for round := range rounds {
					for i := part; i < devices; i += 4 {
						request := fmt.Sprintf("c%d-%d", round, i)
						n := name(1000 + uint64(i))
						if round%2 == 0 {
							must(w, w.as("operator").SuspendDevice, &devicesv1.SuspendDeviceRequest{Name: n, Reason: 3, RequestId: request})
						} else {
							must(w, w.as("operator").LiftSuspension, &devicesv1.LiftSuspensionRequest{Name: n, Reason: 3, RequestId: request})
						}
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { changes.Wait(); close(done) }()
		known, cursor := map[string]int64{}, ""
		for n, over := 1, false; !over; n++ {
			select {
			case <-done:
				over = true // once more, to the end
			default:
			}
			s := w.watch(t, &devicesv1.WatchDevicesRequest{Cursor: cursor})
			for i := 0; over || i <= n%7; i++ {
				m := s.next()
				cursor = m.GetCursor()
				if m.GetSynced() != nil {
					break
				}
				if d := m.GetDevice().GetDevice(); d != nil {
					known[d.GetUid()] = d.GetAuthEpoch()
				}
			}
			s.end()
		}
		for i := range uint64(devices) {
			d := must(w, w.as("operator").GetDevice, &devicesv1.GetDeviceRequest{Name: name(1000 + i)})
			if known[uid(1000+i)] != d.GetAuthEpoch() || d.GetAuthEpoch() != 2+rounds {
				t.Errorf("the watcher knows epoch %d of %s, the registry %d", known[uid(1000+i)], d.GetUid(), d.GetAuthEpoch())
			}
		}
	})
}
