// Package virtual has a band, a phone and a terminal made of software. They speak
// the device protocol of docs/device-protocol.md byte by byte with real keys, so a
// partner can build and test an integration before there is hardware.
package virtual

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/armlet-pay/armlet/proto/wire"
)

// Limits of a band, from the device protocol.
const (
	// AlertTextLen is how many bytes of UTF-8 the screen shows of an alert.
	AlertTextLen = 18

	badTagLimit  = 5
	muteFor      = 30 * time.Second
	counterBlock = 64
)

// ErrMuted is what a band answers, in its own way by silence, after five
// challenges with a bad tag: it ignores everything for 30 seconds.
var ErrMuted = errors.New("virtual: the band is muted after five bad tags; wait 30 seconds")

// ErrNotForThisBand is a result whose tag does not verify or that belongs to no
// response of this band. The band ignores it.
var ErrNotForThisBand = errors.New("virtual: the frame is not for this band")

// Binding is what a band keeps of its account: never the account's name.
type Binding struct {
	ID    wire.BindingID `json:"id"`
	Nonce wire.Nonce     `json:"nonce"`
}

// State is what a band keeps in flash. It holds the device key: keep it secret.
type State struct {
	UID       wire.UID   `json:"uid"`
	Suite     wire.Suite `json:"suite"`
	Epoch     uint16     `json:"epoch"`
	DeviceKey []byte     `json:"device_key"` // K_dev of the protocol
	Binding   *Binding   `json:"binding,omitempty"`
	// Reserved is above every counter the band has used. It is stored before the
	// counters below it are used, so that a power cut never repeats one.
	Reserved uint32 `json:"reserved"`
	// Offline is the grant to pay without a connection, with what was paid under it. OfflineCounter counts such taps.
	Offline        *Allowance `json:"offline,omitempty"`
	OfflineCounter uint32     `json:"offline_counter,omitempty"`
}

// Band is a virtual band. It is safe for concurrent use; like a real one it
// answers one frame at a time.
type Band struct {
	// Save stores the state; it is called before anything that depends on it
	// leaves the band. Nil keeps the state in memory only.
	Save func(State) error
	// Signer signs for suites 3 and 4 and is nil for 1 and 2.
	Signer crypto.Signer
	// Firmware is the security version of the firmware.
	Firmware uint16
	// Now is the band's clock; nil is time.Now.
	Now func() time.Time

	mu       sync.Mutex
	state    State
	counter  uint32
	worn     time.Time // zero: not worn
	gestures int
	badTags  int
	muted    time.Time
	screen   string
	buzzes   []Buzz
	pending  *pendingAnswer
}

// Buzz is one vibration with what the screen showed.
type Buzz struct {
	Pattern uint8  // the alert pattern of a RESULT frame, or of an alert
	Text    string // at most AlertTextLen bytes
}

// pendingAnswer is the last response, until its result comes.
type pendingAnswer struct {
	binding Binding
	claim   bool
	nonce   wire.Nonce
	counter uint32
	keys    wire.SessionKeys
}

// NewBand is a band as it leaves the factory, or as it was saved. A band whose
// state was saved starts behind its reserved counters.
func NewBand(state State) (*Band, error) {
	if !state.Suite.Valid() || state.UID.IsZero() {
		return nil, errors.New("virtual: a band needs a uid and a suite")
	}
	if len(state.DeviceKey) != state.Suite.KeyLen() {
		return nil, fmt.Errorf("virtual: the device key of suite %d has %d bytes, not %d", state.Suite, state.Suite.KeyLen(), len(state.DeviceKey))
	}
	return &Band{state: state, counter: state.Reserved}, nil
}

// UID is the band's unique identity.
func (b *Band) UID() wire.UID { return b.state.UID }

// Wear straps the band on and unlocks it.
func (b *Band) Wear() { b.locked(func() { b.worn = b.now() }) }

// TakeOff takes the band off; it locks.
func (b *Band) TakeOff() { b.locked(func() { b.worn = time.Time{} }) }

// Knock is the wearer's gesture. It is kept for the next challenge that asks for one.
func (b *Band) Knock() { b.locked(func() { b.gestures++ }) }

// Screen is what the band shows.
func (b *Band) Screen() (text string) {
	b.locked(func() { text = b.screen })
	return text
}

// Buzzes are the vibrations so far.
func (b *Band) Buzzes() (all []Buzz) {
	b.locked(func() { all = append(all, b.buzzes...) })
	return all
}

// Alert shows an alert's text, cut to AlertTextLen bytes between characters, and vibrates.
func (b *Band) Alert(text string, pattern uint8) {
	b.locked(func() {
		b.screen = fit(text, AlertTextLen)
		b.buzzes = append(b.buzzes, Buzz{pattern, b.screen})
	})
}

// Challenge answers a CHALLENGE frame with a RESPONSE frame. rounds carries a
// distance round to the phone and back and may be nil where none are asked for.
// A frame that is no challenge is an error; a challenge that the band or its wearer
// refuses is answered with a status, as the protocol demands.
func (b *Band) Challenge(frame []byte, rounds func(ping []byte) (pong []byte, err error)) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now().Before(b.muted) {
		return nil, ErrMuted
	}
	c, tag, err := wire.ParseChallenge(frame)
	if err != nil {
		return nil, fmt.Errorf("virtual: challenge: %w", err)
	}
	binding, known := b.bindingFor(c)
	keys, err := b.keysFor(binding)
	if err != nil {
		return nil, err
	}
	answer := wire.Response{Suite: b.state.Suite, Firmware: b.Firmware, MinRTT: wire.NoRTT}
	switch {
	case c.Suite != b.state.Suite:
		answer.Status = wire.StatusUnsupported
	case !known:
		answer.Status = wire.StatusUnknownBinding
	case wire.VerifyChallengeTag(keys.Chal, b.state.UID, c, tag) != nil:
		answer.Status = b.countBadTag()
	default:
		b.badTags = 0
		b.screen = shown(c)
		if err := b.ask(c, &answer, rounds); err != nil {
			return nil, err
		}
	}
	return b.sign(c, binding, keys, answer)
}

// Result takes a RESULT frame: it shows and vibrates, and commits a claim. A
// frame that does not belong to the band's last response is ErrNotForThisBand
// and changes nothing.
func (b *Band) Result(frame []byte) (wire.Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	result, tag, err := wire.ParseResult(frame)
	if err != nil {
		return wire.Result{}, fmt.Errorf("virtual: result: %w", err)
	}
	last := b.pending
	if last == nil || result.CounterEcho != last.counter ||
		wire.VerifyResultTag(last.keys.Rslt, b.state.UID, last.nonce, result, tag) != nil {
		return wire.Result{}, ErrNotForThisBand
	}
	switch result.Outcome {
	case wire.OutcomeBound:
		if !last.claim {
			return wire.Result{}, ErrNotForThisBand
		}
		if err := b.commit(&last.binding); err != nil {
			return wire.Result{}, err
		}
	case wire.OutcomeUnbound:
		if err := b.commit(nil); err != nil {
			return wire.Result{}, err
		}
	case wire.OutcomeApproved:
		if result.Grant != nil {
			next := b.state
			next.Offline = &Allowance{Grant: *result.Grant}
			if err := b.save(next); err != nil {
				return wire.Result{}, err
			}
		}
	case wire.OutcomeDeclined, wire.OutcomeStepUp, wire.OutcomeSuspended:
		// These change nothing that the band keeps.
	}
	b.pending = nil
	b.buzzes = append(b.buzzes, Buzz{result.AlertPattern, result.Outcome.String()})
	return result, nil
}

// Bound says whether the band has committed a binding.
func (b *Band) Bound() (bound bool) {
	b.locked(func() { bound = b.state.Binding != nil })
	return bound
}

func (b *Band) commit(binding *Binding) error {
	next := b.state
	next.Binding, next.Offline = binding, nil
	return b.save(next)
}

// bindingFor is the binding whose keys answer c: for a claim the one that the
// challenge proposes, otherwise the committed one.
func (b *Band) bindingFor(c wire.Challenge) (Binding, bool) {
	if c.Purpose == wire.PurposeClaim {
		return Binding{ID: c.BindingID, Nonce: c.Nonce}, true
	}
	if b.state.Binding == nil {
		return Binding{ID: c.BindingID}, false
	}
	return *b.state.Binding, b.state.Binding.ID == c.BindingID
}

func (b *Band) keysFor(binding Binding) (wire.SessionKeys, error) {
	device, err := wire.NewKey(b.state.DeviceKey)
	if err != nil {
		return wire.SessionKeys{}, fmt.Errorf("virtual: device key: %w", err)
	}
	bind, err := wire.DeriveBindKey(b.state.Suite, device, b.state.UID, binding.ID, binding.Nonce)
	if err != nil {
		return wire.SessionKeys{}, fmt.Errorf("virtual: binding key: %w", err)
	}
	return wire.DeriveSessionKeys(b.state.Suite, bind, b.state.UID, binding.ID)
}

func (b *Band) countBadTag() wire.Status {
	b.badTags++
	if b.badTags >= badTagLimit {
		b.badTags, b.muted = 0, b.now().Add(muteFor)
		return wire.StatusMuted
	}
	return wire.StatusBadTag
}

// ask lets the wearer decide and fills in status and flags.
func (b *Band) ask(c wire.Challenge, answer *wire.Response, rounds func([]byte) ([]byte, error)) error {
	if !b.worn.IsZero() {
		answer.Flags |= wire.FlagOnWrist | wire.FlagUnlocked
		answer.MinutesWorn = uint16(min(b.now().Sub(b.worn).Minutes(), 65535))
	}
	if c.Require.Has(wire.RequireGesture) && b.gestures > 0 {
		b.gestures--
		answer.Flags |= wire.FlagGesture
		if c.Require.Has(wire.RequireDisplayConfirm) {
			answer.Flags |= wire.FlagDisplayConfirmed
		}
	}
	if c.Require.Has(wire.RequireRTT) && rounds != nil {
		if err := b.measure(answer, rounds); err != nil {
			return err
		}
	}
	switch missing := c.Require.Unmet(answer.Flags); {
	case missing.Has(wire.RequireOnWrist):
		answer.Status = wire.StatusNotWorn
	case missing.Has(wire.RequireUnlocked):
		answer.Status = wire.StatusLocked
	case missing != 0:
		answer.Status = wire.StatusTimedOut
	}
	return nil
}

// measure runs four distance rounds with the phone.
func (b *Band) measure(answer *wire.Response, rounds func([]byte) ([]byte, error)) error {
	shortest := time.Duration(1<<63 - 1)
	for i := range uint8(wire.MaxRounds) {
		ping := wire.Ping{Index: i}
		if _, err := rand.Read(ping.Nonce[:]); err != nil {
			return fmt.Errorf("virtual: random: %w", err)
		}
		out, err := ping.MarshalBinary()
		if err != nil {
			return fmt.Errorf("virtual: ping: %w", err)
		}
		begin := time.Now()
		in, err := rounds(out)
		if err != nil {
			return fmt.Errorf("virtual: distance round %d: %w", i, err)
		}
		shortest = min(shortest, time.Since(begin))
		pong, err := wire.ParsePong(in)
		if err != nil || pong.Index != i {
			return fmt.Errorf("virtual: distance round %d: the phone's answer is out of place", i)
		}
		answer.Rounds = append(answer.Rounds, wire.Round{BandNonce: ping.Nonce, Answer: pong.Answer})
	}
	answer.Flags |= wire.FlagRTTValid
	answer.Proximity = wire.ProximityRTT
	answer.MinRTT = uint16(min(shortest/(100*time.Microsecond), wire.NoRTT-1))
	return nil
}

func (b *Band) sign(c wire.Challenge, binding Binding, keys wire.SessionKeys, answer wire.Response) ([]byte, error) {
	counter, err := b.nextCounter()
	if err != nil {
		return nil, err
	}
	answer.Counter = counter
	signer, err := b.signer(keys)
	if err != nil {
		return nil, fmt.Errorf("virtual: sign: %w", err)
	}
	frame, err := wire.SealResponse(signer, b.state.UID, c, answer)
	if err != nil {
		return nil, fmt.Errorf("virtual: sign: %w", err)
	}
	b.pending = &pendingAnswer{binding: binding, claim: c.Purpose == wire.PurposeClaim, nonce: c.Nonce, counter: counter, keys: keys}
	return frame, nil
}

func (b *Band) nextCounter() (uint32, error) {
	if b.counter+1 >= b.state.Reserved {
		next := b.state
		next.Reserved = b.counter + 1 + counterBlock
		if err := b.save(next); err != nil {
			return 0, err
		}
	}
	b.counter++
	return b.counter, nil
}

func (b *Band) save(next State) error {
	if b.Save != nil {
		if err := b.Save(next); err != nil {
			return fmt.Errorf("virtual: save the band's state: %w", err)
		}
	}
	b.state = next
	return nil
}

func (b *Band) now() time.Time {
	if b.Now != nil {
		return b.Now()
	}
	return time.Now()
}

func (b *Band) locked(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	do()
}

func (b *Band) signer(keys wire.SessionKeys) (wire.Signer, error) {
	if b.state.Suite.Symmetric() {
		return wire.NewSigner(b.state.Suite, keys)
	}
	return wire.NewPrivateSigner(b.Signer)
}

// String names the band without its keys.
func (b *Band) String() string { return "band " + b.state.UID.String() }
