package programs

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

// Process is a running program with what it printed, in all its lives.
type Process struct {
	Name string

	file string
	args []string
	env  []string
	cmd  *exec.Cmd
	done chan struct{}
	// ended says that the test has ended it.
	ended atomic.Bool

	mu  sync.Mutex
	log bytes.Buffer
}

// Launch starts a program; it dies with the test's process at the latest.
func Launch(t testing.TB, env []string, file string, args ...string) *Process {
	t.Helper()
	p := &Process{Name: filepath.Base(file), file: file, args: args, env: env}
	p.Restart(t)
	return p
}

// Restart starts the program again after its end, with the same arguments and environment.
func (p *Process) Restart(t testing.TB) {
	t.Helper()
	p.cmd, p.done = exec.Command(p.file, p.args...), make(chan struct{})
	// The race detector lets a program linger for a second at its end.
	p.cmd.Env = append(append(os.Environ(), "GORACE=atexit_sleep_ms=50"), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = DiesWithParent()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.ended.Store(false)
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(p.cmd, p.done)
}

// Write takes what the program prints.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

// Output is what the program has printed.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited says that the program does not run.
func (p *Process) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Ended says that the test has ended the program.
func (p *Process) Ended() bool { return p.ended.Load() }

// Kill is kill -9.
func (p *Process) Kill() {
	p.ended.Store(true)
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Stop asks for a clean end and insists on one.
func (p *Process) Stop() error {
	if p.Exited() {
		return fmt.Errorf("%s had ended by itself:\n%s", p.Name, p.Output())
	}
	p.ended.Store(true)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.Kill()
		return fmt.Errorf("%s did not stop within 30 s:\n%s", p.Name, p.Output())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s exited with %d:\n%s", p.Name, code, p.Output())
	}
	if strings.Contains(p.Output(), "DATA RACE") {
		return fmt.Errorf("%s has a data race:\n%s", p.Name, p.Output())
	}
	return nil
}
