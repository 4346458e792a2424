package rpc

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func sum(i int) [sha256.Size]byte { return sha256.Sum256(fmt.Appendf(nil, "%d", i)) }

func TestTheCacheDropsWhatWasNotUsedLongest(t *testing.T) {
	c := newCallerCache(3)
	for i := range 3 {
		c.put(sum(i), cachedCaller{kid: fmt.Sprint(i)})
	}
	if _, ok := c.get(sum(0)); !ok {
		t.Fatal("0 is gone")
	}
	c.put(sum(3), cachedCaller{kid: "3"})
	c.put(sum(3), cachedCaller{kid: "3 again"})
	for i, want := range []bool{true, false, true, true} {
		if _, ok := c.get(sum(i)); ok != want {
			t.Errorf("%d: kept %v, want %v", i, ok, want)
		}
	}
	if e, _ := c.get(sum(3)); e.kid != "3 again" {
		t.Errorf("the newer value is lost: %q", e.kid)
	}
	if len(c.entries) != 3 {
		t.Errorf("%d entries", len(c.entries))
	}
}

func TestTheCacheIsSafeForManyAtOnce(t *testing.T) {
	c := newCallerCache(8)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				c.put(sum((g+i)%16), cachedCaller{kid: "k"})
				if e, ok := c.get(sum(i % 16)); ok && e.kid != "k" {
					t.Errorf("got %q", e.kid)
				}
			}
		})
	}
	wg.Wait()
	ring := 0
	for e := c.ring.next; e != &c.ring; e = e.next {
		ring++
	}
	if ring != len(c.entries) || ring > 8 {
		t.Errorf("%d in the ring, %d in the map", ring, len(c.entries))
	}
}

func TestTheCacheHoldsNoToken(t *testing.T) {
	is := &JWTVerifier{cache: newCallerCache(1)}
	is.cache.put(sha256.Sum256([]byte("the.whole.token")), cachedCaller{caller: Caller{Role: RoleOperator, ID: "op"}})
	for s, e := range is.cache.entries {
		if strings.Contains(fmt.Sprintf("%s %+v", s, *e), "the.whole.token") {
			t.Error("it does")
		}
	}
}
