package storetest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/csv"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
	"github.com/armlet-pay/armlet/services/auth/internal/store/live"
)

const (
	benchCallers = 256
	benchPairs   = 100_000
	benchTaps    = 5_000
	// pairCommands is how many commands issuing a challenge and using it up takes: index and script, index and script.
	pairCommands = 4
)

// drive has callers do n things and gives how many were done in a second.
func drive(b *testing.B, callers, n int, do func(caller int) error) float64 {
	b.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	begin := time.Now()
	for c := range callers {
		all.Go(func() {
			for next.Add(1) <= int64(n) {
				if err := do(c); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(n) / time.Since(begin).Seconds()
}

// BenchmarkChallengeStore issues challenges and uses them up, each caller for a band of its own, on the live store alone.
// Beside it the same server answers redis-benchmark, which does not pipeline, with as many callers and values as long.
func BenchmarkChallengeStore(b *testing.B) {
	addr := testkit.Redis(b)
	redis := openRedis(b, addr)
	for b.Loop() {
		before := redisBenchmark(b, addr) / pairCommands
		got := drive(b, benchCallers, benchPairs, pairOn(b, redis))
		reference := max(before, redisBenchmark(b, addr)/pairCommands) // whatever else the machine did then
		b.ReportMetric(got, "pairs/s")
		b.ReportMetric(got/reference, "x-redis-benchmark")
		testkit.Record(b, testkit.Figure{
			Measure:   testkit.Measure{Name: "auth/challenge-store/redis", Value: got, Unit: "pairs/s"},
			Reference: &testkit.Measure{Name: fmt.Sprintf("redis-benchmark -c %d -P 1, a pair being %d commands", benchCallers, pairCommands), Value: reference, Unit: "pairs/s"},
		})
	}
}

// pairOn issues and takes one challenge.
func pairOn(b *testing.B, s challenge.LiveStore) func(caller int) error {
	b.Helper()
	samples := make([]challenge.Challenge, benchCallers)
	for i := range samples {
		samples[i] = sample(b, wire.NewRangeUID(1, 2, uint64(i)), wire.PurposePay, start)
		samples[i].Frame = samples[i].Body
	}
	return func(caller int) error {
		c := samples[caller]
		rand.Read(c.Nonce[:])
		if err := s.Issue(b.Context(), c, start); err != nil {
			return err
		}
		taken, err := s.Take(b.Context(), c.Nonce, [32]byte{1}, start)
		if err == nil && taken != challenge.TakenWon {
			err = fmt.Errorf("taken %d", taken)
		}
		return err
	}
}

// redisBenchmark is how many commands a second the server answers to redis-benchmark, half of them SET and half GET, with
// values as long as a challenge.
func redisBenchmark(b *testing.B, addr string) float64 {
	b.Helper()
	host, port, err := net.SplitHostPort(addr)
	must(b, err)
	out, err := exec.CommandContext(b.Context(), "redis-benchmark", "-h", host, "-p", port, "-c", strconv.Itoa(benchCallers), "-P", "1",
		"-n", "100000", "-r", "100000", "-d", "900", "-t", "set,get", "--csv").Output()
	if err != nil {
		b.Fatalf("redis-benchmark (it comes with Redis): %v", err)
	}
	lines, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	must(b, err)
	var seconds float64 // for one of each
	for _, line := range lines[1:] {
		rate, err := strconv.ParseFloat(line[1], 64)
		must(b, err)
		seconds += 1 / rate
	}
	return float64(len(lines)-1) / seconds
}

// BenchmarkVerifyAlone is all of the decision on a response but the databases, on one core and for each suite: parse, load,
// derive the keys, verify, frames, take, sign the assertion. Beside it stands what cannot be spared: the primitive that
// verifies and the Ed25519 signature of the assertion.
func BenchmarkVerifyAlone(b *testing.B) {
	for suite := wire.SuiteHMAC; suite <= wire.SuiteEd25519; suite++ {
		b.Run(suite.String(), func(b *testing.B) {
			w := newWorld(b, testkit.OpenDB(b, testkit.DBURL(b, sqldb.SQLite)), live.NewMemory())
			band := w.bound(suite, "accounts/ann")
			master, err := w.ring.Master(b.Context(), "acme", 1)
			must(b, err)
			alone := &noDatabase{Ring: w.ring, master: master}
			w.service = challenge.NewService(challenge.Config{
				Devices: w.registry, Live: w.live, Store: alone, Claims: w.store, Denials: w.store, Keys: alone, Issuer: issuer, Life: life,
			})
			bare := bareRate(b, suite)
			var spent time.Duration
			n := 0
			for b.Loop() {
				c := w.create(band, tea)
				answer := w.answer(band, c.Frame)
				begin := time.Now()
				_, err := w.verify(c, answer)
				spent += time.Since(begin)
				must(b, err)
				n++
			}
			got := float64(n) / spent.Seconds()
			b.ReportMetric(got, "verifications/s")
			b.ReportMetric(got/bare, "x-bare")
			b.ReportMetric(0, "ns/op")
			testkit.Record(b, testkit.Figure{
				Measure:   testkit.Measure{Name: "auth/verify-alone/" + suite.String(), Value: got, Unit: "/s a core"},
				Reference: &testkit.Measure{Name: "the bare primitive and an Ed25519 signature", Value: bare, Unit: "/s a core"},
			})
		})
	}
}

// noDatabase has the master key at hand and remembers nothing.
type noDatabase struct {
	*keys.Ring
	challenge.Store
	master []byte
}

func (n *noDatabase) Master(context.Context, string, int) ([]byte, error) { return n.master, nil }

func (n *noDatabase) MasterIn(context.Context, string, int, keys.State) ([]byte, error) {
	return n.master, nil
}

func (n *noDatabase) Standing(context.Context, challenge.Subject) (st challenge.Standing, err error) {
	return st, nil
}

func (n *noDatabase) Record(_ context.Context, d challenge.Decision,
	settle func(challenge.Decision, challenge.Mark) (challenge.Decision, challenge.Mark, []any, error),
) (challenge.Decision, error) {
	d, _, _, err := settle(d, challenge.Mark{HighWater: -1})
	return d, err
}

// bareRate is how often a second one core does the suite's primitive over a response's message, and signs an assertion.
func bareRate(b *testing.B, suite wire.Suite) float64 {
	b.Helper()
	message, claims := make([]byte, 160), make([]byte, 750)
	public, private, err := ed25519.GenerateKey(nil)
	must(b, err)
	var verify func() bool
	switch suite {
	case wire.SuiteP256:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(b, err)
		digest := sha256.Sum256(message)
		sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
		must(b, err)
		verify = func() bool {
			digest := sha256.Sum256(message)
			return ecdsa.VerifyASN1(&key.PublicKey, digest[:], sig)
		}
	case wire.SuiteEd25519:
		sig := ed25519.Sign(private, message)
		verify = func() bool { return ed25519.Verify(public, message, sig) }
	default: // the CMAC of as few bytes costs less still
		verify = func() bool {
			mac := hmac.New(sha256.New, message[:32])
			mac.Write(message)
			return len(mac.Sum(nil)) > 0
		}
	}
	const n = 5000
	begin := time.Now()
	for range n {
		if !verify() || len(ed25519.Sign(private, claims)) == 0 {
			b.Fatal("the primitive refuses")
		}
	}
	return n / time.Since(begin).Seconds()
}

// BenchmarkTaps is all of auth's part in a tap, CreateChallenge and VerifyResponse below the edge, with 256 callers and a
// band for each. Beside it the same database commits as many transactions of a single row, with as many callers.
func BenchmarkTaps(b *testing.B) {
	for _, dialect := range []sqldb.Dialect{sqldb.SQLite, sqldb.Postgres} {
		b.Run(string(dialect), func(b *testing.B) {
			db := testkit.OpenDB(b, testkit.DBURL(b, dialect))
			w := newWorld(b, db, openRedis(b, testkit.Redis(b)))
			tap := tapOn(b, w)
			for b.Loop() {
				bare := commits(b, db)
				got := drive(b, benchCallers, benchTaps, tap)
				bare = max(bare, commits(b, db))
				b.ReportMetric(got, "taps/s")
				b.ReportMetric(got/bare, "x-commits")
				testkit.Record(b, testkit.Figure{
					Measure:   testkit.Measure{Name: "auth/taps/" + string(dialect), Value: got, Unit: "taps/s"},
					Reference: &testkit.Measure{Name: "commits of one row", Value: bare, Unit: "/s"},
				})
			}
		})
	}
}

// tapOn is a tap of the caller's own band, of suite 1 so that the band's part costs little.
func tapOn(b *testing.B, w *world) func(caller int) error {
	b.Helper()
	bands, nonces := make([]*Band, benchCallers), make([]wire.Nonce, benchCallers)
	for i := range bands {
		bands[i] = w.bound(wire.SuiteHMAC, "accounts/a"+strconv.Itoa(i))
		nonces[i] = w.registry.Get(bands[i].UID).BindNonce
	}
	var requests atomic.Int64
	return func(caller int) error {
		wanted, now := tea, w.clock.Now()
		wanted.UID = bands[caller].UID
		req := request.ID{Caller: "bench", Method: "CreateChallenge", ID: strconv.FormatInt(requests.Add(1), 10)}
		c, err := w.service.Create(b.Context(), payments, req, wanted, now)
		if err != nil {
			return err
		}
		answer, err := bands[caller].Answer(c.Frame, nonces[caller])
		if err != nil {
			return err
		}
		_, err = w.service.Verify(b.Context(), payments, c.Nonce, answer, now)
		return err
	}
}

// commits is how many transactions a second the database takes that insert one row of the size of a decision.
func commits(b *testing.B, db *sqldb.DB) float64 {
	b.Helper()
	_, err := db.ExecContext(b.Context(), `CREATE TABLE IF NOT EXISTS bench_rows (id TEXT PRIMARY KEY, v TEXT NOT NULL)`)
	must(b, err)
	value := strings.Repeat("v", 400)
	return drive(b, benchCallers, benchTaps, func(int) error {
		return db.InTx(b.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO bench_rows (id, v) VALUES ($1, $2)`, keys.NewID(), value)
			return err
		})
	})
}
