package offline

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

// Service verifies taps and signs the deny-list.
type Service struct {
	store   Store
	devices Devices
	keys    Keys
	clones  Clones
	issuer  string
}

// NewService makes a Service. The issuer is that of the signed deny-list.
func NewService(store Store, devices Devices, keys Keys, clones Clones, issuer string) *Service {
	return &Service{store, devices, keys, clones, issuer}
}

// Verify gives the verdict on a tap. It fails only when it cannot say; what is wrong with the tap is in the verdict.
func (s *Service) Verify(ctx context.Context, in Submission, now time.Time) (Verdict, error) {
	asked, err := wire.ParseTerminalTap(in.TerminalFrame)
	if err != nil {
		return rejected(BadMAC), nil //nolint:nilerr // this is the verdict
	}
	answer, authenticator, err := wire.ParseOfflineTap(in.TapFrame)
	if err != nil {
		return rejected(BadMAC), nil //nolint:nilerr // likewise
	}
	g, found, err := s.store.OfflineGrant(ctx, answer.GrantID)
	if err != nil {
		return Verdict{}, err
	}
	if !found {
		return rejected(UnknownGrant), nil
	}
	if ok, err := s.authentic(ctx, g, asked, answer, authenticator); err != nil || !ok {
		return rejected(BadMAC), err
	}
	t := Tap{
		Digest: digest(in.TerminalFrame, in.TapFrame), GrantID: g.ID, UID: g.UID, Counter: answer.Counter, Cumulative: answer.Cumulative,
		FareCap: asked.FareCap, MCC: asked.MCC, Terminal: asked.TerminalID, TakenAt: time.Unix(int64(asked.Time), 0).UTC(),
		VerifiedAt: now.Truncate(time.Microsecond).UTC(), Reason: check(g, asked, answer, in.MCC),
	}
	kept, missing, duplicate, err := s.store.RecordTap(ctx, t, g, judge(g))
	if err != nil {
		return Verdict{}, err
	}
	if kept.Reason == CloneOfTheBand && !duplicate {
		// The mark refuses the device until the registry has heard of it, so a failure here is not the caller's.
		_ = s.clones.SettleClones(ctx, now)
	}
	return Verdict{Tap: kept, Grant: &g, Duplicate: duplicate, Missing: missing}, nil
}

func rejected(r Reason) Verdict { return Verdict{Tap: Tap{Reason: r}} }

// authentic says whether the band of the grant made the answer to exactly what the terminal asked.
func (s *Service) authentic(ctx context.Context, g Grant, t wire.TerminalTap, o wire.OfflineTap, authenticator []byte) (bool, error) {
	if o.Suite != g.Suite || o.Status != wire.StatusOK {
		return false, nil
	}
	master, err := s.keys.Master(ctx, g.Partner, int(g.Epoch))
	if k := fault.KindOf(err); err != nil && (k == fault.NotFound || k == fault.FailedPrecondition) {
		return false, nil // the key was taken out of use: what it made proves nothing any more
	}
	if err != nil {
		return false, fmt.Errorf("offline: master key of %s: %w", g.Device, err)
	}
	session, err := challenge.SessionKeys(master, g.UID, g.Epoch, g.Suite, g.BindingID, g.BindNonce)
	if err != nil {
		return false, fmt.Errorf("offline: keys of %s: %w", g.Device, err)
	}
	verifiers, err := challenge.Verifiers(g.Suite, g.PublicKey, session)
	if err != nil {
		return false, fmt.Errorf("offline: credential of %s: %w", g.Device, err)
	}
	for _, v := range verifiers {
		if wire.VerifyOffline(v, g.UID, t, o, authenticator) == nil {
			return true, nil
		}
	}
	return false, nil
}

// check holds an authentic tap against its grant. It depends on nothing but its arguments, so the order in which taps come
// in makes no difference.
func check(g Grant, t wire.TerminalTap, o wire.OfflineTap, merchantMCC uint16) Reason {
	at := time.Unix(int64(t.Time), 0)
	switch {
	case o.Alias != g.Alias || t.Currency != g.Currency:
		return UnknownGrant
	case int64(t.Time) >= int64(g.ValidUntil), at.Add(clockDifference).Before(g.IssuedAt):
		return GrantExpired
	case !g.MCCGroup.Allows(t.MCC) || !g.MCCGroup.Allows(merchantMCC):
		return MCCNotAllowed
	case t.FareCap > g.MaxTap:
		return OverTap
	case o.Cumulative > g.CumulativeLimit || o.Cumulative < t.FareCap:
		return OverCumulative
	case g.denied(at):
		return RevokedEarlier
	}
	return Accepted
}

// judge adds what only earlier taps can tell. A copy of the band goes before any other reason: it says the most.
func judge(g Grant) func(Tap, Seen) (Tap, []any) {
	return func(t Tap, seen Seen) (Tap, []any) {
		switch {
		case seen.OtherWithCounter:
			t.Reason = CloneOfTheBand
			if seen.Clone == "" {
				return t, []any{challenge.CloneSuspected{Device: g.Device, Partner: g.Partner, UID: g.UID, Counter: t.Counter, HighWater: t.Counter}}
			}
		case t.Reason == Accepted && seen.TapsOfGrant >= int(g.MaxTaps):
			t.Reason = OverCumulative
		}
		return t, nil
	}
}

// CloneMark is what a device's mark holds when this tap showed a copy of the band.
func (t Tap) CloneMark() string { return "tap-" + hex.EncodeToString(t.Digest[:16]) }
