package virtual

import (
	"errors"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/proto/wire"
)

// granted is a bound band that holds a grant of 20.00 in all, at most 15.00 and three taps, for transport.
func granted(t *testing.T, suite wire.Suite) (*platform, *Band, *Gate) {
	t.Helper()
	p, band := newPair(t, suite)
	band.Wear()
	p.claim(band)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	band.state.Offline = &Allowance{Grant: wire.Grant{
		ID: 7, Alias: wire.Alias{1, 2, 3}, ValidUntil: uint32(noon.Add(time.Hour).Unix()), MaxTap: 1500, CumulativeLimit: 2000, MaxTaps: 3, Currency: "CNY", Exponent: 2, MCCGroup: 1,
	}}
	return p, band, &Gate{Name: "terminals/0123456789abcdef", CategoryCode: 4111, Currency: "CNY", Now: func() time.Time { return noon }}
}

func TestABandOfEverySuitePaysOffline(t *testing.T) {
	for _, suite := range []wire.Suite{wire.SuiteHMAC, wire.SuiteCMAC, wire.SuiteP256, wire.SuiteEd25519} {
		p, band, gate := granted(t, suite)
		for n, fare := range []uint32{1000, 600} {
			tap, err := gate.Tap(band, fare)
			must(t, err)
			asked, err := wire.ParseTerminalTap(tap.GetTerminalFrame())
			must(t, err)
			answer, auth, err := wire.ParseOfflineTap(tap.GetTapFrame())
			must(t, err)
			verifier := p.verifier
			if suite.Symmetric() {
				verifier, err = wire.NewVerifier(suite, p.keys())
				must(t, err)
			}
			must(t, wire.VerifyOffline(verifier, band.UID(), asked, answer, auth))
			if answer.Counter != uint32(n+1) || answer.Cumulative != []uint32{1000, 1600}[n] || answer.GrantID != 7 || tap.GetSequence() != int64(n+1) {
				t.Errorf("suite %d: tap %d is %+v", suite, n, answer)
			}
		}
	}
}

func TestTheBandKeepsToItsGrant(t *testing.T) {
	for name, change := range map[string]func(*Band, *Gate) uint32{
		"more than a tap may be": func(*Band, *Gate) uint32 { return 1501 },
		"more than is left":      func(b *Band, _ *Gate) uint32 { b.state.Offline.Spent = 1000; return 1001 },
		"one tap too many":       func(b *Band, _ *Gate) uint32 { b.state.Offline.Taps = 3; return 1 },
		"too late": func(_ *Band, g *Gate) uint32 {
			now := g.Now().Add(time.Hour)
			g.Now = func() time.Time { return now }
			return 1
		},
		"another category": func(_ *Band, g *Gate) uint32 { g.CategoryCode = 5812; return 1 },
		"another currency": func(_ *Band, g *Gate) uint32 { g.Currency = "EUR"; return 1 },
		"not worn":         func(b *Band, _ *Gate) uint32 { b.TakeOff(); return 1 },
	} {
		_, band, gate := granted(t, wire.SuiteHMAC)
		fare := change(band, gate)
		before, _ := band.Allowance()
		if _, err := gate.Tap(band, fare); !errors.Is(err, ErrBandRefused) {
			t.Errorf("%s: %v", name, err)
		}
		if after, _ := band.Allowance(); after != before {
			t.Errorf("%s: the grant is %+v, was %+v", name, after, before)
		}
	}
}

// A power cut before the band has stored its sum leaves the terminal without an answer.
func TestNoAnswerLeavesTheBandBeforeItsSumIsStored(t *testing.T) {
	_, band, gate := granted(t, wire.SuiteHMAC)
	band.Save = func(State) error { return errors.New("power cut") }
	if tap, err := gate.Tap(band, 100); err == nil {
		t.Errorf("answered %v", tap)
	}
	band.Save = nil
	if a, ok := band.Allowance(); !ok || a.Spent != 0 || band.state.OfflineCounter != 0 {
		t.Errorf("%+v, counter %d", a, band.state.OfflineCounter)
	}
	must(t, band.commit(nil))
	if _, err := gate.Tap(band, 100); err == nil {
		t.Error("a band without a binding pays")
	}
}
