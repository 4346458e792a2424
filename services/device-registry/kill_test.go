package deviceregistry_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
)

// TestAnImportThatIsKilledAnywhereBringsExactlyItsFile kills the client, the registry and, where there is one, the registry's
// connections to its database at random points of an import and takes it up again each time. KILL_ROWS=200000 KILLS=20 is
// the long form.
func TestAnImportThatIsKilledAnywhereBringsExactlyItsFile(t *testing.T) {
	rows, kills := number(t, "KILL_ROWS", 6000), number(t, "KILLS", 3)
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			url := testkit.DBURL(t, dialect)
			k := newKilled(t, url, rows)
			killers := []func(){k.killClient, k.killServer}
			if dialect == sqldb.Postgres {
				killers = append(killers, func() { k.killConnections(url) })
			}
			k.run(kills, killers)
			k.server.kill()
			k.check(url)
		})
	}
}

func number(t testing.TB, variable string, small int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return small
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s: %q is not a number of at least 1", variable, text)
	}
	return n
}

// killed is an import of a file whose parties are killed.
type killed struct {
	t      *testing.T
	random *rand.Rand
	server *registryProcess
	line   *line
	client devicesv1.DeviceRegistryServiceClient
	header *devicesv1.ImportHeader
	chunks [][]*devicesv1.ImportRow
	wanted map[string]string // of each uid what the database has to say
	acked  uint64
}

func newKilled(t *testing.T, url string, rows int) *killed {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	k := &killed{t: t, random: rand.New(rand.NewPCG(seed, 0)), server: startRegistry(t, url), wanted: map[string]string{}}
	k.line = newLine(t, k.server.addr)
	k.client = devicesv1.NewDeviceRegistryServiceClient(k.server.dial(k.line.Addr().String()))
	makeLot(t, k.client)
	sum, all := sha256.New(), make([]*devicesv1.ImportRow, rows)
	for i := range all {
		all[i] = k.row()
		writeRow(sum, all[i])
	}
	k.header = &devicesv1.ImportHeader{
		ImportId: "killed", Lot: "partners/acme/lots/9", ExpectedRows: uint64(rows), Digest: sum.Sum(nil),
		Mode: devicesv1.ImportMode_IMPORT_MODE_CREATE_ONLY,
	}
	k.chunks = slices.Collect(slices.Chunk(all, min(2000, max(1, rows/60))))
	return k
}

// makeLot makes a model and a listed lot, as soon as the registry is there.
func makeLot(t testing.TB, client devicesv1.DeviceRegistryServiceClient) {
	t.Helper()
	until(t, func(ctx context.Context) error {
		_, err := client.CreateModel(ctx, &devicesv1.CreateModelRequest{
			Parent: "partners/acme", ModelId: "w1", RequestId: "m",
			Model: &devicesv1.Model{DisplayName: "W1", Suites: []devicesv1.Suite{devicesv1.Suite_SUITE_HMAC_SHA256, devicesv1.Suite_SUITE_AES_CMAC}},
		})
		return err
	})
	until(t, func(ctx context.Context) error {
		_, err := client.CreateLot(ctx, &devicesv1.CreateLotRequest{
			Parent: "partners/acme", LotNo: 9, Model: "partners/acme/models/w1", Suite: devicesv1.Suite_SUITE_HMAC_SHA256, KeyEpoch: 4, RequestId: "l",
			Kind: devicesv1.LotKind_LOT_KIND_LISTED,
		})
		return err
	})
}

// until repeats what may fail while the registry is away.
func until(t testing.TB, do func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		err := do(ctx)
		if err == nil {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// row makes a row with a random uid, and every tenth with a suite and a label of its own.
func (k *killed) row() *devicesv1.ImportRow {
	uid := wire.NewRangeUID(7, 500+k.random.Uint32N(1000), k.random.Uint64())
	r := &devicesv1.ImportRow{Uid: uid.String()}
	k.wanted[r.GetUid()] = "1 "
	if len(k.wanted)%10 == 0 {
		r.Suite, r.Labels = devicesv1.Suite_SUITE_AES_CMAC, map[string]string{"batch": "b" + r.GetUid()[20:]}
		k.wanted[r.GetUid()] = "2 b" + r.GetUid()[20:]
	}
	return r
}

// writeRow adds a row to the digest as the contract says.
func writeRow(to io.Writer, r *devicesv1.ImportRow) {
	b := append([]byte{byte(len(r.GetUid()))}, r.GetUid()...)
	b = append(b, byte(r.GetSuite()), 0, 0, 0, byte(len(r.GetLabels())))
	for key, value := range r.GetLabels() { // at most one
		b = append(append(b, byte(len(key))), key...)
		b = append(append(b, byte(len(value))), value...)
	}
	_, _ = to.Write(b)
}

// run kills each party so many times, spread over the file at random, and finishes the import.
func (k *killed) run(kills int, killers []func()) {
	k.t.Helper()
	type point struct {
		after uint64 // acknowledged chunks
		kill  func()
	}
	var points []point
	for _, kill := range killers {
		for range kills {
			points = append(points, point{k.random.Uint64N(uint64(len(k.chunks))), kill})
		}
	}
	slices.SortFunc(points, func(a, b point) int { return int(a.after) - int(b.after) })
	for _, p := range points {
		until(k.t, func(ctx context.Context) error { return k.stream(ctx, p.after, p.kill) })
	}
	until(k.t, func(ctx context.Context) error { return k.stream(ctx, 0, nil) })
	k.t.Logf("%d rows in %d chunks, killed %d times", k.header.GetExpectedRows(), len(k.chunks), len(points))
}

// stream takes the import up. Once after chunks are acknowledged it kills, a moment later, and returns when the stream has
// broken; without kill it goes on to the end.
func (k *killed) stream(ctx context.Context, after uint64, kill func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := k.client.ImportDevices(ctx)
	if err != nil {
		return err
	}
	header := &devicesv1.ImportDevicesRequest{Message: &devicesv1.ImportDevicesRequest_Header{Header: k.header}}
	if err := stream.Send(header); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	next := first.GetResume().GetLastSequence()
	if next < k.acked {
		k.t.Fatalf("the registry knows %d chunks, it has acknowledged %d", next, k.acked)
	}
	go k.send(stream, next)
	var killing chan struct{}
	for {
		if kill != nil && killing == nil && max(next, k.acked) >= after {
			killing = k.soon(kill)
		}
		answer, err := stream.Recv()
		switch {
		case err != nil && killing != nil:
			<-killing
			return nil // as it should be, or the end of an import that was faster than the kill
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		k.take(answer)
	}
}

// soon kills within a few milliseconds and closes the channel when that is done.
func (k *killed) soon(kill func()) chan struct{} {
	done := make(chan struct{})
	time.AfterFunc(time.Duration(k.random.Int64N(int64(5*time.Millisecond))), func() {
		defer close(done)
		kill()
	})
	return done
}

func (k *killed) send(stream devicesv1.DeviceRegistryService_ImportDevicesClient, next uint64) {
	for i := next; i < uint64(len(k.chunks)); i++ {
		chunk := &devicesv1.ImportChunk{Sequence: i + 1, Rows: k.chunks[i]}
		if stream.Send(&devicesv1.ImportDevicesRequest{Message: &devicesv1.ImportDevicesRequest_Chunk{Chunk: chunk}}) != nil {
			return
		}
	}
	_ = stream.Send(&devicesv1.ImportDevicesRequest{Message: &devicesv1.ImportDevicesRequest_Finish{Finish: &devicesv1.ImportFinish{}}})
}

// take looks at an answer: every row of every chunk is created, once.
func (k *killed) take(answer *devicesv1.ImportDevicesResponse) {
	k.t.Helper()
	if ack := answer.GetAck(); ack != nil {
		k.acked = ack.GetSequence()
		if int(ack.GetCreated()) != len(k.chunks[k.acked-1]) {
			k.t.Errorf("chunk %d: %v", k.acked, ack)
		}
		return
	}
	s := answer.GetSummary()
	if s.GetImport().GetCreated() != k.header.GetExpectedRows() || string(s.GetDigest()) != string(k.header.GetDigest()) {
		k.t.Errorf("%v", s)
	}
}

func (k *killed) killClient() { k.line.cut() }

func (k *killed) killServer() {
	k.server.kill()
	k.server.start()
}

func (k *killed) killConnections(url string) {
	db, err := sqldb.Open(context.WithoutCancel(k.t.Context()), url)
	if err != nil {
		k.t.Error(err)
		return
	}
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(k.t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if err != nil {
		k.t.Error(err)
	}
}

// check compares the database with the file.
func (k *killed) check(url string) {
	k.t.Helper()
	db := testkit.OpenDB(k.t, url)
	rows, err := db.QueryContext(k.t.Context(), `SELECT d.uid, d.suite, coalesce(l.value, '') FROM devices d
		LEFT JOIN device_labels l ON l.uid = d.uid AND l.key = 'batch' WHERE d.partner = 'acme' AND d.lot_no = 9 AND d.key_epoch = 4`)
	if err != nil {
		k.t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	got := map[string]string{}
	for rows.Next() {
		var uid, label string
		var suite int
		if err := rows.Scan(&uid, &suite, &label); err != nil {
			k.t.Fatal(err)
		}
		got[uid] = fmt.Sprint(suite, " ", label)
	}
	if err := rows.Err(); err != nil {
		k.t.Fatal(err)
	}
	if !maps.Equal(k.wanted, got) {
		k.t.Errorf("the file has %d devices, the registry %d: %s", len(k.wanted), len(got), cmp.Diff(len(k.wanted), len(got)))
	}
	n := len(k.wanted)
	for query, want := range map[string]int{
		`SELECT count(*) FROM devices`:                                     n,
		`SELECT device_count FROM lots WHERE lot_no = 9`:                   n,
		`SELECT devices FROM partner_usage WHERE partner = 'acme'`:         n,
		`SELECT count(*) FROM device_labels`:                               n / 10,
		`SELECT count(*) FROM import_chunks`:                               len(k.chunks),
		`SELECT count(*) FROM audit_entries WHERE subject = 'lots/acme/9'`: len(k.chunks) + 1,
	} {
		var have int
		if err := db.QueryRowContext(k.t.Context(), query).Scan(&have); err != nil || have != want {
			k.t.Errorf("%s: %d, want %d: %v", query, have, want, err)
		}
	}
}
