package rpc_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

func TestATokenThatIsWatchedIsLookedAtWithoutTheCache(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier()
	token := is.good()
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	again := v.Watch(token)
	for i := range 9000 { // more than are remembered, so that the first is forgotten
		if _, err := v.Verify(t.Context(), is.sign("k1", nil, is.claims(m{"jti": fmt.Sprint(i)}))); err != nil {
			t.Fatal(err)
		}
	}
	if err := again(t.Context()); err != nil {
		t.Errorf("a good token: %v", err)
	}
	is.clock.Advance(time.Hour)
	if err := again(t.Context()); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("an expired token: %v", err)
	}
}

func TestATokenThatIsWatchedEndsWithItsKey(t *testing.T) {
	is := newIssuer(t)
	v := is.verifier()
	token := is.sign("k1", nil, is.claims(m{"exp": is.clock.Now().Add(24 * time.Hour).Unix()}))
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	again := v.Watch(token)
	is.addKey("k2")
	is.publish("k2")
	is.clock.Advance(time.Hour) // the keys are fetched anew
	for range 2 {
		if err := again(t.Context()); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("its key is gone: %v", err)
		}
	}
}
