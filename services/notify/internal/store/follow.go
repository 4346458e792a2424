package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

// Redeemed are those of the payments that have a redemption. It locks all that these are going to move, in the order in which a
// single redemption does (voucher, limits, campaign) and each kind of rows in an order of its own. So neither two who follow
// payments of the same campaigns nor one who reserves beside them wait for each other crosswise.
func (s *Store) Redeemed(ctx context.Context, tx *sqldb.Tx, payments []string) (map[string]bool, error) {
	if len(payments) == 0 {
		return nil, nil
	}
	in, arg, err := sqldb.In(tx.Dialect(), payments)
	if err != nil {
		return nil, err
	}
	ids, err := texts(ctx, tx, `SELECT id FROM redemptions WHERE id `+in+` ORDER BY id`+tx.ForUpdate(), arg)
	if err != nil {
		return nil, fmt.Errorf("look for redemptions: %w", err)
	}
	found := map[string]bool{}
	for _, id := range ids {
		found[id] = true
	}
	if len(ids) < 2 || tx.Dialect() != sqldb.Postgres {
		return found, nil // one has the order by itself, and SQLite has one writer
	}
	if err := lockMoved(ctx, tx, ids); err != nil {
		return nil, fmt.Errorf("lock what redemptions move: %w", err)
	}
	return found, nil
}

// lockMoved locks the vouchers, meters and campaigns of redemptions that are locked.
func lockMoved(ctx context.Context, tx *sqldb.Tx, redemptions []string) error {
	vouchers, err := texts(ctx, tx, `SELECT id FROM vouchers WHERE id IN (SELECT voucher_id FROM redemptions WHERE id = ANY ($1)) ORDER BY id FOR UPDATE`, redemptions)
	if err != nil || len(vouchers) == 0 {
		return err
	}
	meters, campaigns, err := moved(ctx, tx, redemptions)
	if err != nil {
		return err
	}
	for _, m := range meters {
		_, err := texts(ctx, tx, `SELECT subject FROM voucher_meters WHERE campaign_id = $1 AND limit_no = $2 AND subject = $3 AND period = $4 FOR UPDATE`,
			m.campaign, m.Limit, m.Subject, m.Period)
		if err != nil {
			return err
		}
	}
	// As an update of counts does, and so that whoever inserts a redemption, which refers to the campaign, need not wait.
	_, err = texts(ctx, tx, `SELECT id FROM campaigns WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE`, campaigns)
	return err
}

// campaignMeter is a meter of a campaign.
type campaignMeter struct {
	campaign string
	voucher.Meter
}

// moved are the meters and campaigns that redemptions move, in order.
func moved(ctx context.Context, tx *sqldb.Tx, redemptions []string) (meters []campaignMeter, campaigns []string, err error) {
	for _, id := range redemptions {
		r, c, err := redemption(ctx, tx, id)
		if err != nil {
			return nil, nil, err
		}
		campaigns = append(campaigns, c.ID)
		for _, m := range c.Meters(r) {
			meters = append(meters, campaignMeter{c.ID, m})
		}
	}
	slices.SortFunc(meters, func(a, b campaignMeter) int {
		return cmp.Or(cmp.Compare(a.campaign, b.campaign), cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Period, b.Period))
	})
	slices.Sort(campaigns)
	return meters, slices.Compact(campaigns), nil
}

// FollowPayment brings the redemption of a payment, if there is one, to where the payment is, in tx.
func (s *Store) FollowPayment(ctx context.Context, tx *sqldb.Tx, payment string, o voucher.Outcome, now time.Time) error {
	_, err := s.change(ctx, tx, payment, now, func(r voucher.Redemption, _ voucher.Campaign) (voucher.Redemption, error) {
		if r.Payment == "" {
			return r, voucher.ErrRedemptionNotFound
		}
		return r.Follow(o, now)
	})
	switch {
	case errors.Is(err, voucher.ErrRedemptionNotFound):
		return nil
	case errors.Is(err, voucher.ErrRedeemed), errors.Is(err, voucher.ErrBudgetExhausted), errors.Is(err, voucher.ErrLimit):
		// The hold had ended a day after its time, and what it held is gone. Trying again cannot mend that.
		return voucher.ErrUnfunded.WithCause(err)
	}
	return err
}
