package storetest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/services/payments/internal/ledger"
	"github.com/armlet-pay/armlet/services/payments/internal/store"
)

const (
	// killEnv makes TestKilledProcessesLoseNothingAcknowledged transfer in the database it names until it is killed.
	killEnv = "PAYMENTS_KILL_URL"
	// killsEnv is how often the tests of this file kill; ARMLET_KILLS=20 is the long form.
	killsEnv    = "ARMLET_KILLS"
	killWallets = 6
	killMoney   = 1000
	killCallers = 24
)

// kills is how many times to kill.
func kills(t testing.TB, usual int) int {
	t.Helper()
	text := os.Getenv(killsEnv)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

// Processes that transfer on the same few accounts are killed with -9 at random moments, one after the other, and started
// again while the other goes on.
func TestKilledProcessesLoseNothingAcknowledged(t *testing.T) {
	t.Parallel()
	if url := os.Getenv(killEnv); url != "" {
		transferForEver(url)
		return
	}
	for _, c := range []struct {
		dialect   sqldb.Dialect
		processes int
	}{{sqldb.SQLite, 1}, {sqldb.Postgres, 2}} {
		t.Run(string(c.dialect), func(t *testing.T) {
			t.Parallel()
			url := testkit.DBURL(t, c.dialect)
			l := newLedger(t, testkit.OpenDB(t, url))
			wallets(t, l, killWallets, killMoney)
			seen := &answers{posted: map[string]bool{}, refused: map[string]bool{}}
			running := make([]*worker, c.processes)
			for i := range running {
				running[i] = startWorker(t, url, seen)
			}
			for n := range kills(t, 3) {
				seen.await(t, 40)
				time.Sleep(rand.N(60 * time.Millisecond))
				victim := &running[n%len(running)]
				(*victim).kill()
				*victim = startWorker(t, url, seen)
			}
			for _, w := range running {
				w.kill()
			}
			seen.check(t, url)
		})
	}
}

// PostgreSQL itself is killed with -9 while two processes transfer.
func TestAKilledPostgresLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	server := testkit.NewPostgres(t)
	db, err := sqldb.Open(t.Context(), server.URL())
	must(t, err)
	wallets(t, newLedger(t, db), killWallets, killMoney)
	must(t, db.Close())
	seen := &answers{posted: map[string]bool{}, refused: map[string]bool{}}
	one, two := startWorker(t, server.URL(), seen), startWorker(t, server.URL(), seen)
	for range kills(t, 2) {
		seen.await(t, 40)
		time.Sleep(rand.N(60 * time.Millisecond))
		server.Kill()
		server.Start()
	}
	seen.await(t, 40)
	one.kill()
	two.kill()
	seen.check(t, server.URL())
}

// answers is what the processes said they had acknowledged.
type answers struct {
	mu              sync.Mutex
	posted, refused map[string]bool
}

func (a *answers) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.posted)
}

// await waits for a number of new transfers.
func (a *answers) await(t testing.TB, more int) {
	t.Helper()
	want := a.count() + more
	for deadline := time.Now().Add(time.Minute); a.count() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("only %d of %d transfers were acknowledged within a minute", a.count(), want)
		}
	}
}

// check holds what was acknowledged against the books.
func (a *answers) check(t *testing.T, url string) {
	t.Helper()
	db := testkit.OpenDB(t, url)
	l := store.NewLedger(db, time.Now)
	stored := sound(t, l)
	found := map[string]int{}
	for _, id := range dump(t, db, `SELECT reference FROM ledger_transactions WHERE purpose = 'transfer'`) {
		found[id]++
	}
	for id := range a.posted {
		if found[id] != 1 {
			t.Errorf("transfer %s was acknowledged and is there %d times", id, found[id])
		}
	}
	for id := range a.refused {
		if found[id] != 0 {
			t.Errorf("transfer %s was refused and is there", id)
		}
	}
	var sum, lowest int64
	must(t, db.QueryRowContext(t.Context(), `SELECT CAST(SUM(posted_credits - posted_debits) AS BIGINT), MIN(posted_credits - posted_debits)
		FROM ledger_accounts WHERE kind = 'wallet'`).Scan(&sum, &lowest))
	if sum != killWallets*killMoney || lowest < 0 {
		t.Errorf("the wallets hold %d, the poorest %d; want %d and no debt", sum, lowest, killWallets*killMoney)
	}
	t.Logf("%d acknowledged, %d refused, %d transactions in the chains", len(a.posted), len(a.refused), stored)
}

// worker is a process that transfers.
type worker struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func startWorker(t testing.TB, url string, seen *answers) *worker {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcessesLoseNothingAcknowledged$")
	cmd.Env = append(os.Environ(), killEnv+"="+url)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	w := &worker{cmd: cmd, done: make(chan struct{})}
	t.Cleanup(w.kill)
	go func() {
		defer close(w.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			word, id, _ := strings.Cut(lines.Text(), " ")
			seen.mu.Lock()
			switch word {
			case "posted":
				seen.posted[id] = true
			case "refused":
				seen.refused[id] = true
			default:
				t.Errorf("a process said %q", lines.Text())
			}
			seen.mu.Unlock()
		}
	}()
	return w
}

// kill ends the process with SIGKILL and reads what it had said until then.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill()
	<-w.done
	_ = w.cmd.Wait()
}

// transferForEver repeats each transfer until it has an answer, and says so.
func transferForEver(url string) {
	ctx := context.Background()
	var l *store.Ledger
	for l == nil {
		if db, err := sqldb.Open(ctx, url); err == nil {
			l = store.NewLedger(db, time.Now)
		}
	}
	var mu sync.Mutex
	for range killCallers {
		go func() {
			for {
				from, to := rand.N(killWallets), 1+rand.N(killWallets-1)
				t := transfer(fmt.Sprintf("wallet/w%06d", from), fmt.Sprintf("wallet/w%06d", (from+to)%killWallets), 1+rand.N(int64(400)))
				word := answerTo(ctx, l, t)
				mu.Lock()
				_, _ = io.WriteString(os.Stdout, word+" "+t.Reference+"\n")
				mu.Unlock()
			}
		}()
	}
	time.Sleep(5 * time.Minute) // nobody waits that long
}

func answerTo(ctx context.Context, l *store.Ledger, t ledger.Transaction) string {
	for {
		call, cancel := context.WithTimeout(ctx, time.Duration(1+rand.N(200))*time.Millisecond)
		_, err := l.Post(call, t)
		cancel()
		switch {
		case err == nil:
			return "posted"
		case fault.ReasonOf(err) == "INSUFFICIENT_FUNDS":
			return "refused"
		case ctx.Err() != nil || fault.KindOf(err) == fault.Invalid:
			return "wrong: " + err.Error()
		}
	}
}
