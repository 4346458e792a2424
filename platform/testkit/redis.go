package testkit

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const installRedis = "install Redis 6.2 or newer so that redis-server is on PATH (Debian: apt-get install redis-server; macOS: brew install redis)"

// Redis returns the address of an empty Redis server of the test's own, without persistence, that ends with the test.
func Redis(t testing.TB) (addr string) {
	t.Helper()
	addr, _ = StartRedis(t)
	return addr
}

// StartRedis is [Redis] for tests that lose it: stop ends the server, and everything in it, before the test ends.
func StartRedis(t testing.TB) (addr string, stop func()) {
	t.Helper()
	program, ok := findProgram("redis-server")
	if !ok {
		t.Fatal("testkit: redis-server was not found: " + installRedis)
	}
	var err error
	for range 3 { // another program may take the port between its choice and its use
		if addr, stop, err = runRedis(program); err == nil {
			t.Cleanup(stop)
			return addr, stop
		}
	}
	t.Fatalf("testkit: Redis: %v", err)
	return "", nil
}

func runRedis(program string) (addr string, stop func(), err error) {
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "testkit-redis-")
	if err != nil {
		return "", nil, err
	}
	cmd := exec.Command(program, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir)
	cmd.SysProcAttr = childAttr(nil, syscall.SIGKILL)
	logFile := filepath.Join(dir, "log")
	log, err := output(cmd, logFile)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = log.Close() }()
	process, err := startProcess(cmd, dir)
	if err != nil {
		return "", nil, fmt.Errorf("start redis-server: %w", err)
	}
	stop = sync.OnceFunc(func() {
		process.stop()
		_ = os.RemoveAll(dir)
	})
	addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if err := process.waitFor(func() error { return pingRedis(addr) }); err != nil {
		err = fmt.Errorf("%w\n%s", err, logTail(logFile))
		stop()
		return "", nil, err
	}
	return addr, stop, nil
}

func pingRedis(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "+PONG") {
		return fmt.Errorf("unexpected answer %q", line)
	}
	return nil
}
