package grpcapi_test

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/armlet-pay/armlet/platform/fault"
	devicesv1 "github.com/armlet-pay/armlet/proto/gen/armlet/devices/v1"
	"github.com/armlet-pay/armlet/proto/wire"
)

func (w *world) verify(caller, parent string, first, last int64, kept *devicesv1.AuditCheckpoint) *devicesv1.VerifyAuditRangeResponse {
	w.t.Helper()
	return must(w, w.as(caller).VerifyAuditRange, &devicesv1.VerifyAuditRangeRequest{Parent: parent, First: first, Last: last, Checkpoint: kept})
}

const (
	auditLog = "partners/-"
	lotThree = "partners/acme/lots/3"
)

// life makes five entries of a device.
func (w *world) life(serial uint64) {
	w.t.Helper()
	w.bind(serial, "alice")
	for i := range 2 {
		must(w, w.as("operator").SuspendDevice, &devicesv1.SuspendDeviceRequest{Name: name(serial), Reason: 3, RequestId: fmt.Sprintf("s%d-%d", i, serial)})
		must(w, w.as("operator").LiftSuspension, &devicesv1.LiftSuspensionRequest{Name: name(serial), Reason: 3, RequestId: fmt.Sprintf("l%d-%d", i, serial)})
	}
}

func TestAnUntouchedRecordIsIntact(t *testing.T) {
	onBothWorlds(t, func(t *testing.T, w *world) {
		w.life(1000)
		w.listedLot(false)
		all := rows(3)
		in := w.open(t.Context(), header("i", all))
		in.recv()
		in.chunk(1, all)
		in.recv()
		imported := "partners/acme/devices/" + all[0].GetUid()
		untouched := w.verify("acme", imported, 0, 0, nil)
		if !untouched.GetIntact() || untouched.GetVerifiedEntries() != 0 {
			t.Errorf("an imported device: %v", untouched)
		}
		must(w, w.as("operator").SuspendDevice, &devicesv1.SuspendDeviceRequest{Name: imported, Reason: 3, RequestId: "x"})
		kept := must(w, w.as("acme").GetAuditCheckpoint, &devicesv1.GetAuditCheckpointRequest{})
		must(w, w.as("operator").LiftSuspension, &devicesv1.LiftSuspensionRequest{Name: imported, Reason: 3, RequestId: "y"})
		for parent, entries := range map[string]int64{
			name(1000): 5, imported: 2, lotThree: 1, listedLot: 2, "partners/acme/models/w1": 1, name(1999): 0,
		} {
			if got := w.verify("acme", parent, 0, 0, nil); !got.GetIntact() || got.GetVerifiedEntries() != entries || got.GetBrokenAt() != 0 {
				t.Errorf("%s: %v, want %d entries", parent, got, entries)
			}
		}
		if got := w.verify("acme", name(1000), 2, 4, nil); !got.GetIntact() || got.GetVerifiedEntries() != 3 {
			t.Errorf("a piece: %v", got)
		}
		if got := w.verify("acme", name(1000), 4, 6, nil); got.GetDefect() != devicesv1.AuditDefect_AUDIT_DEFECT_ENTRY_MISSING || got.GetBrokenAt() != 6 {
			t.Errorf("beyond the end: %v", got)
		}
		total := int64(w.count(`SELECT count(*) FROM audit_entries`))
		if got := w.verify("operator", auditLog, 0, 0, kept); !got.GetIntact() || got.GetVerifiedEntries() != total || kept.GetPosition() != total-1 {
			t.Errorf("the log: %v of %d, checkpoint at %d", got, total, kept.GetPosition())
		}
		forged := proto.CloneOf(kept)
		forged.LogHash = make([]byte, 32)
		if got := w.verify("operator", auditLog, 0, 0, forged); got.GetDefect() != devicesv1.AuditDefect_AUDIT_DEFECT_CHECKPOINT_FORGED {
			t.Errorf("a forged checkpoint: %v", got)
		}
	})
}

// Whatever is changed behind the record's back is found, and where.
func TestARowChangedBehindItsBackIsFound(t *testing.T) {
	changed, missing := devicesv1.AuditDefect_AUDIT_DEFECT_ENTRY_CHANGED, devicesv1.AuditDefect_AUDIT_DEFECT_ENTRY_MISSING
	content, end := devicesv1.AuditDefect_AUDIT_DEFECT_CONTENT_CHANGED, devicesv1.AuditDefect_AUDIT_DEFECT_END_CHANGED
	differs := devicesv1.AuditDefect_AUDIT_DEFECT_CHECKPOINT_DIFFERS
	device := fmt.Sprintf(`subject = '%s'`, uid(1000))
	row := fmt.Sprintf(` WHERE uid = '%s'`, uid(1000))
	of := func(seq int) string { return fmt.Sprintf(` WHERE %s AND seq = %d`, device, seq) }
	for what, c := range map[string]struct {
		sql    string
		defect devicesv1.AuditDefect
		at     int64
		log    devicesv1.AuditDefect // what the check of the whole log finds, with a checkpoint
	}{
		"an entry's actor":            {`UPDATE audit_entries SET actor = 'operator/other'` + of(3), changed, 3, changed},
		"an entry's note":             {`UPDATE audit_entries SET note = 'x'` + of(1), changed, 1, changed},
		"an entry's time":             {`UPDATE audit_entries SET created_at = created_at + 1` + of(5), changed, 5, changed},
		"an entry's content hash":     {`UPDATE audit_entries SET content_hash = hash` + of(2), changed, 2, changed},
		"an entry is gone":            {`DELETE FROM audit_entries` + of(2), missing, 2, missing},
		"the last entry is gone":      {`DELETE FROM audit_entries` + of(5), missing, 5, differs},
		"the end is another":          {`UPDATE devices SET audit_hash = content_hash FROM audit_entries a WHERE a.subject = devices.uid AND a.seq = 5 AND devices.uid = '` + uid(1000) + `'`, end, 5, 0},
		"the device is bound no more": {`UPDATE bindings SET state = 3` + row, content, 5, 0},
		"the device's epoch":          {`UPDATE devices SET auth_epoch = 1` + row, content, 5, 0},
		"a suspension slipped in":     {`INSERT INTO suspensions VALUES ('` + uid(1000) + `', 3, 4, 1)`, content, 5, 0},
		"the account":                 {`UPDATE bindings SET account = 'bob'` + row, content, 5, 0},
		"an entry's place":            {`UPDATE audit_entries SET position = 1000` + of(3), 0, 0, missing},
		"the log's hash":              {`UPDATE audit_entries SET log_hash = hash` + of(3), 0, 0, changed},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.life(1000)
			w.bind(1001, "bob")
			kept := must(w, w.as("operator").GetAuditCheckpoint, &devicesv1.GetAuditCheckpointRequest{})
			if what == "the last entry is gone" { // from the log's end too, with its head set back
				must(w, w.as("operator").SuspendDevice, &devicesv1.SuspendDeviceRequest{Name: name(1000), Reason: 4, RequestId: "z"})
				kept = must(w, w.as("operator").GetAuditCheckpoint, &devicesv1.GetAuditCheckpointRequest{})
				w.exec(`DELETE FROM audit_entries` + of(6))
				w.exec(`UPDATE audit_head SET (position, hash) = (SELECT position, log_hash FROM audit_entries ORDER BY position DESC LIMIT 1)`)
				c.sql, c.at = `SELECT 1`, 6
			}
			w.exec(c.sql)
			if got := w.verify("acme", name(1000), 0, 0, nil); got.GetDefect() != c.defect || got.GetBrokenAt() != c.at || got.GetIntact() != (c.defect == 0) {
				t.Errorf("the device's record: %v", got)
			}
			if got := w.verify("operator", auditLog, 0, 0, kept); got.GetDefect() != c.log {
				t.Errorf("the log: %v", got)
			}
		})
	}
}

func (w *world) exec(query string) {
	w.t.Helper()
	if _, err := w.db.ExecContext(w.t.Context(), query); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
}

func TestAChangedLotOrModelIsFound(t *testing.T) {
	w := newWorld(t)
	w.exec(`UPDATE lots SET device_count = 2000`)
	w.exec(`UPDATE models SET min_svn = 0`)
	for _, parent := range []string{lotThree, "partners/acme/models/w1"} {
		if got := w.verify("operator", parent, 0, 0, nil); got.GetDefect() != devicesv1.AuditDefect_AUDIT_DEFECT_CONTENT_CHANGED || got.GetBrokenAt() != 1 {
			t.Errorf("%s: %v", parent, got)
		}
	}
}

func TestVerifyingRefusesNonsense(t *testing.T) {
	w := newWorld(t)
	v := w.as("operator").VerifyAuditRange
	kept := must(w, w.as("operator").GetAuditCheckpoint, &devicesv1.GetAuditCheckpointRequest{})
	refuse(w, v, &devicesv1.VerifyAuditRangeRequest{Parent: name(1000), First: 3, Last: 2}, fault.Invalid, "INVALID_FIELD", "last")
	refuse(w, v, &devicesv1.VerifyAuditRangeRequest{Parent: name(1000), First: -1}, fault.Invalid, "INVALID_FIELD", "first")
	refuse(w, v, &devicesv1.VerifyAuditRangeRequest{Parent: "lots/3"}, fault.Invalid, "INVALID_FIELD", "parent")
	refuse(w, v, &devicesv1.VerifyAuditRangeRequest{Parent: name(1000), Checkpoint: kept}, fault.Invalid, "INVALID_FIELD", "checkpoint")
	kept.Signature = kept.GetSignature()[1:]
	refuse(w, v, &devicesv1.VerifyAuditRangeRequest{Parent: auditLog, Checkpoint: kept}, fault.Invalid, "INVALID_FIELD", "checkpoint.signature")
	refuse(w, v, &devicesv1.VerifyAuditRangeRequest{Parent: "partners/acme/lots/77"}, fault.NotFound, "LOT_NOT_FOUND")
	refuse(w, v, &devicesv1.VerifyAuditRangeRequest{Parent: "partners/acme/models/none"}, fault.NotFound, "MODEL_NOT_FOUND")
	absent := "partners/acme/devices/" + wire.NewRangeUID(7, 77, 1).String()
	refuse(w, v, &devicesv1.VerifyAuditRangeRequest{Parent: absent}, fault.NotFound, "DEVICE_NOT_FOUND")
	refuse(w, w.as("acme").VerifyAuditRange, &devicesv1.VerifyAuditRangeRequest{Parent: auditLog}, fault.PermissionDenied, "CALLER_NOT_ALLOWED")
}
