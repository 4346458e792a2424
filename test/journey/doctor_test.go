package journey

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/armlet-pay/armlet/platform/sqldb"
	statusv1 "github.com/armlet-pay/armlet/proto/gen/armlet/status/v1"
)

// TestTheDoctorNamesWhatIsBroken breaks one part of a running deployment after the other, and has it examined from outside.
func TestTheDoctorNamesWhatIsBroken(t *testing.T) {
	t.Parallel()
	var parts *processes
	d := startProcesses(t, func(dir, service string) string { return "sqlite:" + filepath.Join(dir, service+".db") },
		func(s *processes) map[string]map[string]string { parts = s; return nil })
	w := newWorld(t, d)
	w.newWearer(20_00)
	at, err := json.Marshal(d.at)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(d.dir, "endpoints.json"), at, 0o600))

	for _, target := range []string{d.at.Devices, d.at.Auth, d.at.Payments, d.at.Notify} {
		w.partnerSeesNoStatus(t, target)
	}
	core := streamsOf(t, parts)
	// The test's certificates last for a day.
	if bad := examine(t, parts, 0); len(bad) != 4 || !strings.HasPrefix(bad["auth/certificate"], "warn") || !strings.Contains(bad["auth/certificate"], "in 0 days") {
		t.Errorf("before anything is broken: %v", bad)
	}

	change(t, d, "payments", `UPDATE ledger_accounts SET posted_credits = posted_credits + 1 WHERE id LIKE 'wallet/%'`)
	bad := examine(t, parts, 1)
	if !strings.Contains(bad["ledger/trial balance"], "sum of its postings") || !strings.Contains(bad["ledger/chain"], "wallet/") || len(bad) != 6 {
		t.Errorf("a balance was changed: %v", bad)
	}
	change(t, d, "notify", `DELETE FROM schema_migrations WHERE version = (SELECT MAX(version) FROM schema_migrations)`)
	if bad = examine(t, parts, 1); !strings.HasPrefix(bad["notify/migrations"], "fail the database has") || len(bad) != 7 {
		t.Errorf("a migration is missing: %v", bad)
	}

	must(t, core.DeleteStream(t.Context(), "EVT_DEVICES"))
	if bad = examine(t, parts, 1); !strings.Contains(bad["nats/streams"], "missing: EVT_DEVICES") || len(bad) != 8 {
		t.Errorf("a stream is missing: %v", bad)
	}

	parts.server.Kill()
	w.newWearer(5_00) // waits in the outbox
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if bad = examine(t, parts, 1); strings.Contains(bad["nats/streams"], "NATS") && strings.Contains(bad["nats/partners' entrance"], "refused") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("NATS was killed: %v", bad)
		}
	}

	parts.kill("device-registry")
	if bad = examine(t, parts, 1); !strings.Contains(bad["device-registry/serving"], "refused") || bad["payments/serving"] != "" || bad["payments/clock"] != "" {
		t.Errorf("device-registry was killed: %v", bad)
	}
}

func (w *world) partnerSeesNoStatus(t *testing.T, target string) {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(w.d.transport))
	must(t, err)
	defer conn.Close()
	token, err := w.tokens.Token(t.Context())
	must(t, err)
	ctx := metadata.AppendToOutgoingContext(callCtx(t), "authorization", "Bearer "+token)
	_, err = statusv1.NewStatusServiceClient(conn).GetStatus(ctx, &statusv1.GetStatusRequest{})
	wantRefused(t, err, codes.PermissionDenied, "CALLER_NOT_ALLOWED")
}

// examine returns all that is not ok, by part and check.
func examine(t *testing.T, s *processes, want int) map[string]string {
	t.Helper()
	code, out, errs := armlet(t, "doctor", "--ledger", "--timeout", "8s", "-o", "json", "--data", s.dir, "--tls-ca", s.pki.File)
	if code != want {
		t.Errorf("exit %d, want %d\n%s%s", code, want, out, errs)
	}
	var found []struct{ State, Part, Check, Found, Do string }
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("%v in %s%s", err, out, errs)
	}
	bad := map[string]string{}
	for _, f := range found {
		if f.State != "ok" {
			bad[f.Part+"/"+f.Check] = f.State + " " + f.Found
		}
		if (f.State == "ok") != (f.Do == "") {
			t.Errorf("what to do about %v?", f)
		}
	}
	return bad
}

// streamsOf is the services' account on NATS, once they have made their streams in it, which they do after they say that they are ready.
func streamsOf(t *testing.T, s *processes) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(fmt.Sprintf("nats://core:%s@%s", s.users["core"], s.nats))
	must(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must(t, err)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		missing := ""
		for _, name := range []string{"EVT_DEVICES", "EVT_AUTH", "EVT_PAYMENTS", "EVT_NOTIFY", "DLQ"} {
			if _, err := js.Stream(t.Context(), name); err != nil {
				missing += fmt.Sprintf(" %s: %v", name, err)
			}
		}
		if missing == "" {
			return js
		}
		if time.Now().After(deadline) {
			t.Fatalf("streams are missing:%s", missing)
		}
	}
}

// change writes into a service's database behind its back.
func change(t *testing.T, d *deployment, service, statement string) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(d.dir, service+".db"))
	must(t, err)
	_, err = db.ExecContext(t.Context(), statement)
	must(t, err)
	must(t, db.Close())
}
