package cli_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/armlet-pay/armlet/cmd/armlet/internal/cli"
	"github.com/armlet-pay/armlet/cmd/armlet/internal/suite"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/proto/wire"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shell runs the command line against one suite.
type shell struct {
	t   *testing.T
	dir string
}

func newShell(t *testing.T) shell {
	t.Helper()
	dir := t.TempDir()
	s, err := suite.Start(t.Context(), suite.Options{Data: dir, PortBase: testkit.PortBlock(t)})
	must(t, err)
	t.Cleanup(func() { must(t, s.Stop(context.WithoutCancel(t.Context()))) })
	return shell{t, dir}
}

// piped runs the command with a standard input.
func (s shell) piped(in string, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	var out, errs bytes.Buffer
	code = cli.Main(append(args, "--data", s.dir, "--timeout", "2m"), strings.NewReader(in), &out, &errs)
	return code, out.String(), errs.String()
}

// run wants the exit code, and a word of explanation with every one but 0.
func (s shell) run(want int, args ...string) (out, errs string) {
	s.t.Helper()
	code, out, errs := s.piped("", args...)
	if code != want || code != 0 && errs == "" {
		s.t.Errorf("armlet %s: exit %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, errs)
	}
	return out, errs
}

// json is run with -o json and exit code 0.
func (s shell) json(args ...string) map[string]any {
	s.t.Helper()
	out, _ := s.run(0, append(args, "-o", "json")...)
	return parseObject(s.t, out)
}

func parseObject(t *testing.T, text string) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, text)
	}
	return object
}

// bands writes a file of n rows of partner number 1, of which every hundredth is refused.
func bands(t *testing.T, n int) (path string, uids []string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("\ufeffuid,suite,labels.batch\r\n")
	for i := range n {
		uid := wire.NewRangeUID(1, 900, uint64(i)).String()
		suite := ""
		if i%100 == 0 {
			suite = "aes-cmac" // the model does not list it
		}
		fmt.Fprintf(&b, "%s,%s,b-7\r\n", uid, strings.ReplaceAll(strings.ToUpper(suite), "-", "_"))
		uids = append(uids, uid)
	}
	path = filepath.Join(t.TempDir(), "bands.csv")
	must(t, os.WriteFile(path, []byte(b.String()), 0o600))
	return path, uids
}

func TestTheCommandLineImportsALotOfBands(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.run(0, "devices", "models", "create", "b1", "--name", "B1", "--suites", "hmac-sha256,ed25519", "--sensors", "heart-rate", "--proximity", "rtt,nfc", "--display")
	s.run(0, "devices", "lots", "create", "9", "--model", "b1", "--listed", "--hold")
	file, uids := bands(t, 2100)
	refusedFile := strings.TrimSuffix(file, ".csv") + ".refused.csv"

	out, errs := s.run(3, "devices", "import", file, "--lot", "9", "--dry-run", "-o", "json")
	dry := parseObject(t, out)
	if dry["dry_run"] != true || dry["import"].(map[string]any)["created"] != "2079" || !strings.Contains(errs, "21 of 2100 rows were refused") { //nolint:forcetypeassert // the test may end here
		t.Errorf("%v\n%s", dry, errs)
	}
	if lot := s.json("devices", "lots", "get", "9"); lot["device_count"] != nil || lot["state"] != "LOT_STATE_HELD" {
		t.Errorf("after the dry run: %v", lot)
	}
	out, errs = s.run(3, "devices", "import", file, "--lot", "9", "-o", "json")
	done := parseObject(t, out)
	in := done["import"].(map[string]any) //nolint:forcetypeassert // the test may end here
	if in["created"] != "2079" || in["failed"] != "21" || in["state"] != "IMPORT_STATE_COMPLETE" || done["refused_file"] != refusedFile {
		t.Errorf("%v\n%s", done, errs)
	}
	s.run(0, "devices", "imported", in["name"].(string)) //nolint:forcetypeassert // the test may end here
	if lot := s.json("devices", "lots", "release", "9"); lot["device_count"] != "2079" || lot["state"] != "LOT_STATE_RELEASED" {
		t.Errorf("%v", lot)
	}

	// The refused rows are mended and imported in turn, from standard input.
	text, err := os.ReadFile(refusedFile)
	must(t, err)
	mended := strings.ReplaceAll(string(text), ",2,b-7", ",,b-7")
	code, stdout, stderr := s.piped(mended, "devices", "import", "-", "--lot", "9", "--refused", filepath.Join(s.dir, "none.csv"))
	if code != 0 || !strings.Contains(stdout, "21 rows: 21 created, 0 unchanged, 0 refused") || !strings.Contains(stderr, "21 of 21 rows, 0 refused") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "none.csv")); !os.IsNotExist(err) {
		t.Errorf("an empty file of refused rows: %v", err)
	}
	code, stdout, _ = s.piped(`{"uid":"`+uids[1]+`","labels":{"batch":"b-7"}}`+"\n"+`{"uid":"`+uids[2]+`"}`,
		"devices", "import", "-", "--lot", "9", "--refused", filepath.Join(s.dir, "x"), "-o", "json")
	if in := parseObject(t, stdout)["import"].(map[string]any); code != 3 || in["unchanged"] != "1" || in["failed"] != "1" { //nolint:forcetypeassert // the test may end here
		t.Errorf("exit %d %s", code, stdout)
	}
	if d := s.json("devices", "get", uids[0]); d["state"] != "DEVICE_STATE_AVAILABLE" || d["labels"].(map[string]any)["batch"] != "b-7" { //nolint:forcetypeassert // the test may end here
		t.Errorf("%v", d)
	}

	s.run(2, "devices", "import", file)
	s.run(2, "devices", "import", file, "--lot", "9", "--mode", "replace")
	s.run(1, "devices", "import", filepath.Join(s.dir, "none"), "--lot", "9")
	s.run(3, "devices", "import", file, "--lot", "1")
	s.run(3, "devices", "import", file, "--lot", "77")
	if code, _, errs := s.piped("uid,public_key\nx,zz\n", "devices", "import", "-", "--lot", "9"); code != 1 || !strings.Contains(errs, "line 2, column 2 (public_key)") {
		t.Errorf("exit %d %s", code, errs)
	}
}

func TestTheCommandLineLeadsBandsThroughTheirLife(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	tap := s.json("tap")
	device := tap["device"].(string)                                     //nolint:forcetypeassert // the test may end here
	first := s.json("devices", "lots", "get", "1")["first_uid"].(string) //nolint:forcetypeassert // the test may end here
	uid, err := wire.ParseUID(first)
	must(t, err)
	unseen := func(n uint64) string { return wire.NewRangeUID(uid.PartnerNo(), 1, uid.Serial()+n).String() }

	// Models act on all of their bands at once.
	s.run(0, "devices", "models", "create", "w2", "--name", "W2", "--suites", "ed25519", "--sensors", "heart-rate,capacitive")
	if m := s.json("devices", "models", "update", "w2", "--min-svn", "7", "--display"); m["min_svn"] != float64(7) || m["has_display"] != true || m["display_name"] != "W2" {
		t.Errorf("%v", m)
	}
	s.run(0, "devices", "models", "status", "w1", "blocked", "--note", "pays twice")
	s.run(3, "tap")
	if out, _ := s.run(0, "devices", "models", "list"); !strings.Contains(out, "BLOCKED") || !strings.Contains(out, "W2") {
		t.Error(out)
	}
	s.run(0, "devices", "models", "status", "w1", "active")
	s.run(0, "tap")
	s.run(2, "devices", "models", "status", "w1", "broken")
	s.run(2, "devices", "models", "create", "w3", "--suites", "rot13")
	s.run(3, "devices", "models", "update", "w2", "--min-svn", "8", "--etag", "old")
	s.run(3, "devices", "models", "get", "none")

	// Lots.
	s.run(0, "devices", "lots", "create", "7", "--model", "w1", "--first-serial", "10", "--count", "100", "--except", "20-29,40", "--hold")
	if l := s.json("devices", "lots", "get", "7"); l["state"] != "LOT_STATE_HELD" || len(l["exceptions"].([]any)) != 2 { //nolint:forcetypeassert // the test may end here
		t.Errorf("%v", l)
	}
	s.run(0, "devices", "get", wire.NewRangeUID(uid.PartnerNo(), 7, 19).String())
	s.run(3, "devices", "get", wire.NewRangeUID(uid.PartnerNo(), 7, 25).String())
	s.run(0, "devices", "lots", "release", "7")
	s.run(2, "devices", "lots", "recall", "7")
	s.run(0, "devices", "lots", "recall", "7", "--note", "cracked")
	s.run(3, "devices", "lots", "release", "7")
	s.run(2, "devices", "lots", "create", "8", "--model", "w1")
	s.run(2, "devices", "lots", "create", "x", "--model", "w1", "--listed")
	s.run(2, "devices", "lots", "create", "8", "--model", "w1", "--count", "9", "--except", "a-b")
	if out, _ := s.run(0, "devices", "lots", "list"); strings.Count(out, "partners/sandbox/lots/") != 2 {
		t.Error(out)
	}

	s.findsBands(device, unseen(5))
	s.suspends(device)
	s.endsBands(unseen)
	s.handsOn(device)
	s.provesTheRecord(device)
}

func (s shell) findsBands(device, unseen string) {
	s.t.Helper()
	bound := s.json("devices", "list", "--filter", "state = BOUND")["devices"].([]any)                                          //nolint:forcetypeassert // the test may end here
	ofLot := s.json("devices", "list", "--filter", `lot = "partners/sandbox/lots/1"`, "--page-size", "1000")["devices"].([]any) //nolint:forcetypeassert // the test may end here
	if len(bound) != 1 || len(ofLot) != 1000 {
		s.t.Errorf("%d bound, %d of the lot", len(bound), len(ofLot))
	}
	s.run(3, "devices", "list", "--filter", "color = red")
	if d := s.json("devices", "label", unseen, "batch=b-7", "site=Łódź"); d["labels"].(map[string]any)["site"] != "Łódź" { //nolint:forcetypeassert // the test may end here
		s.t.Errorf("%v", d)
	}
	if out, _ := s.run(0, "devices", "list", "--filter", `labels.batch = "b-7"`); !strings.Contains(out, unseen) {
		s.t.Error(out)
	}
	s.run(2, "devices", "label", unseen, "nonsense")
	s.run(0, "devices", "get", device, unseen)
	if out, errs := s.run(3, "devices", "get", device, strings.Repeat("0", 26)); !strings.Contains(out, device) || !strings.Contains(errs, strings.Repeat("0", 26)) {
		s.t.Errorf("%s%s", out, errs)
	}
	if out, _ := s.run(0, "devices", "watch", "--count", "1"); !strings.Contains(out, "partners/sandbox/devices/") {
		s.t.Error(out)
	}
	if q := s.json("devices", "quota"); q["lots"] != "2" || q["models"] != "2" {
		s.t.Errorf("%v", q)
	}
	if q := s.json("devices", "quota", "--lots", "2"); q["lot_limit"] != "2" || q["model_limit"] == nil {
		s.t.Errorf("%v", q)
	}
	s.run(3, "devices", "lots", "create", "55", "--model", "w1", "--listed")
	s.run(0, "devices", "quota", "--default")
	s.run(0, "devices", "lots", "create", "55", "--model", "w1", "--listed")
	s.run(3, "devices", "quota", "--bands", "-1")
	s.run(3, "devices", "imported", "none")
}

func (s shell) suspends(device string) {
	s.t.Helper()
	s.run(0, "devices", "suspend", device, "--reason", "risk", "--note", "case 17")
	s.run(0, "devices", "suspend", device, "--reason", "partner-hold", "--as", "partner")
	s.run(3, "tap")
	s.run(3, "devices", "lift", device, "--as", "partner") // risk is the operator's
	s.run(0, "devices", "lift", device, "--note", "closed")
	s.run(3, "tap")
	s.run(0, "devices", "lift", device, "--reason", "partner-hold", "--as", "partner")
	s.run(0, "tap")
	s.run(3, "devices", "lift", device)
	s.run(3, "devices", "suspend", device, "--reason", "partner-hold")
	s.run(2, "devices", "suspend", device, "--reason", "boredom")
	s.run(2, "devices", "suspend", device, "--as", "king")
}

func (s shell) endsBands(unseen func(uint64) string) {
	s.t.Helper()
	s.run(0, "devices", "retire", unseen(6), "--as", "partner")
	s.run(2, "devices", "revoke", unseen(7))
	if d := s.json("devices", "revoke", unseen(7), "--note", "stolen from the factory"); d["state"] != "DEVICE_STATE_REVOKED" {
		s.t.Errorf("%v", d)
	}
	s.run(3, "devices", "retire", unseen(7))
	parsed, err := wire.ParseUID(unseen(0))
	must(s.t, err)
	uid := wire.NewRangeUID(parsed.PartnerNo(), 800, 1).String()
	key := func(seed byte) string {
		return fmt.Sprintf("%x", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)).Public())
	}
	s.run(3, "devices", "create", uid, "--model", "w2", "--suite", "ed25519", "--public-key", strings.Repeat("00", 32))
	s.run(0, "devices", "create", uid, "--model", "w2", "--suite", "ed25519", "--public-key", key(1))
	s.run(0, "devices", "keys", "add", uid, key(2), "--from", "2036-01-01T00:00:00Z")
	s.run(3, "devices", "keys", "add", uid, key(3))
	s.run(2, "devices", "keys", "add", uid, "xyz!")
	s.run(2, "devices", "keys", "add", uid, key(3), "--from", "tomorrow")
	if d := s.json("devices", "keys", "retire", uid, "2"); len(d["credentials"].([]any)) != 1 { //nolint:forcetypeassert // the test may end here
		s.t.Errorf("%v", d)
	}
	s.run(3, "devices", "keys", "retire", uid, "1")
}

func (s shell) handsOn(device string) {
	s.t.Helper()
	s.run(0, "devices", "transfer", "start", device)
	s.run(3, "tap") // payments pause
	s.run(0, "devices", "transfer", "cancel", device)
	s.run(0, "tap")
	code := s.json("devices", "transfer", "start", device)["transfer_code"].(string) //nolint:forcetypeassert // the test may end here
	s.run(3, "devices", "transfer", "accept", strings.Repeat("0", 26), "--account", "next")
	s.run(2, "devices", "transfer", "accept", code)
	if d := s.json("devices", "transfer", "accept", code, "--account", "next"); d["account"] != "accounts/next" || d["state"] != "DEVICE_STATE_BOUND" {
		s.t.Errorf("%v", d)
	}
	if d := s.json("devices", "release"); d["state"] != "DEVICE_STATE_AVAILABLE" || d["account"] != nil {
		s.t.Errorf("%v", d)
	}
	s.run(3, "devices", "release")
	s.run(3, "devices", "transfer", "start", device)
}

func (s shell) provesTheRecord(device string) {
	s.t.Helper()
	out, _ := s.run(0, "devices", "audit", device)
	for _, action := range []string{"binding.confirmed", "suspension.added.risk", "case 17", "generation 2"} {
		if !strings.Contains(out, action) {
			s.t.Errorf("%q is not on record:\n%s", action, out)
		}
	}
	page := s.json("devices", "audit", "list", device, "--page-size", "2")
	s.run(0, "devices", "audit", "list", device, "--page-token", page["next_page_token"].(string)) //nolint:forcetypeassert // the test may end here
	s.run(0, "devices", "audit", "list", "partners/sandbox/lots/7")
	s.run(0, "devices", "audit", "verify", device)
	kept := filepath.Join(s.dir, "kept.json")
	s.run(0, "devices", "audit", "checkpoint", "--out", kept)
	if v := s.json("devices", "audit", "verify", "--checkpoint", kept); v["intact"] != true {
		s.t.Errorf("%v", v)
	}
	text, err := os.ReadFile(kept)
	must(s.t, err)
	must(s.t, os.WriteFile(kept, bytes.Replace(text, []byte(`"position": "`), []byte(`"position": "1`), 1), 0o600))
	if _, errs := s.run(3, "devices", "audit", "verify", "--checkpoint", kept); !strings.Contains(errs, "checkpoint forged") {
		s.t.Error(errs)
	}
	s.run(2, "devices", "audit", "verify", device, "--checkpoint", kept)
	s.run(1, "devices", "audit", "verify", "--checkpoint", filepath.Join(s.dir, "none"))
	s.run(3, "devices", "audit", "list", "partners/sandbox/models/none")
}
