package testkit

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// NATSProcess is a nats-server of one test's own, a process that the test may kill and start again.
type NATSProcess struct {
	t       testing.TB
	program string
	config  string
	addr    string
	dir     string
	process *process
}

// NewNATSProcess starts the stock server on a configuration file that has it listen on addr; it ends with the test. The
// folders that the file names are the test's to give.
func NewNATSProcess(t testing.TB, config, addr string) *NATSProcess {
	t.Helper()
	dir, err := os.MkdirTemp("", "testkit-nats-") //nolint:usetesting // the watchdog removes it
	if err != nil {
		t.Fatalf("testkit: NATS: %v", err)
	}
	p := &NATSProcess{t: t, program: Tool(t, "nats-server"), config: config, addr: addr, dir: dir}
	p.Start()
	t.Cleanup(func() {
		p.process.stop()
		_ = os.RemoveAll(p.dir)
	})
	return p
}

// PlainNATSConfig writes the configuration of a server without accounts, with JetStream and its files beside it, and
// returns the file and the address for [NewNATSProcess].
func PlainNATSConfig(t testing.TB) (config, addr string) {
	t.Helper()
	dir := t.TempDir()
	config, addr = filepath.Join(dir, "nats.conf"), Addr(t)
	text := fmt.Sprintf("listen: %q\njetstream { store_dir: %q }\n", addr, filepath.Join(dir, "js"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatalf("testkit: NATS: %v", err)
	}
	return config, addr
}

// NewNATSCluster starts a cluster of servers, n1 and so on, that listen on addrs, with the accounts that a file has, or without
// accounts when it is empty; they end with the test.
func NewNATSCluster(t testing.TB, accounts string, addrs ...string) []*NATSProcess {
	t.Helper()
	var routes []string
	for range addrs {
		routes = append(routes, Addr(t))
	}
	nodes := make([]*NATSProcess, len(addrs))
	for i, addr := range addrs {
		dir := t.TempDir()
		lines := []string{
			fmt.Sprintf("server_name: n%d", i+1), fmt.Sprintf("listen: %q", addr),
			fmt.Sprintf("jetstream { store_dir: %q }", filepath.Join(dir, "js")),
			fmt.Sprintf(`cluster { name: testkit, listen: %q, routes: ["nats://%s"] }`, routes[i], strings.Join(routes, `", "nats://`)),
		}
		if accounts != "" { // an include is looked for beside the file that has it
			if err := os.Symlink(accounts, filepath.Join(dir, "accounts.conf")); err != nil {
				t.Fatalf("testkit: NATS: %v", err)
			}
			lines = append(lines, "include ./accounts.conf")
		}
		config := filepath.Join(dir, "nats.conf")
		if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatalf("testkit: NATS: %v", err)
		}
		nodes[i] = NewNATSProcess(t, config, addr)
	}
	return nodes
}

// URL is where clients connect; it stays the same.
func (p *NATSProcess) URL() string { return "nats://" + p.addr }

// Kill ends the server with SIGKILL.
func (p *NATSProcess) Kill() {
	_ = p.process.cmd.Process.Kill()
	<-p.process.done
	p.process.stop()
}

// Start starts a killed server on the same configuration and files.
func (p *NATSProcess) Start() {
	p.t.Helper()
	cmd := exec.Command(p.program, "-c", p.config)
	cmd.Dir = p.dir
	cmd.SysProcAttr = childAttr(nil, syscall.SIGKILL)
	logFile := filepath.Join(p.dir, "log")
	log, err := output(cmd, logFile)
	if err != nil {
		p.t.Fatalf("testkit: NATS: %v", err)
	}
	defer func() { _ = log.Close() }()
	if p.process, err = startProcess(cmd, p.dir); err != nil {
		p.t.Fatalf("testkit: start nats-server: %v", err)
	}
	err = p.process.waitFor(func() error {
		conn, err := net.DialTimeout("tcp", p.addr, time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		p.t.Fatalf("testkit: nats-server: %v\n%s", err, logTail(logFile))
	}
}
