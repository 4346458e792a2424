package challenge

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
)

// Decision is what was decided on an authentic answer; it never changes.
type Decision struct {
	Nonce     wire.Nonce
	Owner     string
	Device    string // resource name
	UID       wire.UID
	Partner   string
	Account   string // resource name
	Purpose   wire.Purpose
	Digest    [32]byte // SHA-256 of the response frame
	Reason    string   // empty when approved
	JTI       string   // of every assertion about this decision
	Assurance int
	Counter   uint32
	Intent    [16]byte
	Amount    uint64 // minor units
	Currency  string
	Merchant  [16]byte
	Risk      Risk
	AuthEpoch int64 // of the registry's answer that the decision rests on
	BindingID wire.BindingID
	// Grant is the offline grant that Approved brings; only on its way into the store.
	Grant *Grant
	// Approved and Declined are RESULT frames; empty when refused.
	Approved, Declined []byte
	ExpiresAt          time.Time
	DecidedAt          time.Time
}

// Mark is how far a band's counter has come.
type Mark struct {
	// HighWater is the highest counter of an authentic answer, -1 before the first.
	HighWater int64
	// MovedBy is when the challenge was issued whose answer moved the mark.
	MovedBy time.Time
	// Clone names the challenge that showed a copy of the band and whose suspension the registry has not confirmed yet;
	// empty when there is none.
	Clone string
	// AuthEpoch is the highest that any decision or notice of the registry came with: an answer that was looked up before
	// does not count.
	AuthEpoch int64
	// Risk is that of the answers since the last one that showed assurance level 2.
	Risk Risk
}

// DecisionMade is the event of a decision.
type DecisionMade struct{ Decision Decision }

// CloneSuspected is the event of a counter that went back.
type CloneSuspected struct {
	Device, Partner string
	UID             wire.UID
	Counter         uint32
	HighWater       uint32
}

// OpenClone is a suspension that the registry has to be told of.
type OpenClone struct {
	UID    wire.UID
	Device string
	Nonce  string
}

// Store remembers decisions and counters.
type Store interface {
	// Decision finds what was decided on a challenge.
	Decision(ctx context.Context, nonce wire.Nonce) (d Decision, found bool, err error)
	// Record returns the decision on d's challenge if there is one. Otherwise it lets settle complete d under a lock on the
	// device's mark and commits decision, mark and events together.
	Record(ctx context.Context, d Decision, settle func(Decision, Mark) (Decision, Mark, []any, error)) (Decision, error)
	// OpenClones lists marks with a Clone.
	OpenClones(ctx context.Context) ([]OpenClone, error)
	// CloseClone clears the mark's Clone if it still is this one.
	CloseClone(ctx context.Context, c OpenClone) error
	// Standing is what speaks against a device for an account, and where its master key is in its life, as of one moment.
	Standing(ctx context.Context, of Subject) (Standing, error)
	// UpdateLockout changes the lockout of a device for an account under a lock.
	UpdateLockout(ctx context.Context, uid wire.UID, account string, change func(Lockout) Lockout) error
	// OpenGrants counts the offline grants of a device that are in their time.
	OpenGrants(ctx context.Context, uid wire.UID, now time.Time) (int, error)
	// NextGrantID is a number that no grant had before.
	NextGrantID(ctx context.Context) (uint32, error)
}

// moveMark holds a counter against the mark. It returns the reason why it does not count, or none and the moved mark.
//
// Only one challenge of a device is live at a time, so one that is older than the challenge whose answer moved the mark was
// superseded, whatever the live store says; it may have been set back. An authentic answer to another one whose counter
// was passed already means that two devices share one key.
func moveMark(m Mark, counter uint32, issuedAt time.Time) (Mark, *fault.Error) {
	if m.Clone != "" {
		return m, ErrClone
	}
	switch {
	case issuedAt.Before(m.MovedBy):
		return m, ErrSuperseded
	case int64(counter) <= m.HighWater:
		return m, ErrClone
	}
	m.HighWater, m.MovedBy = int64(counter), issuedAt
	return m, nil
}

// settle completes a decision with what only the mark can tell.
func settle(issuedAt time.Time) func(Decision, Mark) (Decision, Mark, []any, error) {
	return func(d Decision, m Mark) (Decision, Mark, []any, error) {
		if d.AuthEpoch < m.AuthEpoch {
			return d, m, nil, ErrChanged
		}
		moved, refusal := moveMark(m, d.Counter, issuedAt)
		moved.AuthEpoch = d.AuthEpoch
		if m.HighWater >= 0 && int64(d.Counter)-m.HighWater > MaxGap {
			d.Risk |= RiskCounterGap
		}
		switch {
		case d.Risk != 0:
			moved.Risk |= d.Risk
		case refusal == nil && d.Reason == "" && d.Assurance >= 2:
			moved.Risk = 0
		}
		var evs []any
		if refusal != nil {
			d.Reason, d.Approved, d.Declined, d.Grant = refusal.Reason, nil, nil, nil
			if refusal == ErrClone && m.Clone == "" {
				moved.Clone = hex.EncodeToString(d.Nonce[:])
				evs = append(evs, CloneSuspected{d.Device, d.Partner, d.UID, d.Counter, uint32(m.HighWater)})
			}
		}
		return d, moved, append(evs, DecisionMade{d}), nil
	}
}

// Assertion is a decision as another service reads it: a JWS of type AssertionType over these claims.
type Assertion struct {
	Issuer    string `json:"iss"`
	Audience  string `json:"aud"`
	IssuedAt  int64  `json:"iat"` // Unix seconds
	ExpiresAt int64  `json:"exp"` // Unix seconds
	ID        string `json:"jti"` // the same for one decision, however often it is asserted
	Purpose   string `json:"purpose"`
	Account   string `json:"account"`
	Device    string `json:"device"`
	Partner   string `json:"partner"`
	Intent    string `json:"intent"` // UUID
	Amount    uint64 `json:"amount"` // minor units
	Currency  string `json:"currency"`
	Merchant  string `json:"merchant"` // UUID
	Assurance int    `json:"assurance"`
	Counter   uint32 `json:"counter"`
	Risk      int    `json:"risk"` // bits: 1 the counter leapt
}

// AssertionType is the header typ of assertions.
const AssertionType = "armlet-assertion+jwt"

// AssertionLife is how long an assertion is good.
const AssertionLife = 30 * time.Second

// assert signs an approval. The audience is the service that acts on the purpose, or the partner that asked.
func (s *Service) assert(d Decision, now time.Time) (string, error) {
	var audience string
	switch d.Purpose {
	case wire.PurposePay, wire.PurposeStepUp:
		audience = "payments"
	case wire.PurposeVoucher:
		audience = "notify"
	case wire.PurposePresence:
		audience = "partners/" + d.Partner
	default:
		return "", fmt.Errorf("challenge: no audience for purpose %s", d.Purpose)
	}
	return s.keys.Sign(AssertionType, Assertion{
		Issuer: s.issuer, Audience: audience, IssuedAt: now.Unix(), ExpiresAt: now.Add(AssertionLife).Unix(), ID: d.JTI,
		Purpose: d.Purpose.String(), Account: d.Account, Device: d.Device, Partner: "partners/" + d.Partner, Intent: uuidText(d.Intent),
		Amount: d.Amount, Currency: d.Currency, Merchant: uuidText(d.Merchant), Assurance: d.Assurance, Counter: d.Counter, Risk: int(d.Risk),
	})
}

func uuidText(b [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func newJTI() string { return keys.NewID() }
