package journey

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/armlet-pay/armlet/proto/wire"
)

// shell runs the command line against one suite.
type shell struct {
	t   *testing.T
	dir string
}

func newShell(t *testing.T) shell {
	t.Helper()
	dir := t.TempDir()
	d := up(t, dir)
	t.Cleanup(func() {
		if err := d.process.stop(); err != nil {
			t.Error(err)
		}
	})
	return shell{t, dir}
}

// run wants the exit code, and a word of explanation with every one but 0.
func (s shell) run(want int, args ...string) (out, errs string) {
	s.t.Helper()
	code, out, errs := armlet(s.t, append(args, "--data", s.dir)...)
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
	file, uids := bands(t, 6000)
	refusedFile := strings.TrimSuffix(file, ".csv") + ".refused.csv"

	out, errs := s.run(3, "devices", "import", file, "--lot", "9", "--dry-run", "-o", "json")
	dry := parseObject(t, out)
	if dry["dry_run"] != true || dry["import"].(map[string]any)["created"] != "5940" || !strings.Contains(errs, "60 of 6000 rows were refused") { //nolint:forcetypeassert // the test may end here
		t.Errorf("%v\n%s", dry, errs)
	}
	if lot := s.json("devices", "lots", "get", "9"); lot["device_count"] != nil || lot["state"] != "LOT_STATE_HELD" {
		t.Errorf("after the dry run: %v", lot)
	}

	// Killed as soon as it says that something is done, and again; then the same command goes on.
	for range 2 {
		s.killed("devices", "import", file, "--lot", "9")
	}
	out, errs = s.run(3, "devices", "import", file, "--lot", "9", "-o", "json")
	done := parseObject(t, out)
	in := done["import"].(map[string]any) //nolint:forcetypeassert // the test may end here
	if in["created"] != "5940" || in["failed"] != "60" || in["state"] != "IMPORT_STATE_COMPLETE" || done["refused_file"] != refusedFile {
		t.Errorf("%v\n%s", done, errs)
	}
	text, err := os.ReadFile(refusedFile)
	must(t, err)
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	must(t, err)
	if len(rows) != 61 {
		t.Fatalf("%d refused rows", len(rows)-1)
	}
	for i, row := range rows[1:] {
		if row[0] != uids[i*100] || row[3] != fmt.Sprint(i*100+2) || row[4] != "SUITE_NOT_SUPPORTED" {
			t.Errorf("refused row %d: %v", i, row)
		}
	}
	if lot := s.json("devices", "lots", "release", "9"); lot["device_count"] != "5940" || lot["state"] != "LOT_STATE_RELEASED" {
		t.Errorf("%v", lot)
	}

	// The refused rows are mended and imported in turn, from standard input.
	mended := strings.ReplaceAll(string(text), ",2,b-7", ",,b-7")
	code, stdout, stderr := s.piped(mended, "devices", "import", "-", "--lot", "9", "--refused", filepath.Join(s.dir, "none.csv"))
	if code != 0 || !strings.Contains(stdout, "60 rows: 60 created, 0 unchanged, 0 refused") || !strings.Contains(stderr, "60 of 60 rows, 0 refused") {
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

// killed runs the command and kills it with -9 when it first tells how far it is.
func (s shell) killed(args ...string) {
	s.t.Helper()
	c := exec.Command(program(s.t, "cmd/armlet", "."), append(args, "--data", s.dir)...)
	c.SysProcAttr = diesWithParent()
	stderr, err := c.StderrPipe()
	must(s.t, err)
	must(s.t, c.Start())
	_, err = stderr.Read(make([]byte, 1))
	must(s.t, err)
	must(s.t, c.Process.Kill())
	_ = c.Wait()
}

// piped runs the command with a standard input.
func (s shell) piped(in string, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	c := exec.Command(program(s.t, "cmd/armlet", "."), append(args, "--data", s.dir)...)
	c.SysProcAttr = diesWithParent()
	var out, errs bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(in), &out, &errs
	_ = c.Run() // the exit code says it
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}
