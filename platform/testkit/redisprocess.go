package testkit

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// RedisProcess is a Redis server of one test's own that the test may kill and start again on the same port and files.
type RedisProcess struct {
	t       testing.TB
	program string
	addr    string
	dir     string
	args    []string
	process *process
}

// NewRedisProcess starts a server that appends what is written to a file, with more settings such as "--replicaof", "127.0.0.1 6379";
// it ends with the test.
func NewRedisProcess(t testing.TB, settings ...string) *RedisProcess {
	t.Helper()
	program, ok := findProgram("redis-server")
	if !ok {
		t.Fatal("testkit: redis-server was not found: " + installRedis)
	}
	dir, err := os.MkdirTemp("", "testkit-redis-") //nolint:usetesting // the watchdog removes it
	if err != nil {
		t.Fatalf("testkit: Redis: %v", err)
	}
	addr := Addr(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatalf("testkit: Redis: %v", err)
	}
	args := []string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir", dir}
	p := &RedisProcess{t: t, program: program, addr: addr, dir: dir, args: append(args, settings...)}
	p.Start()
	t.Cleanup(func() {
		p.process.stop()
		_ = os.RemoveAll(p.dir)
	})
	return p
}

// Addr is where it listens; it stays the same.
func (p *RedisProcess) Addr() string { return p.addr }

// Kill ends the server with SIGKILL.
func (p *RedisProcess) Kill() {
	_ = p.process.cmd.Process.Kill()
	<-p.process.done
	p.process.stop()
}

// Start starts a killed server on the same settings and files.
func (p *RedisProcess) Start() {
	p.t.Helper()
	cmd := exec.Command(p.program, p.args...)
	cmd.SysProcAttr = childAttr(nil, syscall.SIGKILL)
	logFile := filepath.Join(p.dir, "log")
	log, err := output(cmd, logFile)
	if err != nil {
		p.t.Fatalf("testkit: Redis: %v", err)
	}
	defer func() { _ = log.Close() }()
	if p.process, err = startProcess(cmd, p.dir); err != nil {
		p.t.Fatalf("testkit: start redis-server: %v", err)
	}
	if err := p.process.waitFor(func() error { return pingRedis(p.addr) }); err != nil {
		p.t.Fatalf("testkit: redis-server: %v\n%s", err, logTail(logFile))
	}
}
