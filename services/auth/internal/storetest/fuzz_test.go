package storetest

import (
	"bytes"
	"testing"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/platform/testkit"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/offline"
	"github.com/armlet-pay/armlet/services/auth/internal/store/live"
)

// FuzzResponse gives anything as a band's answer to a payment and to a claim, through the whole of the decision: nothing is
// approved.
func FuzzResponse(f *testing.F) {
	w := newWorld(f, testkit.OpenDB(f, testkit.DBURL(f, sqldb.SQLite)), live.NewMemory())
	b, free := w.bound(wire.SuiteEd25519, "accounts/ann"), w.band(wire.SuiteHMAC)
	other := w.create(b, tea)
	answer := w.answer(b, other.Frame) // good, for another challenge
	f.Add(answer)
	f.Add(answer[:16])
	f.Add(append(bytes.Clone(answer), 0))
	f.Add([]byte{})
	c := w.create(b, tea)
	claim := w.begin(free, "accounts/bob")
	f.Fuzz(func(t *testing.T, answer []byte) {
		w.t = t
		w.use(live.NewMemory()) // all tries are there again
		must(t, w.live.Issue(t.Context(), c, w.clock.Now()))
		w.forgive()
		if v, err := w.verify(c, answer); err == nil || v.Assertion != "" || v.Approved != nil {
			t.Fatalf("%x was approved", answer)
		}
		if done, err := w.complete("accounts/bob", claim, answer); err == nil || done.Result != nil {
			t.Fatalf("%x bound the band", answer)
		}
	})
}

// FuzzOfflineTap gives anything as a terminal's and a band's part of a tap: nothing is accepted but the tap that was made.
func FuzzOfflineTap(f *testing.F) {
	w := newWorld(f, testkit.OpenDB(f, testkit.DBURL(f, sqldb.SQLite)), live.NewMemory())
	b := w.bound(wire.SuiteHMAC, "accounts/ann")
	tap := w.tap(b, w.refilled(b), w.gate(300))
	f.Add(tap.TerminalFrame, tap.TapFrame, uint16(4111))
	f.Add(tap.TerminalFrame, tap.TapFrame[:24], uint16(4111))
	f.Add(make([]byte, 32), make([]byte, 40), uint16(0))
	f.Add([]byte{}, []byte{}, uint16(9999))
	f.Fuzz(func(t *testing.T, terminal, band []byte, mcc uint16) {
		w.t = t
		v, err := w.taps.Verify(t.Context(), offline.Submission{TerminalFrame: terminal, TapFrame: band, MCC: mcc}, w.clock.Now())
		must(t, err)
		made := bytes.Equal(terminal, tap.TerminalFrame) && bytes.Equal(band, tap.TapFrame)
		if v.Reason == offline.Accepted && !made {
			t.Fatalf("%x answered by %x was accepted", terminal, band)
		}
	})
}
