package chaos

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
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
	if binaries.dir != "" {
		_ = os.RemoveAll(binaries.dir)
	}
	os.Exit(code)
}

// program builds a service and returns the binary.
func program(t testing.TB, service string) string {
	t.Helper()
	binaries.Lock()
	defer binaries.Unlock()
	if file := binaries.built[service]; file != "" {
		return file
	}
	if binaries.dir == "" {
		dir, err := os.MkdirTemp("", "armlet-chaos-") //nolint:usetesting // it outlives the test that needs it first
		must(t, err)
		binaries.dir = dir
	}
	file := filepath.Join(binaries.dir, service)
	args := []string{"build", "-o", file}
	if raceDetector {
		args = append(args, "-race")
	}
	c := exec.Command("go", append(args, "./cmd/"+service)...)
	c.Dir = filepath.Join("..", "..", "services", service)
	c.Env = append(os.Environ(), "GOWORK=off")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", service, err, out)
	}
	binaries.built[service] = file
	return file
}

// process is a running service with what it printed, in all its lives.
type process struct {
	t    testing.TB
	name string
	file string
	env  []string
	cmd  *exec.Cmd
	done chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

// output is the end of what it printed.
func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.log.Bytes()
	return string(b[max(0, len(b)-8000):])
}

// start starts it, also again; it dies with the test.
func (p *process) start() {
	p.t.Helper()
	p.cmd, p.done = exec.Command(p.file), make(chan struct{})
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = diesWithParent()
	must(p.t, p.cmd.Start())
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(p.cmd, p.done)
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop asks for a clean end and insists on one.
func (p *process) stop() error {
	if p.exited() {
		return fmt.Errorf("%s had ended by itself:\n%s", p.name, p.output())
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.kill()
		return fmt.Errorf("%s did not stop within 30 s:\n%s", p.name, p.output())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if bytes.Contains(p.log.Bytes(), []byte("DATA RACE")) {
		return fmt.Errorf("%s has a data race:\n%s", p.name, p.log.String())
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
