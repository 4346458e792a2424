package grpcapi_test

import (
	"os"
	"runtime/metrics"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/testkit"
)

// size is how much a benchmark does: what the environment variable says, or a small amount by default.
func size(b *testing.B, variable string, small int) int {
	b.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return small
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("%s: %q is not a number of at least 1", variable, text)
	}
	return n
}

// record reports a figure with its reference, which was measured in the same run or is the target.
func record(b *testing.B, name string, value float64, unit, reference string, referenceValue float64) {
	b.Helper()
	testkit.Record(b, testkit.Figure{
		Measure:   testkit.Measure{Name: "device-registry/" + name, Value: value, Unit: unit},
		Reference: &testkit.Measure{Name: reference, Value: referenceValue, Unit: unit},
	})
	b.ReportMetric(0, "ns/op") // how long all of it took says nothing
}

// peakMemory samples how much memory the process has in use until the function it returns is called, which says the most
// that there was, in MiB.
func peakMemory() (stop func() float64) {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	var peak uint64
	look := func() {
		metrics.Read(samples)
		peak = max(peak, samples[0].Value.Uint64()-samples[1].Value.Uint64())
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				look()
			case <-done:
				return
			}
		}
	})
	return func() float64 {
		close(done)
		wg.Wait()
		return float64(peak) / (1 << 20)
	}
}
