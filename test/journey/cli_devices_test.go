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
	"github.com/armlet-pay/armlet/test/programs"
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
		if err := d.process.Stop(); err != nil {
			t.Error(err)
		}
	})
	return shell{t, dir}
}

// run wants the exit code, and a word of explanation with every one but 0.
func (s shell) run(want int, args ...string) (out, errs string) {
	s.t.Helper()
	code, out, errs := armlet(s.t, append(args, "--data", s.dir, "--timeout", "2m")...)
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

// The command is killed with -9 as soon as it says that something is done, and again; then the same command goes on, and the
// registry has exactly the file's bands, and the file of refused rows each of them once.
func TestAnImportThatIsKilledGoesOn(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	s.run(0, "devices", "models", "create", "b1", "--name", "B1")
	s.run(0, "devices", "lots", "create", "9", "--model", "b1", "--listed")
	file, uids := bands(t, 6000)
	for range 2 {
		killed(t, "devices", "import", file, "--lot", "9", "--data", s.dir)
	}
	out, _ := s.run(3, "devices", "import", file, "--lot", "9", "-o", "json")
	in := parseObject(t, out)["import"].(map[string]any) //nolint:forcetypeassert // the test may end here
	if in["created"] != "5940" || in["failed"] != "60" || in["state"] != "IMPORT_STATE_COMPLETE" {
		t.Errorf("%v", in)
	}
	if lot := s.json("devices", "lots", "get", "9"); lot["device_count"] != "5940" {
		t.Errorf("%v", lot)
	}
	text, err := os.ReadFile(strings.TrimSuffix(file, ".csv") + ".refused.csv")
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
}

// killed runs the command and kills it with -9 when it first tells how far it is.
func killed(t *testing.T, args ...string) {
	t.Helper()
	c := exec.Command(programs.Armlet(t), args...)
	c.SysProcAttr = programs.DiesWithParent()
	stderr, err := c.StderrPipe()
	must(t, err)
	must(t, c.Start())
	_, err = stderr.Read(make([]byte, 1))
	must(t, err)
	must(t, c.Process.Kill())
	_ = c.Wait()
}
