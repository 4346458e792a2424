package grpcapi_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
)

const (
	fewDevices  = 10_000
	boundEvery  = 10 // of the devices are bound
	findSamples = 3000
)

// BenchmarkFindAmongMany compares CheckDevice and GetDevice among very many devices with the same calls among ten thousand, one
// call here and one there, so that whatever else the machine does meets both. ARMLET_BENCH_DEVICES=10000000 is what a large
// operator has.
func BenchmarkFindAmongMany(b *testing.B) {
	many := size(b, "ARMLET_BENCH_DEVICES", 200_000)
	for _, dialect := range []sqldb.Dialect{sqldb.Postgres, sqldb.SQLite} {
		b.Run(string(dialect), func(b *testing.B) {
			few, all := newWorldOn(b, dialect, quota.Amounts{}), newWorldOn(b, dialect, quota.Amounts{})
			few.fill(fewDevices)
			began := time.Now()
			all.fill(many)
			b.Logf("%d devices in %s", many, time.Since(began).Round(time.Second))
			for b.Loop() {
				for _, call := range []string{"CheckDevice", "GetDevice"} {
					atFew, atMany := compare(few, all, call, many)
					for name, q := range map[string]float64{"p50": 0.50, "p99": 0.99} {
						record(b, fmt.Sprintf("%s/%s/%s", call, dialect, name), quantile(atMany, q), "ms", "at 10000 devices", quantile(atFew, q))
					}
				}
			}
		})
	}
}

// compare calls in turn here and there, devices at random, and returns how long the calls took.
func compare(few, all *world, call string, many int) (atFew, atMany []time.Duration) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range findSamples + findSamples/10 {
		f, m := few.timed(call, random.IntN(fewDevices)), all.timed(call, random.IntN(many))
		if i >= findSamples/10 { // the first are to warm up
			atFew, atMany = append(atFew, f), append(atMany, m)
		}
	}
	return atFew, atMany
}

func (w *world) timed(call string, i int) time.Duration {
	ctx, began := w.t.Context(), time.Now()
	var err error
	if call == "GetDevice" {
		_, err = w.as("operator").GetDevice(ctx, &devicesv1.GetDeviceRequest{Name: "partners/acme/devices/" + filledUID(i)})
	} else {
		i -= i % boundEvery
		var got *devicesv1.CheckDeviceResponse
		got, err = w.auth().CheckDevice(ctx, &devicesv1.CheckDeviceRequest{Subject: &devicesv1.CheckDeviceRequest_Uid{Uid: filledUID(i)}})
		if err == nil && !got.GetCanPay() {
			w.t.Fatalf("%v", got)
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return time.Since(began)
}

// quantile is in milliseconds.
func quantile(d []time.Duration, q float64) float64 {
	slices.Sort(d)
	return float64(d[min(len(d)-1, int(q*float64(len(d))))]) / float64(time.Millisecond)
}

// filledUID is device i of fill.
func filledUID(i int) string { return wire.NewRangeUID(7, 600, uint64(i)).String() }

// fill makes n devices inside the database, one of ten bound to an account of its own.
func (w *world) fill(n int) {
	w.t.Helper()
	const piece = 500_000
	var statements []string
	for first := 0; first < n; first += piece {
		statements = append(statements, w.filling(first, min(first+piece, n)-1)...)
	}
	statements = append(statements, `ANALYZE`)
	if w.db.Dialect() == sqldb.Postgres {
		statements = append(statements, `VACUUM devices`, `VACUUM bindings`, `CHECKPOINT`)
	}
	for _, text := range statements {
		if _, err := w.db.ExecContext(w.t.Context(), text); err != nil {
			w.t.Fatalf("%s: %v", text, err)
		}
	}
}

// filling are the statements that make the devices from first to last.
func (w *world) filling(first, last int) []string {
	const digits = 5 // of 5 bits, enough for 33 million
	uid := "'" + filledUID(0)[:wire.UIDTextLen-digits] + "'"
	for d := digits - 1; d >= 0; d-- {
		uid += fmt.Sprintf(` || substr('0123456789abcdefghjkmnpqrstvwxyz', ((i >> %d) & 31) + 1, 1)`, 5*d)
	}
	hash, hex, series := `decode(repeat('ab', 32), 'hex')`, `lpad(to_hex(i), 16, '0')`, fmt.Sprintf(`generate_series(%d, %d) AS s (i)`, first, last)
	if w.db.Dialect() == sqldb.SQLite {
		hash, hex = `zeroblob(32)`, `printf('%016x', i)`
		series = fmt.Sprintf(`(WITH RECURSIVE s (i) AS (SELECT %d UNION ALL SELECT i + 1 FROM s WHERE i < %d) SELECT i FROM s)`, first, last)
	}
	bound := fmt.Sprintf(`i %% %d = 0`, boundEvery)
	return []string{
		`INSERT INTO devices (uid, partner, model_id, lot_no, state, suite, key_epoch, auth_epoch, generation, audit_seq, audit_hash, created_at)
			SELECT ` + uid + `, 'acme', 'w1', 0, CASE WHEN ` + bound + ` THEN 3 ELSE 2 END, 1, 1, 1, 1, 0, ` + hash + `, 1 FROM ` + series,
		`INSERT INTO holders (account, created_at) SELECT 'account-' || i, 1 FROM ` + series + ` WHERE ` + bound,
		`INSERT INTO bindings (binding_id, uid, partner, account, nonce, state, generation, created_at, bound_at)
			SELECT ` + hex + `, ` + uid + `, 'acme', 'account-' || i, substr(` + hash + `, 1, 16), 2, 1, 1, 1 FROM ` + series + ` WHERE ` + bound,
	}
}
