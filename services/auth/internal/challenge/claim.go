package challenge

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
)

// ClaimState is where a claim is in its life. The values are stored.
//
//	BeginClaim          authentic answer            registry confirmed
//	──────────▶ PENDING ────────────────▶ PROVEN ─────────────────────▶ BOUND (repeats the RESULT frame for ever)
//	               │ status, clone           │ bound by another, suspended, limit, superseded
//	               └─────────────────────────┴──▶ REFUSED
type ClaimState string

// The states.
const (
	ClaimPending ClaimState = "PENDING"
	ClaimProven  ClaimState = "PROVEN"
	ClaimBound   ClaimState = "BOUND"
	ClaimRefused ClaimState = "REFUSED"
)

// Claim is an account's wish to bind a band.
type Claim struct {
	ID        string // UUID
	Account   string // resource name
	UID       wire.UID
	Device    string // resource name; empty when the registry does not know the uid
	Partner   string // empty likewise
	PublicKey []byte // of suites 3 and 4
	Body      []byte // C of the protocol
	Frame     []byte
	Content   wire.Challenge // Body, parsed
	State     ClaimState
	Tries     int
	Digest    []byte // SHA-256 of the answer that was authentic; empty before
	Counter   uint32
	Reason    string // of REFUSED
	Result    []byte // RESULT frame of BOUND
	BegunAt   time.Time
}

// ExpiresAt is the first moment at which an answer comes too late, as signed.
func (c Claim) ExpiresAt() time.Time { return c.Content.Expires() }

// ClaimStore remembers claims.
type ClaimStore interface {
	// FindClaim finds the claim that a request made. It fails with REQUEST_ID_REUSED.
	FindClaim(ctx context.Context, req request.ID) (c Claim, found bool, err error)
	// InsertClaim adds a claim, or returns the one that the same request made meanwhile.
	InsertClaim(ctx context.Context, req request.ID, c Claim) (Claim, error)
	// Claim fails with CLAIM_NOT_FOUND.
	Claim(ctx context.Context, id string) (Claim, error)
	// UpdateClaim lets change act on a claim and its device's mark under a lock and commits what it returns.
	UpdateClaim(ctx context.Context, id string, now time.Time, change func(Claim, Mark) (Claim, Mark, []any, error)) (Claim, error)
}

// The refusals of claims.
var (
	ErrClaimNotFound = fault.New(fault.NotFound, "CLAIM_NOT_FOUND", "there is no such claim of this account; begin one")
	ErrAlreadyBound  = fault.New(fault.FailedPrecondition, "ALREADY_BOUND",
		"the band belongs to another account; its owner has to release it first")
	ErrDeviceLimit = fault.New(fault.ResourceExhausted, "DEVICE_LIMIT_REACHED",
		"the account has as many devices as it may; release one first")
	ErrTransferCode = fault.New(fault.FailedPrecondition, "TRANSFER_CODE_INVALID",
		"the code is not that of a transfer which is under way; ask the owner for a new one and begin another claim")
	errTryAgain = fault.New(fault.Unavailable, "UNAVAILABLE_TRY_AGAIN",
		"the claim cannot be begun at present; try again with the same request_id")
)

// BeginClaim makes a CLAIM challenge. It answers alike whether the uid is free, bound or not known; a uid that is not
// known gets a frame under a random key, which no band answers.
func (s *Service) BeginClaim(ctx context.Context, req request.ID, account string, uid wire.UID, now time.Time) (Claim, error) {
	if c, found, err := s.claims.FindClaim(ctx, req); err != nil || found {
		return c, err
	}
	d, master, err := s.claimable(ctx, uid)
	if err != nil {
		return Claim{}, err
	}
	// The registry is asked in any case, and the same request gets the same binding from it.
	b, err := s.devices.BeginBinding(ctx, uid, account, bindingRequest(req))
	if fault.KindOf(err) == fault.NotFound || err == nil && d.Name == "" {
		b, d, master, err = strangerBinding(uid)
	}
	if err != nil {
		return Claim{}, errTryAgain.WithCause(err)
	}
	c := Claim{
		ID: keys.NewID(), Account: account, UID: uid, Device: d.Name, Partner: d.Partner, PublicKey: d.PublicKey,
		State: ClaimPending, BegunAt: now.Truncate(time.Microsecond).UTC(),
	}
	c.Content = wire.Challenge{
		Suite: d.Suite, Purpose: wire.PurposeClaim, Require: wire.RequireGesture, Nonce: b.Nonce, BindingID: b.ID,
		Currency: wire.NoCurrency, Merchant: s.keys.AccountRef(account), Epoch: d.Epoch,
	}
	c.Content.IssuedAt, c.Content.TTL = s.signedTimes(now)
	session, err := SessionKeys(master, uid, d.Epoch, d.Suite, b.ID, b.Nonce)
	if err != nil {
		return Claim{}, fmt.Errorf("challenge: keys of %s: %w", uid, err)
	}
	if c.Body, c.Frame, err = frame(session, uid, c.Content); err != nil {
		return Claim{}, fmt.Errorf("challenge: claim frame: %w", err)
	}
	return s.claims.InsertClaim(ctx, req, c)
}

// claimable is the device and its master key; both are empty when one of them does not exist.
func (s *Service) claimable(ctx context.Context, uid wire.UID) (Device, []byte, error) {
	d, err := s.devices.ByUID(ctx, uid)
	if fault.KindOf(err) == fault.NotFound {
		d.Partner, d.Epoch = noPartner, 1 // the key is looked for all the same, for the time it takes
	} else if err != nil {
		return Device{}, nil, errTryAgain.WithCause(err)
	}
	master, err := s.keys.Master(ctx, d.Partner, int(d.Epoch))
	if fault.KindOf(err) == fault.NotFound || fault.ReasonOf(err) == keys.ErrTainted.Reason {
		return Device{}, nil, nil
	}
	return d, master, err
}

// noPartner is no partner's id.
const noPartner = "-"

// strangerBinding stands in for a device that does not exist.
func strangerBinding(uid wire.UID) (Binding, Device, []byte, error) {
	b := Binding{Nonce: newNonce()}
	master := make([]byte, keys.MasterLen)
	rand.Read(b.ID[:])
	rand.Read(master)
	return b, Device{UID: uid, Suite: wire.SuiteHMAC, Epoch: 1}, master, nil
}

// strangerKey is a public key whose private half nobody has; it only has to take as long to verify under as any other.
func strangerKey(suite wire.Suite) []byte { return strangerKeys()[suite] }

var strangerKeys = sync.OnceValue(func() map[wire.Suite][]byte {
	all := map[wire.Suite][]byte{}
	if private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
		all[wire.SuiteP256], _ = private.PublicKey.Bytes()
	}
	if public, _, err := ed25519.GenerateKey(rand.Reader); err == nil {
		all[wire.SuiteEd25519] = public
	}
	return all
})

func bindingRequest(req request.ID) string {
	sum := sha256.Sum256([]byte(req.Caller + "\x00" + req.ID))
	return "claim-" + hex.EncodeToString(sum[:16])
}

// CompleteClaim takes the band's answer. Repeated with the same bytes it returns the same RESULT frame, so that a band
// that missed it can still commit.
func (s *Service) CompleteClaim(ctx context.Context, account, id string, answer []byte, transferCode string, now time.Time) (Claim, error) {
	digest := sha256.Sum256(answer)
	response, authenticator, parseErr := wire.ParseResponse(answer)
	c, err := s.claims.Claim(ctx, id)
	if err != nil {
		return Claim{}, err
	}
	if c.Account != account {
		return Claim{}, ErrClaimNotFound
	}
	if parseErr != nil {
		return Claim{}, s.missClaim(ctx, c, now)
	}
	if err := c.standing(digest, now); err != nil {
		return Claim{}, err
	}
	if c.State == ClaimPending {
		standing, err := s.store.Standing(ctx, Subject{UID: c.UID, Account: account})
		if err != nil {
			return Claim{}, err
		}
		if err := standing.Lockout.refusal(now); err != nil {
			return Claim{}, err
		}
	}
	if c.State == ClaimBound {
		return c, nil
	}
	session, err := s.authenticateClaim(ctx, c, response, authenticator)
	if fault.ReasonOf(err) == ErrRejected.Reason {
		if err := s.store.UpdateLockout(ctx, c.UID, account, func(l Lockout) Lockout { return l.missed(now) }); err != nil {
			return Claim{}, err
		}
		return Claim{}, s.missClaim(ctx, c, now)
	}
	if err != nil {
		return Claim{}, err
	}
	if c, err = s.claims.UpdateClaim(ctx, id, now, prove(response, digest, now)); err != nil {
		return Claim{}, err
	}
	if c.State == ClaimProven {
		if c, err = s.bind(ctx, c, session, transferCode, now); err != nil {
			return Claim{}, err
		}
	}
	if c.State == ClaimRefused && c.Reason == ErrSuspended.Reason {
		_ = s.SettleClones(ctx, now) // as in answer
	}
	return c, c.standing(digest, now)
}

// standing is nil when an answer with this digest may go on: the claim waits for one, or this is the one it had.
func (c Claim) standing(digest [32]byte, now time.Time) error {
	expired := !now.Before(c.ExpiresAt())
	if c.State == ClaimPending {
		switch {
		case expired:
			return ErrExpired
		case c.Tries >= MaxTries:
			return ErrUsed
		}
		return nil
	}
	if subtle.ConstantTimeCompare(c.Digest, digest[:]) != 1 {
		return ErrUsed
	}
	switch {
	case c.State == ClaimRefused:
		return refusalOf(c.Reason)
	case c.State == ClaimProven && expired:
		// Else a proof that was refused long ago could bind the band when its owner has released it.
		return ErrExpired
	}
	return nil
}

// missClaim counts a refused answer and refuses it.
func (s *Service) missClaim(ctx context.Context, c Claim, now time.Time) error {
	if c.State != ClaimPending {
		return ErrRejected
	}
	_, err := s.claims.UpdateClaim(ctx, c.ID, now, func(c Claim, m Mark) (Claim, Mark, []any, error) {
		if c.State == ClaimPending {
			c.Tries++
		}
		return c, m, nil, nil
	})
	if err != nil {
		return err
	}
	return ErrRejected
}

// authenticateClaim proves that the band answered under the pending binding. For a stranger it does the same work with a
// key that nobody has.
func (s *Service) authenticateClaim(ctx context.Context, c Claim, r wire.Response, authenticator []byte) (wire.SessionKeys, error) {
	partner := c.Partner
	if c.Device == "" {
		partner = noPartner
	}
	master, err := s.keys.Master(ctx, partner, int(c.Content.Epoch))
	if c.Device == "" {
		_, _, master, err = strangerBinding(c.UID)
	}
	if fault.ReasonOf(err) == keys.ErrTainted.Reason {
		return wire.SessionKeys{}, err
	}
	if err != nil {
		return wire.SessionKeys{}, fmt.Errorf("challenge: master key of %s: %w", c.UID, hide(err))
	}
	session, err := SessionKeys(master, c.UID, c.Content.Epoch, c.Content.Suite, c.Content.BindingID, c.Content.Nonce)
	if err != nil {
		return wire.SessionKeys{}, fmt.Errorf("challenge: keys of %s: %w", c.UID, err)
	}
	verifiers, err := Verifiers(c.Content.Suite, c.PublicKey, session)
	if err != nil {
		return wire.SessionKeys{}, fmt.Errorf("challenge: credential of %s: %w", c.UID, err)
	}
	if !authentic(verifiers, c.UID, c.Content, r, authenticator) {
		return wire.SessionKeys{}, ErrRejected
	}
	return session, nil
}

// prove pins a claim to its one authentic answer and moves the band's counter.
func prove(r wire.Response, digest [32]byte, now time.Time) func(Claim, Mark) (Claim, Mark, []any, error) {
	return func(c Claim, m Mark) (Claim, Mark, []any, error) {
		if err := c.standing(digest, now); err != nil {
			return c, m, nil, err
		}
		if c.State != ClaimPending {
			return c, m, nil, nil
		}
		c.Digest, c.Counter, c.State = digest[:], r.Counter, ClaimProven
		moved, refusal := moveMark(m, r.Counter, c.BegunAt)
		switch {
		case refusal == ErrClone:
			var evs []any
			if m.Clone == "" {
				moved.Clone = nonceText(c.Content.Nonce)
				evs = append(evs, CloneSuspected{c.Device, c.Partner, c.UID, r.Counter, uint32(m.HighWater)})
			}
			return c.refused(ErrSuspended), moved, evs, nil
		case refusal != nil:
			return c.refused(ErrExpired), moved, nil, nil //nolint:nilerr // the refusal is recorded, which succeeds
		case r.Status != wire.StatusOK || c.Content.Require.Unmet(r.Flags) != 0:
			return c.refused(ErrDeclined), moved, nil, nil
		}
		return c, moved, nil, nil
	}
}

func (c Claim) refused(f *fault.Error) Claim {
	c.State, c.Reason = ClaimRefused, f.Reason
	return c
}

// bind has the registry make the pending binding the active one, and makes the frame that tells the band.
func (s *Service) bind(ctx context.Context, c Claim, session wire.SessionKeys, transferCode string, now time.Time) (Claim, error) {
	next := c
	var err error
	if transferCode == "" {
		err = s.devices.ConfirmBinding(ctx, c.Content.BindingID)
	} else {
		err = s.devices.CompleteTransfer(ctx, c.Content.BindingID, transferCode)
	}
	switch fault.ReasonOf(err) {
	case "":
		if err != nil {
			return c, err
		}
		// What was granted under an earlier binding of the band ends with it.
		if err := s.denials.Deny(ctx, c.UID, now); err != nil {
			return c, err
		}
		next.State = ClaimBound
		next.Result, err = result(session, c.UID, c.Content.Nonce, wire.Result{
			Suite: c.Content.Suite, Outcome: wire.OutcomeBound, AlertPattern: buzzBound, CounterEcho: c.Counter,
		})
		if err != nil {
			return c, fmt.Errorf("challenge: result for %s: %w", c.Device, err)
		}
	case ErrAlreadyBound.Reason:
		next = c.refused(ErrAlreadyBound)
	case ErrDeviceLimit.Reason:
		next = c.refused(ErrDeviceLimit)
	case ErrSuspended.Reason, "ILLEGAL_TRANSITION":
		next = c.refused(ErrSuspended)
	case ErrTransferCode.Reason:
		next = c.refused(ErrTransferCode)
	case "BINDING_NOT_FOUND", "BINDING_SUPERSEDED":
		next = c.refused(ErrExpired)
	default:
		return c, err
	}
	return s.claims.UpdateClaim(ctx, c.ID, now, func(present Claim, m Mark) (Claim, Mark, []any, error) {
		if present.State != ClaimProven { // another caller with the same bytes was faster
			return present, m, nil, nil
		}
		return next, m, nil, nil
	})
}
