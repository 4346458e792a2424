package voucher

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

// Confirm redeems what the actor reserved.
func (s *Service) Confirm(ctx context.Context, by Actor, req once.Request, id string, now time.Time) (Redemption, Campaign, error) {
	return s.change(ctx, req, id, now, func(r Redemption, _ Campaign) (Redemption, error) {
		if r.Holder != by.Key() {
			return r, ErrRedemptionNotFound
		}
		return r.confirm(now)
	})
}

// Cancel gives up what the actor reserved.
func (s *Service) Cancel(ctx context.Context, by Actor, req once.Request, id string, now time.Time) (Redemption, Campaign, error) {
	return s.change(ctx, req, id, now, func(r Redemption, _ Campaign) (Redemption, error) {
		if by.Role != RoleOperator && r.Holder != by.Key() {
			return r, ErrRedemptionNotFound
		}
		return r.cancel(now)
	})
}

// Rollback undoes a redemption or a part of it; amount 0 is all that is left.
func (s *Service) Rollback(ctx context.Context, by Actor, req once.Request, id string, amount Money, now time.Time) (Redemption, Campaign, error) {
	return s.change(ctx, req, id, now, func(r Redemption, c Campaign) (Redemption, error) {
		if r.Holder != by.Key() && !by.Owns(c) {
			return r, ErrRedemptionNotFound
		}
		if amount.MinorUnits != 0 && amount.Currency != r.Amount.Currency {
			return r, errCurrency.WithField("amount.currency_code")
		}
		return r.undo(amount.MinorUnits, now)
	})
}

func (s *Service) change(ctx context.Context, req once.Request, id string, now time.Time, decide func(Redemption, Campaign) (Redemption, error)) (Redemption, Campaign, error) {
	r, err := s.redemptions.Change(ctx, req, id, now, decide)
	return s.withCampaign(ctx, r, err)
}

// ExpireDue releases holds whose time is over and returns how many, at most limit. Any number of processes may do so at
// once.
func (s *Service) ExpireDue(ctx context.Context, limit int, now time.Time) (int, error) {
	ids, err := s.redemptions.Due(ctx, now, limit)
	if err != nil {
		return 0, err
	}
	for i, id := range ids {
		err := s.redemptions.Settle(ctx, id, now, func(r Redemption) (Redemption, error) {
			if r.State != Reserved || now.Before(r.ReleaseAt) {
				return r, nil
			}
			return r.move(Expired, now), nil
		})
		if err != nil {
			return i, err
		}
	}
	return len(ids), nil
}
