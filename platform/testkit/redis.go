package testkit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
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

const installRedis = "install Redis 7 or newer so that redis-server is on PATH (Debian: apt-get install redis-server; macOS: brew install redis)"

// Redis returns the address of an empty Redis server of the test's own, without persistence, that ends with the test.
func Redis(t testing.TB) (addr string) {
	t.Helper()
	addr, _ = StartRedis(t)
	return addr
}

// StartRedis is [Redis] for tests that lose it: stop ends the server, and everything in it, before the test ends.
func StartRedis(t testing.TB) (addr string, stop func()) {
	t.Helper()
	program, err := redisProgram()
	if err != nil {
		t.Fatalf("testkit: %v", err)
	}
	for range 3 { // another program may take the port between its choice and its use
		if addr, stop, err = runRedis(program); err == nil {
			t.Cleanup(stop)
			return addr, stop
		}
	}
	t.Fatalf("testkit: Redis: %v", err)
	return "", nil
}

func redisProgram() (string, error) {
	program, ok := findProgram("redis-server")
	if !ok {
		return "", errors.New("redis-server was not found: " + installRedis)
	}
	return program, nil
}

func runRedis(program string, settings ...string) (addr string, stop func(), err error) {
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "testkit-redis-")
	if err != nil {
		return "", nil, err
	}
	args := []string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir}
	cmd := exec.Command(program, append(args, settings...)...)
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
	answer, err := askRedis(addr, "PING")
	if err == nil && answer != "PONG" {
		return fmt.Errorf("unexpected answer %q", answer)
	}
	return err
}

// askRedis sends one command and returns its answer, which is a line or a text.
func askRedis(addr string, words ...string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte(strings.Join(words, " ") + "\r\n")); err != nil {
		return "", err
	}
	reader := bufio.NewReader(conn)
	line, err := reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", errors.New("an empty answer")
	}
	switch rest := line[1:]; line[0] {
	case '+', ':':
		return rest, nil
	case '$':
		size, err := strconv.Atoi(rest)
		if err != nil || size < 0 {
			return "", err
		}
		text := make([]byte, size)
		_, err = io.ReadFull(reader, text)
		return string(text), err
	}
	return "", fmt.Errorf("unexpected answer %q", line)
}
