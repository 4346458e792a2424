package storetest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

func (w *world) complete(account string, c challenge.Claim, answer []byte) (challenge.Claim, error) {
	return w.service.CompleteClaim(w.t.Context(), account, c.ID, answer, "", w.clock.Now())
}

func TestAClaimBindsABandAndRepeatsItsResult(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for suite := wire.SuiteHMAC; suite <= wire.SuiteEd25519; suite++ {
			b := w.band(suite)
			c := w.begin(b, "accounts/ann")
			answer := w.answer(b, c.Frame)
			done, err := w.complete("accounts/ann", c, answer)
			must(t, err)
			w.wantResult(b, c.Content.Nonce, done.Result, wire.OutcomeBound)
			if got := w.registry.Get(b.UID); got.Account != "accounts/ann" || done.Device != got.Name {
				t.Errorf("bound %q, device %q", got.Account, done.Device)
			}
			w.clock.Advance(24 * time.Hour)
			again, err := w.complete("accounts/ann", c, answer)
			must(t, err)
			if !bytes.Equal(done.Result, again.Result) {
				t.Error("a repeat returned another frame")
			}
			_, err = w.complete("accounts/ann", c, w.answer(b, c.Frame))
			wantReason(t, err, "CHALLENGE_USED")
		}
	})
}

func TestSixtyFourCompletionsBindOnce(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.band(wire.SuiteHMAC)
		c := w.begin(b, "accounts/ann")
		answer := w.answer(b, c.Frame)
		var done [64]challenge.Claim
		var errs [64]error
		together(64, func(i int) { done[i], errs[i] = w.complete("accounts/ann", c, answer) })
		must(t, errors.Join(errs[:]...))
		for _, d := range done {
			if len(d.Result) == 0 || !bytes.Equal(d.Result, done[0].Result) {
				t.Fatal("two callers got different frames")
			}
		}
	})
}

func TestOneRequestBeginsOneClaim(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b, req := w.band(wire.SuiteHMAC), ask("BeginClaim")
		var begun [32]challenge.Claim
		var errs [32]error
		together(32, func(i int) {
			begun[i], errs[i] = w.service.BeginClaim(t.Context(), req, "accounts/ann", b.UID, w.clock.Now())
		})
		must(t, errors.Join(errs[:]...))
		for _, c := range begun {
			if c.ID != begun[0].ID || !bytes.Equal(c.Frame, begun[0].Frame) {
				t.Fatal("two callers got different claims")
			}
		}
		req.Fingerprint[0]++
		_, err := w.service.BeginClaim(t.Context(), req, "accounts/ann", b.UID, w.clock.Now())
		wantReason(t, err, "REQUEST_ID_REUSED")
	})
}

func TestFreeBoundAndUnknownBandsLookAlike(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		free, owned := w.band(wire.SuiteHMAC), w.bound(wire.SuiteHMAC, "accounts/bob")
		unknown := &Band{UID: wire.NewRangeUID(1, 9, 9)}
		stranger := &Band{UID: wire.NewRangeUID(77, 1, 1)} // of a partner that does not exist
		var first wire.Challenge
		for i, b := range []*Band{free, owned, unknown, stranger} {
			c := w.begin(b, "accounts/eve")
			got, _, err := wire.ParseChallenge(c.Frame)
			must(t, err)
			if got.Nonce == (wire.Nonce{}) || got.BindingID == (wire.BindingID{}) || got.Merchant != w.ring.AccountRef("accounts/eve") {
				t.Errorf("band %d: %+v", i, got)
			}
			got.Nonce, got.BindingID = wire.Nonce{}, wire.BindingID{}
			if i == 0 {
				first = got
			}
			if got != first {
				t.Errorf("band %d: %+v differs from %+v", i, got, first)
			}
		}
	})
}

func TestNobodyClaimsABandThatDoesNotExist(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		master := make([]byte, 32)
		b, err := NewBand(master, 1, wire.NewRangeUID(1, 9, 9), wire.SuiteHMAC)
		must(t, err)
		c := w.begin(b, "accounts/eve")
		forged, err := b.Forge(c.Frame, c.Content.Nonce)
		must(t, err)
		for range challenge.MaxTries {
			_, err = w.complete("accounts/eve", c, forged)
			wantReason(t, err, "RESPONSE_REJECTED")
		}
		_, err = w.complete("accounts/eve", c, forged)
		wantReason(t, err, "CHALLENGE_USED")
	})
}

func TestAFinderDoesNotGetALostBandAndLearnsOfItsOwnerOnlyByHoldingIt(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		c := w.begin(b, "accounts/eve")
		_, err := w.complete("accounts/eve", c, []byte("nonsense"))
		wantReason(t, err, "RESPONSE_REJECTED")
		answer := w.answer(b, c.Frame)
		done, err := w.complete("accounts/eve", c, answer)
		wantReason(t, err, "ALREADY_BOUND")
		if done.Result != nil {
			t.Error("the finder got a RESULT frame")
		}
		// When the owner releases the band, the finder's old proof is worth nothing.
		d := w.registry.Get(b.UID)
		d.Account, d.Block = "", challenge.NotBound
		w.registry.Put(d)
		_, err = w.complete("accounts/eve", c, answer)
		wantReason(t, err, "ALREADY_BOUND")
		w.clock.Advance(life)
		_, err = w.complete("accounts/eve", c, answer)
		wantReason(t, err, "ALREADY_BOUND")
		if w.registry.Get(b.UID).Account != "" {
			t.Error("the band was bound")
		}
	})
}

func TestAProvenClaimIsFinishedWhenTheRegistryIsBack(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.band(wire.SuiteHMAC)
		c := w.begin(b, "accounts/ann")
		answer := w.answer(b, c.Frame)
		w.registry.SetDown(true)
		_, err := w.complete("accounts/ann", c, answer)
		if fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("got %v", err)
		}
		_, err = w.service.BeginClaim(t.Context(), ask("BeginClaim"), "accounts/ann", b.UID, w.clock.Now())
		wantReason(t, err, "UNAVAILABLE_TRY_AGAIN")
		w.registry.SetDown(false)
		_, err = w.complete("accounts/ann", c, w.answer(b, c.Frame))
		wantReason(t, err, "CHALLENGE_USED")
		_, err = w.complete("accounts/ann", c, answer)
		must(t, err)
	})
}

func TestAProofThatWasNotFinishedInTimeBindsNothing(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.band(wire.SuiteHMAC)
		c := w.begin(b, "accounts/ann")
		answer := w.answer(b, c.Frame)
		w.registry.SetDown(true)
		_, err := w.complete("accounts/ann", c, answer)
		if fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("got %v", err)
		}
		w.registry.SetDown(false)
		w.clock.Advance(life)
		_, err = w.complete("accounts/ann", c, answer)
		wantReason(t, err, "CHALLENGE_EXPIRED")
		if w.registry.Get(b.UID).Account != "" {
			t.Error("the band was bound")
		}
	})
}

func TestAClaimThatIsRefusedBindsNothing(t *testing.T) {
	cases := map[string]struct {
		before func(b *Band)
		after  func(w *world, b *Band)
		by     string
		reason string
	}{
		"of another account":       {by: "accounts/eve", reason: "CLAIM_NOT_FOUND"},
		"too late":                 {after: func(w *world, _ *Band) { w.clock.Advance(life) }, reason: "CHALLENGE_EXPIRED"},
		"nobody knocked":           {before: func(b *Band) { b.Flags &^= wire.FlagGesture }, reason: "TAP_DECLINED"},
		"the wearer declines":      {before: func(b *Band) { b.Status = wire.StatusDeclined }, reason: "TAP_DECLINED"},
		"the device was suspended": {after: func(w *world, b *Band) { d := w.registry.Get(b.UID); d.Block = challenge.Suspended; w.registry.Put(d) }, reason: "DEVICE_SUSPENDED"},
	}
	eachWorld(t, func(t *testing.T, w *world) {
		for name, c := range cases {
			w.run(t, name, func(t *testing.T) {
				b := w.band(wire.SuiteHMAC)
				claim := w.begin(b, "accounts/ann")
				if c.before != nil {
					c.before(b)
				}
				answer := w.answer(b, claim.Frame)
				if c.after != nil {
					c.after(w, b)
				}
				by := "accounts/ann"
				if c.by != "" {
					by = c.by
				}
				for range 2 {
					_, err := w.complete(by, claim, answer)
					wantReason(t, err, c.reason)
				}
				if w.registry.Get(b.UID).Account != "" {
					t.Error("the band was bound")
				}
			})
		}
	})
}

func TestARecordedOldClaimAndACopysClaimAreRefused(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.band(wire.SuiteHMAC)
		twin := *b
		first := w.begin(b, "accounts/ann")
		recorded := w.answer(b, first.Frame)
		_, err := w.complete("accounts/ann", first, recorded)
		must(t, err)
		w.clock.Advance(time.Second)
		second := w.begin(b, "accounts/ann")
		_, err = w.complete("accounts/ann", second, recorded)
		wantReason(t, err, "RESPONSE_REJECTED")
		_, err = w.complete("accounts/ann", second, w.answer(&twin, second.Frame))
		wantReason(t, err, "DEVICE_SUSPENDED")
		if w.registry.Suspensions != 1 || w.events("CloneSuspected") != 1 {
			t.Errorf("%d suspensions, %d events", w.registry.Suspensions, w.events("CloneSuspected"))
		}
	})
}
