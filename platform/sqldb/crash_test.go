package sqldb_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
)

// crashEnv makes TestKilledWriterLosesNothingAcknowledged write to the database it names until it is killed.
const crashEnv = "SQLDB_CRASH_URL"

func TestKilledWriterLosesNothingAcknowledged(t *testing.T) {
	if url := os.Getenv(crashEnv); url != "" {
		writeForEver(t, url)
		return
	}
	url := testkit.DBURL(t, sqldb.SQLite)
	mustExec(t, testkit.OpenDB(t, url), `CREATE TABLE t (n BIGINT PRIMARY KEY, half BIGINT NOT NULL)`)
	acknowledged := int64(0)
	for round := range 3 {
		acknowledged = killedAfter(t, url, acknowledged, 50+30*round)
		db := testkit.OpenDB(t, url)
		for _, half := range []int{1, 2} {
			if n := count(t, db, `SELECT COUNT(*) FROM t WHERE half = $1 AND abs(n) <= $2`, half, acknowledged); n != acknowledged {
				t.Fatalf("round %d: %d of %d acknowledged rows are there", round, n, acknowledged)
			}
		}
		// At most the one transaction that was not acknowledged may be there besides, and then wholly.
		rows, largest := count(t, db, `SELECT COUNT(*) FROM t`), count(t, db, `SELECT MAX(n) FROM t`)
		if rows != 2*largest || largest > acknowledged+1 {
			t.Fatalf("round %d: %d rows up to number %d after %d acknowledged transactions of two", round, rows, largest, acknowledged)
		}
		acknowledged = largest
	}
}

// killedAfter starts a writer, kills it after a number of acknowledgements and returns the last number acknowledged.
func killedAfter(t *testing.T, url string, last int64, acks int) int64 {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestKilledWriterLosesNothingAcknowledged$")
	child.Env = append(os.Environ(), crashEnv+"="+url)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(time.Minute, func() { _ = child.Process.Kill() })
	defer timer.Stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		number, found := strings.CutPrefix(lines.Text(), "ack ")
		if !found {
			t.Fatalf("the writer said %q", lines.Text())
		}
		if last, err = strconv.ParseInt(number, 10, 64); err != nil {
			t.Fatal(err)
		}
		if acks--; acks == 0 {
			_ = child.Process.Kill() // what it acknowledges before it dies is still read
		}
	}
	_ = child.Wait()
	if acks > 0 {
		t.Fatalf("the writer ended %d acknowledgements early", acks)
	}
	return last
}

func writeForEver(t *testing.T, url string) {
	db := testkit.OpenDB(t, url)
	for n := count(t, db, `SELECT COALESCE(MAX(n), 0) FROM t`) + 1; ; n++ {
		err := db.InTx(t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			// Two rows, so that half a transaction would show.
			if _, err := tx.ExecContext(ctx, `INSERT INTO t VALUES ($1, 1)`, n); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO t VALUES ($1, 2)`, -n)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("ack %d\n", n)
	}
}
