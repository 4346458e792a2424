package grpcapi_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/services/device-registry/internal/bus"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
)

// other is a second process on the world's database.
func (w *world) other(t *testing.T) *world {
	t.Helper()
	return newWorldAt(t, w.url, bus.Outbox{}, quota.Amounts{})
}

// hears asserts that the watcher's next message is what the world's registry says of the device now.
func (s watching) hears(w *world, serial uint64) {
	s.t.Helper()
	got := s.next()
	want := must(w, w.auth().CheckDevice, &devicesv1.CheckDeviceRequest{Subject: &devicesv1.CheckDeviceRequest_Uid{Uid: uid(serial)}})
	if diff := cmp.Diff(want, got.GetDevice(), protocmp.Transform()); diff != "" {
		s.t.Error(diff)
	}
}

// A change that one process makes reaches who watches at another, although nothing but the database is between them.
func TestAWatcherHearsWhatAnotherProcessDid(t *testing.T) {
	onBothWorlds(t, func(t *testing.T, here *world) {
		there := here.other(t)
		here.keepLog()
		there.keepLog()
		at := map[*world]watching{}
		for _, w := range []*world{here, there} {
			at[w] = w.watch(t, &devicesv1.WatchDevicesRequest{})
			at[w].untilSynced()
		}
		for i, w := range []*world{here, there, here} {
			serial := 1000 + uint64(i)
			w.bind(serial, fmt.Sprint("account", i))
			at[here].hears(w, serial)
			at[there].hears(w, serial)
		}
		must(there, there.as("operator").RecallLot, &devicesv1.RecallLotRequest{Name: "partners/acme/lots/3", Note: "fire", RequestId: "r"})
		if l := at[here].next().GetLot(); l.GetState() != devicesv1.LotState_LOT_STATE_RECALLED {
			t.Errorf("%v", l)
		}
		must(here, here.as("operator").SetModelStatus, &devicesv1.SetModelStatusRequest{Name: "partners/acme/models/w1", Status: 3, RequestId: "s"})
		at[there].next() // the lot
		m := at[there].next()
		if m.GetModel().GetStatus() != devicesv1.ModelStatus_MODEL_STATUS_COMPROMISED {
			t.Errorf("%v", m)
		}
		// The cursor that one process gave out is good at the other.
		again := here.watch(t, &devicesv1.WatchDevicesRequest{Cursor: m.GetCursor()})
		if all, _ := again.untilSynced(); len(all) != 0 {
			t.Errorf("behind the end comes %v", all)
		}
	})
}

// A process that ends between the commit of a change and giving it its place leaves that to the others, and a process that
// begins to be watched does it before it says that the watcher knows all.
func TestWhatAProcessLeftBehindIsPlacedByAnother(t *testing.T) {
	onBothWorlds(t, func(t *testing.T, here *world) {
		ended := here.other(t) // nothing is at work there that would give places
		here.keepLog()
		s := here.watch(t, &devicesv1.WatchDevicesRequest{})
		s.untilSynced()
		ended.bind(1000, "alice")
		s.hears(here, 1000)
		if n := here.count(`SELECT count(*) FROM audit_entries WHERE position IS NULL`); n != 0 {
			t.Errorf("%d entries have no place", n)
		}
	})
	onBothWorlds(t, func(t *testing.T, here *world) {
		here.bind(1001, "alice")
		_, cursor := here.watch(t, &devicesv1.WatchDevicesRequest{}).untilSynced()
		here.bind(1002, "bob")
		if n := here.count(`SELECT count(*) FROM audit_entries WHERE position IS NULL`); n == 0 {
			t.Fatal("something is at work in this test that should not be")
		}
		all, _ := here.other(t).watch(t, &devicesv1.WatchDevicesRequest{Cursor: cursor}).untilSynced()
		if len(all) != 1 || all[0].GetDevice().GetDevice().GetUid() != uid(1002) {
			t.Errorf("%v", all)
		}
	})
}

// Two processes change devices and give places at once: the log has no gap and no entry twice, its hash holds, and the watchers of
// both end up with the truth.
func TestTwoProcessesKeepOneLog(t *testing.T) {
	onBothWorlds(t, func(t *testing.T, here *world) {
		const devices, rounds = 8, 5
		worlds := []*world{here, here.other(t)}
		for i := range uint64(devices) {
			here.bind(1000+i, fmt.Sprint("account", i))
		}
		var watchers []watching
		for _, w := range worlds {
			w.keepLog()
			s := w.watch(t, &devicesv1.WatchDevicesRequest{SkipSnapshot: true})
			s.untilSynced()
			watchers = append(watchers, s)
		}
		var changes sync.WaitGroup
		for part, w := range worlds {
			operator := w.as("operator")
			changes.Go(func() {
				for i := range uint64(devices * rounds) {
					n, request := name(1000+i%devices), fmt.Sprintf("p%d-%d", part, i)
					if part == 0 {
						must(w, operator.SuspendDevice, &devicesv1.SuspendDeviceRequest{Name: n, Reason: 4, RequestId: request})
					} else {
						must(w, operator.ReportDeviceLost, &devicesv1.ReportDeviceLostRequest{Name: n, RequestId: request})
					}
				}
			})
		}
		changes.Wait()
		want := int64(2 + 2) // registered, bound, and two suspensions: what stands already makes no change
		for _, s := range watchers {
			known := map[string]int64{}
			for done := 0; done < devices; {
				d := s.next().GetDevice().GetDevice()
				if known[d.GetUid()] = d.GetAuthEpoch(); d.GetAuthEpoch() == want {
					done++
				}
			}
		}
		v := here.verify("operator", "partners/-", 0, 0, nil)
		if entries := here.count(`SELECT count(*) FROM audit_entries`); !v.GetIntact() || v.GetVerifiedEntries() != int64(entries) {
			t.Errorf("%d entries: %v", entries, v)
		}
	})
}
