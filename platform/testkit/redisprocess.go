package testkit

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	addr := Addr(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatalf("testkit: Redis: %v", err)
	}
	args := []string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"}
	return runRedisProcess(t, addr, append(args, settings...), nil)
}

// newRedisSentinel starts a sentinel that alone decides whether the primary at host and port is down.
func newRedisSentinel(t testing.TB, host, port string) *RedisProcess {
	t.Helper()
	addr := Addr(t)
	_, own, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatalf("testkit: Redis: %v", err)
	}
	return runRedisProcess(t, addr, []string{"--sentinel"}, []string{
		"port " + own, "bind 127.0.0.1",
		"sentinel monitor " + RedisMaster + " " + host + " " + port + " 1",
		"sentinel down-after-milliseconds " + RedisMaster + " " + redisNotices,
		"sentinel failover-timeout " + RedisMaster + " 3000",
	})
}

// runRedisProcess starts a server in a folder of its own, on the lines of a configuration file if there are any and on arguments.
func runRedisProcess(t testing.TB, addr string, args, config []string) *RedisProcess {
	t.Helper()
	program, err := redisProgram()
	if err != nil {
		t.Fatalf("testkit: %v", err)
	}
	dir, err := os.MkdirTemp("", "testkit-redis-") //nolint:usetesting // the watchdog removes it
	if err != nil {
		t.Fatalf("testkit: Redis: %v", err)
	}
	if config != nil { // a sentinel writes to its file
		file := filepath.Join(dir, "redis.conf")
		if err := os.WriteFile(file, []byte(strings.Join(config, "\n")+"\n"), 0o600); err != nil {
			t.Fatalf("testkit: Redis: %v", err)
		}
		args = append([]string{file}, args...)
	}
	p := &RedisProcess{t: t, program: program, addr: addr, dir: dir, args: args}
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
	cmd.Dir = p.dir
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
