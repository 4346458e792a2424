package storetest

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

// What becomes of taps when Redis fails, on real servers. Redis that is down is in tap_test.go.

func TestARedisThatWasEmptiedRefusesWhatItLostAndSaysSo(t *testing.T) {
	w, client := onRedis(t)
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	done := w.create(b, tea)
	answer := w.answer(b, done.Frame)
	first, err := w.verify(done, answer)
	must(t, err)
	w.clock.Advance(time.Second)
	wanted, req := tea, ask("CreateChallenge")
	wanted.UID = b.UID
	lost, err := w.service.Create(t.Context(), payments, req, wanted, w.clock.Now())
	must(t, err)
	lostAnswer := w.answer(b, lost.Frame)
	must(t, client.FlushAll(t.Context()).Err())
	must(t, client.ScriptFlush(t.Context()).Err()) // a server that was started anew does not know the scripts either
	_, err = w.verify(lost, lostAnswer)
	wantReason(t, err, "CHALLENGE_EXPIRED")
	again, err := w.verify(done, answer)
	must(t, err)
	if again.JTI != first.JTI || w.decisions(lost) != 0 {
		t.Errorf("%d decisions on what was lost", w.decisions(lost))
	}
	// The same request makes a new challenge, and the next tap works.
	fresh, err := w.service.Create(t.Context(), payments, req, wanted, w.clock.Now())
	must(t, err)
	_, err = w.verify(fresh, w.answer(b, fresh.Frame))
	must(t, err)
	if fresh.Nonce == lost.Nonce {
		t.Error("a nonce came twice")
	}
}

func TestAFailoverToAStaleReplicaApprovesNothingTwice(t *testing.T) {
	primary, replica := testkit.Redis(t), testkit.Redis(t)
	w := newWorld(t, testkit.OpenDB(t, testkit.DBURL(t, sqldb.SQLite)), openRedis(t, primary))
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	superseded := w.create(b, tea)
	early := w.answer(b, superseded.Frame)
	follower := redis.NewClient(&redis.Options{Addr: replica})
	defer follower.Close()
	host, port, err := net.SplitHostPort(primary)
	must(t, err)
	must(t, follower.ReplicaOf(t.Context(), host, port).Err())
	eventually(t, "the replica to have what the primary has", func() bool {
		info, err := follower.Info(t.Context(), "replication").Result()
		size, err2 := follower.DBSize(t.Context()).Result()
		return err == nil && err2 == nil && strings.Contains(info, "master_link_status:up") && size > 0
	})
	must(t, follower.ReplicaOf(t.Context(), "NO", "ONE").Err()) // from here on it hears nothing

	w.clock.Advance(time.Second)
	used := w.create(b, tea) // the replica never hears of this one, nor that it took the other's place
	answer := w.answer(b, used.Frame)
	first, err := w.verify(used, answer)
	must(t, err)
	w.clock.Advance(time.Second)
	live := w.create(b, tea)

	w.use(openRedis(t, replica))
	for _, late := range [][]byte{early, w.answer(b, superseded.Frame)} {
		_, err = w.verify(superseded, late)
		if reason := fault.ReasonOf(err); reason != "CHALLENGE_SUPERSEDED" && reason != "CHALLENGE_USED" {
			t.Errorf("a superseded challenge: %v", err)
		}
	}
	again, err := w.verify(used, answer)
	must(t, err)
	_, err = w.verify(used, w.answer(b, used.Frame))
	wantReason(t, err, "CHALLENGE_USED")
	_, err = w.verify(live, w.answer(b, live.Frame))
	wantReason(t, err, "CHALLENGE_EXPIRED")
	if n := w.count(`SELECT COUNT(*) FROM decisions WHERE reason = ''`); n != 1 || again.JTI != first.JTI || w.registry.Suspensions != 0 {
		t.Errorf("%d approvals, %d suspensions", n, w.registry.Suspensions)
	}
	next := w.create(b, tea)
	_, err = w.verify(next, w.answer(b, next.Frame))
	must(t, err)
}

func TestARedisThatAnswersLateApprovesNothingTwice(t *testing.T) {
	line := slowLine(t, testkit.Redis(t))
	w := newWorld(t, testkit.OpenDB(t, testkit.DBURL(t, sqldb.SQLite)), openRedis(t, line.addr))
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	impatient := func(do func(ctx context.Context) error) {
		t.Helper()
		line.hold()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := do(ctx)
		line.release()
		wantReason(t, err, "CHALLENGE_STORE_UNAVAILABLE")
		if f, _ := fault.As(err); !strings.Contains(f.Message, "nothing was approved") {
			t.Errorf("the error does not say what to do: %v", err)
		}
	}
	wanted, req := tea, ask("CreateChallenge")
	wanted.UID = b.UID
	impatient(func(ctx context.Context) error {
		_, err := w.service.Create(ctx, payments, req, wanted, w.clock.Now())
		return err
	})
	c, err := w.service.Create(t.Context(), payments, req, wanted, w.clock.Now())
	must(t, err)
	answer, other := w.answer(b, c.Frame), w.answer(b, c.Frame)
	impatient(func(ctx context.Context) error {
		_, err := w.service.Verify(ctx, payments, c.Nonce, answer, w.clock.Now())
		return err
	})
	if n := w.decisions(c); n != 0 {
		t.Errorf("%d decisions after an answer that came late", n)
	}
	// An answer that came too late may have used the challenge up: the same bytes finish, and no others do.
	taken, err := w.live.Take(t.Context(), c.Nonce, sum(answer), w.clock.Now())
	must(t, err)
	if taken != challenge.TakenWon && taken != challenge.TakenSame {
		t.Fatalf("taken %d", taken)
	}
	impatient(func(ctx context.Context) error {
		_, err := w.live.Take(ctx, c.Nonce, sum(answer), w.clock.Now())
		return err
	})
	_, err = w.verify(c, other)
	wantReason(t, err, "CHALLENGE_USED")
	_, err = w.verify(c, answer)
	must(t, err)
	if n := w.decisions(c); n != 1 {
		t.Errorf("%d decisions", n)
	}
}

// line is a way to a server on which answers can be held back.
type line struct {
	addr string
	mu   sync.Mutex
	open chan struct{} // closed while answers go through
}

// slowLine makes one to the server at target.
func slowLine(t *testing.T, target string) *line {
	t.Helper()
	l := &line{open: make(chan struct{})}
	close(l.open)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	l.addr = listener.Addr().String()
	t.Cleanup(func() { l.release(); must(t, listener.Close()) })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() { defer server.Close(); _, _ = io.Copy(server, client) }()
			go func() { defer client.Close(); l.answers(client, server) }()
		}
	}()
	return l
}

// answers passes on what the server says, while it may.
func (l *line) answers(client io.Writer, server io.Reader) {
	buffer := make([]byte, 4096)
	for {
		n, err := server.Read(buffer)
		l.mu.Lock()
		open := l.open
		l.mu.Unlock()
		<-open
		if _, failed := client.Write(buffer[:n]); failed != nil || err != nil {
			return
		}
	}
}

func (l *line) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
}

func (l *line) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}

// eventually waits for something that happens by itself.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 500 {
		if done() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}
