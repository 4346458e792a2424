package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/store/live"
)

// TestAPrimaryThatIsKilledIsReplacedByItsReplica has a sentinel decide it. What becomes of what the replica had not heard of is in
// TestAFailoverToAStaleReplicaApprovesNothingTwice.
func TestAPrimaryThatIsKilledIsReplacedByItsReplica(t *testing.T) {
	s := testkit.NewRedisSentinel(t)
	w := newWorld(t, testkit.OpenDB(t, testkit.DBURL(t, sqldb.SQLite)), openLive(t, s.URL()))
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	done := w.create(b, tea)
	answer := w.answer(b, done.Frame)
	first, err := w.verify(done, answer)
	must(t, err)
	tap := func() error {
		w.clock.Advance(20 * time.Millisecond)
		wanted := tea
		wanted.UID = b.UID
		c, err := w.service.Create(t.Context(), payments, ask("CreateChallenge"), wanted, w.clock.Now())
		if err != nil {
			wantReason(t, err, "CHALLENGE_STORE_UNAVAILABLE")
			return err
		}
		_, err = w.verify(c, w.answer(b, c.Frame))
		return err
	}
	s.Primary.Kill()
	killed := time.Now()
	if tap() == nil {
		t.Error("a tap was approved without Redis")
	}
	again, err := w.verify(done, answer)
	must(t, err)
	eventually(t, "a tap on what was the replica", func() bool { return tap() == nil })
	t.Logf("taps are approved again %.1fs after the primary was killed", time.Since(killed).Seconds())
	_, err = w.verify(done, w.answer(b, done.Frame))
	wantReason(t, err, "CHALLENGE_USED")
	if n := w.count(`SELECT COUNT(*) FROM decisions WHERE reason = ''`); n != 2 || again.JTI != first.JTI || w.registry.Suspensions != 0 {
		t.Errorf("%d approvals, want one before and one after; %d suspensions", n, w.registry.Suspensions)
	}
	s.Primary.Start() // it is made a replica
	must(t, tap())
}

func TestARedisURLThatIsNoneIsRefusedWithoutSayingIt(t *testing.T) {
	for _, url := range []string{
		"redis://user:hush@host:port/0", "http://user:hush@host:6379", "redis://user:hush@host:6379/0?nonsense=1", "hush@host\x00",
		"redis://user:hush@host:26379/0?master_name=", "redis://user:hush@host:26379/0?master_name=armlet&addr=nonsense",
		"redis://user:hush@host:26379/0?master_name=armlet&nonsense=1&sentinel_password=hush",
		"redis://user:hush@host:6379?addr=nonsense", "redis://user:hush@host:6379?addr=host:6380&nonsense=1",
	} {
		s, err := live.OpenRedis(url, nil, nil)
		if err == nil {
			must(t, s.Close())
			t.Errorf("%q was accepted", url)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
	for _, url := range []string{
		"redis://host:6379/0", "rediss://user:hush@host:6379/1?read_timeout=1s", "redis://user:hush@host:6379?addr=host:6380",
		"redis://user:hush@host:26379/0?master_name=armlet&addr=host:26380&sentinel_username=s&sentinel_password=hush&read_timeout=1s",
	} {
		s, err := live.OpenRedis(url, nil, nil)
		if err != nil {
			t.Errorf("%q: %v", url, err)
			continue
		}
		must(t, s.Close())
	}
}
