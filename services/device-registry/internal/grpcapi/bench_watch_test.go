package grpcapi_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/device-registry/internal/bus"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/grpcapi"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
)

const (
	watchRate   = 1000 // changes a second, each of another device
	watchTarget = 50   // ms
	// watchWorkers make the changes.
	watchWorkers = 8
)

// BenchmarkWatchDevices measures how long after its commit a change reaches a watcher while a thousand devices change every
// second. One watcher is at the process that makes the changes, one at another process on the same database.
// ARMLET_BENCH_WATCH_SECONDS says for how long.
func BenchmarkWatchDevices(b *testing.B) {
	seconds := size(b, "ARMLET_BENCH_WATCH_SECONDS", 10)
	for _, dialect := range []sqldb.Dialect{sqldb.Postgres, sqldb.SQLite} {
		b.Run(string(dialect), func(b *testing.B) {
			for b.Loop() {
				benchWatch(b, dialect, seconds)
			}
		})
	}
}

func benchWatch(b *testing.B, dialect sqldb.Dialect, seconds int) {
	commits := &commitTimes{at: map[change]time.Time{}}
	w := newWorldAt(b, testkit.DBURL(b, dialect), commits, quota.Amounts{})
	other := newWorldAt(b, w.url, bus.Outbox{}, quota.Amounts{})
	must(w, w.as("acme").CreateModel, modelRequest("w1", "m1"))
	must(w, w.as("acme").CreateLot, lotRequest(3, "l1"))
	w.keepLog()
	other.keepLog()
	w.changeAll(0, watchRate) // they have their rows before it counts
	here, there := w.received(b), other.received(b)
	began := time.Now()
	for s := range seconds {
		w.changeAll(s+1, watchRate)
	}
	rate := float64(seconds*watchRate) / time.Since(began).Seconds()
	for name, arrived := range map[string]func(n int) map[change]time.Time{"same-process": here, "other-process": there} {
		var delays []time.Duration
		for c, at := range arrived(seconds * watchRate) {
			delays = append(delays, at.Sub(commits.of(c)))
		}
		for _, q := range []struct {
			name string
			q    float64
		}{{"p50", 0.50}, {"p99", 0.99}} {
			record(b, fmt.Sprintf("watch/%s/%s/%s", dialect, name, q.name), quantile(delays, q.q), "ms", "target", watchTarget)
		}
	}
	record(b, fmt.Sprintf("watch/%s/changes", dialect), rate, "changes/s", "bare commits of one row", w.bareCommits())
}

// bareCommits is how many transactions of one row as many workers make in a second.
func (w *world) bareCommits() float64 {
	w.t.Helper()
	if _, err := w.db.ExecContext(w.t.Context(), `CREATE TABLE bare_commits (n BIGINT)`); err != nil {
		w.t.Fatal(err)
	}
	var commits atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range watchWorkers {
		wg.Go(func() {
			for time.Since(began) < time.Second {
				if _, err := w.db.ExecContext(w.t.Context(), `INSERT INTO bare_commits VALUES ($1)`, commits.Add(1)); err != nil {
					w.t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return float64(commits.Load()) / time.Since(began).Seconds()
}

// changeAll changes n devices, evenly at watchRate. It goes past the server, which is not what is measured here.
func (w *world) changeAll(round, n int) {
	w.t.Helper()
	var wg sync.WaitGroup
	began, by, devices := time.Now(), device.Actor{Role: device.RoleOperator, ID: "desk"}, device.NewService(w.store)
	for worker := range watchWorkers {
		wg.Go(func() {
			for i := worker; i < n; i += watchWorkers {
				time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / watchRate)))
				uid := device.UID(wire.NewRangeUID(7, 3, 1000+uint64(i)))
				var err error
				if round%2 == 0 {
					_, err = devices.Suspend(w.t.Context(), by, "-", uid, device.Risk, "", time.Now())
				} else {
					_, err = devices.Lift(w.t.Context(), by, "-", uid, device.Risk, time.Now())
				}
				if err != nil {
					w.t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if w.t.Failed() {
		w.t.FailNow()
	}
}

// change is one change of one device.
type change struct {
	uid   string
	epoch int64
}

// received watches from now on; what it returns waits for n changes and tells when each arrived.
func (w *world) received(b *testing.B) func(n int) map[change]time.Time {
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	b.Cleanup(cancel)
	stream, err := w.auth().WatchDevices(ctx, &devicesv1.WatchDevicesRequest{SkipSnapshot: true})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil { // synced
		b.Fatal(err)
	}
	type arrival struct {
		change
		at  time.Time
		err error
	}
	arrivals := make(chan arrival, 100_000) // nobody takes them until the end
	go func() {
		for {
			m, err := stream.Recv()
			a := arrival{at: time.Now(), err: err}
			if d := m.GetDevice().GetDevice(); d != nil {
				a.change = change{d.GetUid(), d.GetAuthEpoch()}
			} else if err == nil {
				continue
			}
			select {
			case arrivals <- a:
			case <-ctx.Done():
			}
			if err != nil {
				return
			}
		}
	}()
	return func(n int) map[change]time.Time {
		got := map[change]time.Time{}
		for len(got) < n {
			a := <-arrivals
			if a.err != nil {
				b.Fatal(a.err)
			}
			got[a.change] = a.at
		}
		return got
	}
}

// commitTimes is an outbox that notes when each change was committed.
type commitTimes struct {
	bus.Outbox
	mu sync.Mutex
	at map[change]time.Time
}

func (c *commitTimes) DeviceEvent(ctx context.Context, tx *sqldb.Tx, ev device.Event) error {
	tx.OnCommit(func() {
		now := time.Now()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.at[change{grpcapi.UIDText(ev.Device.UID), ev.Device.AuthEpoch}] = now
	})
	return c.Outbox.DeviceEvent(ctx, tx, ev)
}

func (c *commitTimes) of(what change) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at[what]
}
