package journey

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/testkit"
	authv1 "github.com/armlet-pay/armlet/proto/gen/armlet/auth/v1"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/sdk/virtual"
)

func TestATapThatBeginsAfterTheBandWasReportedLostIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, suite(t))
	for _, late := range w.loseUnderLoad(4, func() {}, func() { time.Sleep(300 * time.Millisecond) }) {
		if late.began > 0 {
			t.Errorf("a tap that began %s after the report was approved", late.began)
		}
	}
}

// BenchmarkRevocation is how long after ReportDeviceLost was acknowledged a band is approved for the last time while it
// taps without pause: when the registry is asked each time, when it is watched, and when it is watched and the network
// between auth and the registry swallows everything without closing a connection.
func BenchmarkRevocation(b *testing.B) {
	for name, c := range map[string]struct {
		mode   string
		cut    bool
		linger time.Duration
		bound  time.Duration // what is promised of taps that begin after the report
	}{
		"strict":             {"strict", false, 2 * time.Second, 0},
		"cached":             {"cached", false, 2 * time.Second, time.Second},
		"cached and cut off": {"cached", true, 31 * time.Second, 30 * time.Second},
	} {
		b.Run(name, func(b *testing.B) {
			line := &line{}
			d := startProcesses(b, func(dir, service string) string { return "sqlite:" + filepath.Join(dir, service+".db") },
				func(s *processes) map[string]map[string]string {
					return map[string]map[string]string{"auth": {"registry-mode": c.mode, "registry-addr": line.to(b, s.grpc["device-registry"])}}
				})
			w := newWorld(b, d)
			for b.Loop() {
				cut := func() {}
				if c.cut {
					cut = func() { line.dead.Store(true) }
				}
				late := w.loseUnderLoad(24, cut, func() { time.Sleep(c.linger) })
				line.dead.Store(false)
				report(b, name, late, c.bound)
			}
		})
	}
}

// lateness is how long after the report a band was approved last, by when that tap was presented and by when it was
// answered; zero for never.
type lateness struct{ began, answered time.Duration }

// loseUnderLoad has bands tap without pause, reports one after the other lost and lets them go on for a while.
func (w *world) loseUnderLoad(bands int, before, linger func()) []lateness {
	w.t.Helper()
	taps := make([]*tapping, bands)
	for i := range taps {
		_, phone := w.newWearer(0)
		taps[i] = &tapping{w: w, phone: phone}
	}
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	for _, tap := range taps {
		work.Go(func() { tap.on(ctx) })
	}
	for _, tap := range taps {
		for tap.approved.Load() < 3 {
			time.Sleep(time.Millisecond)
		}
	}
	before()
	acknowledged := make([]time.Time, bands)
	for i, tap := range taps {
		_, err := tap.phone.Client.Devices.ReportDeviceLost(callCtx(w.t), &devicesv1.ReportDeviceLostRequest{
			Name: "partners/-/devices/" + tap.phone.Band.UID().String(), RequestId: id(),
		})
		must(w.t, err)
		acknowledged[i] = time.Now()
	}
	linger()
	stop()
	work.Wait()
	late := make([]lateness, bands)
	for i, tap := range taps {
		late[i] = lateness{max(0, tap.began.Sub(acknowledged[i])), max(0, tap.answered.Sub(acknowledged[i]))}
	}
	return late
}

// tapping is a band that taps without pause to show that its wearer is there, which auth alone decides on.
type tapping struct {
	w               *world
	phone           *virtual.Phone
	approved        atomic.Int64
	began, answered time.Time // of the last approval; read when it has stopped
}

func (p *tapping) on(ctx context.Context) {
	for ctx.Err() == nil {
		if !p.once(ctx) {
			time.Sleep(2 * time.Millisecond)
		}
	}
}

func (p *tapping) once(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := p.w.partner.Auth.CreateChallenge(ctx, &authv1.CreateChallengeRequest{
		Purpose: authv1.Purpose_PURPOSE_PRESENCE, RequestId: id(), MerchantUid: make([]byte, 16), IntentUid: make([]byte, 16),
		Subject: &authv1.CreateChallengeRequest_DeviceUid{DeviceUid: p.phone.Band.UID().String()}, Display: "Gym",
	})
	if err != nil {
		return false
	}
	p.phone.Band.Knock()
	answer, err := p.phone.Relay(c.GetChallengeFrame(), c.GetPongKey())
	if err != nil {
		return false
	}
	began := time.Now()
	if _, err := p.w.partner.Auth.VerifyResponse(ctx, &authv1.VerifyResponseRequest{Challenge: c.GetName(), ResponseFrame: answer}); err != nil {
		return false
	}
	p.began, p.answered = began, time.Now()
	p.approved.Add(1)
	return true
}

// report prints the distribution and holds it to what is promised.
func report(b *testing.B, name string, late []lateness, bound time.Duration) {
	b.Helper()
	for _, m := range []struct {
		what string
		of   func(lateness) time.Duration
	}{{"presented", func(l lateness) time.Duration { return l.began }}, {"answered", func(l lateness) time.Duration { return l.answered }}} {
		var all []time.Duration
		for _, l := range late {
			all = append(all, m.of(l))
		}
		slices.Sort(all)
		for _, q := range []struct {
			name string
			at   int
		}{{"p50", len(all) / 2}, {"p95", len(all) * 95 / 100}, {"max", len(all) - 1}} {
			testkit.Record(b, testkit.Figure{Measure: testkit.Measure{
				Name: fmt.Sprintf("auth/revocation/%s/%s/%s", name, m.what, q.name), Value: float64(all[q.at].Microseconds()) / 1000, Unit: "ms",
			}})
		}
		if last := all[len(all)-1]; m.what == "presented" && last > bound {
			b.Errorf("a tap that was presented %s after the report was approved, %s is promised", last, bound)
		}
	}
}

// line is a TCP connection between two processes that can go dead without being closed.
type line struct{ dead atomic.Bool }

// to is an address from which connections go on to another.
func (l *line) to(t testing.TB, addr string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				_ = in.Close()
				continue
			}
			go l.carry(in, out)
			go l.carry(out, in)
		}
	}()
	return listener.Addr().String()
}

// carry loses what comes while the line is dead.
func (l *line) carry(to io.WriteCloser, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			_ = to.Close()
			return
		}
		if l.dead.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
