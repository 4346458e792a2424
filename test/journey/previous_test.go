package journey

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	paymentsv1 "github.com/armlet-pay/armlet/proto/gen/armlet/payments/v1"
	"github.com/armlet-pay/armlet/sdk"
	"github.com/armlet-pay/armlet/sdk/virtual"
	"github.com/armlet-pay/armlet/test/programs"
)

// previousEnv names another commit than the previous one, such as the last release.
const previousEnv = "ARMLET_PREVIOUS"

// TestTheProgramsOfThePreviousCommitGoOnBesideThisOnes is a roll-out: the previous commit's services run, this commit's
// migrate the databases under them and join them, and a replica of the previous commit is restarted on what the newer one
// has migrated. No call fails, and taps go through any mix of both.
//
// The previous commit is HEAD~1. Where there is none to be had, in a shallow clone or without git, this commit's programs
// stand in for it, and tools/testdeps.sh has said so.
func TestTheProgramsOfThePreviousCommitGoOnBesideThisOnes(t *testing.T) {
	t.Parallel()
	before := previousPrograms(t)
	t.Logf("the previous programs are of %s", before.revision)
	d, r := prepareReplicas(t, func(i int, service string) string {
		if i == 0 {
			return before.binaries[service]
		}
		return programs.Service(t, service)
	})
	w := newWorld(t, d)
	feed := w.subscribe("live.payments.payment.captured")
	load := w.load(2, true)
	load.untilMore(5)
	for _, service := range programs.Services {
		out, err := r.command(service, "migrate")
		if err != nil || !strings.Contains(out, "migrated from version") {
			t.Errorf("%s migrate: %v\n%s", service, err, out)
		}
		t.Logf("%s %s", service, strings.TrimSpace(out))
	}
	load.untilMore(5) // the previous programs alone, on databases that are ahead of them
	r.each(func(service string) { r.startReplica(1, service) })
	for _, service := range programs.Services {
		if got := r.revision(t, service, 0); got != before.revision {
			t.Errorf("the first replica of %s is of %s, want %s", service, got, before.revision)
		}
		if got := r.revision(t, service, 1); got == before.revision {
			t.Errorf("both replicas of %s are of %s", service, got)
		}
	}
	load.untilMore(15)
	w.tapAcross(r)
	time.Sleep(minReady)
	r.restart(0)
	load.untilMore(15)
	load.stop()
	w.eachOnce(load, feed, 2)
}

// tapAcross creates a payment at one replica and confirms it at the other, both ways.
func (w *world) tapAcross(r *replicas) {
	t := w.t
	t.Helper()
	session := w.session()
	var tills [2]*virtual.Terminal
	for i := range tills {
		d := *w.d
		d.at.Payments = r.addresses["payments"][i]
		tills[i] = &virtual.Terminal{Client: d.client(t, sdk.StaticToken(session)), Merchant: w.merchant}
	}
	_, phone := w.newWearer(100_00)
	for i := range tills {
		p, err := tills[i].Charge(callCtx(t), phone.Band.UID(), &paymentsv1.CreatePaymentRequest{Amount: cny(1_00)})
		must(t, err)
		phone.Band.Knock()
		p, err = tills[1-i].Confirm(callCtx(t), phone.Band, p)
		must(t, err)
		if p.GetState() != paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED {
			t.Errorf("created by replica %d and confirmed by the other: %v", i, p)
		}
	}
}

// previous is the services of an earlier commit.
type previous struct {
	revision string
	binaries map[string]string
}

// previousPrograms builds them.
func previousPrograms(t *testing.T) *previous {
	t.Helper()
	top, err := filepath.Abs(filepath.Join("..", ".."))
	must(t, err)
	p := &previous{revision: "standing-in-for-the-previous", binaries: map[string]string{}}
	overlay := ""
	if commit, err := previousCommit(top); err == nil {
		p.revision = commit
		overlay = overlayOf(t, top, commit)
	} else if os.Getenv(previousEnv) != "" {
		t.Fatalf("%s: %v", previousEnv, err)
	} else {
		fmt.Fprintf(os.Stderr, "THE PREVIOUS COMMIT CANNOT BE HAD (%v): this commit's programs stand in for its.\n", err)
	}
	dir := t.TempDir()
	for _, service := range programs.Services {
		p.binaries[service] = filepath.Join(dir, service)
		args := []string{"-ldflags", "-s -w -X github.com/armlet-pay/armlet/platform/run.revision=" + p.revision}
		if overlay != "" {
			args = append(args, "-overlay", overlay)
		}
		programs.Compile(t, p.binaries[service], "services/"+service, "./cmd/"+service, args...)
	}
	return p
}

func previousCommit(top string) (string, error) {
	name := os.Getenv(previousEnv)
	if name == "" {
		name = "HEAD~1"
	}
	out, err := git(top, "rev-parse", "--verify", name+"^{commit}")
	return strings.TrimSpace(out), err
}

func git(dir string, args ...string) (string, error) {
	c := exec.Command("git", append([]string{"-C", dir}, args...)...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return "", errors.Join(err, errors.New(strings.TrimSpace(errs.String())))
	}
	return out.String(), nil
}

// overlayOf writes, for go build -overlay, what was different in the commit from the files that are here. So it is compiled
// in place, and all that is as it was comes from the build cache.
func overlayOf(t *testing.T, top, commit string) string {
	t.Helper()
	changed, err := git(top, "diff", "--name-only", "--no-renames", "-z", commit, "--")
	must(t, err)
	added, err := git(top, "ls-files", "--others", "--exclude-standard", "-z")
	must(t, err)
	listed, err := git(top, "ls-tree", "-r", "--name-only", "-z", commit)
	must(t, err)
	had := map[string]bool{}
	for _, file := range strings.Split(listed, "\x00") {
		had[file] = true
	}
	dir := t.TempDir()
	replace := map[string]string{}
	for i, file := range strings.Split(changed+added, "\x00") {
		if file == "" {
			continue
		}
		was := ""
		if had[file] {
			text, err := git(top, "show", commit+":"+file)
			must(t, err)
			was = filepath.Join(dir, fmt.Sprint(i, filepath.Ext(file)))
			must(t, os.WriteFile(was, []byte(text), 0o600))
		}
		replace[filepath.Join(top, file)] = was
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	must(t, err)
	file := filepath.Join(dir, "overlay.json")
	must(t, os.WriteFile(file, text, 0o600))
	return file
}

func TestTheOverlayIsWhatACommitHadInstead(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		out, err := git(top, args...)
		must(t, err)
		return strings.TrimSpace(out)
	}
	write := func(name, text string) { must(t, os.WriteFile(filepath.Join(top, name), []byte(text), 0o600)) }
	commit := func() {
		run("add", "--all")
		run("-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false", "commit", "--quiet", "--message=x")
	}
	run("init", "--quiet")
	for _, name := range []string{"same", "changed", "edited", "removed"} {
		write(name, "old "+name)
	}
	commit()
	if _, err := git(top, "rev-parse", "--verify", "HEAD~1^{commit}"); err == nil {
		t.Error("a history of one commit has a previous one")
	}
	write("changed", "new")
	write("added", "new")
	must(t, os.Remove(filepath.Join(top, "removed")))
	commit()
	write("edited", "since")
	write("untracked", "since")
	text, err := os.ReadFile(overlayOf(t, top, run("rev-parse", "HEAD~1")))
	must(t, err)
	var overlay struct{ Replace map[string]string }
	must(t, json.Unmarshal(text, &overlay))
	got := map[string]string{}
	for name, file := range overlay.Replace {
		was := ""
		if file != "" {
			text, err := os.ReadFile(file)
			must(t, err)
			was = string(text)
		}
		got[filepath.Base(name)] = was
	}
	want := map[string]string{"changed": "old changed", "edited": "old edited", "removed": "old removed", "added": "", "untracked": ""}
	if !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
