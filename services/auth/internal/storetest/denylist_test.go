package storetest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/offline"
)

// becomes changes what the registry says of a band and tells auth.
func (w *world) becomes(b *Band, change func(*challenge.Device)) challenge.Device {
	w.t.Helper()
	d := w.registry.Get(b.UID)
	change(&d)
	d.AuthEpoch++
	w.registry.Put(d)
	must(w.t, w.taps.Notice(w.t.Context(), d, w.clock.Now()))
	return d
}

func suspended(d *challenge.Device) { d.Block = challenge.Suspended }
func lifted(d *challenge.Device)    { d.Block = challenge.NotBlocked }

// list is the whole deny-list as it is told behind a number.
func (w *world) list(after int64) offline.Piece {
	w.t.Helper()
	p, _, err := w.taps.DenyList(w.t.Context(), after, w.clock.Now())
	must(w.t, err)
	return p
}

func TestALiftedSuspensionTakesGrantsOffTheListAgain(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		p := w.refilled(b)
		early := w.tap(b, p, w.gate(10))
		w.clock.Advance(2 * time.Second)
		w.becomes(b, suspended)
		first := w.list(0)
		w.clock.Advance(2 * time.Second)
		within := w.tap(b, p, w.gate(10))
		w.clock.Advance(2 * time.Second)
		w.becomes(b, lifted)
		w.clock.Advance(2 * time.Second)
		after := w.tap(b, p, w.gate(10))
		if len(first.Entries) != 1 || first.UpTo != 1 || first.Entries[0].Allowed {
			t.Errorf("the suspension: %+v", first)
		}
		second := w.list(first.UpTo)
		if len(second.Entries) != 1 || second.UpTo != 2 || !second.Entries[0].Allowed || second.Entries[0].Alias != first.Entries[0].Alias {
			t.Errorf("the end of the suspension: %+v", second)
		}
		if whole := w.list(0); len(whole.Entries) != 1 || whole.UpTo != 2 || !whole.Entries[0].Allowed {
			t.Errorf("whoever begins anew gets %+v", whole)
		}
		for name, c := range map[string]struct {
			tap  offline.Submission
			want offline.Reason
		}{
			"before the suspension": {early, offline.Accepted}, "within": {within, offline.RevokedEarlier}, "after it": {after, offline.Accepted},
		} {
			if v := w.clear(c.tap); v.Reason != c.want {
				t.Errorf("a tap %s: %q", name, v.Reason)
			}
		}
		w.becomes(b, suspended)
		if p := w.list(2); len(p.Entries) != 1 || p.UpTo != 3 || p.Entries[0].Allowed {
			t.Errorf("suspended again: %+v", p)
		}
	})
}

func TestTheEndOfASuspensionUndoesNothingNewer(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		w.refilled(b)
		before := w.becomes(b, lifted)
		w.becomes(b, suspended)
		must(t, w.taps.Notice(t.Context(), before, w.clock.Now())) // comes late, from a slower process
		if p := w.list(0); len(p.Entries) != 1 || p.Entries[0].Allowed {
			t.Errorf("an old word took the grant off the list: %+v", p)
		}
		w.becomes(b, func(d *challenge.Device) { d.Block, d.BindingID = challenge.NotBlocked, wire.BindingID{9} })
		if p := w.list(0); len(p.Entries) != 1 || p.Entries[0].Allowed {
			t.Errorf("the grant of a binding that has ended was taken off the list: %+v", p)
		}
		other := w.bound(wire.SuiteHMAC, "accounts/ann")
		w.refilled(other)
		w.becomes(other, func(d *challenge.Device) { d.BindingID = wire.BindingID{8} })
		if p := w.list(1); len(p.Entries) != 1 || p.Entries[0].Allowed {
			t.Errorf("the end of a binding: %+v", p)
		}
	})
}

// While bands are suspended and freed by several processes at once, a terminal that follows the list piece by piece has in
// the end what one has that reads it whole, and that is what the registry says.
func TestWhoeverFollowsTheListHasWhatTheRegistrySays(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		bands := make([]*Band, 4)
		for i := range bands {
			bands[i] = w.bound(wire.SuiteHMAC, "accounts/ann")
			w.refilled(bands[i])
		}
		const rounds = 8
		var work sync.WaitGroup
		for _, b := range bands {
			d := w.registry.Get(b.UID)
			for process := range 2 {
				work.Go(func() {
					d := d
					for round := range int64(rounds) {
						d.AuthEpoch, d.Block = round+1, challenge.Suspended
						if round%2 == 1 {
							d.Block = challenge.NotBlocked
						}
						if err := w.taps.Notice(t.Context(), d, w.clock.Now().Add(time.Duration(round*2+int64(process))*time.Second)); err != nil {
							t.Error(err)
						}
					}
					if b == bands[0] { // the last word on this one is that it is suspended
						d.AuthEpoch, d.Block = rounds+1, challenge.Suspended
						if err := w.taps.Notice(t.Context(), d, w.clock.Now().Add(time.Minute)); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		denied, at := map[wire.Alias]bool{}, int64(0)
		follow := func() {
			p := w.list(at)
			last := at
			for _, e := range p.Entries {
				if e.Number <= last || e.Number > p.UpTo {
					t.Errorf("number %d behind %d in a piece up to %d", e.Number, last, p.UpTo)
				}
				last, denied[e.Alias] = e.Number, !e.Allowed
			}
			at = p.UpTo
		}
		for range 20 {
			follow()
		}
		work.Wait()
		follow()
		var still, whole []wire.Alias
		for alias, is := range denied {
			if is {
				still = append(still, alias)
			}
		}
		for _, e := range w.list(0).Entries {
			if !e.Allowed {
				whole = append(whole, e.Alias)
			}
		}
		if len(still) != 1 || !slices.Equal(still, whole) {
			t.Errorf("followed: %v, read whole: %v", still, whole)
		}
	})
}

func TestATaintedEpochsGrantsAreDeniedForGood(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		w.refilled(b)
		w.becomes(b, suspended)
		w.becomes(b, lifted)
		lives := keys.NewService(w.store, w.ring, keys.Schedule{})
		_, err := lives.CreateMaster(t.Context(), ask("CreateMasterKey"), "acme", w.clock.Now())
		must(t, err)
		_, err = lives.ActivateMaster(t.Context(), ask("ActivateMasterKey"), "acme", 2, w.clock.Now())
		must(t, err)
		_, err = lives.TaintMaster(t.Context(), ask("TaintMasterKey"), "acme", 1, w.clock.Now())
		must(t, err)
		if p := w.list(2); len(p.Entries) != 1 || p.UpTo != 3 || p.Entries[0].Allowed {
			t.Errorf("after the key was tainted: %+v", p)
		}
		w.becomes(b, lifted) // the registry knows nothing of keys
		if p := w.list(3); len(p.Entries) != 0 {
			t.Errorf("the grant was taken off the list: %+v", p)
		}
		_, err = w.service.Create(t.Context(), payments, ask("CreateChallenge"), challenge.Wanted{
			Purpose: wire.PurposePay, UID: b.UID, MinorUnits: 1, Currency: "CNY",
		}, w.clock.Now())
		wantReason(t, err, "KEY_EPOCH_TAINTED")
	})
}
