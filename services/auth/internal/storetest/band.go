package storetest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/armlet-pay/armlet/proto/wire"
)

// Band is a band with real keys. Its fields may be set to have it answer otherwise than a worn, knocked band would.
type Band struct {
	UID      wire.UID
	Suite    wire.Suite
	Counter  uint32
	Flags    wire.Flags
	Status   wire.Status
	Firmware uint16
	// Change, when it is set, changes an answer before it is signed.
	Change func(r *wire.Response)

	Public []byte // of suites 3 and 4
	dev    wire.Key
	sign   func(session wire.SessionKeys) (wire.Signer, error)
}

// NewBand makes the band with the uid from its partner's master key.
func NewBand(master []byte, epoch uint16, uid wire.UID, suite wire.Suite) (*Band, error) {
	pmk, err := wire.NewKey(master)
	if err != nil {
		return nil, err
	}
	b := &Band{UID: uid, Suite: suite, Counter: 40, Firmware: 3, Flags: wire.FlagOnWrist | wire.FlagGesture | wire.FlagUnlocked}
	if b.dev, err = wire.DeriveDeviceKey(pmk, uid, epoch, suite); err != nil {
		return nil, err
	}
	var signer wire.Signer
	switch suite {
	case wire.SuiteP256:
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		point, err := private.PublicKey.Bytes()
		if err != nil {
			return nil, err
		}
		b.Public = point
		if signer, err = wire.NewPrivateSigner(private); err != nil {
			return nil, err
		}
	case wire.SuiteEd25519:
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		b.Public = public
		if signer, err = wire.NewPrivateSigner(private); err != nil {
			return nil, err
		}
	default:
		b.sign = func(session wire.SessionKeys) (wire.Signer, error) { return wire.NewSigner(suite, session) }
		return b, nil
	}
	b.sign = func(wire.SessionKeys) (wire.Signer, error) { return signer, nil }
	return b, nil
}

// Session derives the keys of a binding as the band does.
func (b *Band) Session(id wire.BindingID, nonce wire.Nonce) (wire.SessionKeys, error) {
	bind, err := wire.DeriveBindKey(b.Suite, b.dev, b.UID, id, nonce)
	if err != nil {
		return wire.SessionKeys{}, err
	}
	return wire.DeriveSessionKeys(b.Suite, bind, b.UID, id)
}

// Answer answers a CHALLENGE frame with the next counter under the binding with this nonce; for a claim that is the
// challenge's own. It refuses a frame whose tag is not the platform's.
func (b *Band) Answer(frame []byte, bindNonce wire.Nonce) ([]byte, error) {
	c, tag, err := wire.ParseChallenge(frame)
	if err != nil {
		return nil, err
	}
	if c.Purpose == wire.PurposeClaim {
		bindNonce = c.Nonce
	}
	session, err := b.Session(c.BindingID, bindNonce)
	if err != nil {
		return nil, err
	}
	if err := wire.VerifyChallengeTag(session.Chal, b.UID, c, tag); err != nil {
		return nil, fmt.Errorf("the challenge is not the platform's: %w", err)
	}
	b.Counter++
	return b.seal(session, c)
}

// Forge answers without looking at the tag, with the present counter: what a band under a wrong binding would send.
func (b *Band) Forge(frame []byte, bindNonce wire.Nonce) ([]byte, error) {
	c, _, err := wire.ParseChallenge(frame)
	if err != nil {
		return nil, err
	}
	c.Suite = b.Suite
	session, err := b.Session(c.BindingID, bindNonce)
	if err != nil {
		return nil, err
	}
	return b.seal(session, c)
}

func (b *Band) seal(session wire.SessionKeys, c wire.Challenge) ([]byte, error) {
	r := wire.Response{
		Suite: b.Suite, Status: b.Status, Flags: b.Flags, Counter: b.Counter, MinutesWorn: 7, Firmware: b.Firmware, MinRTT: wire.NoRTT,
	}
	if b.Change != nil {
		b.Change(&r)
	}
	signer, err := b.sign(session)
	if err != nil {
		return nil, err
	}
	authenticator, err := wire.SignResponse(signer, b.UID, c, r)
	if err != nil {
		return nil, err
	}
	body, err := r.MarshalBinary()
	return append(body, authenticator...), err
}

// Pocket is what a band keeps of an offline grant.
type Pocket struct {
	wire.Grant
	session wire.SessionKeys
	counter uint32
	spent   uint32
}

// Grant takes the offline grant out of a RESULT frame, under the binding with this nonce. Counters of offline taps go on
// behind the one that is given.
func (b *Band) Grant(frame []byte, id wire.BindingID, bindNonce wire.Nonce, counter uint32) (*Pocket, error) {
	r, _, err := wire.ParseResult(frame)
	if err != nil {
		return nil, err
	}
	if r.Grant == nil {
		return nil, errors.New("the frame brings no grant")
	}
	session, err := b.Session(id, bindNonce)
	return &Pocket{Grant: *r.Grant, session: session, counter: counter}, err
}

// Tap answers a terminal with the next counter. It asks nothing of the grant, as a band that was tampered with would.
func (b *Band) Tap(p *Pocket, t wire.TerminalTap) (terminalFrame, tapFrame []byte, err error) {
	p.counter++
	p.spent += t.FareCap
	o := wire.OfflineTap{
		Suite: b.Suite, Status: b.Status, Flags: b.Flags, Counter: p.counter, GrantID: p.ID, Alias: p.Alias, Cumulative: p.spent,
	}
	signer, err := b.sign(p.session)
	if err != nil {
		return nil, nil, err
	}
	if tapFrame, err = wire.SealOffline(signer, b.UID, t, o); err != nil {
		return nil, nil, err
	}
	terminalFrame, err = t.MarshalBinary()
	return terminalFrame, tapFrame, err
}
