package storetest

import (
	"context"
	"errors"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/offline"
)

var wearerAnn = challenge.Caller{Role: challenge.RoleWearer, ID: "s", Account: "accounts/ann"}

// refilled has ann's band fetch an offline grant.
func (w *world) refilled(b *Band) *Pocket {
	w.t.Helper()
	c, err := w.service.Create(w.t.Context(), wearerAnn, ask("CreateChallenge"), challenge.Wanted{
		Purpose: wire.PurposeOfflineRefill, UID: b.UID, MinorUnits: 2000, Currency: "CNY", Display: "Metro ¥20",
	}, w.clock.Now())
	must(w.t, err)
	v, err := w.service.Verify(w.t.Context(), wearerAnn, c.Nonce, w.answer(b, c.Frame), w.clock.Now())
	must(w.t, err)
	if v.Assertion != "" || v.OfflineGrant() == nil {
		w.t.Fatalf("assertion %q, grant %v", v.Assertion, v.OfflineGrant())
	}
	w.wantResult(b, c.Nonce, v.Approved, wire.OutcomeApproved)
	d := w.registry.Get(b.UID)
	p, err := b.Grant(v.Approved, d.BindingID, d.BindNonce, 100)
	must(w.t, err)
	return p
}

// gate is what a metro gate asks now.
func (w *world) gate(fare uint32) wire.TerminalTap {
	return wire.TerminalTap{
		TerminalID: wire.TerminalID{1}, Unpredictable: [8]byte{2}, FareCap: fare, Currency: "CNY", MCC: 4111, Time: uint32(w.clock.Now().Unix()),
	}
}

func (w *world) tap(b *Band, p *Pocket, t wire.TerminalTap) offline.Submission {
	w.t.Helper()
	terminal, tap, err := b.Tap(p, t)
	must(w.t, err)
	return offline.Submission{TerminalFrame: terminal, TapFrame: tap, MCC: 4111}
}

func (w *world) clear(in offline.Submission) offline.Verdict {
	w.t.Helper()
	v, err := w.taps.Verify(context.WithoutCancel(w.t.Context()), in, w.clock.Now())
	must(w.t, err)
	return v
}

func TestOfflineTapsOfEverySuiteAreAcceptedOnceInAnyOrder(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for suite := wire.SuiteHMAC; suite <= wire.SuiteEd25519; suite++ {
			b := w.bound(suite, "accounts/ann")
			p := w.refilled(b)
			var taps []offline.Submission
			for range 4 {
				taps = append(taps, w.tap(b, p, w.gate(300)))
			}
			rand.Shuffle(len(taps), func(i, j int) { taps[i], taps[j] = taps[j], taps[i] })
			for _, in := range taps {
				v := w.clear(in)
				if v.Reason != offline.Accepted || v.Duplicate || v.Grant == nil || v.Grant.Account != "accounts/ann" || v.FareCap != 300 {
					t.Fatalf("suite %s: %+v", suite, v)
				}
				again := w.clear(in)
				if !again.Duplicate || again.Tap != v.Tap {
					t.Fatalf("suite %s: again %+v, first %+v", suite, again.Tap, v.Tap)
				}
			}
			if last := w.clear(taps[0]); last.Missing != 0 {
				t.Errorf("%d taps are missing", last.Missing)
			}
		}
	})
}

func TestMissingTapsAreCountedUntilTheyComeIn(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteCMAC, "accounts/ann")
		p := w.refilled(b)
		first, second, third := w.tap(b, p, w.gate(1)), w.tap(b, p, w.gate(1)), w.tap(b, p, w.gate(1))
		for _, step := range []struct {
			in      offline.Submission
			missing int64
		}{{third, 0}, {first, 1}, {second, 0}} {
			if v := w.clear(step.in); v.Missing != step.missing || v.Reason != offline.Accepted {
				t.Errorf("%d missing, %q", v.Missing, v.Reason)
			}
		}
	})
}

func TestSixtyFourSubmissionsOfOneTapAreAcceptedOnce(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		in := w.tap(b, w.refilled(b), w.gate(100))
		var got [64]offline.Verdict
		var errs [64]error
		together(64, func(i int) { got[i], errs[i] = w.taps.Verify(context.WithoutCancel(t.Context()), in, w.clock.Now()) })
		must(t, errors.Join(errs[:]...))
		first := 0
		for _, v := range got {
			if v.Reason != offline.Accepted {
				t.Fatalf("rejected with %s", v.Reason)
			}
			if !v.Duplicate {
				first++
			}
		}
		if first != 1 {
			t.Errorf("%d were the first", first)
		}
	})
}

func TestATapOutsideItsGrantIsRejectedForGood(t *testing.T) {
	cases := map[string]struct {
		gate   func(t *wire.TerminalTap)
		pocket func(p *Pocket)
		band   func(b *Band)
		mcc    uint16
		reason offline.Reason
	}{
		"the fare is above the grant's":   {gate: func(t *wire.TerminalTap) { t.FareCap = 501 }, reason: offline.OverTap},
		"the sum is above the grant's":    {pocket: func(p *Pocket) { p.spent = 1901 }, reason: offline.OverCumulative},
		"the sum is less than the fare":   {pocket: func(p *Pocket) { p.spent = ^uint32(0) - 49 }, reason: offline.OverCumulative},
		"the grant has ended":             {gate: func(t *wire.TerminalTap) { t.Time += 86400 }, reason: offline.GrantExpired},
		"the tap is older than the grant": {gate: func(t *wire.TerminalTap) { t.Time -= 3600 }, reason: offline.GrantExpired},
		"the terminal is a shop's":        {gate: func(t *wire.TerminalTap) { t.MCC = 5812 }, reason: offline.MCCNotAllowed},
		"the merchant is a shop":          {mcc: 5812, reason: offline.MCCNotAllowed},
		"another currency":                {gate: func(t *wire.TerminalTap) { t.Currency = "EUR" }, reason: offline.UnknownGrant},
		"another wearer's alias":          {pocket: func(p *Pocket) { p.Alias[0]++ }, reason: offline.UnknownGrant},
		"a grant that nobody gave":        {pocket: func(p *Pocket) { p.ID += 1000 }, reason: offline.UnknownGrant},
		"the band refused":                {band: func(b *Band) { b.Status = wire.StatusNotWorn }, reason: offline.BadMAC},
		"the band claims another suite":   {band: func(b *Band) { b.Suite = wire.SuiteCMAC }, reason: offline.BadMAC},
	}
	eachWorld(t, func(t *testing.T, w *world) {
		for name, c := range cases {
			w.run(t, name, func(t *testing.T) {
				b := w.bound(wire.SuiteHMAC, "accounts/ann")
				p := w.refilled(b)
				gate := w.gate(100)
				if c.gate != nil {
					c.gate(&gate)
				}
				if c.pocket != nil {
					c.pocket(p)
				}
				if c.band != nil {
					c.band(b)
				}
				terminal, tap, err := b.Tap(p, gate)
				if b.Suite == wire.SuiteCMAC { // it has no key for that suite: any 16 bytes will do
					b.Suite = wire.SuiteHMAC
					terminal, tap, err = b.Tap(p, gate)
					tap[1] = byte(wire.SuiteCMAC)
				}
				must(t, err)
				in := offline.Submission{TerminalFrame: terminal, TapFrame: tap, MCC: 4111}
				if c.mcc != 0 {
					in.MCC = c.mcc
				}
				if v := w.clear(in); v.Reason != c.reason || v.Duplicate {
					t.Errorf("got %q, want %q", v.Reason, c.reason)
				}
				if v := w.clear(in); v.Reason != c.reason || v.Duplicate != (v.Grant != nil) {
					t.Errorf("again: %q, duplicate %t", v.Reason, v.Duplicate)
				}
			})
		}
	})
}

func TestAFlippedBitInATapIsNoTap(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		in := w.tap(b, w.refilled(b), w.gate(100))
		for bit := range 8 * (len(in.TerminalFrame) + len(in.TapFrame)) {
			bad := offline.Submission{TerminalFrame: append([]byte(nil), in.TerminalFrame...), TapFrame: append([]byte(nil), in.TapFrame...), MCC: in.MCC}
			if i := bit / 8; i < len(bad.TerminalFrame) {
				bad.TerminalFrame[i] ^= 1 << (bit % 8)
			} else {
				bad.TapFrame[i-len(bad.TerminalFrame)] ^= 1 << (bit % 8)
			}
			if v := w.clear(bad); v.Reason != offline.BadMAC && v.Reason != offline.UnknownGrant {
				t.Fatalf("bit %d: %q", bit, v.Reason)
			}
		}
		if n := w.count(`SELECT COUNT(*) FROM offline_taps`); n != 0 {
			t.Errorf("%d of them were kept", n)
		}
	})
}

func TestTwoTapsWithOneCounterProveACopy(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteEd25519, "accounts/ann")
		p := w.refilled(b)
		twin := *p
		honest, copied := w.tap(b, p, w.gate(100)), w.tap(b, &twin, w.gate(200))
		if v := w.clear(honest); v.Reason != offline.Accepted {
			t.Fatalf("got %q", v.Reason)
		}
		if v := w.clear(copied); v.Reason != offline.CloneOfTheBand || v.Duplicate {
			t.Fatalf("got %q", v.Reason)
		}
		if v := w.clear(copied); v.Reason != offline.CloneOfTheBand || !v.Duplicate {
			t.Errorf("again: %q", v.Reason)
		}
		if w.registry.Get(b.UID).Block != challenge.Suspended || w.registry.Suspensions != 1 || w.events("CloneSuspected") != 1 {
			t.Errorf("%d suspensions, %d events", w.registry.Suspensions, w.events("CloneSuspected"))
		}
		entries, _, err := w.store.DenyList(t.Context(), 0, w.clock.Now(), 10)
		must(t, err)
		if len(entries) != 1 || entries[0].Alias != p.Alias {
			t.Errorf("the deny-list is %v", entries)
		}
	})
}

func TestTheSecondSignatureOfOneTapIsNoCopy(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteP256, "accounts/ann")
		in := w.tap(b, w.refilled(b), w.gate(100))
		first := w.clear(in)
		// Of ECDSA (r, n-s) is as good as (r, s), and anybody can make it of the other.
		n, ok := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
		if !ok {
			t.Fatal("no number")
		}
		s := in.TapFrame[wire.OfflineTapLen+32:]
		n.Sub(n, new(big.Int).SetBytes(s)).FillBytes(s)
		second := w.clear(in)
		if first.Reason != offline.Accepted || !second.Duplicate || second.Tap != first.Tap {
			t.Errorf("first %q, second %q, duplicate %t", first.Reason, second.Reason, second.Duplicate)
		}
		if w.registry.Suspensions != 0 {
			t.Error("the band was suspended")
		}
	})
}

func TestAGrantAllowsSoManyTaps(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		p := w.refilled(b)
		for i := range 7 {
			want := offline.Accepted
			if i >= 5 {
				want = offline.OverCumulative
			}
			if v := w.clear(w.tap(b, p, w.gate(1))); v.Reason != want {
				t.Errorf("tap %d: %q", i, v.Reason)
			}
		}
	})
}

func TestGrantsAreBounded(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		refill := func(minor int64, currency string) error {
			_, err := w.service.Create(t.Context(), wearerAnn, ask("CreateChallenge"), challenge.Wanted{
				Purpose: wire.PurposeOfflineRefill, UID: b.UID, MinorUnits: minor, Currency: currency,
			}, w.clock.Now())
			return err
		}
		wantReason(t, refill(2001, "CNY"), "OFFLINE_NOT_AVAILABLE")
		wantReason(t, refill(100, "EUR"), "OFFLINE_NOT_AVAILABLE")
		first := w.refilled(b)
		for range challenge.MaxOpenGrants - 1 {
			if p := w.refilled(b); p.Alias == first.Alias || p.ID == first.ID {
				t.Error("two grants share an alias or a number")
			}
		}
		wantReason(t, refill(100, "CNY"), "OFFLINE_LIMIT_REACHED")
		// A payment that would like a grant goes on without.
		wanted := tea
		wanted.OfflineRefill = true
		c := w.create(b, wanted)
		v, err := w.verify(c, w.answer(b, c.Frame))
		must(t, err)
		if v.OfflineGrant() != nil {
			t.Error("a fourth grant was given")
		}
		w.clock.Advance(challenge.MaxGrantLife)
		c = w.create(b, wanted)
		v, err = w.verify(c, w.answer(b, c.Frame))
		must(t, err)
		if g := v.OfflineGrant(); g == nil || g.CumulativeLimit != 2000 || g.MaxTap != 500 || time.Unix(int64(g.ValidUntil), 0).Sub(w.clock.Now()) != 24*time.Hour {
			t.Errorf("the payment brought %+v", g)
		}
	})
}

func TestTheDenyListIsNumberedAndTakenUpWhereItWasLeft(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		one, two := w.bound(wire.SuiteHMAC, "accounts/ann"), w.bound(wire.SuiteHMAC, "accounts/ann")
		before := w.tap(one, w.refilled(one), w.gate(10))
		w.refilled(two)
		piece, _, err := w.taps.DenyList(t.Context(), 0, w.clock.Now())
		must(t, err)
		if len(piece.Entries) != 0 || piece.UpTo != 0 || piece.Signed == "" {
			t.Errorf("the list begins with %+v", piece)
		}
		w.clock.Advance(time.Second)
		must(t, w.store.Deny(t.Context(), one.UID, w.clock.Now()))
		must(t, w.store.Deny(t.Context(), one.UID, w.clock.Now())) // changes nothing
		piece, _, err = w.taps.DenyList(t.Context(), 0, w.clock.Now())
		must(t, err)
		if len(piece.Entries) != 1 || piece.UpTo != 1 {
			t.Fatalf("the list is %+v", piece)
		}
		must(t, w.store.Deny(t.Context(), two.UID, w.clock.Now()))
		rest, _, err := w.taps.DenyList(t.Context(), piece.UpTo, w.clock.Now())
		must(t, err)
		if len(rest.Entries) != 1 || rest.From != 1 || rest.UpTo != 2 || rest.Entries[0].Alias == piece.Entries[0].Alias {
			t.Errorf("the rest is %+v", rest)
		}
		// A tap from before is still good, one from after is not.
		if v := w.clear(before); v.Reason != offline.Accepted {
			t.Errorf("the earlier tap: %q", v.Reason)
		}
		w.clock.Advance(25 * time.Hour)
		piece, _, err = w.taps.DenyList(t.Context(), 0, w.clock.Now())
		must(t, err)
		if len(piece.Entries) != 0 || piece.UpTo != 2 {
			t.Errorf("when all have expired the list is %+v", piece)
		}
	})
}

func TestALostBandsGrantsAreDenied(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		lost, kept, gone := w.bound(wire.SuiteHMAC, "accounts/ann"), w.bound(wire.SuiteCMAC, "accounts/ann"), w.bound(wire.SuiteHMAC, "accounts/ann")
		lostGrant, keptGrant := w.refilled(lost), w.refilled(kept)
		w.refilled(gone)
		must(t, w.taps.Review(t.Context(), w.clock.Now))
		d := w.registry.Get(lost.UID)
		d.Block = challenge.Suspended
		w.registry.Put(d)
		w.registry.Remove(gone.UID)
		w.registry.SetDown(true)
		if err := w.taps.Review(t.Context(), w.clock.Now); err == nil {
			t.Error("nothing was said of the registry being away")
		}
		w.registry.SetDown(false)
		must(t, w.taps.Review(t.Context(), w.clock.Now))
		entries, _, err := w.store.DenyList(t.Context(), 0, w.clock.Now(), 10)
		must(t, err)
		if len(entries) != 2 {
			t.Errorf("%d grants are denied, want those of the lost and of the vanished band", len(entries))
		}
		w.clock.Advance(2 * time.Second)
		if v := w.clear(w.tap(lost, lostGrant, w.gate(10))); v.Reason != offline.RevokedEarlier {
			t.Errorf("the lost band's tap: %q", v.Reason)
		}
		if v := w.clear(w.tap(kept, keptGrant, w.gate(10))); v.Reason != offline.Accepted {
			t.Errorf("the other's: %q", v.Reason)
		}
	})
}

func TestATapAfterTheDenialIsRejected(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		p := w.refilled(b)
		must(t, w.store.Deny(t.Context(), b.UID, w.clock.Now()))
		w.clock.Advance(2 * time.Second)
		if v := w.clear(w.tap(b, p, w.gate(10))); v.Reason != offline.RevokedEarlier {
			t.Errorf("got %q", v.Reason)
		}
	})
}
