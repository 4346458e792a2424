package challenge

import (
	"crypto/rand"
	"math"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/proto/wire"
)

// Bounds of offline grants.
const (
	// MaxGrantLife is the longest life that the device protocol allows.
	MaxGrantLife = 24 * time.Hour
	// MaxOpenGrants is how many grants of one device may be in their time at once. With the cumulative limit it bounds what
	// a stolen band can spend where nobody asks.
	MaxOpenGrants = 3
)

// The refusals of offline grants.
var (
	ErrNoOffline = fault.New(fault.FailedPrecondition, "OFFLINE_NOT_AVAILABLE",
		"this installation gives no offline grants in this currency, or not of this amount").WithField("amount")
	ErrOfflineLimit = fault.New(fault.ResourceExhausted, "OFFLINE_LIMIT_REACHED",
		"the device has as many offline grants as it may at a time; wait until one has expired")
)

// OfflineLimit bounds the grants of one currency, in minor units.
type OfflineLimit struct {
	MaxTap     uint32 `json:"max_tap"`
	Cumulative uint32 `json:"cumulative"`
	MaxTaps    uint16 `json:"max_taps"`
}

// Refill is the grant that an approval of a challenge brings.
type Refill struct {
	OfflineLimit
	Currency string        `json:"currency"`
	Life     time.Duration `json:"life"`
}

// Grant is an offline grant with what its taps are verified against, whatever becomes of the binding.
type Grant struct {
	wire.Grant
	Suite     wire.Suite
	Epoch     uint16
	PublicKey []byte // of suites 3 and 4
	BindingID wire.BindingID
	BindNonce wire.Nonce
	IssuedAt  time.Time
}

// refill says which grant a challenge is to bring, if any.
func (p Policy) refill(w Wanted, open int) (*Refill, error) {
	asked := w.Purpose == wire.PurposeOfflineRefill
	if !asked && !w.OfflineRefill {
		return nil, nil //nolint:nilnil // most challenges bring none
	}
	limit, ok := p.Offline[w.Currency]
	switch {
	case asked && (!ok || w.MinorUnits > int64(limit.Cumulative)):
		return nil, ErrNoOffline
	case asked && open >= MaxOpenGrants:
		return nil, ErrOfflineLimit
	case !ok || open >= MaxOpenGrants:
		return nil, nil //nolint:nilnil // the payment goes on without
	}
	if asked {
		limit.Cumulative = uint32(w.MinorUnits)
		limit.MaxTap = min(limit.MaxTap, limit.Cumulative)
	}
	life := p.OfflineLife
	if life <= 0 || life > MaxGrantLife {
		life = MaxGrantLife
	}
	return &Refill{OfflineLimit: limit, Currency: w.Currency, Life: life}, nil
}

// grant makes the grant of an approval. Its alias is random, so that terminals cannot track a wearer over two grants.
func (r Refill) grant(id uint32, c Challenge, d Device, now time.Time) *Grant {
	g := &Grant{
		Grant: wire.Grant{
			ID: id, ValidUntil: uint32(min(now.Add(r.Life).Unix(), math.MaxUint32)), MaxTap: r.MaxTap, CumulativeLimit: r.Cumulative,
			MaxTaps: r.MaxTaps, Currency: r.Currency, Exponent: exponent(r.Currency), MCCGroup: wire.MCCGroupTransit,
		},
		Suite: d.Suite, Epoch: c.Content.Epoch, PublicKey: d.PublicKey, BindingID: c.Content.BindingID, BindNonce: c.BindNonce,
		IssuedAt: now.Truncate(time.Microsecond).UTC(),
	}
	rand.Read(g.Alias[:])
	return g
}
