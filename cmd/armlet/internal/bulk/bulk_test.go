package bulk_test

import (
	"context"
	"crypto/ed25519"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/bulk"
	"github.com/armlet-pay/armlet/cmd/armlet/internal/sandbox"
	"github.com/armlet-pay/armlet/cmd/armlet/internal/suite"
	"github.com/armlet-pay/armlet/platform/testkit"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/sdk"
)

// registry is a real one, in the suite, which is reached through a relay that can be cut.
type registry struct {
	*relay
	t      *testing.T
	direct *sandbox.Sandbox
	client devicesv1.DeviceRegistryServiceClient // through the relay
	no     uint32                                // the partner's number
	lot    string
	lotNo  uint32
	file   string
	uids   []string
}

// shared is the suite that all tests use.
var shared struct {
	sync.Mutex
	dir   string
	suite *suite.Suite
	lots  uint32
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.suite != nil {
		if err := errors.Join(shared.suite.Stop(context.Background()), os.RemoveAll(shared.dir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// startSuite starts it when it is first needed, and returns a number for a lot.
func startSuite(t *testing.T) (at sdk.Endpoints, dir string, lotNo uint32) {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.suite == nil {
		var err error
		shared.dir, err = os.MkdirTemp("", "armlet-bulk-") //nolint:usetesting // it outlives the test that needs it first
		check(t, err)
		shared.suite, err = suite.Start(context.Background(), suite.Options{Data: shared.dir, PortBase: testkit.PortBlock(t)})
		check(t, err)
	}
	shared.lots++
	return shared.suite.Endpoints(), shared.dir, 500 + shared.lots
}

// newRegistry makes a listed lot, and writes a file of n devices, some of which will be refused.
func newRegistry(t *testing.T, n int) *registry {
	t.Helper()
	at, dir, no := startSuite(t)
	r := &registry{t: t, relay: newRelay(t, at.Devices), file: filepath.Join(t.TempDir(), "bands.csv"), lotNo: no}
	var err error
	r.direct, err = sandbox.Open(at, dir)
	check(t, err)
	t.Cleanup(func() { check(t, r.direct.Close()) })
	at.Devices = r.addr
	relayed, err := sandbox.Open(at, dir)
	check(t, err)
	t.Cleanup(func() { check(t, relayed.Close()) })
	partner, err := relayed.RegisterPartner(t.Context())
	check(t, err)
	_, err = r.direct.RegisterPartner(t.Context())
	check(t, err)
	r.client, r.no = relayed.Partner.Devices, partner.GetPartnerNo()
	_, err = r.direct.Partner.Devices.CreateModel(t.Context(), &devicesv1.CreateModelRequest{
		Parent: sandbox.Partner, ModelId: "b1", RequestId: "m",
		Model: &devicesv1.Model{DisplayName: "B1", Suites: []devicesv1.Suite{devicesv1.Suite_SUITE_HMAC_SHA256, devicesv1.Suite_SUITE_ED25519}},
	})
	check(t, err)
	lot, err := r.direct.Partner.Devices.CreateLot(t.Context(), &devicesv1.CreateLotRequest{
		Parent: sandbox.Partner, LotNo: no, Model: sandbox.Partner + "/models/b1", Suite: devicesv1.Suite_SUITE_HMAC_SHA256, KeyEpoch: 1,
		Kind: devicesv1.LotKind_LOT_KIND_LISTED, RequestId: fmt.Sprint("l", no),
	})
	check(t, err)
	r.lot = lot.GetName()
	r.write(n)
	return r
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// every is which rows are refused: one in so many.
const every = 70

func (r *registry) write(n int) {
	key, _, err := ed25519.GenerateKey(nil)
	check(r.t, err)
	var b strings.Builder
	b.WriteString("uid,suite,public_key,labels.batch\n")
	for i := range n {
		uid := wire.NewRangeUID(r.no, r.lotNo, 1<<40+uint64(i)).String()
		switch r.uids = append(r.uids, uid); {
		case i%every == 0:
			fmt.Fprintf(&b, "%s,4,,x\n", uid) // a key is missing
		case i%11 == 0:
			fmt.Fprintf(&b, "%s,4,%x,b-%d\n", uid, key, i%3)
		default:
			fmt.Fprintf(&b, "%s,,,\n", uid)
		}
	}
	check(r.t, os.WriteFile(r.file, []byte(b.String()), 0o600))
}

// job is one run of the command on the file.
func (r *registry) job(dry bool) (*bulk.Import, *bulk.Journal) {
	r.t.Helper()
	file, err := bulk.Open(r.file, nil)
	check(r.t, err)
	r.t.Cleanup(func() { _ = file.Close() })
	header := &devicesv1.ImportHeader{
		ImportId: file.ImportID(r.lot, "m"), Lot: r.lot, ExpectedRows: file.Rows, Digest: file.Digest[:],
		Mode: devicesv1.ImportMode_IMPORT_MODE_CREATE_ONLY, ValidateOnly: dry,
	}
	journal, err := bulk.OpenJournal(r.refused(), header.GetImportId(), file)
	check(r.t, err)
	i := &bulk.Import{
		Registry: r.client, File: file, Journal: journal, Header: header, Answer: time.Minute, Patience: 2 * time.Minute,
	}
	i.CutAfter(200)
	return i, journal
}

func (r *registry) refused() string { return strings.TrimSuffix(r.file, ".csv") + ".refused.csv" }

// whole asserts that the registry has exactly the file's devices but for those refused, and that each of these is told once.
func (r *registry) whole(summary *devicesv1.ImportSummary) {
	r.t.Helper()
	n, bad := uint64(len(r.uids)), uint64((len(r.uids)+every-1)/every)
	if in := summary.GetImport(); in.GetRows() != n || in.GetCreated() != n-bad || in.GetFailed() != bad {
		r.t.Errorf("%v", in)
	}
	lot, err := r.direct.Partner.Devices.GetLot(r.t.Context(), &devicesv1.GetLotRequest{Name: r.lot})
	check(r.t, err)
	if lot.GetDeviceCount() != n-bad {
		r.t.Errorf("%v", lot)
	}
	text, err := os.ReadFile(r.refused())
	check(r.t, err)
	rows, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	check(r.t, err)
	if uint64(len(rows)) != bad+1 || strings.Join(rows[0], " ") != "uid suite public_key labels.batch refused_line refused_reason refused_message" {
		r.t.Fatalf("%d refused rows below %v", len(rows)-1, rows[0])
	}
	for i, row := range rows[1:] {
		if row[0] != r.uids[i*every] || row[1] != "4" || row[3] != "x" || row[4] != fmt.Sprint(i*every+2) || row[5] != "CREDENTIAL_REQUIRED" || row[6] == "" {
			r.t.Errorf("refused row %d: %v", i, row)
		}
	}
	if _, err := os.Stat(r.refused() + ".progress"); !os.IsNotExist(err) {
		r.t.Errorf("the note is left: %v", err)
	}
}

// The connection is cut in the middle again and again, and once goes silent; the import goes on by itself.
func TestAnImportGoesOnByItselfWhenTheConnectionBreaks(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, 2100)
	job, journal := r.job(false)
	job.Answer = 2 * time.Second
	// Five answers at most can be under way when the first of a stream is told, so that four streams that are broken there
	// never come to the end of thirty.
	job.CutAfter(70)
	answers, broken, first := 0, 0, true
	job.Progress = func(uint64, uint64) {
		answers++
		if first && broken < 4 {
			if broken == 2 {
				r.stall(true)
			} else {
				r.cut()
			}
		}
		first = false
	}
	job.Broken = func(error) {
		broken++
		first = true
		r.stall(false)
	}
	summary, err := job.Run(t.Context())
	check(t, err)
	check(t, journal.Close(true))
	r.whole(summary)
	if broken < 4 || answers != 30 {
		t.Errorf("broken %d times, %d answers", broken, answers)
	}
}

// The program is killed in the middle again and again, also between what it writes down; each time the same command goes on.
func TestTheSameCommandGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, 2100)
	dry, journal := r.job(true)
	summary, err := dry.Run(t.Context())
	check(t, err)
	check(t, journal.Close(true))
	if in := summary.GetImport(); in.GetCreated() != 2070 || in.GetFailed() != 30 {
		t.Errorf("dry: %v", in)
	}
	if lot, err := r.direct.Partner.Devices.GetLot(t.Context(), &devicesv1.GetLotRequest{Name: r.lot}); err != nil || lot.GetDeviceCount() != 0 {
		t.Fatalf("a dry run writes: %v %v", lot, err)
	}
	for kill := 1; ; kill++ {
		job, journal := r.job(false)
		if kill > 1 && journal.Chunk() == 0 {
			t.Errorf("run %d begins anew", kill)
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := kill%3 + 1
		job.Progress = func(uint64, uint64) {
			if left--; left == 0 {
				cancel()
			}
		}
		summary, err := job.Run(ctx)
		cancel()
		if err == nil {
			check(t, journal.Close(true))
			r.whole(summary)
			break
		}
		check(t, journal.Close(false))
		r.tear(kill)
	}
	job, journal := r.job(false)
	again, err := job.Run(t.Context())
	check(t, err)
	check(t, journal.Close(true))
	r.whole(again)
}

// tear leaves the files as a kill in the middle of writing would: refused rows that are not noted, or no note at all.
func (r *registry) tear(n int) {
	r.t.Helper()
	f, err := os.OpenFile(r.refused(), os.O_APPEND|os.O_WRONLY, 0o600)
	check(r.t, err)
	_, err = io.WriteString(f, "0000,4,half of a li")
	check(r.t, err)
	check(r.t, f.Close())
	if n == 2 {
		job, journal := r.job(false)
		check(r.t, journal.Close(false))
		if job.Journal.Chunk() == 0 {
			r.t.Error("the note is lost")
		}
	}
}

func TestAnImportThatCannotGoOnSaysWhy(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, 10)
	for want, spoil := range map[codes.Code]func(*bulk.Import){
		codes.NotFound:         func(i *bulk.Import) { i.Header.Lot = sandbox.Partner + "/lots/77" },
		codes.PermissionDenied: func(i *bulk.Import) { i.Header.Lot = "partners/other/lots/9" },
		codes.InvalidArgument:  func(i *bulk.Import) { i.Header.ImportId = "with space" },
		codes.Unavailable: func(i *bulk.Import) {
			i.Patience, i.Answer = 300*time.Millisecond, time.Second
			r.stall(true)
			r.cut()
		},
	} {
		job, journal := r.job(false)
		spoil(job)
		if _, err := job.Run(t.Context()); status.Code(err) != want {
			t.Errorf("%v, want %v", err, want)
		}
		check(t, journal.Close(false))
		r.stall(false)
	}
	job, journal := r.job(false)
	if _, err := bulk.OpenJournal(r.refused(), "other", job.File); err == nil || !strings.Contains(err.Error(), "another import") {
		t.Errorf("two imports write one file: %v", err)
	}
	if _, err := bulk.OpenJournal(r.file, "other", job.File); err == nil || !strings.Contains(err.Error(), "is the file that is imported") {
		t.Errorf("the file is overwritten: %v", err)
	}
	check(t, journal.Close(true))
}

// relay stands between client and registry and cuts or holds up what passes.
type relay struct {
	addr string

	mu    sync.Mutex
	cond  *sync.Cond
	held  bool
	conns []net.Conn
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	r := &relay{addr: lis.Addr().String()}
	r.cond = sync.NewCond(&r.mu)
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = lis.Close()
		r.stall(false)
		r.cut()
		running.Wait()
	})
	running.Go(func() {
		for {
			in, err := lis.Accept()
			if err != nil {
				return
			}
			out, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", target)
			if err != nil {
				_ = in.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, in, out)
			r.mu.Unlock()
			running.Go(func() { r.pass(in, out) })
			running.Go(func() { r.pass(out, in) })
		}
	})
	return r
}

func (r *relay) pass(from, to net.Conn) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		r.mu.Lock()
		for r.held {
			r.cond.Wait()
		}
		r.mu.Unlock()
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// cut breaks all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
}

// stall holds everything up, or lets it go on.
func (r *relay) stall(held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = held
	r.cond.Broadcast()
}
