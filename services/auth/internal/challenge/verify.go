package challenge

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/proto/wire"
)

// Verdict is an approval with the assertion of it.
type Verdict struct {
	Decision
	Assertion string
}

// Verify decides on a band's answer. The checks stand in the order of the text below, and each is made on what was
// stored when the challenge was made, never on what the phone says:
//
//	parse · load · expiry · may the device be used · suite · authenticator · status · requirements · firmware ·
//	take the challenge · record the decision and move the counter · sign
//
// An answer that is no frame and one whose authenticator is wrong are refused alike. Up to there an answer leaves
// nothing behind but a try; from there on it uses the challenge up, whatever is decided. The same bytes get the same
// decision until the challenge expires.
func (s *Service) Verify(ctx context.Context, caller Caller, nonce wire.Nonce, answer []byte, now time.Time) (Verdict, error) {
	digest := sha256.Sum256(answer)
	response, authenticator, err := wire.ParseResponse(answer)
	if err != nil {
		return Verdict{}, s.miss(ctx, caller, nonce, now)
	}
	c, state, err := s.live.Load(ctx, nonce, now)
	if err != nil || state != Live {
		decision, found, storeErr := s.recorded(ctx, nonce, state, err)
		if storeErr != nil {
			return Verdict{}, storeErr
		}
		if found {
			return s.answer(ctx, caller, decision, digest, now)
		}
	}
	if c.Owner != caller.Key() {
		return Verdict{}, ErrNotOwner
	}
	if !now.Before(c.ExpiresAt()) {
		return Verdict{}, ErrExpired
	}
	d, err := s.stillUsable(ctx, c)
	if err != nil {
		return Verdict{}, err
	}
	session, err := s.authenticate(ctx, c, d, response, authenticator)
	if fault.ReasonOf(err) == ErrRejected.Reason {
		return Verdict{}, s.miss(ctx, caller, nonce, now)
	}
	if err != nil {
		return Verdict{}, err
	}
	decision, err := decide(c, d, response, digest, session, now)
	if err != nil {
		return Verdict{}, err
	}
	taken, err := s.live.Take(ctx, nonce, digest, now)
	if err != nil {
		return Verdict{}, err
	}
	if refusal := taken.refusal(); refusal != nil {
		return Verdict{}, refusal
	}
	decision, err = s.store.Record(ctx, decision, settle(c.IssuedAt))
	if err != nil {
		return Verdict{}, err
	}
	return s.answer(ctx, caller, decision, digest, now)
}

// miss counts a refused answer, unless a stranger presents it, and refuses it.
func (s *Service) miss(ctx context.Context, caller Caller, nonce wire.Nonce, now time.Time) error {
	c, state, err := s.live.Load(ctx, nonce, now)
	if err != nil {
		return err
	}
	if state == Live && c.Owner == caller.Key() {
		if err := s.live.Miss(ctx, nonce, now); err != nil {
			return err
		}
	}
	return ErrRejected
}

// recorded looks for a decision when the live store has no live challenge: after a lost reply, or when that store was
// lost. Without one only a used challenge goes on: its taker may have died before it recorded the decision, and then the
// same bytes must be able to finish.
func (s *Service) recorded(ctx context.Context, nonce wire.Nonce, state State, lost error) (d Decision, found bool, err error) {
	d, found, err = s.store.Decision(ctx, nonce)
	switch {
	case err != nil || found:
		return d, found, err
	case lost != nil:
		return d, false, lost
	case state == Used:
		return d, false, nil
	case state == Superseded:
		return d, false, ErrSuperseded
	case state == Spent:
		return d, false, ErrUsed
	}
	return d, false, ErrExpired
}

// answer tells a decision to whoever presents the bytes it was made on.
func (s *Service) answer(ctx context.Context, caller Caller, d Decision, digest [32]byte, now time.Time) (Verdict, error) {
	switch {
	case d.Owner != caller.Key():
		return Verdict{}, ErrNotOwner
	case !now.Before(d.ExpiresAt):
		return Verdict{}, ErrExpired
	case subtle.ConstantTimeCompare(d.Digest[:], digest[:]) != 1:
		return Verdict{}, ErrUsed
	}
	if d.Reason == ErrClone.Reason {
		// The decision stands and the mark refuses the device until the registry has heard of it, so a failure here is not
		// the caller's: SettleClones tries again.
		_ = s.SettleClones(ctx)
	}
	if d.Reason != "" {
		return Verdict{}, refusalOf(d.Reason)
	}
	assertion, err := s.assert(d, now)
	return Verdict{d, assertion}, err
}

func refusalOf(reason string) error {
	if f, ok := refusals[reason]; ok {
		return f
	}
	return fmt.Errorf("challenge: unknown reason %q was recorded", reason)
}

// stillUsable asks the registry again: much can have happened since the challenge was made.
func (s *Service) stillUsable(ctx context.Context, c Challenge) (Device, error) {
	d, err := s.devices.ByUID(ctx, c.UID)
	if err != nil {
		return Device{}, err
	}
	if err := d.usable(); err != nil {
		return Device{}, err
	}
	if d.BindingID != c.Content.BindingID || d.Account != c.Account {
		return Device{}, ErrNotBound
	}
	return d, nil
}

// authenticate proves that the bound band made the answer to exactly this challenge. It fails with RESPONSE_REJECTED.
func (s *Service) authenticate(ctx context.Context, c Challenge, d Device, r wire.Response, authenticator []byte) (wire.SessionKeys, error) {
	if d.Suite != c.Content.Suite || r.Suite != d.Suite {
		return wire.SessionKeys{}, ErrRejected
	}
	master, err := s.keys.Master(ctx, c.Partner, int(c.Content.Epoch))
	if err != nil {
		return wire.SessionKeys{}, fmt.Errorf("challenge: master key of %s: %w", c.Device, hide(err))
	}
	session, err := sessionKeys(master, c.UID, c.Content.Epoch, d.Suite, c.Content.BindingID, c.BindNonce)
	if err != nil {
		return wire.SessionKeys{}, fmt.Errorf("challenge: keys of %s: %w", c.Device, err)
	}
	v, err := verifier(d.Suite, d.PublicKey, session)
	if err != nil {
		return wire.SessionKeys{}, fmt.Errorf("challenge: credential of %s: %w", c.Device, err)
	}
	if wire.VerifyResponse(v, c.UID, c.Content, r, authenticator) != nil {
		return wire.SessionKeys{}, ErrRejected
	}
	return session, nil
}

// decide reads an authentic answer. Only the counter is left open, for settle.
func decide(c Challenge, d Device, r wire.Response, digest [32]byte, session wire.SessionKeys, now time.Time) (Decision, error) {
	decision := Decision{
		Nonce: c.Nonce, Owner: c.Owner, Device: c.Device, UID: c.UID, Partner: c.Partner, Account: c.Account,
		Purpose: c.Content.Purpose, Digest: digest, JTI: newJTI(), Assurance: assurance(r.Flags), Counter: r.Counter,
		Intent: c.Content.Intent, Amount: c.Content.Amount, Currency: c.Content.Currency, Merchant: c.Content.Merchant,
		ExpiresAt: c.ExpiresAt(), DecidedAt: now,
	}
	switch {
	case r.Status != wire.StatusOK:
		decision.Reason = ErrDeclined.Reason
	case c.Content.Require.Unmet(r.Flags) != 0, r.Firmware < d.MinSVN:
		decision.Reason = ErrRequirement.Reason
	}
	if decision.Reason != "" {
		return decision, nil
	}
	var err error
	frameOf := func(o wire.Outcome, buzz uint8) []byte {
		f, e := result(session, c.UID, c.Nonce, wire.Result{Suite: d.Suite, Outcome: o, AlertPattern: buzz, CounterEcho: r.Counter})
		if e != nil {
			err = fmt.Errorf("challenge: result for %s: %w", c.Device, e)
		}
		return f
	}
	decision.Approved = frameOf(wire.OutcomeApproved, buzzApproved)
	decision.Declined = frameOf(wire.OutcomeDeclined, buzzDeclined)
	return decision, err
}

// refusal is nil when the answer may go on to be recorded.
func (t Taken) refusal() error {
	switch t {
	case TakenWon, TakenSame:
		return nil
	case TakenSuperseded:
		return ErrSuperseded
	case TakenOther, TakenSpent:
		return ErrUsed
	}
	return ErrExpired
}

// SettleClones tells the registry of copies it has not confirmed yet.
func (s *Service) SettleClones(ctx context.Context) error {
	open, err := s.store.OpenClones(ctx)
	if err != nil {
		return err
	}
	for _, c := range open {
		if err := s.devices.SuspendClone(ctx, c.Device, "clone-"+c.Nonce, "a valid answer came with a counter that was passed already"); err != nil {
			return err
		}
		if err := s.store.CloseClone(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func nonceText(n wire.Nonce) string { return hex.EncodeToString(n[:]) }
