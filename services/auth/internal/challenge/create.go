package challenge

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
)

// Keys are the secrets the service works with.
type Keys interface {
	// Master is a partner's master key of an epoch.
	Master(ctx context.Context, partner string, epoch int) ([]byte, error)
	// MasterIn is Master for who has just read the key's state; empty is that of a key that does not exist.
	MasterIn(ctx context.Context, partner string, epoch int, state keys.State) ([]byte, error)
	// Sign makes a JWS over claims.
	Sign(typ string, claims any) (string, error)
	// AccountRef is the pseudonym of an account.
	AccountRef(account string) [16]byte
}

// Config is what a Service is made of.
type Config struct {
	Devices Devices
	Live    LiveStore
	Store   Store
	Claims  ClaimStore
	Denials Denials
	Keys    Keys
	Issuer  string        // of assertions
	Life    time.Duration // of challenges, whole seconds
	Policy  Policy
}

// Denials stop what was granted for use where nobody asks.
type Denials interface {
	// Deny puts every offline grant of a device that is in its time on the deny-list, from the moment at on. Repeated, it
	// changes nothing.
	Deny(ctx context.Context, uid wire.UID, at time.Time) error
}

// Service makes challenges and decides on answers.
type Service struct {
	devices Devices
	live    LiveStore
	store   Store
	claims  ClaimStore
	denials Denials
	keys    Keys
	issuer  string
	life    time.Duration
	policy  Policy
}

// NewService makes a Service.
func NewService(c Config) *Service {
	return &Service{c.Devices, c.Live, c.Store, c.Claims, c.Denials, c.Keys, c.Issuer, c.Life.Truncate(time.Second), c.Policy}
}

// Wanted is what a band is to sign. Either UID or Account names the band.
type Wanted struct {
	Purpose    wire.Purpose
	UID        wire.UID
	Account    string // resource name
	MinorUnits int64
	Currency   string // empty where there is no amount
	Merchant   [16]byte
	MCC        uint16
	Intent     [16]byte
	Display    string
	// MinAssurance is the level that the caller needs, 0 to 3.
	MinAssurance int
	// OfflineRefill has the approval of a payment bring a grant too, as far as one may be given.
	OfflineRefill bool
}

// Create makes the device's live challenge. The same request gives the same challenge until it expires.
func (s *Service) Create(ctx context.Context, caller Caller, req request.ID, w Wanted, now time.Time) (Challenge, error) {
	if err := caller.mayCreate(w.Purpose); err != nil {
		return Challenge{}, err
	}
	if err := checkAmount(w.Purpose, w.MinorUnits, w.Currency); err != nil {
		return Challenge{}, err
	}
	if w.OfflineRefill && w.Purpose != wire.PurposePay {
		return Challenge{}, fault.InvalidField("offline_refill", "only a payment brings a grant along; leave it unset")
	}
	if caller.Role == RoleWearer && w.Account != "" && w.Account != caller.Account {
		return Challenge{}, ErrDeviceNotFound
	}
	key := reservationKey(req)
	kept, found, err := s.live.Recall(ctx, key, now)
	if err != nil {
		return Challenge{}, err
	}
	if !found {
		fresh, err := s.fresh(ctx, caller, w, now)
		if err != nil {
			return Challenge{}, err
		}
		if kept, err = s.live.Reserve(ctx, key, Reservation{req.Fingerprint, fresh}, now); err != nil {
			return Challenge{}, err
		}
	}
	if subtle.ConstantTimeCompare(kept.Fingerprint[:], req.Fingerprint[:]) != 1 {
		return Challenge{}, request.ErrReused
	}
	if err := s.live.Issue(ctx, kept.Challenge, now); err != nil {
		if fault.ReasonOf(err) == ErrBusy.Reason {
			// The same request may succeed later and then needs a challenge with its whole life before it.
			if err := s.live.Release(ctx, key); err != nil {
				return Challenge{}, err
			}
		}
		return Challenge{}, err
	}
	return s.withPongKey(ctx, kept.Challenge)
}

// withPongKey fills in what the phone needs for distance rounds.
func (s *Service) withPongKey(ctx context.Context, c Challenge) (Challenge, error) {
	if !c.Content.Require.Has(wire.RequireRTT) {
		return c, nil
	}
	master, err := s.keys.Master(ctx, c.Partner, int(c.Content.Epoch))
	if err != nil {
		return Challenge{}, c.keyless(err)
	}
	session, err := c.session(master)
	if err != nil {
		return Challenge{}, err
	}
	c.PongKey = pongKey(session, c.Nonce)
	return c, nil
}

// keyless is why a challenge's master key cannot be had.
func (c Challenge) keyless(err error) error {
	if fault.ReasonOf(err) == keys.ErrTainted.Reason {
		return err
	}
	return fmt.Errorf("challenge: master key of %s: %w", c.Device, hide(err))
}

// sessionIn derives the keys of the binding that a challenge was made under, for who has just read the master key's state.
func (s *Service) sessionIn(ctx context.Context, c Challenge, state keys.State) (wire.SessionKeys, error) {
	master, err := s.keys.MasterIn(ctx, c.Partner, int(c.Content.Epoch), state)
	if err != nil {
		return wire.SessionKeys{}, c.keyless(err)
	}
	return c.session(master)
}

func (c Challenge) session(master []byte) (wire.SessionKeys, error) {
	session, err := SessionKeys(master, c.UID, c.Content.Epoch, c.Content.Suite, c.Content.BindingID, c.BindNonce)
	if err != nil {
		return wire.SessionKeys{}, fmt.Errorf("challenge: keys of %s: %w", c.Device, err)
	}
	return session, nil
}

func reservationKey(req request.ID) string {
	sum := sha256.Sum256([]byte(req.Caller + "\x00" + req.Method + "\x00" + req.ID))
	return hex.EncodeToString(sum[:])
}

func (s *Service) fresh(ctx context.Context, caller Caller, w Wanted, now time.Time) (Challenge, error) {
	d, err := s.find(ctx, w)
	if err != nil {
		return Challenge{}, err
	}
	if !caller.sees(d) {
		return Challenge{}, ErrDeviceNotFound
	}
	if err := d.usable(); err != nil {
		return Challenge{}, err
	}
	c := Challenge{
		Owner: caller.Key(), Device: d.Name, Partner: d.Partner, UID: d.UID, Account: d.Account, BindNonce: d.BindNonce,
		IssuedAt: now.Truncate(time.Microsecond).UTC(), Content: s.content(w, d, now),
	}
	c.Nonce = c.Content.Nonce
	standing, err := s.store.Standing(ctx, c.subject())
	if err != nil {
		return Challenge{}, err
	}
	if c.Content.Require, c.Refill, err = s.terms(ctx, w, d, standing, now); err != nil {
		return Challenge{}, err
	}
	session, err := s.sessionIn(ctx, c, standing.Key)
	if err != nil {
		return Challenge{}, err
	}
	if c.Body, c.Frame, err = frame(session, d.UID, c.Content); err != nil {
		return Challenge{}, fmt.Errorf("challenge: frame for %s: %w", d.Name, err)
	}
	return c, nil
}

// terms says what the band will be asked for and what an approval brings besides.
func (s *Service) terms(ctx context.Context, w Wanted, d Device, standing Standing, now time.Time) (wire.Require, *Refill, error) {
	if err := standing.Lockout.refusal(now); err != nil {
		return 0, nil, err
	}
	need, err := s.policy.requirements(w.Purpose, w.MinAssurance, standing.Risk, d)
	if err != nil {
		return 0, nil, err
	}
	open := 0
	if w.OfflineRefill || w.Purpose == wire.PurposeOfflineRefill {
		if open, err = s.store.OpenGrants(ctx, d.UID, now); err != nil {
			return 0, nil, err
		}
	}
	refill, err := s.policy.refill(w, open)
	return need, refill, err
}

// hide drops the meaning of an error that is no business of the caller's: a missing master key is our trouble.
func hide(err error) error {
	if _, ok := fault.As(err); ok {
		return errors.New(err.Error())
	}
	return err
}

func (s *Service) find(ctx context.Context, w Wanted) (Device, error) {
	if w.Account != "" {
		return s.devices.ByAccount(ctx, w.Account)
	}
	return s.devices.ByUID(ctx, w.UID)
}

func (s *Service) content(w Wanted, d Device, now time.Time) wire.Challenge {
	currency := w.Currency
	if currency == "" {
		currency = wire.NoCurrency
	}
	// The conversion is sound: checkAmount has refused negative amounts.
	c := wire.Challenge{
		Suite: d.Suite, Purpose: w.Purpose, Nonce: newNonce(), BindingID: d.BindingID,
		Amount: uint64(w.MinorUnits), Currency: currency, Merchant: w.Merchant, MCC: w.MCC, Intent: w.Intent,
		Epoch: d.Epoch, Display: w.Display,
	}
	if w.Currency != "" {
		c.Exponent = exponent(w.Currency)
	}
	c.IssuedAt, c.TTL = s.signedTimes(now)
	return c
}

func (s *Service) signedTimes(now time.Time) (issuedAt uint32, ttl uint16) {
	return uint32(now.Unix()), uint16(s.life / time.Second)
}

func newNonce() (n wire.Nonce) {
	rand.Read(n[:])
	return n
}
