package virtual

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/armlet-pay/armlet/proto/wire"
)

// platform is the other side of the protocol, as short as it can be.
type platform struct {
	t        *testing.T
	uid      wire.UID
	suite    wire.Suite
	device   wire.Key
	binding  wire.BindingID
	nonce    wire.Nonce
	verifier wire.Verifier
}

func newPair(t *testing.T, suite wire.Suite) (*platform, *Band) {
	t.Helper()
	uid := wire.NewRangeUID(7, 1, 42)
	master, err := wire.NewKey(bytes.Repeat([]byte{9}, 32))
	must(t, err)
	device, err := wire.DeriveDeviceKey(master, uid, 1, suite)
	must(t, err)
	band, err := NewBand(State{UID: uid, Suite: suite, Epoch: 1, DeviceKey: device.Bytes()})
	must(t, err)
	p := &platform{t: t, uid: uid, suite: suite, device: device, binding: wire.BindingID{1, 2, 3}, nonce: wire.Nonce{4, 5, 6}}
	switch suite {
	case wire.SuiteP256:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		band.Signer = key
	case wire.SuiteEd25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		must(t, err)
		band.Signer = key
	}
	if band.Signer != nil {
		credential, err := wire.NewCredential(band.Signer.Public())
		must(t, err)
		p.verifier = credential.Verifier()
	}
	return p, band
}

func (p *platform) keys() wire.SessionKeys {
	bind, err := wire.DeriveBindKey(p.suite, p.device, p.uid, p.binding, p.nonce)
	must(p.t, err)
	keys, err := wire.DeriveSessionKeys(p.suite, bind, p.uid, p.binding)
	must(p.t, err)
	return keys
}

func (p *platform) challenge(purpose wire.Purpose, require wire.Require) (wire.Challenge, []byte) {
	c := wire.Challenge{
		Suite: p.suite, Purpose: purpose, Require: require, Nonce: p.nonce, BindingID: p.binding,
		Currency: wire.NoCurrency, IssuedAt: uint32(time.Now().Unix()), TTL: 60, Epoch: 1,
	}
	if purpose == wire.PurposePay {
		_, err := rand.Read(c.Nonce[:])
		must(p.t, err)
		c.Amount, c.Currency, c.Exponent, c.Display = 1200, "CNY", 2, "Hua's Dumplings"
	}
	frame, err := wire.SealChallenge(p.keys().Chal, p.uid, c)
	must(p.t, err)
	return c, frame
}

func (p *platform) verify(c wire.Challenge, frame []byte) wire.Response {
	p.t.Helper()
	r, auth, err := wire.ParseResponse(frame)
	must(p.t, err)
	v := p.verifier
	if p.suite.Symmetric() {
		v, err = wire.NewVerifier(p.suite, p.keys())
		must(p.t, err)
	}
	must(p.t, wire.VerifyResponse(v, p.uid, c, r, auth))
	return r
}

func (p *platform) result(c wire.Challenge, outcome wire.Outcome, counter uint32) []byte {
	frame, err := wire.SealResult(p.keys().Rslt, p.uid, c.Nonce, wire.Result{Suite: p.suite, Outcome: outcome, AlertPattern: 2, CounterEcho: counter})
	must(p.t, err)
	return frame
}

// claim binds the band and returns the counter it used.
func (p *platform) claim(band *Band) uint32 {
	p.t.Helper()
	c, frame := p.challenge(wire.PurposeClaim, wire.RequireGesture)
	band.Knock()
	answer, err := band.Challenge(frame, nil)
	must(p.t, err)
	r := p.verify(c, answer)
	if r.Status != wire.StatusOK {
		p.t.Fatalf("the claim was answered with %v", r.Status)
	}
	if band.Bound() {
		p.t.Fatal("the band committed before the result came")
	}
	_, err = band.Result(p.result(c, wire.OutcomeBound, r.Counter))
	must(p.t, err)
	if !band.Bound() {
		p.t.Fatal("the band did not commit the claim")
	}
	return r.Counter
}

func TestABandOfEverySuiteIsClaimedAndPays(t *testing.T) {
	for _, suite := range []wire.Suite{wire.SuiteHMAC, wire.SuiteCMAC, wire.SuiteP256, wire.SuiteEd25519} {
		t.Run(suite.String(), func(t *testing.T) {
			p, band := newPair(t, suite)
			band.Wear()
			claimed := p.claim(band)
			c, frame := p.challenge(wire.PurposePay, wire.RequireOnWrist|wire.RequireGesture)
			band.Knock()
			answer, err := band.Challenge(frame, nil)
			must(t, err)
			r := p.verify(c, answer)
			if r.Status != wire.StatusOK || !r.Flags.Has(wire.FlagOnWrist|wire.FlagGesture) || r.Counter <= claimed {
				t.Errorf("the band answered %+v after counter %d", r, claimed)
			}
			if got, want := band.Screen(), "Hua's Dumplings CNY 12.00"; got != want {
				t.Errorf("the screen shows %q, want %q", got, want)
			}
		})
	}
}

func TestTheWearersStateBecomesTheStatus(t *testing.T) {
	for name, c := range map[string]struct {
		worn, knock bool
		want        wire.Status
	}{
		"worn with a knock":      {true, true, wire.StatusOK},
		"on the table":           {false, true, wire.StatusNotWorn},
		"worn without a gesture": {true, false, wire.StatusTimedOut},
	} {
		t.Run(name, func(t *testing.T) {
			p, band := newPair(t, wire.SuiteHMAC)
			p.claim(band)
			if c.worn {
				band.Wear()
			}
			if c.knock {
				band.Knock()
			}
			challenge, frame := p.challenge(wire.PurposePay, wire.RequireOnWrist|wire.RequireGesture)
			answer, err := band.Challenge(frame, nil)
			must(t, err)
			if r := p.verify(challenge, answer); r.Status != c.want {
				t.Errorf("status %v, want %v", r.Status, c.want)
			}
		})
	}
}

func TestFiveBadTagsMuteTheBandForThirtySeconds(t *testing.T) {
	p, band := newPair(t, wire.SuiteHMAC)
	now := time.Now()
	band.Now = func() time.Time { return now }
	p.claim(band)
	_, frame := p.challenge(wire.PurposePay, 0)
	bad := bytes.Clone(frame)
	bad[len(bad)-1] ^= 1
	for range badTagLimit {
		_, err := band.Challenge(bad, nil)
		must(t, err)
	}
	if _, err := band.Challenge(frame, nil); !errors.Is(err, ErrMuted) {
		t.Errorf("a good challenge to a muted band: %v, want ErrMuted", err)
	}
	now = now.Add(muteFor)
	if _, err := band.Challenge(frame, nil); err != nil {
		t.Errorf("after 30 seconds: %v", err)
	}
}

func TestAPowerCutNeverRepeatsACounter(t *testing.T) {
	p, band := newPair(t, wire.SuiteHMAC)
	var flash State
	band.Save = func(s State) error { flash = s; return nil }
	p.claim(band)
	seen := map[uint32]bool{}
	for range 5 {
		for range counterBlock / 2 {
			c, frame := p.challenge(wire.PurposePay, 0)
			answer, err := band.Challenge(frame, nil)
			must(t, err)
			r := p.verify(c, answer)
			if seen[r.Counter] {
				t.Fatalf("counter %d was used twice", r.Counter)
			}
			seen[r.Counter] = true
		}
		again, err := NewBand(flash)
		must(t, err)
		again.Save = band.Save
		band = again
	}
}

// The power is cut at the n-th write, before or after flash has it, for every n that there is; the band goes on with what
// flash holds.
func TestAPowerCutAtAnyWriteNeverRepeatsACounter(t *testing.T) {
	errCut := errors.New("the power was cut")
	for cut := range 7 {
		for _, written := range []bool{false, true} {
			p, band := newPair(t, wire.SuiteHMAC)
			var flash State
			writes := 0
			save := func(s State) error {
				writes++
				if writes-1 != cut {
					flash = s
					return nil
				}
				if written {
					flash = s
				}
				return errCut
			}
			flash = band.state
			band.Save = save
			seen, cuts := map[uint32]bool{}, 0
			for step := range 5 * counterBlock / 2 {
				purpose, require := wire.PurposePay, wire.Require(0)
				if flash.Binding == nil {
					purpose, require = wire.PurposeClaim, wire.RequireGesture
					band.Knock()
				}
				c, frame := p.challenge(purpose, require)
				answer, err := band.Challenge(frame, nil)
				if err == nil {
					r := p.verify(c, answer)
					if seen[r.Counter] {
						t.Fatalf("cut at write %d (written: %t): counter %d was used twice", cut, written, r.Counter)
					}
					seen[r.Counter] = true
					if purpose == wire.PurposeClaim {
						_, err = band.Result(p.result(c, wire.OutcomeBound, r.Counter))
					}
				}
				if errors.Is(err, errCut) || step%29 == 28 {
					if err != nil {
						cuts++
					}
					again, err := NewBand(flash)
					must(t, err)
					again.Save, band = save, again
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if cuts != 1 {
				t.Fatalf("the power was cut %d times at write %d", cuts, cut)
			}
		}
	}
}

func TestAFailedSaveKeepsTheAnswerInTheBand(t *testing.T) {
	p, band := newPair(t, wire.SuiteHMAC)
	band.Save = func(State) error { return errors.New("flash is worn out") }
	_, frame := p.challenge(wire.PurposeClaim, 0)
	if answer, err := band.Challenge(frame, nil); err == nil {
		t.Errorf("the band answered %x without its counter on flash", answer)
	}
}

func TestForeignResultsChangeNothing(t *testing.T) {
	p, band := newPair(t, wire.SuiteHMAC)
	c, frame := p.challenge(wire.PurposeClaim, wire.RequireGesture)
	band.Knock()
	answer, err := band.Challenge(frame, nil)
	must(t, err)
	r := p.verify(c, answer)
	good := p.result(c, wire.OutcomeBound, r.Counter)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := band.Result(bad); err == nil {
			t.Fatalf("a result with byte %d flipped was taken", i)
		}
	}
	if _, err := band.Result(p.result(c, wire.OutcomeBound, r.Counter+1)); !errors.Is(err, ErrNotForThisBand) {
		t.Errorf("a result for another counter: %v", err)
	}
	if band.Bound() {
		t.Error("the band is bound by a foreign result")
	}
}

func TestDistanceRoundsAreAnsweredWithThePongKey(t *testing.T) {
	p, band := newPair(t, wire.SuiteHMAC)
	p.claim(band)
	pong := bytes.Repeat([]byte{3}, 16)
	c, frame := p.challenge(wire.PurposePay, wire.RequireRTT)
	answer, err := relay(band, frame, pong)
	must(t, err)
	key, err := wire.NewKey(pong)
	must(t, err)
	r := p.verify(c, answer)
	if r.Status != wire.StatusOK || r.Proximity != wire.ProximityRTT {
		t.Errorf("the band answered %+v", r)
	}
	must(t, wire.VerifyRounds(key, c.Nonce, r.Rounds))
}

func TestAlertsFitTheScreenBetweenCharacters(t *testing.T) {
	_, band := newPair(t, wire.SuiteHMAC)
	band.Alert("Bezahlt ¥12.00 für Knödel", 2)
	if got := band.Screen(); len(got) > AlertTextLen || got != "Bezahlt ¥12.00 f" {
		t.Errorf("the screen shows %q (%d bytes)", got, len(got))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
