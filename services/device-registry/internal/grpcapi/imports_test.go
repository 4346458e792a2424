package grpcapi_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
)

const listedLot = "partners/acme/lots/9"

func (w *world) listedLot(hold bool) {
	w.t.Helper()
	must(w, w.as("acme").CreateLot, &devicesv1.CreateLotRequest{
		Parent: "partners/acme", LotNo: 9, Model: "partners/acme/models/w1", Suite: 1, KeyEpoch: 4, RequestId: "listed",
		Kind: devicesv1.LotKind_LOT_KIND_LISTED, Hold: hold,
	})
}

func row(n uint64) *devicesv1.ImportRow {
	return &devicesv1.ImportRow{Uid: wire.NewRangeUID(7, 500, n).String()}
}

func rows(n int) []*devicesv1.ImportRow {
	out := make([]*devicesv1.ImportRow, n)
	for i := range out {
		out[i] = row(uint64(i))
	}
	return out
}

// digestOf follows the words of the contract, not the code under test.
func digestOf(rows []*devicesv1.ImportRow) []byte {
	h := sha256.New()
	short := func(s string) { h.Write(append([]byte{byte(len(s))}, s...)) }
	for _, r := range rows {
		short(r.GetUid())
		h.Write([]byte{byte(r.GetSuite())})
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(r.GetKeyEpoch())))
		short(string(r.GetPublicKey()))
		h.Write([]byte{byte(len(r.GetLabels()))})
		for _, k := range slices.Sorted(maps.Keys(r.GetLabels())) {
			short(k)
			short(r.GetLabels()[k])
		}
	}
	return h.Sum(nil)
}

func header(id string, rows []*devicesv1.ImportRow) *devicesv1.ImportHeader {
	return &devicesv1.ImportHeader{
		ImportId: id, Lot: listedLot, ExpectedRows: uint64(len(rows)), Digest: digestOf(rows), Mode: devicesv1.ImportMode_IMPORT_MODE_UPSERT_SAME,
	}
}

// importing is a stream of ImportDevices.
type importing struct {
	t      testing.TB
	stream devicesv1.DeviceRegistryService_ImportDevicesClient
}

func (w *world) open(ctx context.Context, h *devicesv1.ImportHeader) importing {
	w.t.Helper()
	stream, err := w.as("acme").ImportDevices(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	in := importing{w.t, stream}
	in.send(&devicesv1.ImportDevicesRequest{Message: &devicesv1.ImportDevicesRequest_Header{Header: h}})
	return in
}

func (in importing) send(m *devicesv1.ImportDevicesRequest) {
	in.t.Helper()
	if err := in.stream.Send(m); err != nil && !errors.Is(err, io.EOF) { // EOF: Recv says why
		in.t.Fatal(err)
	}
}

func (in importing) chunk(sequence uint64, rows []*devicesv1.ImportRow) {
	in.t.Helper()
	in.send(&devicesv1.ImportDevicesRequest{Message: &devicesv1.ImportDevicesRequest_Chunk{Chunk: &devicesv1.ImportChunk{Sequence: sequence, Rows: rows}}})
}

func (in importing) finish() {
	in.t.Helper()
	in.send(&devicesv1.ImportDevicesRequest{Message: &devicesv1.ImportDevicesRequest_Finish{Finish: &devicesv1.ImportFinish{}}})
}

func (in importing) recv() *devicesv1.ImportDevicesResponse {
	in.t.Helper()
	answer, err := in.stream.Recv()
	if err != nil {
		in.t.Fatal(err)
	}
	return answer
}

func (in importing) refused(kind fault.Kind, reason, field string) {
	in.t.Helper()
	for {
		_, err := in.stream.Recv()
		if err == nil {
			continue
		}
		if f, _ := fault.As(err); f == nil || f.Kind != kind || f.Reason != reason || f.Field != field {
			in.t.Errorf("%v, want %s %s %q", err, kind, reason, field)
		}
		return
	}
}

// bring imports the rows in chunks and returns the failures and the summary.
func (w *world) bring(h *devicesv1.ImportHeader, rows []*devicesv1.ImportRow, size int) ([]*devicesv1.RowFailure, *devicesv1.ImportSummary) {
	w.t.Helper()
	in := w.open(w.t.Context(), h)
	next := in.recv().GetResume().GetLastSequence()
	chunks := slices.Collect(slices.Chunk(rows, size))
	var failures []*devicesv1.RowFailure
	for ; int(next) < len(chunks); next++ {
		in.chunk(next+1, chunks[next])
		ack := in.recv().GetAck()
		if ack.GetSequence() != next+1 {
			w.t.Fatalf("ack is %v", ack)
		}
		failures = append(failures, ack.GetFailures()...)
	}
	in.finish()
	summary := in.recv().GetSummary()
	if _, err := in.stream.Recv(); !errors.Is(err, io.EOF) {
		w.t.Errorf("after the summary: %v", err)
	}
	return failures, summary
}

func onBothWorlds(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		t.Run(string(dialect), func(t *testing.T) { test(t, newWorldOn(t, dialect, quota.Amounts{})) })
	}
}

func TestAnImportBringsExactlyItsRows(t *testing.T) {
	onBothWorlds(t, func(t *testing.T, w *world) {
		w.listedLot(true)
		ed, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		all := rows(701)
		all[3].Suite, all[3].PublicKey, all[3].KeyEpoch = devicesv1.Suite_SUITE_ED25519, ed, 9
		all[4].Labels = map[string]string{"batch": "b-7", "site": "Łódź"}
		failures, summary := w.bring(header("i1", all), all, 250)
		if len(failures) != 0 || summary.GetImport().GetCreated() != 701 || summary.GetImport().GetState() != devicesv1.ImportState_IMPORT_STATE_COMPLETE ||
			string(summary.GetDigest()) != string(digestOf(all)) {
			t.Errorf("%v %v", failures, summary)
		}
		get := func(n int) *devicesv1.Device {
			return must(w, w.as("acme").GetDevice, &devicesv1.GetDeviceRequest{Name: "partners/-/devices/" + all[n].GetUid()})
		}
		if d := get(3); d.GetSuite() != 4 || d.GetState() != devicesv1.DeviceState_DEVICE_STATE_REGISTERED || d.GetLot() != listedLot ||
			len(d.GetCredentials()) != 1 || string(d.GetCredentials()[0].GetPublicKey()) != string(ed) {
			t.Errorf("%v", d)
		}
		if d := get(4); d.GetLabels()["site"] != "Łódź" || d.GetSuite() != 1 {
			t.Errorf("%v", d)
		}
		must(w, w.as("acme").ReleaseLot, &devicesv1.ReleaseLotRequest{Name: listedLot, RequestId: "release"})
		if d := get(700); d.GetState() != devicesv1.DeviceState_DEVICE_STATE_AVAILABLE || d.GetAuthEpoch() != 2 {
			t.Errorf("after the release: %v", d)
		}
		lot := must(w, w.as("acme").GetLot, &devicesv1.GetLotRequest{Name: listedLot})
		quota := must(w, w.as("acme").GetQuota, &devicesv1.GetQuotaRequest{Name: "partners/acme/quota"})
		if lot.GetDeviceCount() != 701 || quota.GetDevices() != 1000+701 || quota.GetLots() != 2 || quota.GetModels() != 1 {
			t.Errorf("%v %v", lot, quota)
		}
		got := must(w, w.as("operator").GetImport, &devicesv1.GetImportRequest{Name: "partners/acme/imports/i1"})
		if diff := cmp.Diff(summary.GetImport(), got, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
		// Once more from the start: finished already, and the same summary.
		if _, again := w.bring(header("i1", all), all, 250); !proto.Equal(again, summary) {
			t.Errorf("again: %v", again)
		}
		// Under another id everything is there and equal, and with CREATE_ONLY everything fails.
		if failures, again := w.bring(header("i2", all), all, 100); len(failures) != 0 || again.GetImport().GetUnchanged() != 701 {
			t.Errorf("%d failures, %v", len(failures), again)
		}
		only := header("i3", all)
		only.Mode = devicesv1.ImportMode_IMPORT_MODE_CREATE_ONLY
		if failures, again := w.bring(only, all, 701); len(failures) != 701 || failures[0].GetReason() != "DEVICE_EXISTS" || again.GetImport().GetFailed() != 701 {
			t.Errorf("%d failures, %v", len(failures), again)
		}
	})
}

func TestWhatIsWrongWithARowFailsThatRowAlone(t *testing.T) {
	onBothWorlds(t, func(t *testing.T, w *world) {
		w.listedLot(false)
		first := rows(2)
		w.bring(header("first", first), first, 10)
		bad := []struct {
			reason string
			row    *devicesv1.ImportRow
		}{
			{"", row(100)},
			{"UID_INVALID", &devicesv1.ImportRow{Uid: "z" + row(1).GetUid()[1:]}},
			{"UID_INVALID", &devicesv1.ImportRow{Uid: strings.ToUpper(wire.NewRangeUID(7, 500, 77<<20).String()) + "A"}},
			{"UID_INVALID", &devicesv1.ImportRow{}},
			{"UID_OUTSIDE_PARTNER", &devicesv1.ImportRow{Uid: wire.NewRangeUID(8, 1, 1).String()}},
			{"UID_IN_RANGE_LOT", &devicesv1.ImportRow{Uid: uid(1500)}},
			{"SUITE_NOT_SUPPORTED", &devicesv1.ImportRow{Uid: row(101).GetUid(), Suite: 2}},
			{"SUITE_NOT_SUPPORTED", &devicesv1.ImportRow{Uid: row(101).GetUid(), Suite: 255}},
			{"CREDENTIAL_REQUIRED", &devicesv1.ImportRow{Uid: row(101).GetUid(), Suite: 4}},
			{"CREDENTIAL_INVALID", &devicesv1.ImportRow{Uid: row(101).GetUid(), Suite: 4, PublicKey: append([]byte{1}, make([]byte, 31)...)}},
			{"CREDENTIAL_INVALID", &devicesv1.ImportRow{Uid: row(101).GetUid(), PublicKey: make([]byte, 32)}},
			{"LABELS_INVALID", &devicesv1.ImportRow{Uid: row(101).GetUid(), Labels: map[string]string{"Batch": "x"}}},
			{"ROW_REPEATED", row(100)},
			{"DEVICE_CONFLICT", &devicesv1.ImportRow{Uid: first[0].GetUid(), KeyEpoch: 5}},
			{"DEVICE_CONFLICT", &devicesv1.ImportRow{Uid: first[0].GetUid(), Labels: map[string]string{"a": "b"}}}, // repeated too, but differs first
			{"", row(102)},
		}
		bad[14].reason = "ROW_REPEATED"
		var all []*devicesv1.ImportRow
		want := map[uint32]string{}
		for i, b := range bad {
			all = append(all, b.row)
			if b.reason != "" {
				want[uint32(i)] = b.reason
			}
		}
		h := header("bad", all)
		dry := proto.Clone(h).(*devicesv1.ImportHeader)
		dry.ValidateOnly = true
		for _, h := range []*devicesv1.ImportHeader{dry, h} {
			failures, summary := w.bring(h, all, 50)
			got := map[uint32]string{}
			for _, f := range failures {
				got[f.GetRow()] = f.GetReason()
				if f.GetUid() != all[f.GetRow()].GetUid() || f.GetMessage() == "" {
					t.Errorf("%v", f)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" || summary.GetImport().GetCreated() != 2 || summary.GetImport().GetFailed() != uint64(len(want)) {
				t.Errorf("dry %t: %v %s", h.GetValidateOnly(), summary, diff)
			}
		}
		if n := w.count(`SELECT count(*) FROM devices`); n != 4 {
			t.Errorf("%d devices", n)
		}
		if n := w.count(`SELECT count(*) FROM imports`); n != 2 {
			t.Errorf("%d imports", n)
		}
	})
}

func (w *world) count(query string, args ...any) int {
	w.t.Helper()
	var n int
	if err := w.db.QueryRowContext(w.t.Context(), query, args...).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// The stream breaks again and again: before an answer is read, after it, between chunks. Each chunk counts once.
func TestAnImportThatBreaksGoesOnWhereItWas(t *testing.T) {
	onBothWorlds(t, func(t *testing.T, w *world) {
		w.listedLot(false)
		all := rows(3000)
		all[7].KeyEpoch, all[7].Suite = 0, 2 // a row that fails, whose failure must not be lost with an answer
		h := header("broken", all)
		chunks := slices.Collect(slices.Chunk(all, 100))
		acked, attempts := uint64(0), 0
		failed := map[string]string{}
		for acked < uint64(len(chunks)) {
			attempts++
			ctx, cancel := context.WithCancel(t.Context())
			in := w.open(ctx, h)
			if last := in.recv().GetResume().GetLastSequence(); last < acked {
				t.Fatalf("resumes at %d after ack of %d", last, acked)
			}
			sent := acked
			for i := 0; i < 1+attempts%4 && sent < uint64(len(chunks)); i++ {
				sent++
				in.chunk(sent, chunks[sent-1])
			}
			for acked < sent-uint64(attempts%2) { // every other time one answer stays unread
				ack := in.recv().GetAck()
				if acked++; ack.GetSequence() != acked {
					t.Fatalf("ack %v, want %d", ack, acked)
				}
				for _, f := range ack.GetFailures() {
					failed[f.GetUid()] = f.GetReason()
				}
			}
			cancel()
		}
		_, summary := w.bring(h, all, 100)
		if got := summary.GetImport(); got.GetCreated() != 2999 || got.GetFailed() != 1 || got.GetLastSequence() != 30 {
			t.Errorf("%v", got)
		}
		if diff := cmp.Diff(map[string]string{all[7].GetUid(): "SUITE_NOT_SUPPORTED"}, failed); diff != "" {
			t.Error(diff)
		}
		if n := w.count(`SELECT count(*) FROM devices`); n != 2999 || attempts < 10 {
			t.Errorf("%d devices after %d attempts", n, attempts)
		}
		if n := w.count(`SELECT count(*) FROM audit_entries WHERE subject = 'lots/acme/9'`); n != 31 {
			t.Errorf("%d entries of the lot", n)
		}
	})
}

// Chunks that arrive faster than they are written go into one transaction, and yet each is answered as if it came alone.
func TestChunksThatComeAtOnceAreAnsweredOneByOne(t *testing.T) {
	onBothWorlds(t, func(t *testing.T, w *world) {
		w.listedLot(false)
		w.bring(header("before", rows(3)), rows(3), 3)
		all := rows(12)
		all[8] = all[5] // in two chunks
		h := header("at-once", all)
		answers := func() (got []string) {
			in := w.open(t.Context(), h)
			in.recv()
			for i, c := range slices.Collect(slices.Chunk(all, 2)) {
				in.chunk(uint64(i+1), c)
			}
			in.chunk(8, all[:1])
			for range 6 {
				a := in.recv().GetAck()
				text := fmt.Sprint(a.GetSequence(), ": ", a.GetCreated(), "+", a.GetUnchanged())
				for _, f := range a.GetFailures() {
					text += fmt.Sprint(" ", f.GetRow(), f.GetReason())
				}
				got = append(got, text)
			}
			in.refused(fault.FailedPrecondition, "IMPORT_SEQUENCE_GAP", "chunk.sequence")
			return got
		}
		want := []string{"1: 0+2", "2: 1+1", "3: 2+0", "4: 2+0", "5: 1+1", "6: 2+0"}
		for range 2 { // the second time each is answered as the first time
			if diff := cmp.Diff(want, answers()); diff != "" {
				t.Error(diff)
			}
		}
		lot := must(w, w.as("acme").GetLot, &devicesv1.GetLotRequest{Name: listedLot})
		check := w.verify("operator", listedLot, 0, 0, nil)
		if n := w.count(`SELECT count(*) FROM devices`); n != 11 || lot.GetDeviceCount() != 11 || check.GetVerifiedEntries() != 8 || !check.GetIntact() {
			t.Errorf("%d devices, %v, %v", n, lot, check)
		}
	})
}

func TestImportsThatCannotBe(t *testing.T) {
	w := newWorld(t)
	w.listedLot(false)
	all := rows(20)
	good := header("good", all)
	spoiled := func(spoil func(*devicesv1.ImportHeader)) *devicesv1.ImportHeader { return with(good, spoil) }
	ctx := t.Context()
	for field, spoil := range map[string]func(*devicesv1.ImportHeader){
		"header.import_id":     func(h *devicesv1.ImportHeader) { h.ImportId = "with space" },
		"header.lot":           func(h *devicesv1.ImportHeader) { h.Lot = "lots/9" },
		"header.expected_rows": func(h *devicesv1.ImportHeader) { h.ExpectedRows = 0 },
		"header.digest":        func(h *devicesv1.ImportHeader) { h.Digest = h.GetDigest()[1:] },
		"header.mode":          func(h *devicesv1.ImportHeader) { h.Mode = 3 },
	} {
		w.open(ctx, spoiled(spoil)).refused(fault.Invalid, "INVALID_FIELD", field)
	}
	w.open(ctx, spoiled(func(h *devicesv1.ImportHeader) { h.Lot = "partners/acme/lots/8" })).refused(fault.NotFound, "LOT_NOT_FOUND", "")
	w.open(ctx, spoiled(func(h *devicesv1.ImportHeader) { h.Lot = "partners/zenith/lots/9" })).refused(fault.PermissionDenied, "CALLER_NOT_ALLOWED", "")
	w.open(ctx, spoiled(func(h *devicesv1.ImportHeader) { h.Lot = "partners/acme/lots/3" })).refused(fault.FailedPrecondition, "LOT_IS_RANGE", "header.lot")

	in := w.open(ctx, good)
	in.chunk(1, all[:5])
	in.chunk(3, all[5:10])
	in.refused(fault.FailedPrecondition, "IMPORT_SEQUENCE_GAP", "chunk.sequence")
	in = w.open(ctx, good)
	in.chunk(1, all[:6])
	in.refused(fault.FailedPrecondition, "IMPORT_CHUNK_MISMATCH", "chunk.rows")
	in = w.open(ctx, good)
	in.chunk(2, rows(16))
	in.refused(fault.FailedPrecondition, "IMPORT_TOO_LONG", "")
	in = w.open(ctx, good)
	in.finish()
	in.refused(fault.FailedPrecondition, "IMPORT_INCOMPLETE", "")
	in = w.open(ctx, good)
	in.send(&devicesv1.ImportDevicesRequest{Message: &devicesv1.ImportDevicesRequest_Header{Header: good}})
	in.refused(fault.FailedPrecondition, "IMPORT_HEADER_REQUIRED", "header")
	in = w.open(ctx, good)
	in.send(&devicesv1.ImportDevicesRequest{})
	in.refused(fault.Invalid, "INVALID_FIELD", "message")
	in = w.open(ctx, good)
	in.chunk(2, rows(2001))
	in.refused(fault.Invalid, "INVALID_FIELD", "chunk.rows")
	in = w.open(ctx, good)
	in.chunk(0, all[:1])
	in.refused(fault.Invalid, "INVALID_FIELD", "chunk.sequence")
	for field, r := range map[string]*devicesv1.ImportRow{
		"uid": {Uid: strings.Repeat("0", 256)}, "suite": {Suite: 256}, "key_epoch": {KeyEpoch: 65536}, "public_key": {PublicKey: make([]byte, 256)},
		"labels": {Labels: map[string]string{"a": strings.Repeat("b", 256)}},
	} {
		in = w.open(ctx, good)
		in.chunk(2, []*devicesv1.ImportRow{row(5), r})
		in.refused(fault.Invalid, "INVALID_FIELD", "chunk.rows[1]."+field)
	}
	stream, err := w.as("acme").ImportDevices(ctx)
	if err != nil {
		t.Fatal(err)
	}
	early := importing{t, stream}
	early.finish()
	early.refused(fault.FailedPrecondition, "IMPORT_HEADER_REQUIRED", "header")
	for _, spoil := range []func(*devicesv1.ImportHeader){
		func(h *devicesv1.ImportHeader) { h.Mode = 1 }, func(h *devicesv1.ImportHeader) { h.ExpectedRows++ },
		func(h *devicesv1.ImportHeader) { h.Digest = make([]byte, 32) },
	} {
		w.open(ctx, spoiled(spoil)).refused(fault.FailedPrecondition, "IMPORT_MISMATCH", "")
	}
	wrong := spoiled(func(h *devicesv1.ImportHeader) { h.ImportId, h.Digest = "wrong", make([]byte, 32) })
	in = w.open(ctx, wrong)
	in.chunk(1, all)
	in.finish()
	in.refused(fault.FailedPrecondition, "IMPORT_DIGEST_MISMATCH", "")

	must(w, w.as("acme").RecallLot, &devicesv1.RecallLotRequest{Name: listedLot, Note: "cracked", RequestId: "r"})
	w.open(ctx, good).refused(fault.FailedPrecondition, "LOT_RECALLED", "")
	refuse(w, w.as("acme").GetImport, &devicesv1.GetImportRequest{Name: "partners/acme/imports/none"}, fault.NotFound, "IMPORT_NOT_FOUND")
	refuse(w, w.as("zenith").GetImport, &devicesv1.GetImportRequest{Name: "partners/acme/imports/good"}, fault.NotFound, "IMPORT_NOT_FOUND")
	refuse(w, w.as("acme").GetImport, &devicesv1.GetImportRequest{Name: "imports/good"}, fault.Invalid, "INVALID_FIELD", "name")
}

func TestAnImportRacesARecall(t *testing.T) {
	onBothWorlds(t, func(t *testing.T, w *world) {
		w.listedLot(false)
		all := rows(4000)
		in := w.open(t.Context(), header("race", all))
		in.recv()
		recalled := make(chan error, 1)
		go func() {
			_, err := w.as("operator").RecallLot(t.Context(), &devicesv1.RecallLotRequest{Name: listedLot, Note: "fire", RequestId: "r"})
			recalled <- err
		}()
		for i, c := range slices.Collect(slices.Chunk(all, 50)) {
			in.chunk(uint64(i+1), c)
		}
		created := 0
		for {
			answer, err := in.stream.Recv()
			if err != nil {
				if fault.ReasonOf(err) != "LOT_RECALLED" {
					t.Error(err)
				}
				break
			}
			if created += int(answer.GetAck().GetCreated()); created == len(all) {
				break // the import won throughout
			}
		}
		if err := <-recalled; err != nil {
			t.Fatal(err)
		}
		lot := must(w, w.as("acme").GetLot, &devicesv1.GetLotRequest{Name: listedLot})
		got := must(w, w.as("acme").GetImport, &devicesv1.GetImportRequest{Name: "partners/acme/imports/race"})
		n := w.count(`SELECT count(*) FROM devices`)
		if uint64(n) != lot.GetDeviceCount() || uint64(n) != got.GetCreated() || n < created || lot.GetState() != devicesv1.LotState_LOT_STATE_RECALLED {
			t.Errorf("%d devices, %d acknowledged, %v, %v", n, created, lot, got)
		}
		entries := must(w, w.as("operator").ListAuditEntries, &devicesv1.ListAuditEntriesRequest{Parent: listedLot, PageSize: 1000}).GetAuditEntries()
		recalls := 0
		for i, e := range entries {
			if e.GetAction() == "lot.recalled" {
				recalls++
				if i != len(entries)-1 {
					t.Error("something was imported after the recall")
				}
			}
		}
		if recalls != 1 || uint64(len(entries)) != 2+got.GetLastSequence() {
			t.Errorf("%d recalls, %d entries, %d chunks", recalls, len(entries), got.GetLastSequence())
		}
	})
}

func TestQuotas(t *testing.T) {
	w := newWorldOn(t, sqldb.SQLite, quota.Amounts{Models: 2, Lots: 2, Devices: 1010})
	acme := w.as("acme")
	w.listedLot(false)
	must(w, acme.CreateModel, modelRequest("w2", "q1"))
	refuse(w, acme.CreateModel, modelRequest("w3", "q2"), fault.ResourceExhausted, "QUOTA_EXCEEDED")
	refuse(w, acme.CreateLot, lotRequest(50, "q3"), fault.ResourceExhausted, "QUOTA_EXCEEDED")
	all := rows(11)
	in := w.open(t.Context(), header("q", all))
	in.chunk(1, all[:9])
	in.chunk(2, all[9:])
	in.refused(fault.ResourceExhausted, "QUOTA_EXCEEDED", "")
	device := func(n uint64) *devicesv1.CreateDeviceRequest {
		return &devicesv1.CreateDeviceRequest{
			Parent: "partners/acme", Uid: wire.NewRangeUID(7, 501, n).String(), Model: "partners/acme/models/w1", Suite: 1, KeyEpoch: 1,
			RequestId: fmt.Sprint("d", n),
		}
	}
	must(w, acme.CreateDevice, device(1))
	refuse(w, acme.CreateDevice, device(2), fault.ResourceExhausted, "QUOTA_EXCEEDED")
	got := must(w, acme.GetQuota, &devicesv1.GetQuotaRequest{Name: "partners/acme/quota"})
	want := &devicesv1.Quota{Name: "partners/acme/quota", ModelLimit: 2, Models: 2, LotLimit: 2, Lots: 2, DeviceLimit: 1010, Devices: 1010}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	refuse(w, w.as("zenith").GetQuota, &devicesv1.GetQuotaRequest{Name: "partners/acme/quota"}, fault.PermissionDenied, "CALLER_NOT_ALLOWED")
	refuse(w, acme.GetQuota, &devicesv1.GetQuotaRequest{Name: "partners/acme"}, fault.Invalid, "INVALID_FIELD", "name")
	if none := must(w, w.as("operator").GetQuota, &devicesv1.GetQuotaRequest{Name: "partners/zenith/quota"}); none.GetDevices() != 0 {
		t.Errorf("%v", none)
	}
}
