// Package offline verifies taps that a terminal took where nobody could be asked, and keeps the list of what such
// terminals refuse.
//
// A grant reaches the band in a RESULT frame (package challenge makes it). The band spends it; the taps come in later,
// through payments, in any order and any number of times:
//
//	        Verify
//	(new) ─────────▶ ACCEPTED, or REJECTED with a reason; the verdict is kept and never changes
//	        again
//	      ─────────▶ DUPLICATE with the verdict that was kept
//
// A tap whose authenticator is not the band's leaves nothing behind: it is refused alike each time. A tap is named by what
// was signed and not by the signature, of which ECDSA knows several for one message: else a terminal could turn one
// honest tap into two that prove a copy of the band.
package offline

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

// Reason is why a tap was rejected, by the names of the device protocol. The values are stored.
type Reason string

// The reasons; Accepted is none.
const (
	Accepted        Reason = ""
	BadMAC          Reason = "BAD_MAC"
	UnknownGrant    Reason = "UNKNOWN_GRANT"
	GrantExpired    Reason = "GRANT_EXPIRED"
	OverTap         Reason = "OVER_TAP"
	OverCumulative  Reason = "OVER_CUMULATIVE"
	MCCNotAllowed   Reason = "MCC_NOT_ALLOWED"
	RevokedEarlier  Reason = "REVOKED_BEFORE_TAP"
	CloneOfTheBand  Reason = "CLONE"
	clockDifference        = 5 * time.Minute
)

// Grant is an offline grant as it was given out.
type Grant struct {
	challenge.Grant
	Device, Partner, Account string // resource names, but for the partner's id
	UID                      wire.UID
	DeniedAt                 time.Time // since when it is on the deny-list; zero when it is not
	Lifted                   []Denial  // the times that it was on the deny-list before
}

// Denial is a time in which a grant was on the deny-list.
type Denial struct{ From, Until time.Time }

// denied says whether the grant was on the deny-list when a tap was made.
func (g Grant) denied(at time.Time) bool {
	for _, d := range g.Lifted {
		if d.From.Before(at) && at.Before(d.Until) {
			return true
		}
	}
	return !g.DeniedAt.IsZero() && g.DeniedAt.Before(at)
}

// Notice is what the registry says of a device.
type Notice struct {
	UID       wire.UID
	AuthEpoch int64
	MayPay    bool
	Binding   wire.BindingID // the present one
}

// Keeps is the binding whose grants are good; the zero one, which no grant is of, when none are.
func (n Notice) Keeps() wire.BindingID {
	if !n.MayPay {
		return wire.BindingID{}
	}
	return n.Binding
}

// Tap is a tap that the band signed, with its verdict.
type Tap struct {
	Digest     [32]byte // of what was signed
	GrantID    uint32
	UID        wire.UID
	Counter    uint32
	Cumulative uint32
	FareCap    uint32
	MCC        uint16
	Terminal   wire.TerminalID
	TakenAt    time.Time // by the terminal's clock, to the second
	VerifiedAt time.Time
	Reason     Reason
}

// Seen is what was verified before, read under a lock on the device.
type Seen struct {
	OtherWithCounter bool   // another tap of the device with this counter
	TapsOfGrant      int    // accepted ones
	Clone            string // of the device's mark; see challenge.Mark
}

// Verdict is what is known of a tap. Grant is nil when the authenticator proves nothing.
type Verdict struct {
	Tap
	Grant     *Grant
	Duplicate bool
	Missing   int64 // counters between the grant's lowest and highest that have not come in
}

// Submission is a tap as it comes in.
type Submission struct {
	TerminalFrame, TapFrame []byte
	MCC                     uint16 // of the merchant whose terminal it was
}

// Entry is a line of the deny-list.
type Entry struct {
	Number    int64
	Alias     wire.Alias
	ExpiresAt time.Time // when the grant would have ended by itself; terminals may forget the entry then
	Allowed   bool      // it was taken off the list again
}

// Store remembers grants, taps and the deny-list.
type Store interface {
	// OfflineGrant finds a grant by its number.
	OfflineGrant(ctx context.Context, id uint32) (g Grant, found bool, err error)
	// RecordTap returns the tap with this digest if there is one, with duplicate true. Otherwise it lets judge complete it
	// under a lock on the device, and commits it with the events; a clone that judge finds closes the device.
	RecordTap(ctx context.Context, t Tap, g Grant, judge func(Tap, Seen) (Tap, []any)) (kept Tap, missing int64, duplicate bool, err error)
	// DenyList reads at most limit entries after a number that have not expired, and the highest number that they and all
	// before them reach.
	DenyList(ctx context.Context, after int64, now time.Time, limit int) (entries []Entry, upTo int64, err error)
	// Holders are at most limit devices behind a uid, in order, that hold a grant which is in its time.
	Holders(ctx context.Context, after wire.UID, now time.Time, limit int) ([]wire.UID, error)
	// Notice puts a device's grants on the deny-list or takes them off, as n says, unless something newer is known of the device.
	Notice(ctx context.Context, n Notice, at time.Time) error
	// Deny puts a device's grants on the deny-list; see challenge.Denials.
	Deny(ctx context.Context, uid wire.UID, at time.Time) error
}

// Devices is the device registry.
type Devices interface {
	// Fresh is what the registry says now. It fails with DEVICE_NOT_FOUND.
	Fresh(ctx context.Context, uid wire.UID) (challenge.Device, error)
}

// Keys are the secrets the service works with.
type Keys interface {
	// Master is a partner's master key of an epoch.
	Master(ctx context.Context, partner string, epoch int) ([]byte, error)
	// Sign makes a JWS over claims.
	Sign(typ string, claims any) (string, error)
}

// Clones tells the registry of copies of bands.
type Clones interface {
	SettleClones(ctx context.Context, now time.Time) error
}

// digest names a tap by what was signed.
func digest(terminal, tap []byte) [32]byte {
	return sha256.Sum256(append(append(make([]byte, 0, wire.TerminalTapLen+wire.OfflineTapLen), terminal...), tap[:wire.OfflineTapLen]...))
}
