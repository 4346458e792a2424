package storetest

import (
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

// forgive ends every lockout, for tests of something else.
func (w *world) forgive() {
	w.t.Helper()
	_, err := w.db.ExecContext(w.t.Context(), `DELETE FROM lockouts`)
	must(w.t, err)
}

func TestAResponseThatShowsLessThanTheCallerNeedsIsRefused(t *testing.T) {
	const worn = wire.FlagGesture | wire.FlagOnWrist | wire.FlagUnlocked
	eachWorld(t, func(t *testing.T, w *world) {
		for _, c := range []struct {
			level  int
			flags  wire.Flags
			reason string
		}{
			{0, wire.FlagGesture | wire.FlagOnWrist, ""}, {1, wire.FlagGesture | wire.FlagOnWrist, ""},
			{2, wire.FlagGesture | wire.FlagOnWrist, "REQUIREMENT_MISSING"}, {2, worn, ""},
			{3, worn, "REQUIREMENT_MISSING"}, {3, worn | wire.FlagDisplayConfirmed, ""},
			{1, worn | wire.FlagTamper, "REQUIREMENT_MISSING"},
		} {
			b := w.bound(wire.SuiteHMAC, "accounts/ann")
			wanted := tea
			wanted.MinAssurance = c.level
			challenged := w.create(b, wanted)
			b.Flags = c.flags
			v, err := w.verify(challenged, w.answer(b, challenged.Frame))
			wantReason(t, err, c.reason)
			if err == nil && v.Assurance < c.level {
				t.Errorf("level %d was needed, %d was shown", c.level, v.Assurance)
			}
		}
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		d := w.registry.Get(b.UID)
		d.HasDisplay = false
		w.registry.Put(d)
		wanted := tea
		wanted.UID, wanted.MinAssurance = b.UID, 3
		_, err := w.service.Create(t.Context(), payments, ask("CreateChallenge"), wanted, w.clock.Now())
		wantReason(t, err, "ASSURANCE_NOT_SUPPORTED")
	})
}

// wrong sends an answer with a wrong authenticator.
func (w *world) wrong(b *Band, c challenge.Challenge) error {
	answer := w.answer(b, c.Frame)
	answer[len(answer)-1] ^= 1
	_, err := w.verify(c, answer)
	return err
}

// lockOut sends wrong answers until the device is locked.
func (w *world) lockOut(b *Band) {
	w.t.Helper()
	c := w.create(b, tea)
	for i := range 5 {
		if i == challenge.MaxTries {
			c = w.create(b, tea)
		}
		wantReason(w.t, w.wrong(b, c), "RESPONSE_REJECTED")
	}
}

func TestFiveWrongAuthenticatorsLockForTwiceAsLongEachTime(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		wanted := tea
		wanted.UID = b.UID
		live := w.create(b, tea)
		for i := range 3 {
			w.lockOut(b)
			w.use(w.live) // it is not in memory
			_, err := w.service.Create(t.Context(), payments, ask("CreateChallenge"), wanted, w.clock.Now())
			wantReason(t, err, "DEVICE_LOCKED")
			w.clock.Advance(10*time.Minute<<i - time.Second)
			_, err = w.service.Create(t.Context(), payments, ask("CreateChallenge"), wanted, w.clock.Now())
			wantReason(t, err, "DEVICE_LOCKED")
			if f, _ := fault.As(err); f.Meta["locked_until"] == "" {
				t.Error("it is not said until when")
			}
			w.clock.Advance(time.Second)
		}
		c := w.create(b, tea)
		_, err := w.verify(c, w.answer(b, c.Frame))
		must(t, err)
		_, err = w.verify(live, w.answer(b, live.Frame))
		if err == nil {
			t.Error("a challenge from before the locks was approved")
		}
	})
}

func TestALockedDeviceIsRefusedEvenWithTheRightAnswer(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		w.lockOut(b)
		w.clock.Advance(10 * time.Minute)
		c := w.create(b, tea)
		must(t, w.store.UpdateLockout(t.Context(), b.UID, "accounts/ann", func(l challenge.Lockout) challenge.Lockout {
			l.Until = w.clock.Now().Add(time.Second)
			return l
		}))
		answer := w.answer(b, c.Frame)
		_, err := w.verify(c, answer)
		wantReason(t, err, "DEVICE_LOCKED")
		w.clock.Advance(time.Second)
		_, err = w.verify(c, answer)
		must(t, err)
	})
}

func TestWrongAnswersFarApartLockNothing(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		for range 12 {
			c := w.create(b, tea)
			wantReason(t, w.wrong(b, c), "RESPONSE_REJECTED")
			w.clock.Advance(3 * time.Minute)
		}
	})
}

func TestALeapOfTheCounterIsARiskUntilTheBandShowsMore(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		b.Counter += challenge.MaxGap
		b.Flags &^= wire.FlagUnlocked
		c := w.create(b, tea)
		v, err := w.verify(c, w.answer(b, c.Frame))
		must(t, err)
		if v.Risk != challenge.RiskCounterGap || w.opened(v.Assertion).Risk != 1 {
			t.Errorf("the risk is %d", v.Risk)
		}
		w.clock.Advance(time.Second)
		if c = w.create(b, tea); !c.Content.Require.Has(wire.RequireUnlocked) {
			t.Errorf("the next payment asks for %s", c.Content.Require)
		}
		b.Flags |= wire.FlagUnlocked
		v, err = w.verify(c, w.answer(b, c.Frame))
		must(t, err)
		w.clock.Advance(time.Second)
		if c = w.create(b, tea); c.Content.Require.Has(wire.RequireUnlocked) || v.Risk != 0 {
			t.Errorf("the one after that asks for %s", c.Content.Require)
		}
	})
}

func TestAReleaseEndsTheBindingAndTellsTheBand(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteP256, "accounts/ann")
		w.refilled(b)
		before := w.registry.Get(b.UID)
		c, err := w.service.Create(t.Context(), wearerAnn, ask("CreateChallenge"), challenge.Wanted{Purpose: wire.PurposeUnbind, UID: b.UID}, w.clock.Now())
		must(t, err)
		answer := w.answer(b, c.Frame)
		w.registry.SetDown(true)
		_, err = w.service.Verify(t.Context(), wearerAnn, c.Nonce, answer, w.clock.Now())
		if fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("with the registry away: %v", err)
		}
		w.registry.SetDown(false)
		var v challenge.Verdict
		for range 2 {
			v, err = w.service.Verify(t.Context(), wearerAnn, c.Nonce, answer, w.clock.Now())
			must(t, err)
		}
		r, tag, err := wire.ParseResult(v.Approved)
		must(t, err)
		session, err := b.Session(before.BindingID, before.BindNonce)
		must(t, err)
		must(t, wire.VerifyResultTag(session.Rslt, b.UID, c.Nonce, r, tag))
		if d := w.registry.Get(b.UID); d.Account != "" || r.Outcome != wire.OutcomeUnbound || v.Assertion != "" {
			t.Errorf("bound to %q, outcome %s, assertion %q", d.Account, r.Outcome, v.Assertion)
		}
		entries, _, err := w.store.DenyList(t.Context(), 0, w.clock.Now(), 10)
		must(t, err)
		if len(entries) != 1 {
			t.Errorf("the deny-list has %d entries, want the grant of the binding", len(entries))
		}
		// The released band is the next owner's, without the old one's doing.
		w.clock.Advance(time.Second)
		claim := w.begin(b, "accounts/bob")
		_, err = w.complete("accounts/bob", claim, w.answer(b, claim.Frame))
		must(t, err)
	})
}

func TestABandIsHandedOnWithItsOwnersCode(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		complete := func(c challenge.Claim, answer []byte, code string) (challenge.Claim, error) {
			return w.service.CompleteClaim(t.Context(), "accounts/bob", c.ID, answer, code, w.clock.Now())
		}
		c := w.begin(b, "accounts/bob")
		answer := w.answer(b, c.Frame)
		for range 2 {
			_, err := complete(c, answer, "00000000000000000000000000")
			wantReason(t, err, "TRANSFER_CODE_INVALID")
		}
		_, err := complete(c, answer, TransferCode)
		wantReason(t, err, "TRANSFER_CODE_INVALID") // one guess for each proof
		w.clock.Advance(time.Second)
		c = w.begin(b, "accounts/bob")
		_, err = complete(c, w.answer(b, c.Frame), TransferCode)
		must(t, err)
		if got := w.registry.Get(b.UID).Account; got != "accounts/bob" {
			t.Errorf("the band is bound to %q", got)
		}
	})
}

func TestADecisionDoesNotRestOnAnOlderAnswerOfTheRegistry(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		c := w.create(b, tea)
		answer := w.answer(b, c.Frame)
		d := w.registry.Get(b.UID)
		for _, epoch := range []int64{7, 5} { // what is older never lowers it
			d.AuthEpoch = epoch
			must(t, w.taps.Notice(t.Context(), d, w.clock.Now()))
		}
		_, err := w.verify(c, answer)
		wantReason(t, err, "DEVICE_CHANGED")
		if n := w.decisions(c); n != 0 {
			t.Errorf("%d decisions", n)
		}
		d.AuthEpoch = 7
		w.registry.Put(d)
		_, err = w.verify(c, answer)
		must(t, err)
	})
}

func TestDistanceRoundsAreCheckedWhereTheyAreAskedFor(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.policy.MaxRTT = 5 * time.Millisecond
		w.use(w.live)
		for name, c := range map[string]struct {
			rtt    uint16 // in 100 µs
			change func(r *wire.Response)
			reason string
		}{
			"near":                    {rtt: 50},
			"far, as with a relay":    {rtt: 51, reason: "REQUIREMENT_MISSING"},
			"no round was made":       {rtt: 50, change: func(r *wire.Response) { r.Rounds = nil }, reason: "REQUIREMENT_MISSING"},
			"the phone guessed":       {rtt: 50, change: func(r *wire.Response) { r.Rounds[1].Answer[0] ^= 1 }, reason: "REQUIREMENT_MISSING"},
			"the band has no clock":   {rtt: wire.NoRTT, reason: "REQUIREMENT_MISSING"},
			"the band does not claim": {rtt: 50, change: func(r *wire.Response) { r.Proximity = wire.ProximityNone }, reason: "REQUIREMENT_MISSING"},
		} {
			w.run(t, name, func(t *testing.T) {
				b := w.bound(wire.SuiteHMAC, "accounts/ann")
				challenged := w.create(b, tea)
				if !challenged.Content.Require.Has(wire.RequireRTT) || len(challenged.PongKey) == 0 {
					t.Fatalf("it asks for %s", challenged.Content.Require)
				}
				key, err := wire.NewKey(challenged.PongKey)
				must(t, err)
				b.Change = func(r *wire.Response) {
					r.Flags |= wire.FlagRTTValid
					r.Proximity, r.MinRTT = wire.ProximityRTT, c.rtt
					for i := range uint8(3) {
						answer, err := wire.PongAnswer(key, challenged.Nonce, i, [4]byte{i})
						must(t, err)
						r.Rounds = append(r.Rounds, wire.Round{BandNonce: [4]byte{i}, Answer: answer})
					}
					if c.change != nil {
						c.change(r)
					}
				}
				_, err = w.verify(challenged, w.answer(b, challenged.Frame))
				wantReason(t, err, c.reason)
			})
		}
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		one := w.create(b, tea)
		if two := w.create(b, tea); string(one.PongKey) == string(two.PongKey) {
			t.Error("two challenges share a pong key")
		}
	})
}

func TestABandMustHaveBeenWornForAWhile(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		for minutes, reason := range map[int]string{7: "", 8: "REQUIREMENT_MISSING"} { // the band says 7
			w.policy.MinWear = time.Duration(minutes) * time.Minute
			w.use(w.live)
			c := w.create(b, tea)
			_, err := w.verify(c, w.answer(b, c.Frame))
			wantReason(t, err, reason)
			w.clock.Advance(time.Second)
		}
	})
}

func TestASignatureUnderAnyOfTheDevicesKeysCounts(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteEd25519, "accounts/ann")
		other := w.band(wire.SuiteEd25519)
		for _, keys := range [][]byte{append(append([]byte(nil), b.Public...), other.Public...), append(append([]byte(nil), other.Public...), b.Public...)} {
			d := w.registry.Get(b.UID)
			d.PublicKey = keys
			w.registry.Put(d)
			c := w.create(b, tea)
			_, err := w.verify(c, w.answer(b, c.Frame))
			must(t, err)
			w.clock.Advance(time.Second)
		}
		d := w.registry.Get(b.UID)
		d.PublicKey = other.Public
		w.registry.Put(d)
		c := w.create(b, tea)
		_, err := w.verify(c, w.answer(b, c.Frame))
		wantReason(t, err, "RESPONSE_REJECTED")
	})
}

func TestADeviceThatIsNoLongerThereIsRejectedLikeAWrongAnswer(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for suite := wire.SuiteHMAC; suite <= wire.SuiteEd25519; suite++ {
			b := w.bound(suite, "accounts/ann")
			c := w.create(b, tea)
			answer := w.answer(b, c.Frame)
			w.registry.Remove(b.UID)
			_, err := w.verify(c, answer)
			wantReason(t, err, "RESPONSE_REJECTED")
		}
	})
}
