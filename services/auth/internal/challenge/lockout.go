package challenge

import (
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
)

// How many wrong authenticators lock a device for an account, within which time, and for how long at first. Each further
// lock lasts twice as long, up to a day; after a day without one it begins anew.
const (
	badLimit    = 5
	badWindow   = 10 * time.Minute
	firstLock   = 10 * time.Minute
	longestLock = 24 * time.Hour
)

// ErrLocked is the refusal of a device that gave too many wrong authenticators for the account.
var ErrLocked = fault.New(fault.ResourceExhausted, "DEVICE_LOCKED",
	"the device gave too many wrong answers for this account and is locked for a while; try again after locked_until")

// Lockout counts wrong authenticators of one device for one account, so that a stranger's never lock the owner out.
type Lockout struct {
	Bad   int       // within the window
	Since time.Time // when the window began
	Until time.Time // the end of the last lock
	Level int       // how many locks came one after the other
}

// refusal is nil unless the lock holds.
func (l Lockout) refusal(now time.Time) error {
	if now.Before(l.Until) {
		return ErrLocked.WithMeta("locked_until", l.Until.UTC().Format(time.RFC3339))
	}
	return nil
}

// missed counts one more wrong authenticator. While the lock holds nothing is counted: nobody is asked then.
func (l Lockout) missed(now time.Time) Lockout {
	if now.Before(l.Until) {
		return l
	}
	if now.Sub(l.Since) >= badWindow {
		l.Bad, l.Since = 0, now
	}
	if l.Bad++; l.Bad < badLimit {
		return l
	}
	if now.Sub(l.Until) >= longestLock {
		l.Level = 0
	}
	last := firstLock << min(l.Level, 8)
	return Lockout{Since: now, Until: now.Add(min(last, longestLock)), Level: l.Level + 1}
}

// Subject is a device for an account, with the name of its master key where that matters.
type Subject struct {
	UID     wire.UID
	Account string
	Partner string
	Epoch   uint16
}

func (c Challenge) subject() Subject { return Subject{c.UID, c.Account, c.Partner, c.Content.Epoch} }

// Standing is what speaks against a device before it answers.
type Standing struct {
	Lockout Lockout    // of the device for the account
	Risk    Risk       // of its last answers
	Key     keys.State // of its master key; empty when there is none. It is read for each answer: a tainted key stops its devices.
}

// Risk is a set of bits: what is odd about an answer without being a reason to refuse it. The values are stored.
type Risk int

// RiskCounterGap means that the counter leapt by more than MaxGap.
const RiskCounterGap Risk = 1

// MaxGap is how far a band's counter may leap without being odd. A power cut costs a band at most a block of counters.
const MaxGap = 1024
