package deviceregistry_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
)

// BenchmarkImportMemory imports a small lot and one of ten times its size into a registry that is a process of its own, and says how
// much memory that process had at most, which must not depend on the lot. ARMLET_BENCH_IMPORT_ROWS=1000000 is a whole lot.
func BenchmarkImportMemory(b *testing.B) {
	rows := number(b, "ARMLET_BENCH_IMPORT_ROWS", 100_000)
	for _, dialect := range []sqldb.Dialect{sqldb.Postgres, sqldb.SQLite} {
		b.Run(string(dialect), func(b *testing.B) {
			for b.Loop() {
				few, many := peakOfImport(b, dialect, rows/10), peakOfImport(b, dialect, rows)
				testkit.Record(b, testkit.Figure{
					Measure:   testkit.Measure{Name: "device-registry/import/" + string(dialect) + "/process-memory", Value: many, Unit: "MiB"},
					Reference: &testkit.Measure{Name: fmt.Sprintf("a tenth of the %d rows", rows), Value: few, Unit: "MiB"},
				})
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// peakOfImport is the largest resident set of a fresh registry that imports so many rows, in MiB.
func peakOfImport(b *testing.B, dialect sqldb.Dialect, rows int) float64 {
	p := startRegistry(b, testkit.DBURL(b, dialect))
	defer p.kill()
	client := devicesv1.NewDeviceRegistryServiceClient(p.dial(p.addr))
	makeLot(b, client)
	began := time.Now()
	if err := importRows(b.Context(), client, rows); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d rows in %s", rows, time.Since(began).Round(time.Millisecond))
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		b.Fatalf("the peak of another process is known on Linux alone: %v", err)
	}
	_, text, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(text)[0])
	if err != nil {
		b.Fatal(err)
	}
	return float64(kib) / 1024
}

func importRows(ctx context.Context, client devicesv1.DeviceRegistryServiceClient, n int) error {
	const atOnce = 2000
	row := func(i int) *devicesv1.ImportRow {
		return &devicesv1.ImportRow{Uid: wire.NewRangeUID(7, 500, uint64(i)*3).String()}
	}
	sum := sha256.New()
	for i := range n {
		writeRow(sum, row(i))
	}
	stream, err := client.ImportDevices(ctx)
	if err != nil {
		return err
	}
	header := &devicesv1.ImportHeader{
		ImportId: "many", Lot: "partners/acme/lots/9", ExpectedRows: uint64(n), Digest: sum.Sum(nil), Mode: devicesv1.ImportMode_IMPORT_MODE_CREATE_ONLY,
	}
	if err := stream.Send(&devicesv1.ImportDevicesRequest{Message: &devicesv1.ImportDevicesRequest_Header{Header: header}}); err != nil {
		return err
	}
	go func() {
		for first, sequence := 0, uint64(1); first < n; first, sequence = first+atOnce, sequence+1 {
			chunk := &devicesv1.ImportChunk{Sequence: sequence}
			for i := first; i < min(first+atOnce, n); i++ {
				chunk.Rows = append(chunk.Rows, row(i))
			}
			if stream.Send(&devicesv1.ImportDevicesRequest{Message: &devicesv1.ImportDevicesRequest_Chunk{Chunk: chunk}}) != nil {
				return // Recv says why
			}
		}
		_ = stream.Send(&devicesv1.ImportDevicesRequest{Message: &devicesv1.ImportDevicesRequest_Finish{Finish: &devicesv1.ImportFinish{}}})
	}()
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if s := answer.GetSummary(); s != nil && s.GetImport().GetCreated() != uint64(n) {
			return fmt.Errorf("the summary is %v", s)
		}
	}
}

// BenchmarkRangeLot makes lots of a million devices each, over the network.
func BenchmarkRangeLot(b *testing.B) {
	for _, dialect := range []sqldb.Dialect{sqldb.Postgres, sqldb.SQLite} {
		b.Run(string(dialect), func(b *testing.B) {
			p := startRegistry(b, testkit.DBURL(b, dialect))
			client := devicesv1.NewDeviceRegistryServiceClient(p.dial(p.addr))
			makeLot(b, client)
			no := uint32(100)
			for b.Loop() {
				no++
				_, err := client.CreateLot(b.Context(), &devicesv1.CreateLotRequest{
					Parent: "partners/acme", LotNo: no, Model: "partners/acme/models/w1", Suite: devicesv1.Suite_SUITE_HMAC_SHA256, KeyEpoch: 4,
					FirstSerial: 1, DeviceCount: 1_000_000, RequestId: fmt.Sprint("r", no),
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			testkit.Record(b, testkit.Figure{
				Measure:   testkit.Measure{Name: "device-registry/range-lot-of-a-million/" + string(dialect), Value: b.Elapsed().Seconds() * 1000 / float64(b.N), Unit: "ms"},
				Reference: &testkit.Measure{Name: "target", Value: 10, Unit: "ms"},
			})
		})
	}
}
