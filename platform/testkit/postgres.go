package testkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const installPostgres = "install PostgreSQL 14 or newer so that initdb and postgres are on PATH or in /usr/lib/postgresql/*/bin " +
	"(Debian: apt-get install postgresql; macOS: brew install postgresql)"

// The one PostgreSQL server of this test process.
var (
	pgOnce   sync.Once
	pgServer *postgresServer
	pgErr    error
	pgCount  atomic.Int64
)

type postgresServer struct {
	process *process
	port    int
	// program, dir and settings are what it was started with, as whom it runs.
	program, dir string
	as           *syscall.Credential
	settings     []string
}

// Postgres returns the URL of an empty database of the test's own. It is on a real server that keeps its defaults for
// durability (fsync is on), is started at the first call in the test process and ends with it; the database is dropped when
// the test ends. Without PostgreSQL on the machine the test fails and says what to install.
func Postgres(t testing.TB) (url string) {
	t.Helper()
	if _, err := sharedPostgres(); err != nil {
		t.Fatalf("testkit: PostgreSQL: %v", err)
	}
	// template0 cannot be connected to, so copying it never finds it in use.
	return pgServer.url(newPostgresDatabase(t, "template0"))
}

// sharedPostgres is the one server of this test process.
func sharedPostgres() (*postgresServer, error) {
	pgOnce.Do(func() { pgServer, pgErr = startPostgres() })
	return pgServer, pgErr
}

// newPostgresDatabase copies a database for the test.
func newPostgresDatabase(t testing.TB, template string) (name string) {
	t.Helper()
	name = "t" + strconv.FormatInt(pgCount.Add(1), 10)
	if err := pgServer.admin("CREATE DATABASE " + name + " TEMPLATE " + template); err != nil {
		t.Fatalf("testkit: PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if err := pgServer.admin("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("testkit: PostgreSQL: %v", err)
		}
	})
	return name
}

// OwnPostgres is a server of one test's own, with one empty database, that the test may kill and start again.
type OwnPostgres struct {
	t      testing.TB
	server *postgresServer
}

// NewPostgres starts a server as [Postgres] does; it ends with the test.
func NewPostgres(t testing.TB) *OwnPostgres {
	t.Helper()
	server, err := startPostgres()
	if err != nil {
		t.Fatalf("testkit: PostgreSQL: %v", err)
	}
	p := &OwnPostgres{t: t, server: server}
	t.Cleanup(func() {
		p.server.process.stop()
		_ = os.RemoveAll(p.server.dir)
	})
	return p
}

// URL is that of the database; it stays the same.
func (p *OwnPostgres) URL() string { return p.server.url("postgres") }

// Kill ends the server with SIGKILL, as a machine that loses its power would, save for what the system still writes.
func (p *OwnPostgres) Kill() {
	_ = p.server.process.cmd.Process.Kill()
	p.server.process.stop()
}

// Start starts a killed server on the same data and port.
func (p *OwnPostgres) Start() {
	p.t.Helper()
	// What the killed server leaves behind ends by itself, and until then the data cannot be opened again.
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(startPoll) {
		server, err := runPostgres(p.server.program, p.server.dir, p.server.as, p.server.port, p.server.settings...)
		if err == nil {
			p.server = server
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("testkit: start PostgreSQL again: %v", err)
		}
	}
}

func startPostgres() (_ *postgresServer, err error) {
	folders := []string{"/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin"}
	initdb, ok := findProgram("initdb", folders...)
	if !ok {
		return nil, errors.New("initdb was not found: " + installPostgres)
	}
	// The other programs of one version stand beside it, also behind a link on PATH.
	if initdb, err = filepath.EvalSymlinks(initdb); err != nil {
		return nil, err
	}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	return newPostgresServer(filepath.Join(filepath.Dir(initdb), "postgres"), as, func(dir string) error { return initCluster(initdb, dir, as) })
}

// newPostgresServer has the data made in a folder of its own and runs a server on it.
func newPostgresServer(postgres string, as *syscall.Credential, data func(dir string) error, settings ...string) (_ *postgresServer, err error) {
	dir, err := os.MkdirTemp("", "testkit-postgres-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			return nil, err
		}
	}
	if err := data(dir); err != nil {
		return nil, err
	}
	// Another program may take the port between its choice and its use.
	for attempt := 1; ; attempt++ {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		server, err := runPostgres(postgres, dir, as, port, settings...)
		if err == nil || attempt == 3 {
			return server, err
		}
	}
}

func initCluster(initdb, dir string, as *syscall.Credential) error {
	// What initdb writes need not reach the disk: a cluster that a power cut spoils is made anew.
	cmd := exec.Command(initdb, "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync",
		"--pgdata", filepath.Join(dir, "data"))
	cmd.Dir, cmd.Env = dir, postgresEnv(dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func runPostgres(postgres, dir string, as *syscall.Credential, port int, settings ...string) (*postgresServer, error) {
	args := append([]string{
		"-D", filepath.Join(dir, "data"), "-h", "127.0.0.1", "-p", strconv.Itoa(port),
		"-c", "unix_socket_directories=", "-c", "max_connections=300", "-c", "deadlock_timeout=200ms",
	}, settings...)
	cmd := exec.Command(postgres, args...)
	cmd.Dir, cmd.Env = dir, postgresEnv(dir)
	cmd.SysProcAttr = childAttr(as, syscall.SIGINT) // SIGINT is PostgreSQL's fast shutdown
	logFile := filepath.Join(dir, "log")
	log, err := output(cmd, logFile)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	process, err := startProcess(cmd, dir)
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	server := &postgresServer{process: process, port: port, program: postgres, dir: dir, as: as, settings: settings}
	if err := process.waitFor(func() error { return server.admin("SELECT 1") }); err != nil {
		process.stop()
		return nil, fmt.Errorf("%w\n%s", err, logTail(logFile))
	}
	return server, nil
}

func postgresEnv(dir string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C", "TZ=UTC"}
}

func (s *postgresServer) url(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

func adminContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second)
}

// admin runs one statement outside any test's database.
func (s *postgresServer) admin(statement string) error {
	ctx, cancel := adminContext()
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}
