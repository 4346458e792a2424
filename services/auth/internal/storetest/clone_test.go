package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

// deafRegistry cannot be told of copies while it is deaf.
type deafRegistry struct {
	*Registry
	deaf bool
}

// SuspendClone implements challenge.Devices.
func (r *deafRegistry) SuspendClone(ctx context.Context, device, requestID, note string) error {
	if r.deaf {
		return errDown
	}
	return r.Registry.SuspendClone(ctx, device, requestID, note)
}

func TestACopyOfABandIsSuspendedInTheSameBreath(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		twin := *b
		c := w.create(b, tea)
		_, err := w.verify(c, w.answer(b, c.Frame))
		must(t, err)
		w.clock.Advance(time.Second)
		c = w.create(b, tea)
		answer := w.answer(&twin, c.Frame)
		for range 2 {
			_, err = w.verify(c, answer)
			wantReason(t, err, "CLONE_SUSPECTED")
		}
		if w.registry.Get(b.UID).Block != challenge.Suspended || w.registry.Suspensions != 1 {
			t.Errorf("the device was suspended %d times, want once", w.registry.Suspensions)
		}
		if n := w.events("CloneSuspected"); n != 1 {
			t.Errorf("%d events CloneSuspected, want 1", n)
		}
		if n := w.count(`SELECT COUNT(*) FROM counters WHERE clone_nonce <> ''`); n != 0 {
			t.Error("the suspension is still open")
		}
	})
}

func TestACopyIsRefusedWhileTheRegistryCannotBeTold(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		twin := *b
		c := w.create(b, tea)
		_, err := w.verify(c, w.answer(b, c.Frame))
		must(t, err)
		w.clock.Advance(time.Second)
		c = w.create(b, tea)
		deaf := &deafRegistry{Registry: w.registry, deaf: true}
		w.service = challenge.NewService(challenge.Config{
			Devices: deaf, Live: w.live, Store: w.store, Claims: w.store, Denials: w.store, Keys: w.ring, Issuer: issuer, Life: life,
		})
		_, err = w.verify(c, w.answer(&twin, c.Frame))
		wantReason(t, err, "CLONE_SUSPECTED")
		if w.registry.Get(b.UID).Block != challenge.NotBlocked {
			t.Fatal("the registry heard of it")
		}
		// Even the true band, with a counter that is higher, is refused until then.
		w.clock.Advance(time.Second)
		c = w.create(b, tea)
		_, err = w.verify(c, w.answer(b, c.Frame))
		wantReason(t, err, "CLONE_SUSPECTED")
		if err := w.service.SettleClones(t.Context(), w.clock.Now()); err == nil {
			t.Error("settling reports nothing although the registry is deaf")
		}
		deaf.deaf = false
		must(t, w.service.SettleClones(t.Context(), w.clock.Now()))
		if w.registry.Get(b.UID).Block != challenge.Suspended || w.events("CloneSuspected") != 1 {
			t.Error("the device is not suspended once")
		}
	})
}

func TestALateAnswerIsNotTakenForACopy(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		first := w.create(b, tea)
		late := w.answer(b, first.Frame)
		// Its taker dies before the decision is recorded; the wearer taps again.
		_, err := w.live.Take(t.Context(), first.Nonce, sum(late), w.clock.Now())
		must(t, err)
		w.clock.Advance(time.Second)
		second := w.create(b, tea)
		_, err = w.verify(second, w.answer(b, second.Frame))
		must(t, err)
		_, err = w.verify(first, late)
		wantReason(t, err, "CHALLENGE_SUPERSEDED")
		if w.registry.Suspensions != 0 || w.events("CloneSuspected") != 0 {
			t.Error("a late answer suspended the device")
		}
	})
}
