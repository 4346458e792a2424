package storetest

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

const (
	benchAccounts = 10_000
	benchCallers  = 256
)

// load is what one run of transfers measured.
type load struct {
	PerSecond float64
	P50, P99  time.Duration
}

// drive makes n transfers with a number of callers that each wait for their answer. In a hot load one account receives
// everything.
func drive(t testing.TB, l *store.Ledger, from, to []string, callers, n int) load {
	t.Helper()
	var next atomic.Int64
	times := make([][]time.Duration, callers)
	begin := time.Now()
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for next.Add(1) <= int64(n) {
				at := time.Now()
				if err := pay(t.Context(), l, from[rand.N(len(from))], to[rand.N(len(to))], 1); err != nil {
					t.Error(err)
					return
				}
				times[c] = append(times[c], time.Since(at))
			}
		})
	}
	all.Wait()
	took := time.Since(begin)
	sorted := slices.Concat(times...)
	slices.Sort(sorted)
	if len(sorted) == 0 {
		t.Fatal("nothing was transferred")
	}
	return load{
		PerSecond: float64(len(sorted)) / took.Seconds(),
		P50:       sorted[len(sorted)/2], P99: sorted[len(sorted)*99/100],
	}
}

// benchLedger is a ledger with rich wallets and one shop.
func benchLedger(t testing.TB, db *sqldb.DB) (l *store.Ledger, payers []string, shop string) {
	t.Helper()
	l = newLedger(t, db)
	payers = wallets(t, l, benchAccounts, 1_000_000_000)
	merchant := ledger.Open(ledger.Merchant, "shop", cny)
	must(t, l.OpenAccounts(t.Context(), merchant))
	return l, payers, merchant.ID
}

func BenchmarkLedger(b *testing.B) {
	for _, dialect := range []sqldb.Dialect{sqldb.Postgres, sqldb.SQLite} {
		b.Run(string(dialect), func(b *testing.B) {
			l, payers, shop := benchLedger(b, testkit.OpenDB(b, testkit.DBURL(b, dialect)))
			half := len(payers) / 2
			for _, c := range []struct {
				name    string
				to      []string
				callers int
			}{
				{"spread", payers[half:], benchCallers}, {"hot", []string{shop}, benchCallers}, {"one-caller", payers[half:], 1},
			} {
				b.Run(c.name, func(b *testing.B) {
					b.ReportAllocs()
					got := drive(b, l, payers[:half], c.to, c.callers, b.N)
					b.ReportMetric(got.PerSecond, "transfers/s")
					b.ReportMetric(float64(got.P50.Microseconds())/1000, "p50-ms")
					b.ReportMetric(float64(got.P99.Microseconds())/1000, "p99-ms")
					b.ReportMetric(0, "ns/op")
				})
			}
		})
	}
}
