package storetest

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/run"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

const (
	benchAccounts = 10_000
	benchCallers  = 256
	benchTime     = 5 * time.Second
	// benchRowsEnv is how many transactions the big table of BenchmarkLedgerSize has; 10000000 is the long form.
	benchRowsEnv = "ARMLET_BENCH_ROWS"
)

// load is what one run of transfers measured.
type load struct {
	PerSecond float64
	P50, P99  time.Duration
	N         int
}

// drive transfers for a while with a number of callers that each wait for their answer.
func drive(t testing.TB, l *store.Ledger, from, to []string, callers int, d time.Duration) load {
	t.Helper()
	times := make([][]time.Duration, callers)
	begin := time.Now()
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for time.Since(begin) < d {
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
		PerSecond: float64(len(sorted)) / took.Seconds(), N: len(sorted),
		P50: sorted[len(sorted)/2], P99: sorted[len(sorted)*99/100],
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

// record writes what a load measured beside a reference.
func (l load) record(b *testing.B, name string, reference *testkit.Measure) {
	b.Helper()
	testkit.Record(b, testkit.Figure{Measure: testkit.Measure{Name: name, Value: l.PerSecond, Unit: "transfers/s"}, Reference: reference})
	testkit.Record(b, testkit.Figure{Measure: testkit.Measure{Name: name + "/p99", Value: millis(l.P99), Unit: "ms"}})
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkLedger transfers with 256 callers in process, between spread accounts and to one hot one, and with one caller.
func BenchmarkLedger(b *testing.B) {
	run.TuneMemory() // as the program does
	b.Run("postgres", func(b *testing.B) {
		url := testkit.Postgres(b)
		pgbench := testkit.PGBench(b, testkit.Postgres(b))
		l, payers, shop := benchLedger(b, testkit.OpenDB(b, url))
		half := len(payers) / 2
		drive(b, l, payers[:half], payers[half:], benchCallers, time.Second)
		fsync := testkit.Fsyncs(b, b.TempDir())
		before := pgbench(benchTime)
		spread := drive(b, l, payers[:half], payers[half:], benchCallers, benchTime)
		hot := drive(b, l, payers[:half], []string{shop}, benchCallers, benchTime)
		one := drive(b, l, payers[:half], payers[half:], 1, 2*time.Second)
		reference := testkit.Mean(before, pgbench(benchTime))
		spread.record(b, "payments/ledger/postgres/spread", reference)
		hot.record(b, "payments/ledger/postgres/hot", reference)
		one.recordOne(b, "payments/ledger/postgres/one-caller", fsync)
	})
	b.Run("sqlite", func(b *testing.B) {
		l, payers, shop := benchLedger(b, testkit.OpenDB(b, testkit.DBURL(b, sqldb.SQLite)))
		half := len(payers) / 2
		fsync := testkit.Fsyncs(b, b.TempDir())
		drive(b, l, payers[:half], payers[half:], benchCallers, benchTime).record(b, "payments/ledger/sqlite/spread", &fsync)
		drive(b, l, payers[:half], []string{shop}, benchCallers, benchTime).record(b, "payments/ledger/sqlite/hot", &fsync)
		drive(b, l, payers[:half], payers[half:], 1, 2*time.Second).recordOne(b, "payments/ledger/sqlite/one-caller", fsync)
	})
}

// recordOne writes how long one caller waits, beside the time of one fsync.
func (l load) recordOne(b *testing.B, name string, fsync testkit.Measure) {
	b.Helper()
	one := testkit.Measure{Name: "one write and fsync", Value: 1000 / fsync.Value, Unit: "ms"}
	testkit.Record(b, testkit.Figure{Measure: testkit.Measure{Name: name + "/p50", Value: millis(l.P50), Unit: "ms"}, Reference: &one})
	testkit.Record(b, testkit.Figure{Measure: testkit.Measure{Name: name + "/p99", Value: millis(l.P99), Unit: "ms"}})
}

// BenchmarkLedgerSize compares the cost of a transfer when the tables are full with that when they are nearly empty, and
// the memory of the process before and after.
func BenchmarkLedgerSize(b *testing.B) {
	n := 300_000
	if text := os.Getenv(benchRowsEnv); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		must(b, err)
	}
	db := testkit.OpenDB(b, testkit.Postgres(b))
	l, payers, _ := benchLedger(b, db)
	half := len(payers) / 2
	run := func() load { return drive(b, l, payers[:half], payers[half:], benchCallers, benchTime) }
	fillLedger(b, db, 10_000)
	run()
	small, heap := run(), heapInUse()
	fillLedger(b, db, n)
	_, err := db.ExecContext(context.Background(), `CHECKPOINT`)
	must(b, err)
	run() // what is used is read into memory again
	big := run()
	testkit.Record(b, testkit.Figure{
		Measure:   testkit.Measure{Name: "payments/ledger/postgres/full/" + strconv.Itoa(n), Value: 1e6 / big.PerSecond, Unit: "us/transfer"},
		Reference: &testkit.Measure{Name: "with 10000 transactions", Value: 1e6 / small.PerSecond, Unit: "us/transfer"},
	})
	testkit.Record(b, testkit.Figure{
		Measure:   testkit.Measure{Name: "payments/ledger/heap", Value: heapInUse(), Unit: "MiB"},
		Reference: &testkit.Measure{Name: strconv.Itoa(big.N*2) + " transfers before", Value: heap, Unit: "MiB"},
	})
}

// fillLedger adds rows of a chain that is not used, between the wallets, with old ids.
func fillLedger(b *testing.B, db *sqldb.DB, n int) {
	b.Helper()
	for _, text := range []string{
		`INSERT INTO ledger_transactions (id, purpose, reference, posted_at, chain, height, place, hash)
			SELECT lpad(to_hex(i), 12, '0') || '-7000-8000-' || $2, 'capture', lpad(to_hex(i), 12, '0') || '-7000-8000-' || $2, i, 16, 1, 0, sha256(i::text::bytea)
			FROM generate_series(1, $1::bigint) AS i`,
		`INSERT INTO ledger_postings (transaction_id, line, debit_account, credit_account, amount, currency, posted_at, debit_entry, credit_entry,
				debit_before, credit_before)
			SELECT lpad(to_hex(i), 12, '0') || '-7000-8000-' || $2, 0, 'wallet/w' || lpad((i % 5000)::text, 6, '0'), 'wallet/w' || lpad((5000 + i % 4999)::text, 6, '0'),
			1, 'CNY', i, i, i, lpad(to_hex(greatest(i - 5000, 0)), 12, '0') || '-7000-8000-' || $2, lpad(to_hex(greatest(i - 4999, 0)), 12, '0') || '-7000-8000-' || $2 FROM generate_series(1, $1::bigint) AS i`,
	} {
		_, err := db.ExecContext(context.Background(), text, n, newID()[24:])
		must(b, err)
	}
}

func heapInUse() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}
