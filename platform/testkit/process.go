package testkit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 15 * time.Second
	startPoll    = 20 * time.Millisecond
)

// watchdog waits until the test process is gone, which closes its standard input, ends the server it is given and removes
// its folder. It does on every system what the parent-death signal does on Linux alone.
const watchdog = `read -r _
kill -INT "$1" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
	kill -0 "$1" 2>/dev/null || break
	sleep 0.1
done
kill -KILL "$1" 2>/dev/null
rm -rf "$2"`

// process is a server that is a child of the test process.
type process struct {
	cmd  *exec.Cmd
	dog  *exec.Cmd
	done chan struct{} // closed when the server has ended
}

// startProcess starts cmd, whose files are all in dir, so that neither outlives the test process.
func startProcess(cmd *exec.Cmd, dir string) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The parent-death signal comes when the thread that started the child ends, so it must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	var err error
	if p.dog, err = watch(cmd.Process.Pid, dir); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func watch(pid int, dir string) (*exec.Cmd, error) {
	dog := exec.Command("/bin/sh", "-c", watchdog, "watchdog", strconv.Itoa(pid), dir)
	dog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal must not end it first
	stdin, err := dog.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := dog.Start(); err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	go func() {
		_ = dog.Wait() // it returns only when the dog is called off; the pipe stays open until this process ends
		_ = stdin.Close()
	}()
	return dog, nil
}

// stop interrupts the server, kills it when that does not help, waits for it, and calls the watchdog off: the process id
// may soon be somebody else's.
func (p *process) stop() {
	if p.dog != nil {
		_ = p.dog.Process.Kill()
	}
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// waitFor polls ready until it answers nil, the server ends, or a minute has passed.
func (p *process) waitFor(ready func() error) error {
	deadline := time.Now().Add(startTimeout)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready in time: %w", err)
		}
		select {
		case <-p.done:
			return errors.New("the server ended while it was starting")
		case <-time.After(startPoll):
		}
	}
}

// findProgram looks on PATH and then in the folders given, which may be patterns; the last match is the newest version.
func findProgram(name string, folders ...string) (string, bool) {
	if path, err := exec.LookPath(name); err == nil {
		return path, true
	}
	for _, pattern := range folders {
		found, _ := filepath.Glob(filepath.Join(pattern, name))
		slices.Sort(found)
		if len(found) > 0 {
			return found[len(found)-1], true
		}
	}
	return "", false
}

// unprivileged is whom to run a server as that refuses to be run by root: nil when this process is not root's.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("running as root, and there is neither a user postgres nor nobody to run the server as")
}

func logTail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(text[max(0, len(text)-2000):])
}

// output sends what the server says to file, for logTail.
func output(cmd *exec.Cmd, file string) (io.Closer, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = f, f
	return f, nil
}
