package testkit

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
)

// NewStandby makes a standby of the server, which from then on acknowledges no commit that the standby does not have; it ends
// with the test. Its URL can be read from, and written to once it was promoted.
func (p *OwnPostgres) NewStandby() *OwnPostgres {
	p.t.Helper()
	from := p.server
	server, err := newPostgresServer(from.program, from.as, func(dir string) error {
		cmd := exec.Command(filepath.Join(p.Programs(), "pg_basebackup"), "--dbname", from.url("postgres"), "--pgdata", filepath.Join(dir, "data"),
			"--write-recovery-conf", "--checkpoint", "fast", "--no-sync")
		cmd.Dir, cmd.Env = dir, postgresEnv(dir)
		cmd.SysProcAttr = childAttr(from.as, 0)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
		}
		return nil
	}, "-c", "cluster_name=standby", // the primary knows it by this name
		"-c", "wal_retrieve_retry_interval=1s")
	if err != nil {
		p.t.Fatalf("testkit: PostgreSQL standby: %v", err)
	}
	s := &OwnPostgres{t: p.t, server: server}
	p.t.Cleanup(func() {
		s.server.process.stop()
		_ = os.RemoveAll(s.server.dir)
	})
	for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()"} {
		if err := from.admin(statement); err != nil {
			p.t.Fatalf("testkit: PostgreSQL: %v", err)
		}
	}
	p.AwaitStandby()
	return s
}

// AwaitStandby waits until a standby has what the server has, and the server waits for it.
func (p *OwnPostgres) AwaitStandby() {
	p.t.Helper()
	ctx, cancel := adminContext()
	defer cancel()
	conn, err := pgx.Connect(ctx, p.server.url("postgres"))
	if err != nil {
		p.t.Fatalf("testkit: PostgreSQL: %v", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for synchronous := 0; synchronous == 0; time.Sleep(startPoll) {
		const query = `SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'`
		if err := conn.QueryRow(ctx, query).Scan(&synchronous); err != nil {
			p.t.Fatalf("testkit: no standby has caught up: %v", err)
		}
	}
}

// Programs is the folder of the server's programs.
func (p *OwnPostgres) Programs() string { return filepath.Dir(p.server.program) }
