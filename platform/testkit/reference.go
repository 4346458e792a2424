package testkit

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// pgbenchScale and pgbenchClients are those of the reference that figures on PostgreSQL are compared with: TPC-B over five
// million accounts, prepared statements, 64 clients.
const (
	pgbenchScale   = 50
	pgbenchClients = 64
)

var pgbenchRate = regexp.MustCompile(`(?m)^tps = ([0-9.]+) `)

// PGBench fills the database at url for pgbench and returns a function that runs its TPC-B for a while and says how many
// transactions a second it made. Run it just before and after what is to be compared with it, on the same server.
func PGBench(t testing.TB, database string) (run func(d time.Duration) Measure) {
	t.Helper()
	pgbench := func(args ...string) []byte {
		t.Helper()
		program, ok := findProgram("pgbench", "/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin")
		if !ok {
			t.Fatalf("testkit: pgbench was not found: %s", installPostgres)
		}
		u, err := url.Parse(database)
		if err != nil {
			t.Fatal(err)
		}
		args = append([]string{"-h", u.Hostname(), "-p", u.Port(), "-U", u.User.Username()}, append(args, filepath.Base(u.Path))...)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("testkit: pgbench: %v\n%s", err, out)
		}
		return out
	}
	pgbench("-i", "-q", "-s", strconv.Itoa(pgbenchScale))
	return func(d time.Duration) Measure {
		t.Helper()
		out := pgbench("-n", "-M", "prepared", "-c", strconv.Itoa(pgbenchClients), "-j", "2", "-T", strconv.Itoa(int(d.Seconds())))
		found := pgbenchRate.FindSubmatch(out)
		if found == nil {
			t.Fatalf("testkit: pgbench said no rate:\n%s", out)
		}
		rate, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		return Measure{Name: fmt.Sprintf("pgbench TPC-B, scale %d, %d clients", pgbenchScale, pgbenchClients), Value: rate, Unit: "tx/s"}
	}
}

// Mean is the mean of a reference that was measured several times.
func Mean(first Measure, more ...Measure) *Measure {
	for _, m := range more {
		first.Value += m.Value
	}
	first.Value /= float64(1 + len(more))
	return &first
}

// Fsyncs measures for a second how often one writer can append a page to a file in dir and have it on the disk.
func Fsyncs(t testing.TB, dir string) Measure {
	t.Helper()
	f, err := os.CreateTemp(dir, "fsync")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	page := make([]byte, 4096)
	n, begin := 0, time.Now()
	for ; time.Since(begin) < time.Second; n++ {
		if _, err := f.Write(page); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	return Measure{Name: "write and fsync of one page", Value: float64(n) / time.Since(begin).Seconds(), Unit: "fsyncs/s"}
}
