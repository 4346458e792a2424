package journey

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// binaries are built once a test run, with the race detector where the tests have it.
var binaries = struct {
	sync.Mutex
	dir   string
	built map[string]string
}{built: map[string]string{}}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if binaries.dir != "" {
		_ = os.RemoveAll(binaries.dir)
	}
	os.Exit(code)
}

// program builds the command in a module folder of the repository, such as
// "cmd/armlet", and returns the binary.
func program(t testing.TB, module, pkg string) string {
	t.Helper()
	binaries.Lock()
	defer binaries.Unlock()
	if file := binaries.built[module]; file != "" {
		return file
	}
	if binaries.dir == "" {
		dir, err := os.MkdirTemp("", "armlet-journey-") //nolint:usetesting // it outlives the test that needs it first
		must(t, err)
		binaries.dir = dir
	}
	file := filepath.Join(binaries.dir, filepath.Base(module))
	compile(t, file, module, pkg, "-ldflags", "-s -w") // without what only debuggers read, which takes long to link
	binaries.built[module] = file
	return file
}

// compile builds a command, with the race detector where the tests have it.
func compile(t testing.TB, file, module, pkg string, args ...string) {
	t.Helper()
	args = append([]string{"build", "-o", file}, args...)
	if raceDetector {
		args = append(args, "-race")
	}
	c := exec.Command("go", append(args, pkg)...)
	c.Dir = filepath.Join("..", "..", module)
	c.Env = append(os.Environ(), "GOWORK=off")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", module, err, out)
	}
}

// process is a running program with what it printed.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	// killed says that the test has ended it.
	killed atomic.Bool

	mu  sync.Mutex
	log bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// launch starts a program; it dies with the test.
func launch(t testing.TB, env []string, file string, args ...string) *process {
	t.Helper()
	p := &process{name: filepath.Base(file), cmd: exec.Command(file, args...), done: make(chan struct{})}
	// The race detector lets a program linger for a second at its end.
	p.cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=50"), env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = diesWithParent()
	must(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p
}

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill is kill -9.
func (p *process) kill() {
	p.killed.Store(true)
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop asks for a clean end and insists on one.
func (p *process) stop() error {
	if p.exited() {
		return fmt.Errorf("%s had ended by itself:\n%s", p.name, p.output())
	}
	p.killed.Store(true)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.kill()
		return fmt.Errorf("%s did not stop within 30 s:\n%s", p.name, p.output())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s exited with %d:\n%s", p.name, code, p.output())
	}
	if strings.Contains(p.output(), "DATA RACE") {
		return fmt.Errorf("%s has a data race:\n%s", p.name, p.output())
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
