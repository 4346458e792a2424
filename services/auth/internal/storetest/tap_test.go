package storetest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/store/live"
)

func TestATapIsApprovedWithEverySuite(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for suite := wire.SuiteHMAC; suite <= wire.SuiteEd25519; suite++ {
			b := w.bound(suite, "accounts/ann")
			c := w.create(b, tea)
			v, err := w.verify(c, w.answer(b, c.Frame))
			must(t, err)
			got := w.opened(v.Assertion)
			want := challenge.Assertion{
				Issuer: issuer, Audience: "payments", IssuedAt: w.clock.Now().Unix(), ExpiresAt: w.clock.Now().Unix() + 30, ID: v.JTI,
				Purpose: "PAY", Account: "accounts/ann", Device: c.Device, Partner: "partners/acme",
				Intent: "04050600-0000-0000-0000-000000000000", Amount: 1200, Currency: "CNY",
				Merchant: "01020300-0000-0000-0000-000000000000", Assurance: 2, Counter: b.Counter,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("suite %s: the assertion differs: %s", suite, diff)
			}
			w.wantResult(b, c.Nonce, v.Approved, wire.OutcomeApproved)
			w.wantResult(b, c.Nonce, v.Declined, wire.OutcomeDeclined)
		}
	})
}

func TestSixtyFourCallersRedeemOneChallengeOnce(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		c := w.create(b, tea)
		answer := w.answer(b, c.Frame)
		var verdicts [64]challenge.Verdict
		var errs [64]error
		together(64, func(i int) { verdicts[i], errs[i] = w.verify(c, answer) })
		must(t, errors.Join(errs[:]...))
		for _, v := range verdicts {
			if v.JTI != verdicts[0].JTI || !bytes.Equal(v.Approved, verdicts[0].Approved) {
				t.Fatal("two callers got different decisions")
			}
		}
		if n, made := w.decisions(c), w.events("DecisionMade"); n != 1 || made != 1 {
			t.Errorf("%d decisions and %d events, want one of each", n, made)
		}
	})
}

func TestSixtyFourDifferentAnswersGetOneApproval(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		c := w.create(b, tea)
		var answers [64][]byte
		for i := range answers {
			answers[i] = w.answer(b, c.Frame)
		}
		var errs [64]error
		together(64, func(i int) { _, errs[i] = w.verify(c, answers[i]) })
		approved := 0
		for _, err := range errs {
			if err == nil {
				approved++
				continue
			}
			wantReason(t, err, "CHALLENGE_USED")
		}
		if n := w.decisions(c); approved != 1 || n != 1 {
			t.Errorf("%d approvals and %d decisions, want one of each", approved, n)
		}
	})
}

func TestAFlippedBitAnywhereIsRejectedAndHarmsNothing(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, suite := range []wire.Suite{wire.SuiteHMAC, wire.SuiteEd25519} {
			b := w.bound(suite, "accounts/ann")
			c := w.create(b, tea)
			answer := w.answer(b, c.Frame)
			for i := range answer {
				if i > 0 && i%(challenge.MaxTries-1) == 0 { // spare the last try for the true answer
					if _, err := w.verify(c, answer); err != nil {
						t.Fatalf("%s: the true answer after two flipped ones: %v", suite, err)
					}
					w.forgive()
					c = w.create(b, tea)
					answer = w.answer(b, c.Frame)
				}
				bad := bytes.Clone(answer)
				bad[i] ^= 1 << (i % 8)
				_, err := w.verify(c, bad)
				if fault.ReasonOf(err) != "RESPONSE_REJECTED" {
					t.Fatalf("%s: byte %d flipped: %v", suite, i, err)
				}
				if n := w.decisions(c); n != 0 {
					t.Fatalf("%s: byte %d flipped left %d decisions", suite, i, n)
				}
			}
		}
	})
}

func TestNonsenseIsRejectedLikeAWrongAuthenticator(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		c := w.create(b, tea)
		answer := w.answer(b, c.Frame)
		for _, bad := range [][]byte{{0}, answer[:len(answer)-1]} {
			_, err := w.verify(c, bad)
			wantReason(t, err, "RESPONSE_REJECTED")
		}
		_, err := w.verify(c, append(bytes.Clone(answer), 0))
		wantReason(t, err, "RESPONSE_REJECTED")
		_, err = w.verify(c, answer)
		wantReason(t, err, "CHALLENGE_USED") // three tries
		if n := w.decisions(c); n != 0 {
			t.Errorf("%d decisions", n)
		}
	})
}

func TestAStrangerNeitherRedeemsNorUsesUpTries(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		c := w.create(b, tea)
		answer := w.answer(b, c.Frame)
		stranger := challenge.Caller{Role: challenge.RolePartner, ID: "x", Partner: "other"}
		for range challenge.MaxTries + 1 {
			_, err := w.service.Verify(t.Context(), stranger, c.Nonce, []byte("nonsense"), w.clock.Now())
			wantReason(t, err, "RESPONSE_REJECTED")
		}
		_, err := w.service.Verify(t.Context(), stranger, c.Nonce, answer, w.clock.Now())
		wantReason(t, err, "CALLER_NOT_ALLOWED")
		_, err = w.verify(c, answer)
		must(t, err)
		_, err = w.service.Verify(t.Context(), stranger, c.Nonce, answer, w.clock.Now())
		wantReason(t, err, "CALLER_NOT_ALLOWED")
	})
}

func TestTheSameBytesGetTheSameDecisionUntilExpiry(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		c := w.create(b, tea)
		answer := w.answer(b, c.Frame)
		first, err := w.verify(c, answer)
		must(t, err)
		// What happens to the device later does not change what was decided.
		d := w.registry.Get(b.UID)
		d.Block = challenge.Suspended
		w.registry.Put(d)
		w.clock.Advance(20 * time.Second)
		second, err := w.verify(c, answer)
		must(t, err)
		one, two := w.opened(first.Assertion), w.opened(second.Assertion)
		if one.ID != two.ID || two.IssuedAt != one.IssuedAt+20 || !bytes.Equal(first.Approved, second.Approved) {
			t.Errorf("first %+v, second %+v", one, two)
		}
		_, err = w.verify(c, w.answer(b, c.Frame))
		wantReason(t, err, "CHALLENGE_USED")
		w.clock.Advance(life)
		_, err = w.verify(c, answer)
		wantReason(t, err, "CHALLENGE_EXPIRED")
	})
}

func TestALiveStoreThatWasEmptiedApprovesNothingTwice(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db, live.NewMemory())
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		done := w.create(b, tea)
		answer := w.answer(b, done.Frame)
		first, err := w.verify(done, answer)
		must(t, err)
		lost := w.create(b, tea)
		lostAnswer := w.answer(b, lost.Frame)

		w.use(live.NewMemory())
		again, err := w.verify(done, answer)
		must(t, err)
		if again.JTI != first.JTI {
			t.Error("the decision changed")
		}
		_, err = w.verify(done, lostAnswer)
		wantReason(t, err, "CHALLENGE_USED")
		_, err = w.verify(lost, lostAnswer)
		wantReason(t, err, "CHALLENGE_EXPIRED")
		if n := w.decisions(lost); n != 0 {
			t.Errorf("%d decisions on a lost challenge", n)
		}
	})
}

func TestALiveStoreThatWasSetBackApprovesNothingTwice(t *testing.T) {
	testkit.DBs(t, func(t *testing.T, db *sqldb.DB) {
		w := newWorld(t, db, live.NewMemory())
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		c := w.create(b, tea)
		answer, other := w.answer(b, c.Frame), w.answer(b, c.Frame)
		first, err := w.verify(c, answer)
		must(t, err)
		for _, bytes := range [][]byte{other, answer} { // each meets a store in which the challenge is live again
			old := live.NewMemory()
			must(t, old.Issue(t.Context(), c, w.clock.Now()))
			w.use(old)
			v, err := w.verify(c, bytes)
			if &bytes[0] == &other[0] {
				wantReason(t, err, "CHALLENGE_USED")
				continue
			}
			must(t, err)
			if v.JTI != first.JTI {
				t.Error("the decision changed")
			}
		}
		if n := w.decisions(c); n != 1 || w.registry.Suspensions != 0 {
			t.Errorf("%d decisions and %d suspensions, want 1 and 0", n, w.registry.Suspensions)
		}
	})
}

func TestATakerThatDiedIsFinishedByTheSameBytesAlone(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		c := w.create(b, tea)
		answer, other := w.answer(b, c.Frame), w.answer(b, c.Frame)
		taken, err := w.live.Take(t.Context(), c.Nonce, sum(answer), w.clock.Now())
		must(t, err)
		if taken != challenge.TakenWon {
			t.Fatalf("taken %d", taken)
		}
		_, err = w.verify(c, other)
		wantReason(t, err, "CHALLENGE_USED")
		_, err = w.verify(c, answer)
		must(t, err)
	})
}

func TestALostRedisApprovesNothingAndStillRepeatsWhatWasDecided(t *testing.T) {
	addr, stop := testkit.StartRedis(t)
	w := newWorld(t, testkit.OpenDB(t, testkit.DBURL(t, sqldb.SQLite)), openRedis(t, addr))
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	done := w.create(b, tea)
	answer := w.answer(b, done.Frame)
	first, err := w.verify(done, answer)
	must(t, err)
	open := w.create(b, tea)
	openAnswer := w.answer(b, open.Frame)
	stop()
	_, err = w.verify(open, openAnswer)
	wantReason(t, err, "CHALLENGE_STORE_UNAVAILABLE")
	_, err = w.verify(open, []byte("nonsense"))
	wantReason(t, err, "CHALLENGE_STORE_UNAVAILABLE")
	wanted := tea
	wanted.UID = b.UID
	_, err = w.service.Create(t.Context(), payments, ask("CreateChallenge"), wanted, w.clock.Now())
	wantReason(t, err, "CHALLENGE_STORE_UNAVAILABLE")
	if n := w.decisions(open); n != 0 {
		t.Errorf("%d decisions without a store", n)
	}
	again, err := w.verify(done, answer)
	must(t, err)
	if again.JTI != first.JTI {
		t.Error("the decision changed")
	}
}

func TestWhatTheBandOrTheRegistryRefusesIsNotApproved(t *testing.T) {
	change := func(w *world, b *Band, f func(d *challenge.Device)) {
		d := w.registry.Get(b.UID)
		f(&d)
		w.registry.Put(d)
	}
	cases := map[string]struct {
		before func(b *Band)           // the band answers
		after  func(w *world, b *Band) // then this happens
		reason string
		made   int // decisions
	}{
		"the wearer declines":      {before: func(b *Band) { b.Status = wire.StatusDeclined }, reason: "TAP_DECLINED", made: 1},
		"the band is not worn":     {before: func(b *Band) { b.Status = wire.StatusNotWorn }, reason: "TAP_DECLINED", made: 1},
		"nobody knocked":           {before: func(b *Band) { b.Flags &^= wire.FlagGesture }, reason: "REQUIREMENT_MISSING", made: 1},
		"not on the wrist":         {before: func(b *Band) { b.Flags &^= wire.FlagOnWrist }, reason: "REQUIREMENT_MISSING", made: 1},
		"old firmware":             {before: func(b *Band) { b.Firmware = 1 }, reason: "REQUIREMENT_MISSING", made: 1},
		"suspended meanwhile":      {after: func(w *world, b *Band) { change(w, b, func(d *challenge.Device) { d.Block = challenge.Suspended }) }, reason: "DEVICE_SUSPENDED"},
		"released meanwhile":       {after: func(w *world, b *Band) { change(w, b, func(d *challenge.Device) { d.Block = challenge.NotBound }) }, reason: "DEVICE_NOT_BOUND"},
		"bound to another since":   {after: func(w *world, b *Band) { change(w, b, func(d *challenge.Device) { d.Account = "accounts/eve" }) }, reason: "DEVICE_NOT_BOUND"},
		"bound anew since":         {after: func(w *world, b *Band) { change(w, b, func(d *challenge.Device) { d.BindingID[0]++ }) }, reason: "DEVICE_NOT_BOUND"},
		"the suite was downgraded": {after: func(w *world, b *Band) { change(w, b, func(d *challenge.Device) { d.Suite = wire.SuiteCMAC }) }, reason: "RESPONSE_REJECTED"},
		"the registry is away":     {after: func(w *world, _ *Band) { w.registry.SetDown(true) }, reason: "UNAVAILABLE"},
		"too late":                 {after: func(w *world, _ *Band) { w.clock.Advance(life) }, reason: "CHALLENGE_EXPIRED"},
		"superseded":               {after: func(w *world, b *Band) { w.create(b, tea) }, reason: "CHALLENGE_SUPERSEDED"},
	}
	eachWorld(t, func(t *testing.T, w *world) {
		for name, c := range cases {
			w.run(t, name, func(t *testing.T) {
				b := w.bound(wire.SuiteHMAC, "accounts/ann")
				ch := w.create(b, tea)
				if c.before != nil {
					c.before(b)
				}
				answer := w.answer(b, ch.Frame)
				if c.after != nil {
					c.after(w, b)
				}
				v, err := w.verify(ch, answer)
				wantReason(t, err, c.reason)
				if v.Assertion != "" || v.Approved != nil {
					t.Error("a refusal came with an approval")
				}
				if n := w.decisions(ch); n != c.made {
					t.Errorf("%d decisions, want %d", n, c.made)
				}
				if c.made == 1 {
					_, err = w.verify(ch, answer)
					wantReason(t, err, c.reason)
					_, err = w.verify(ch, w.answer(b, ch.Frame))
					wantReason(t, err, "CHALLENGE_USED")
				}
			})
		}
	})
}

func TestAnAnswerCountsForItsOwnChallengeAndBandOnly(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		a, b := w.bound(wire.SuiteHMAC, "accounts/ann"), w.bound(wire.SuiteHMAC, "accounts/bob")
		first := w.create(a, tea)
		replayed := w.answer(a, first.Frame)
		_, err := w.verify(first, replayed)
		must(t, err)
		dearer := tea
		dearer.MinorUnits = 999900
		second := w.create(a, dearer)
		_, err = w.verify(second, replayed)
		wantReason(t, err, "RESPONSE_REJECTED")
		forged, err := b.Forge(second.Frame, w.registry.Get(b.UID).BindNonce)
		must(t, err)
		_, err = w.verify(second, forged)
		wantReason(t, err, "RESPONSE_REJECTED")
		_, err = w.verify(second, w.answer(a, second.Frame))
		must(t, err)
	})
}

func TestOneRequestMakesOneChallenge(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		wanted, req := tea, ask("CreateChallenge")
		wanted.Account = "accounts/ann"
		var made [64]challenge.Challenge
		var errs [64]error
		together(64, func(i int) { made[i], errs[i] = w.service.Create(t.Context(), payments, req, wanted, w.clock.Now()) })
		must(t, errors.Join(errs[:]...))
		for _, c := range made {
			if !bytes.Equal(c.Frame, made[0].Frame) {
				t.Fatal("two callers got different challenges")
			}
		}
		_, err := w.verify(made[0], w.answer(b, made[0].Frame))
		must(t, err)
		req.Fingerprint[0]++
		_, err = w.service.Create(t.Context(), payments, req, wanted, w.clock.Now())
		wantReason(t, err, "REQUEST_ID_REUSED")
		w.clock.Advance(life)
		fresh, err := w.service.Create(t.Context(), payments, req, wanted, w.clock.Now())
		must(t, err)
		if fresh.Nonce == made[0].Nonce {
			t.Error("an expired challenge was given again")
		}
	})
}

func TestABusyDeviceSaysSoAndTheSameRequestSucceedsLater(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		first := w.create(b, tea)
		wearer := challenge.Caller{Role: challenge.RoleWearer, ID: "ann", Account: "accounts/ann"}
		voucher, req := challenge.Wanted{Purpose: wire.PurposeVoucher, UID: b.UID}, ask("CreateChallenge")
		_, err := w.service.Create(t.Context(), wearer, req, voucher, w.clock.Now())
		wantReason(t, err, "CHALLENGE_BUSY")
		w.clock.Advance(10 * time.Second)
		_, err = w.verify(first, w.answer(b, first.Frame))
		must(t, err)
		c, err := w.service.Create(t.Context(), wearer, req, voucher, w.clock.Now())
		must(t, err)
		if !c.ExpiresAt().Equal(w.clock.Now().Add(life)) {
			t.Errorf("it expires at %s, which is not a whole life away", c.ExpiresAt())
		}
		v, err := w.service.Verify(t.Context(), wearer, c.Nonce, w.answer(b, c.Frame), w.clock.Now())
		must(t, err)
		if a := w.opened(v.Assertion); a.Audience != "notify" || a.Purpose != "VOUCHER" || a.Amount != 0 || a.Currency != "XXX" {
			t.Errorf("the assertion is %+v", a)
		}
	})
}

// stopped is a live store whose clock stands still, so that nothing in it ever expires.
type stopped struct{ challenge.LiveStore }

func (s stopped) Load(ctx context.Context, nonce wire.Nonce, _ time.Time) (challenge.Challenge, challenge.State, error) {
	return s.LiveStore.Load(ctx, nonce, start)
}

func (s stopped) Take(ctx context.Context, nonce wire.Nonce, digest [32]byte, _ time.Time) (challenge.Taken, error) {
	return s.LiveStore.Take(ctx, nonce, digest, start)
}

func TestExpiryIsThatOfTheSignedFieldsWhateverTheStoreThinks(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.use(stopped{w.live})
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		c := w.create(b, tea)
		answer := w.answer(b, c.Frame)
		w.clock.Advance(life)
		_, err := w.verify(c, answer)
		wantReason(t, err, "CHALLENGE_EXPIRED")
		if n := w.decisions(c); n != 0 {
			t.Errorf("%d decisions", n)
		}
	})
}
