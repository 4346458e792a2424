package challenge

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
)

// Verdict is an approval with the assertion of it.
type Verdict struct {
	Decision
	Assertion string
}

// Verify decides on a band's answer. The checks stand in the order of the text below, and each is made on what was
// stored when the challenge was made, never on what the phone says:
//
//	parse · load · expiry · may the device be used · suite · authenticator · status · requirements, distance rounds,
//	firmware, wear · take the challenge · record the decision and move the counter, if the device is still as it was ·
//	sign
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
	var decision Decision
	ask := s.devices.ByUID
	for range changesStood {
		decision, err = s.judge(ctx, ask, c, response, authenticator, digest, now)
		ask = s.devices.Fresh // the answer that was overtaken is not to be had again
		if fault.ReasonOf(err) != ErrChanged.Reason {
			break
		}
	}
	if fault.ReasonOf(err) == ErrRejected.Reason {
		return Verdict{}, s.missed(ctx, c, now)
	}
	if err != nil {
		return Verdict{}, err
	}
	return s.answer(ctx, caller, decision, digest, now)
}

// changesStood is how often an answer is looked at again because the device changed meanwhile.
const changesStood = 3

// judge looks at an answer as far as the record. It fails with RESPONSE_REJECTED for one that is not authentic, and with
// DEVICE_CHANGED when the registry's answer was overtaken.
func (s *Service) judge(ctx context.Context, ask lookup, c Challenge, r wire.Response, authenticator []byte, digest [32]byte, now time.Time,
) (Decision, error) {
	d, err := c.stillUsable(ctx, ask)
	gone := fault.KindOf(err) == fault.NotFound
	if gone {
		// Whoever asks about a device that is not there learns nothing, not even from the time it takes: all that follows is
		// done for it too, under a key that nobody has.
		d, err = Device{Suite: c.Content.Suite, UID: c.UID, PublicKey: strangerKey(c.Content.Suite)}, nil
	}
	if err != nil {
		return Decision{}, err
	}
	standing, err := s.store.Standing(ctx, c.subject())
	if err != nil {
		return Decision{}, err
	}
	if err := standing.Lockout.refusal(now); err != nil {
		return Decision{}, err
	}
	session, err := s.authenticate(ctx, c, d, standing.Key, r, authenticator)
	if err != nil {
		return Decision{}, err
	}
	if gone {
		return Decision{}, ErrRejected
	}
	decision, err := s.decide(ctx, c, d, r, digest, session, now)
	if err != nil {
		return Decision{}, err
	}
	taken, err := s.live.Take(ctx, c.Nonce, digest, now)
	if err != nil {
		return Decision{}, err
	}
	if refusal := taken.refusal(); refusal != nil {
		return Decision{}, refusal
	}
	return s.store.Record(ctx, decision, settle(c.IssuedAt))
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

// missed counts an answer with a wrong authenticator, against the challenge and against the device for the account.
func (s *Service) missed(ctx context.Context, c Challenge, now time.Time) error {
	if err := s.live.Miss(ctx, c.Nonce, now); err != nil {
		return err
	}
	if err := s.store.UpdateLockout(ctx, c.UID, c.Account, func(l Lockout) Lockout { return l.missed(now) }); err != nil {
		return err
	}
	return ErrRejected
}

// recorded looks for a decision when the live store has no live challenge: after a lost reply, or when that store was
// lost. Without one only a used challenge goes on: its taker may have died before it recorded the decision, and then the
// same bytes must be able to finish.
func (s *Service) recorded(ctx context.Context, nonce wire.Nonce, state State, lost error) (d Decision, found bool, err error) {
	d, found, err = s.store.Decision(ctx, nonce)
	switch {
	case err != nil && lost != nil:
		return d, false, lost // what was missed first
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
		_ = s.SettleClones(ctx, now)
	}
	if d.Reason != "" {
		return Verdict{}, refusalOf(d.Reason)
	}
	switch d.Purpose { //nolint:exhaustive // all others are asserted
	case wire.PurposeUnbind:
		return Verdict{Decision: d}, s.release(ctx, d, now)
	case wire.PurposeOfflineRefill:
		return Verdict{Decision: d}, nil
	}
	assertion, err := s.assert(d, now)
	return Verdict{d, assertion}, err
}

// release has the registry end the binding that an answer gave up, and stops what was granted under it. Each part may be
// repeated, so an answer that was decided on while the registry was away is sent again.
func (s *Service) release(ctx context.Context, d Decision, now time.Time) error {
	if err := s.devices.ReleaseBinding(ctx, d.BindingID, d.Account, nonceText(d.Nonce)); err != nil {
		return err
	}
	return s.denials.Deny(ctx, d.UID, now)
}

func refusalOf(reason string) error {
	if f, ok := refusals[reason]; ok {
		return f
	}
	return fmt.Errorf("challenge: unknown reason %q was recorded", reason)
}

// lookup is a way to ask the registry for a device.
type lookup func(ctx context.Context, uid wire.UID) (Device, error)

// stillUsable asks the registry again: much can have happened since the challenge was made.
func (c Challenge) stillUsable(ctx context.Context, ask lookup) (Device, error) {
	d, err := ask(ctx, c.UID)
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
func (s *Service) authenticate(ctx context.Context, c Challenge, d Device, key keys.State, r wire.Response, authenticator []byte,
) (wire.SessionKeys, error) {
	if d.Suite != c.Content.Suite || r.Suite != d.Suite {
		return wire.SessionKeys{}, ErrRejected
	}
	session, err := s.sessionIn(ctx, c, key)
	if err != nil {
		return wire.SessionKeys{}, err
	}
	verifiers, err := Verifiers(d.Suite, d.PublicKey, session)
	if err != nil {
		return wire.SessionKeys{}, fmt.Errorf("challenge: credential of %s: %w", c.Device, err)
	}
	if !authentic(verifiers, c.UID, c.Content, r, authenticator) {
		return wire.SessionKeys{}, ErrRejected
	}
	return session, nil
}

// decide reads an authentic answer. Only the counter is left open, for settle.
func (s *Service) decide(ctx context.Context, c Challenge, d Device, r wire.Response, digest [32]byte, session wire.SessionKeys, now time.Time,
) (Decision, error) {
	decision := Decision{
		Nonce: c.Nonce, Owner: c.Owner, Device: c.Device, UID: c.UID, Partner: c.Partner, Account: c.Account,
		Purpose: c.Content.Purpose, Digest: digest, JTI: newJTI(), Assurance: assurance(r.Flags), Counter: r.Counter,
		Intent: c.Content.Intent, Amount: c.Content.Amount, Currency: c.Content.Currency, Merchant: c.Content.Merchant,
		ExpiresAt: c.ExpiresAt(), DecidedAt: now, AuthEpoch: d.AuthEpoch, BindingID: c.Content.BindingID,
	}
	switch {
	case r.Status != wire.StatusOK:
		decision.Reason = ErrDeclined.Reason
	case s.policy.missing(c.Content, d, r, pongKey(session, c.Nonce)):
		decision.Reason = ErrRequirement.Reason
	}
	if decision.Reason != "" {
		return decision, nil
	}
	if c.Refill != nil {
		id, err := s.store.NextGrantID(ctx)
		if err != nil {
			return Decision{}, err
		}
		decision.Grant = c.Refill.grant(id, c, d, now)
	}
	return decision.framed(session, d.Suite)
}

// framed makes the RESULT frames of an approval.
func (d Decision) framed(session wire.SessionKeys, suite wire.Suite) (Decision, error) {
	yes := wire.Result{Suite: suite, Outcome: wire.OutcomeApproved, AlertPattern: buzzApproved, CounterEcho: d.Counter}
	if d.Purpose == wire.PurposeUnbind {
		yes.Outcome, yes.AlertPattern = wire.OutcomeUnbound, buzzUnbound
	}
	if d.Grant != nil {
		yes.Grant = &d.Grant.Grant
	}
	no := wire.Result{Suite: suite, Outcome: wire.OutcomeDeclined, AlertPattern: buzzDeclined, CounterEcho: d.Counter}
	var errs [2]error
	d.Approved, errs[0] = result(session, d.UID, d.Nonce, yes)
	d.Declined, errs[1] = result(session, d.UID, d.Nonce, no)
	if err := errors.Join(errs[:]...); err != nil {
		return Decision{}, fmt.Errorf("challenge: result for %s: %w", d.Device, err)
	}
	return d, nil
}

// OfflineGrant is the grant that the approved frame brings, or nil.
func (d Decision) OfflineGrant() *wire.Grant {
	r, _, err := wire.ParseResult(d.Approved)
	if err != nil { // a refusal has no frame
		return nil
	}
	return r.Grant
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
func (s *Service) SettleClones(ctx context.Context, now time.Time) error {
	open, err := s.store.OpenClones(ctx)
	if err != nil {
		return err
	}
	for _, c := range open {
		if err := s.devices.SuspendClone(ctx, c.Device, "clone-"+c.Nonce, "a valid answer came with a counter that was passed already"); err != nil {
			return err
		}
		if err := s.denials.Deny(ctx, c.UID, now); err != nil {
			return err
		}
		if err := s.store.CloseClone(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func nonceText(n wire.Nonce) string { return hex.EncodeToString(n[:]) }
