package testkit_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

// childEnv makes TestServersDieWithTheTestProcess start servers and wait to be killed.
const childEnv = "TESTKIT_CHILD"

func TestEachCallGetsItsOwnDatabase(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		other := testkit.OpenDB(t, testkit.DBURL(t, db.Dialect()))
		if _, err := db.ExecContext(t.Context(), `CREATE TABLE mine (id INTEGER PRIMARY KEY)`); err != nil {
			t.Fatal(err)
		}
		if _, err := other.ExecContext(t.Context(), `SELECT * FROM mine`); err == nil {
			t.Fatal("a table of one test's database is visible in another's")
		}
	})
}

func TestAKilledPostgresStartsAgainWithWhatItAcknowledged(t *testing.T) {
	p := testkit.NewPostgres(t)
	db := testkit.OpenDB(t, p.URL())
	if _, err := db.ExecContext(t.Context(), `CREATE TABLE kept AS SELECT 1 AS n`); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	p.Start()
	var n int
	if err := testkit.OpenDB(t, p.URL()).QueryRowContext(t.Context(), `SELECT n FROM kept`).Scan(&n); err != nil || n != 1 {
		t.Fatalf("after the restart: %d, %v", n, err)
	}
}

func TestPostgresKeepsItsDurability(t *testing.T) {
	db := testkit.OpenDB(t, testkit.Postgres(t))
	for _, setting := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		var value string
		if err := db.QueryRowContext(t.Context(), "SHOW "+setting).Scan(&value); err != nil || value != "on" {
			t.Errorf("%s = %q, %v, want on", setting, value, err)
		}
	}
}

func TestARedisThatIsStoppedIsGone(t *testing.T) {
	addr, stop := testkit.StartRedis(t)
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	stop()
	if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		_ = conn.Close()
		t.Fatal("the server still accepts connections")
	}
}

func TestClockMovesOnlyWhenTold(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := testkit.Clock(start)
	if !clock.Now().Equal(start) {
		t.Fatalf("the clock shows %v, want %v", clock.Now(), start)
	}
	clock.Advance(time.Minute)
	if want := start.Add(time.Minute); !clock.Now().Equal(want) {
		t.Fatalf("the clock shows %v, want %v", clock.Now(), want)
	}
}

// A killed test process runs no cleanup; its servers must end and their folders go all the same.
func TestServersDieWithTheTestProcess(t *testing.T) {
	if os.Getenv(childEnv) != "" {
		url := testkit.Postgres(t)
		addr := testkit.Redis(t)
		// The answer is the last that this process does.
		_, _ = os.Stdout.WriteString("ready " + url + " " + addr + "\n")
		select {}
	}
	// The folders around t.TempDir are closed to the user that PostgreSQL runs as.
	dir, err := os.MkdirTemp("", "dying-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestServersDieWithTheTestProcess$")
	child.Env = append(os.Environ(), childEnv+"=1", "TMPDIR="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := out.Read(buf)
	fields := strings.Fields(string(buf[:n]))
	if err != nil || len(fields) < 3 || fields[0] != "ready" {
		t.Fatalf("the child said %q, %v", buf[:n], err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()

	deadline := time.Now().Add(20 * time.Second)
	for {
		leftovers, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		pgErr, redisErr := answersPostgres(fields[1]), answersTCP(fields[2])
		if pgErr != nil && redisErr != nil && !hasServerFolder(leftovers) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still there: PostgreSQL %v, Redis %v, files %v", pgErr == nil, redisErr == nil, leftovers)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func hasServerFolder(entries []os.DirEntry) bool {
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "testkit-") {
			return true
		}
	}
	return false
}

func answersPostgres(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	db, err := sqldb.Open(ctx, url)
	if err != nil {
		return err
	}
	return db.Close()
}

func answersTCP(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

func TestAnAddressIsNobodyElsesUntilItsServerStarts(t *testing.T) {
	mine := map[string]bool{}
	for range 50 {
		addr := testkit.Addr(t)
		if mine[addr] {
			t.Fatalf("%s was given twice", addr)
		}
		mine[addr] = true
	}
	// Whoever takes any port gets none of them, though nobody listens there yet.
	for range 500 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() }) // held till the end, so that each is another
		if mine[l.Addr().String()] {
			t.Fatalf("%s was taken by another", l.Addr())
		}
	}
	if first, second := testkit.PortBlock(t), testkit.PortBlock(t); first == second {
		t.Errorf("two blocks begin at %d", first)
	}
}

func TestAKilledNATSProcessComesBackWithWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	config, addr := testkit.PlainNATSConfig(t)
	p := testkit.NewNATSProcess(t, config, addr)
	js := testkit.JetStream(t, p.URL())
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s.1", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if _, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		t.Error("the killed server still accepts connections")
	}
	p.Start()
	again := testkit.JetStream(t, p.URL())
	s, err := again.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Msgs; n != 1 {
		t.Errorf("the stream has %d messages, want 1", n)
	}
}
