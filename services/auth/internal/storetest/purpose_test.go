package storetest

import (
	"testing"

	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

func TestEveryPurposeIsForItsCallerAndItsAudience(t *testing.T) {
	terminal := challenge.Caller{Role: challenge.RoleTerminal, ID: "00000000000000aa"}
	acme := challenge.Caller{Role: challenge.RolePartner, ID: "acme-backend", Partner: "acme", Scopes: []string{"presence.verify", "vouchers.redeem"}}
	const worn, unlocked = wire.RequireGesture | wire.RequireOnWrist, wire.RequireGesture | wire.RequireOnWrist | wire.RequireUnlocked
	cases := []struct {
		purpose  wire.Purpose
		caller   challenge.Caller
		minor    int64
		require  wire.Require
		audience string // empty: there is no assertion
		outcome  wire.Outcome
	}{
		{wire.PurposePay, payments, 1200, worn, "payments", wire.OutcomeApproved},
		{wire.PurposeStepUp, payments, 1200, unlocked, "payments", wire.OutcomeApproved},
		{wire.PurposeVoucher, terminal, 0, wire.RequireGesture, "notify", wire.OutcomeApproved},
		{wire.PurposeVoucher, wearerAnn, 0, wire.RequireGesture, "notify", wire.OutcomeApproved},
		{wire.PurposeVoucher, acme, 0, wire.RequireGesture, "notify", wire.OutcomeApproved},
		{wire.PurposePresence, acme, 0, worn, "partners/acme", wire.OutcomeApproved},
		{wire.PurposeOfflineRefill, wearerAnn, 1200, unlocked, "", wire.OutcomeApproved},
		{wire.PurposeOfflineRefill, payments, 1200, unlocked, "", wire.OutcomeApproved},
		{wire.PurposeUnbind, wearerAnn, 0, unlocked, "", wire.OutcomeUnbound}, // last: the band is free then
	}
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		before := w.registry.Get(b.UID)
		for _, c := range cases {
			wanted := challenge.Wanted{Purpose: c.purpose, UID: b.UID, MinorUnits: c.minor, Intent: [16]byte{byte(c.purpose)}, Display: "x"}
			if c.minor > 0 {
				wanted.Currency = "CNY"
			}
			made, err := w.service.Create(t.Context(), c.caller, ask("CreateChallenge"), wanted, w.clock.Now())
			must(t, err)
			if made.Content.Require != c.require {
				t.Errorf("%s asks for %b, want %b", c.purpose, made.Content.Require, c.require)
			}
			v, err := w.service.Verify(t.Context(), c.caller, made.Nonce, w.answer(b, made.Frame), w.clock.Now())
			must(t, err)
			if (v.Assertion == "") != (c.audience == "") {
				t.Errorf("%s: assertion %q", c.purpose, v.Assertion)
			}
			if c.audience != "" {
				if a := w.opened(v.Assertion); a.Audience != c.audience || a.Purpose != c.purpose.String() || a.Intent[:2] != "0"+string('0'+byte(c.purpose)) {
					t.Errorf("%s: %+v", c.purpose, a)
				}
			}
			session, err := b.Session(before.BindingID, before.BindNonce)
			must(t, err)
			r, tag, err := wire.ParseResult(v.Approved)
			must(t, err)
			must(t, wire.VerifyResultTag(session.Rslt, b.UID, made.Nonce, r, tag))
			if r.Outcome != c.outcome || (r.Grant != nil) != (c.purpose == wire.PurposeOfflineRefill) {
				t.Errorf("%s: the band hears %+v", c.purpose, r)
			}
		}
	})
}

// The operator, or the wearer at the desk, released the band while it was in a drawer: it still thinks that it is ann's.
func TestABandThatWasReleasedOutOfRangeIsClaimedAnew(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		b := w.bound(wire.SuiteHMAC, "accounts/ann")
		late := w.create(b, tea) // still on its way to the band
		old := w.registry.Get(b.UID)
		free := old
		free.Account, free.BindingID, free.BindNonce, free.Block, free.AuthEpoch = "", wire.BindingID{}, wire.Nonce{}, challenge.NotBound, old.AuthEpoch+1
		w.registry.Put(free)

		c := w.begin(b, "accounts/bob")
		done, err := w.service.CompleteClaim(t.Context(), "accounts/bob", c.ID, w.answer(b, c.Frame), "", w.clock.Now())
		must(t, err)
		w.wantResult(b, c.Content.Nonce, done.Result, wire.OutcomeBound)
		if got := w.registry.Get(b.UID).Account; got != "accounts/bob" {
			t.Errorf("the band is %s's", got)
		}
		answer, err := b.Answer(late.Frame, old.BindNonce) // as it would have answered under the old binding
		must(t, err)
		_, err = w.verify(late, answer)
		wantReason(t, err, "DEVICE_NOT_BOUND")
	})
}
