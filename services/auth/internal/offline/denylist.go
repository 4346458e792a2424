package offline

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

// DenyListType is the header typ of a signed piece of the deny-list.
const DenyListType = "armlet-denylist+jwt"

// pageLen is how many entries a piece has at most.
const pageLen = 1000

// Piece is a part of the deny-list: the entries with numbers after From up to UpTo. A terminal that holds the list up to
// From holds it up to UpTo when it has put those on that are not allowed and taken off those that are.
type Piece struct {
	From, UpTo int64
	Entries    []Entry
	IssuedAt   time.Time
	Signed     string // a JWS of type DenyListType that says all of this
}

// claims are the payload of a signed piece.
type claims struct {
	Issuer   string  `json:"iss"`
	IssuedAt int64   `json:"iat"` // Unix seconds
	From     int64   `json:"from"`
	UpTo     int64   `json:"up_to"`
	Entries  []entry `json:"entries"`
}

type entry struct {
	Alias     string `json:"alias"` // 16 hex digits
	ExpiresAt int64  `json:"exp"`   // Unix seconds
	Allowed   bool   `json:"allowed,omitempty"`
}

// DenyList is the next piece of the list after a number, signed; without entries it says that there is nothing new at the
// moment now. More is true when the next piece can be read at once.
func (s *Service) DenyList(ctx context.Context, after int64, now time.Time) (p Piece, more bool, err error) {
	entries, upTo, err := s.store.DenyList(ctx, after, now, pageLen)
	if err != nil {
		return Piece{}, false, err
	}
	p = Piece{From: after, UpTo: max(upTo, after), Entries: entries, IssuedAt: now}
	c := claims{Issuer: s.issuer, IssuedAt: now.Unix(), From: p.From, UpTo: p.UpTo, Entries: []entry{}}
	for _, e := range entries {
		c.Entries = append(c.Entries, entry{hex.EncodeToString(e.Alias[:]), e.ExpiresAt.Unix(), e.Allowed})
	}
	p.Signed, err = s.keys.Sign(DenyListType, c)
	return p, len(entries) == pageLen, err
}

// Notice brings the deny-list in line with what the registry says of a device: the grants of one that may not pay, and of
// bindings that have ended, are on it; those of one that may pay again are not. An answer that is older than one which was
// taken in, or decided on, is passed over, so nobody's slowness undoes what is newer.
func (s *Service) Notice(ctx context.Context, d challenge.Device, now time.Time) error {
	return s.store.Notice(ctx, Notice{UID: d.UID, AuthEpoch: d.AuthEpoch, MayPay: d.Block == challenge.NotBlocked, Binding: d.BindingID}, now)
}

// Review asks about every device that holds a grant, as after a time in which nothing was heard of changes. It fails when
// the registry cannot be asked; what was noticed until then stays so.
func (s *Service) Review(ctx context.Context, now func() time.Time) error {
	var after wire.UID
	for {
		holders, err := s.store.Holders(ctx, after, now(), pageLen)
		if err != nil {
			return err
		}
		for _, uid := range holders {
			d, err := s.devices.Fresh(ctx, uid)
			switch {
			case fault.KindOf(err) == fault.NotFound:
				err = s.store.Deny(ctx, uid, now())
			case err == nil:
				err = s.Notice(ctx, d, now())
			}
			if err != nil {
				return err
			}
			after = uid
		}
		if len(holders) < pageLen {
			return nil
		}
	}
}
