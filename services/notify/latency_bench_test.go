package notify_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	notifyv1 "github.com/armlet-pay/armlet/proto/gen/armlet/notify/v1"
)

const (
	latencyRate   = 500 // payments a second
	latencyFor    = 8 * time.Second
	latencyPhones = 200
	latencyTills  = 16
)

// BenchmarkAlertLatency commits payments with their events in a database of their own, at 500 a second, and takes the time
// from each commit to the alert on the phone's stream: outbox, relay, JetStream, pipeline, commit, stream over TCP.
// The taps' cryptography and calls between services before the commit have their own benchmarks.
func BenchmarkAlertLatency(b *testing.B) {
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		b.Run(string(dialect), func(b *testing.B) {
			for b.Loop() {
				took := measureAlerts(b, dialect)
				slices.Sort(took)
				p50, p99, most := took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
				ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
				b.ReportMetric(ms(p50), "p50-ms")
				b.ReportMetric(ms(p99), "p99-ms")
				b.ReportMetric(ms(most), "max-ms")
				testkit.Record(b, testkit.Figure{
					Measure:   testkit.Measure{Name: fmt.Sprintf("notify/alert-latency-p99/%s/%d-a-second", dialect, latencyRate), Value: ms(p99), Unit: "ms"},
					Reference: &testkit.Measure{Name: "target", Value: 50, Unit: "ms"},
				})
			}
		})
	}
}

func measureAlerts(b *testing.B, dialect sqldb.Dialect) []time.Duration {
	b.Helper()
	w := newWorldOn(b, dialect)
	addr, stop := w.start()
	defer stop()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	total := int(latencyRate * latencyFor.Seconds())
	m := &meter{committed: make([]time.Time, total), arrived: make([]time.Time, total), left: total, done: make(chan struct{})}
	for i := range latencyPhones {
		account := "phone-" + strconv.Itoa(i)
		stream, err := w.dial(addr, map[string]any{"role": "wearer", "account": account}).StreamInbox(ctx, &notifyv1.StreamInboxRequest{
			Account: "accounts/" + account, ClientId: "phone", Surface: notifyv1.Surface_SURFACE_PHONE,
		})
		if err != nil {
			b.Fatal(err)
		}
		go m.listen(b, stream)
	}
	var tills sync.WaitGroup
	begin := time.Now()
	for till := range latencyTills {
		tills.Go(func() {
			for i := till; i < total; i += latencyTills {
				time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / latencyRate)))
				w.payAmount("phone-"+strconv.Itoa(i%latencyPhones), int64(i+1))
				m.commit(i)
			}
		})
	}
	tills.Wait()
	b.ReportMetric(float64(total)/time.Since(begin).Seconds(), "payments/s")
	select {
	case <-m.done:
	case <-ctx.Done():
		b.Fatalf("%d alerts have not come", m.left)
	}
	return m.latencies()
}

// meter knows when each payment was committed and when its alert came.
type meter struct {
	mu        sync.Mutex
	committed []time.Time
	arrived   []time.Time
	left      int
	done      chan struct{}
}

func (m *meter) commit(i int) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.committed[i] = now
}

// listen reads the number of the payment from what the alert says: it is the amount.
func (m *meter) listen(b *testing.B, stream interface {
	Recv() (*notifyv1.StreamInboxResponse, error)
}) {
	for {
		step, err := stream.Recv()
		if err != nil {
			return // the benchmark is over
		}
		now := time.Now()
		text := step.GetUpsert().GetBandText()
		if text == "" {
			continue
		}
		digits := strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, text)
		i, err := strconv.Atoi(digits)
		if err != nil {
			b.Errorf("the alert says %q", text)
			return
		}
		m.mu.Lock()
		if m.arrived[i-1].IsZero() {
			m.arrived[i-1] = now
			if m.left--; m.left == 0 {
				close(m.done)
			}
		}
		m.mu.Unlock()
	}
}

func (m *meter) latencies() []time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]time.Duration, len(m.arrived))
	for i := range all {
		all[i] = max(0, m.arrived[i].Sub(m.committed[i])) // the alert may be there before the commit's own reply
	}
	return all
}
