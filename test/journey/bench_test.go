package journey

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/sdk/virtual"
	"github.com/armlet-pay/armlet/test/programs"
)

const (
	benchBands = 64
	benchTime  = 8 * time.Second
)

// BenchmarkTaps makes whole taps, CreatePayment and ConfirmPayment with the band between them, with 64 bands at once, against
// the all-in-one program on its embedded stores and against four processes on PostgreSQL, Redis and NATS. The reference is
// what pgbench makes on the same PostgreSQL before and after.
func BenchmarkTaps(b *testing.B) {
	b.Run("embedded", func(b *testing.B) {
		dir := b.TempDir()
		d := up(b, dir)
		b.Cleanup(func() { _ = d.process.Stop() })
		fsync := testkit.Fsyncs(b, dir)
		measureTaps(b, "taps/embedded", d, map[string]*programs.Process{"armlet": d.process}).record(b, &fsync)
	})
	b.Run("processes", func(b *testing.B) {
		pgbench := testkit.PGBench(b, testkit.Postgres(b))
		d := startProcesses(b, func(_, _ string) string { return testkit.Postgres(b) })
		services := map[string]*programs.Process{}
		for _, p := range d.parts.all {
			services[p.Name] = p
		}
		before := pgbench(4 * time.Second)
		taps := measureTaps(b, "taps/processes", d, services)
		taps.record(b, testkit.Mean(before, pgbench(4*time.Second)))
	})
}

// tapsMade is what a run measured: CPU time in microseconds a tap, by program.
type tapsMade struct {
	name      string
	perSecond float64
	p50, p99  time.Duration
	cpu       map[string]float64
}

func measureTaps(b *testing.B, name string, d *deployment, services map[string]*programs.Process) tapsMade {
	b.Helper()
	w := newWorld(b, d)
	bands := make([]*virtual.Band, benchBands)
	for i := range bands {
		_, phone := w.newWearer(1_000_000_00)
		bands[i] = phone.Band
	}
	w.tapFor(b, bands, 2*time.Second) // caches fill, connections open
	before, begin := cpuTimes(b, services), time.Now()
	times := w.tapFor(b, bands, benchTime)
	took, after := time.Since(begin), cpuTimes(b, services)
	slices.Sort(times)
	n := len(times)
	out := tapsMade{name: name, perSecond: float64(n) / took.Seconds(), p50: times[n/2], p99: times[n*99/100], cpu: map[string]float64{}}
	for program, until := range after {
		if spent := until - before[program]; spent > 0 { // a server of another benchmark may be idling
			out.cpu[program] = float64(spent.Microseconds()) / float64(n)
		}
	}
	w.booksBalance()
	return out
}

// tapFor taps with all bands for a while and returns how long each tap took.
func (w *world) tapFor(b *testing.B, bands []*virtual.Band, d time.Duration) []time.Duration {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d+time.Minute)
	defer cancel()
	times := make([][]time.Duration, len(bands))
	begin := time.Now()
	var all sync.WaitGroup
	for i, band := range bands {
		all.Go(func() {
			for time.Since(begin) < d {
				at := time.Now()
				p, err := w.charge(ctx, band, 1)
				if err == nil {
					band.Knock()
					_, err = w.till.Confirm(ctx, band, p)
				}
				if err != nil {
					b.Error(err)
					return
				}
				times[i] = append(times[i], time.Since(at))
			}
		})
	}
	all.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return slices.Concat(times...)
}

func (m tapsMade) record(b *testing.B, reference *testkit.Measure) {
	b.Helper()
	figure := func(name string, value float64, unit string, reference *testkit.Measure) {
		testkit.Record(b, testkit.Figure{Measure: testkit.Measure{Name: m.name + name, Value: value, Unit: unit}, Reference: reference})
	}
	figure("", m.perSecond, "taps/s", reference)
	figure("/p50", float64(m.p50.Microseconds())/1000, "ms", nil)
	figure("/p99", float64(m.p99.Microseconds())/1000, "ms", nil)
	whole := testkit.Measure{Name: "the whole machine", Value: m.cpu[machine], Unit: "us/tap"}
	for program, us := range m.cpu {
		figure("/cpu/"+program, us, "us/tap", &whole)
	}
}

// machine is all that the processors did, driver is the process of the bands and terminals.
const (
	machine = "machine"
	driver  = "bands-and-terminals"
)

// cpuTimes is how long each program, and each server that the programs use, has been on a processor so far.
func cpuTimes(b *testing.B, services map[string]*programs.Process) map[string]time.Duration {
	b.Helper()
	var own syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &own))
	out := map[string]time.Duration{driver: time.Duration(own.Utime.Nano() + own.Stime.Nano())}
	for name, p := range services {
		// man 5 proc_pid_stat: after the name in parentheses utime and stime are the 12th and 13th field.
		_, rest, _ := strings.Cut(readProc(b, fmt.Sprintf("/proc/%d/stat", p.PID())), ") ")
		fields := strings.Fields(rest)
		out[name] = ticks(b, fields[11]) + ticks(b, fields[12])
	}
	// The first line: user, nice, system, idle, iowait, irq, softirq.
	line, _, _ := strings.Cut(readProc(b, "/proc/stat"), "\n")
	fields := strings.Fields(line)
	for _, i := range []int{1, 2, 3, 6, 7} {
		out[machine] += ticks(b, fields[i])
	}
	addServers(b, out)
	return out
}

// addServers adds PostgreSQL, Redis and NATS, as far as this process or one below it started them. A server's backend that has
// ended is in the time of the children of the server, so nothing is lost between two looks.
func addServers(b *testing.B, out map[string]time.Duration) {
	b.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	must(b, err)
	parents, servers := map[string]string{}, map[string][]string{}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		pid, rest, _ := strings.Cut(string(text), " (")
		name, rest, _ := strings.Cut(rest, ") ")
		fields := strings.Fields(rest)
		parents[pid] = fields[1]
		if slices.Contains([]string{"postgres", "redis-server", "nats-server"}, name) {
			servers[pid] = append([]string{name}, fields[11:15]...) // utime, stime, cutime, cstime
		}
	}
	self := strconv.Itoa(os.Getpid())
	for pid, server := range servers {
		for pid != "" && pid != self {
			pid = parents[pid]
		}
		if pid != self {
			continue // of another run on this machine
		}
		for _, spent := range server[1:] {
			out[server[0]] += ticks(b, spent)
		}
	}
}

func readProc(b *testing.B, file string) string {
	b.Helper()
	text, err := os.ReadFile(file)
	must(b, err)
	return string(text)
}

// ticks are hundredths of a second on every Linux.
func ticks(b *testing.B, text string) time.Duration {
	b.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	must(b, err)
	return time.Duration(n) * 10 * time.Millisecond
}
