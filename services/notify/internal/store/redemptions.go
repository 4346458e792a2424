package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

const redemptionColumns = `id, voucher_id, campaign_id, state, amount_minor, undone_minor, merchant, payment, account, device, holder, assertion_id,
	hold_expires_at, release_at, created_at, updated_at`

// Answered implements voucher.Redemptions.
func (s *Store) Answered(ctx context.Context, req once.Request) (voucher.Redemption, bool, error) {
	return answered[voucher.Redemption](ctx, s.db, req)
}

// Reserve implements voucher.Redemptions. The voucher is locked first and the campaign written last, so that those who
// redeem different vouchers of one campaign wait for each other as briefly as can be.
func (s *Store) Reserve(ctx context.Context, req once.Request, codeHash []byte, now time.Time,
	decide func(voucher.Voucher, voucher.Campaign, voucher.Used) (voucher.Redemption, error),
) (voucher.Redemption, error) {
	return inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (voucher.Redemption, error) {
		v, c, err := voucherBy(ctx, tx, "v.code_hash", codeHash, tx.ForUpdate())
		if err != nil {
			return voucher.Redemption{}, err
		}
		r, err := decide(v, c, func(meters []voucher.Meter) ([]int64, error) { return used(ctx, tx, c.ID, meters) })
		if err != nil {
			return r, err
		}
		stored, err := insertRedemption(ctx, tx, r)
		if err != nil {
			return r, err
		}
		if !stored {
			return r, voucher.ErrProofUsed
		}
		return s.move(ctx, tx, voucher.Redemption{}, r, c, now)
	})
}

func insertRedemption(ctx context.Context, tx *sqldb.Tx, r voucher.Redemption) (bool, error) {
	assertion := sql.NullString{String: r.AssertionID, Valid: r.AssertionID != ""}
	stored, err := changed(ctx, tx, `INSERT INTO redemptions (`+redemptionColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT DO NOTHING`,
		r.ID, r.Voucher.ID, r.CampaignID, r.State, r.Amount.MinorUnits, r.Undone, r.Merchant, r.Payment, r.Account, r.Device, r.Holder,
		assertion, micros(r.HoldExpiresAt), micros(r.ReleaseAt), micros(r.CreatedAt), micros(r.UpdatedAt))
	if err != nil {
		return false, fmt.Errorf("store a redemption: %w", err)
	}
	return stored, nil
}

// Change implements voucher.Redemptions.
func (s *Store) Change(ctx context.Context, req once.Request, id string, now time.Time,
	decide func(voucher.Redemption, voucher.Campaign) (voucher.Redemption, error),
) (voucher.Redemption, error) {
	return inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (voucher.Redemption, error) {
		return s.change(ctx, tx, id, now, decide)
	})
}

// Settle implements voucher.Redemptions.
func (s *Store) Settle(ctx context.Context, id string, now time.Time, decide func(voucher.Redemption) (voucher.Redemption, error)) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := s.change(ctx, tx, id, now, func(r voucher.Redemption, _ voucher.Campaign) (voucher.Redemption, error) { return decide(r) })
		return err
	})
}

func (s *Store) change(ctx context.Context, tx *sqldb.Tx, id string, now time.Time,
	decide func(voucher.Redemption, voucher.Campaign) (voucher.Redemption, error),
) (voucher.Redemption, error) {
	old, c, err := redemption(ctx, tx, id)
	if err != nil {
		return old, err
	}
	r, err := decide(old, c)
	if err != nil || r == old {
		return r, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE redemptions SET state = $2, undone_minor = $3, updated_at = $4 WHERE id = $1`,
		r.ID, r.State, r.Undone, micros(r.UpdatedAt))
	if err != nil {
		return r, fmt.Errorf("change a redemption: %w", err)
	}
	return s.move(ctx, tx, old, r, c, now)
}

// redemption reads one with its voucher and campaign, and locks the first two.
func redemption(ctx context.Context, tx *sqldb.Tx, id string) (voucher.Redemption, voucher.Campaign, error) {
	var r voucher.Redemption
	var assertion sql.NullString
	var hold, release, created, updated int64
	var voucherID string
	err := tx.QueryRowContext(ctx, `SELECT `+redemptionColumns+` FROM redemptions WHERE id = $1`+tx.ForUpdate(), id).
		Scan(&r.ID, &voucherID, &r.CampaignID, &r.State, &r.Amount.MinorUnits, &r.Undone, &r.Merchant, &r.Payment, &r.Account, &r.Device,
			&r.Holder, &assertion, &hold, &release, &created, &updated)
	if errors.Is(err, sql.ErrNoRows) {
		return r, voucher.Campaign{}, voucher.ErrRedemptionNotFound
	}
	if err != nil {
		return r, voucher.Campaign{}, fmt.Errorf("read a redemption: %w", err)
	}
	r.AssertionID = assertion.String
	r.HoldExpiresAt, r.ReleaseAt, r.CreatedAt, r.UpdatedAt = fromMicros(hold), fromMicros(release), fromMicros(created), fromMicros(updated)
	v, c, err := voucherBy(ctx, tx, "v.id", voucherID, tx.ForUpdate())
	r.Voucher, r.Amount.Currency = v, c.Currency
	return r, c, err
}

// move takes from voucher, limits and budget what the redemption holds more than before, or gives it back, and publishes
// the change. Each bound is in the condition of its update, and in a CHECK besides.
func (s *Store) move(ctx context.Context, tx *sqldb.Tx, old, r voucher.Redemption, c voucher.Campaign, now time.Time) (voucher.Redemption, error) {
	d := r.Holding().Minus(old.Holding())
	var err error
	if r.Voucher, err = moveVoucher(ctx, tx, r.Voucher, c, d); err != nil {
		return r, err
	}
	for _, m := range c.Meters(r) {
		if err := moveMeter(ctx, tx, c.ID, m, m.Counts(d)); err != nil {
			return r, err
		}
	}
	if err := s.publish(ctx, tx, now, voucher.MovedRedemption{Redemption: r, Campaign: c, From: old.State}); err != nil {
		return r, err
	}
	return r, moveCampaign(ctx, tx, c, d, old.State == "", now)
}

func moveVoucher(ctx context.Context, tx *sqldb.Tx, v voucher.Voucher, c voucher.Campaign, d voucher.Holding) (voucher.Voucher, error) {
	taken := int64(0)
	if c.Kind == voucher.StoredValue {
		taken = d.Held + d.Spent
	}
	moved, err := changed(ctx, tx, `UPDATE vouchers SET held_count = held_count + $2, used_count = used_count + $3, balance_minor = balance_minor - $4
		WHERE id = $1 AND used_count + held_count + $2 + $3 <= max_uses AND balance_minor >= $4`, v.ID, d.HeldUses, d.SpentUses, taken)
	if err != nil {
		return v, fmt.Errorf("move a voucher: %w", err)
	}
	if !moved {
		return v, voucher.ErrRedeemed
	}
	v.HeldUses, v.Uses, v.Balance = v.HeldUses+d.HeldUses, v.Uses+d.SpentUses, v.Balance-taken
	return v, nil
}

func moveMeter(ctx context.Context, tx *sqldb.Tx, campaignID string, m voucher.Meter, n int64) error {
	if n == 0 {
		return nil
	}
	if n > m.Bound {
		return voucher.ErrLimit
	}
	query := `INSERT INTO voucher_meters (campaign_id, limit_no, subject, period, used, bound) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (campaign_id, limit_no, subject, period) DO UPDATE SET used = voucher_meters.used + excluded.used
		WHERE voucher_meters.used + excluded.used <= voucher_meters.bound`
	args := []any{campaignID, m.Limit, m.Subject, m.Period, n}
	if n < 0 {
		query = `UPDATE voucher_meters SET used = used + $5 WHERE campaign_id = $1 AND limit_no = $2 AND subject = $3 AND period = $4`
	} else {
		args = append(args, m.Bound)
	}
	moved, err := changed(ctx, tx, query, args...)
	if err != nil {
		return fmt.Errorf("move a limit: %w", err)
	}
	if !moved {
		return voucher.ErrLimit
	}
	return nil
}

// moveCampaign wants the campaign to be active only for what begins; what is held may still be confirmed.
func moveCampaign(ctx context.Context, tx *sqldb.Tx, c voucher.Campaign, d voucher.Holding, begins bool, now time.Time) error {
	moved, err := changed(ctx, tx, `UPDATE campaigns SET held_count = held_count + $2, redeemed_count = redeemed_count + $3,
			held_minor = held_minor + $4, redeemed_minor = redeemed_minor + $5
		WHERE id = $1 AND (budget_minor = 0 OR held_minor + redeemed_minor + $6 <= budget_minor)
			AND ($7 = 0 OR state = 'ACTIVE' AND starts_at <= $8 AND expires_at > $8)`,
		c.ID, d.HeldUses, d.SpentUses, d.Held, d.Spent, d.Held+d.Spent, bit(begins), micros(now))
	if err != nil {
		return fmt.Errorf("move a campaign: %w", err)
	}
	if moved {
		return nil
	}
	if c, err = campaign(ctx, tx, c.ID, ""); err != nil {
		return err
	}
	if begins && !c.Active(now) {
		return voucher.ErrNotActive
	}
	return voucher.ErrBudgetExhausted
}

// Due implements voucher.Redemptions.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) ([]string, error) {
	ids, err := s.strings(ctx, `SELECT id FROM redemptions WHERE state = 'RESERVED' AND release_at <= $1 ORDER BY release_at LIMIT $2`, micros(now), limit)
	if err != nil {
		return nil, fmt.Errorf("read holds: %w", err)
	}
	return ids, nil
}

// Used implements voucher.Redemptions.
func (s *Store) Used(ctx context.Context, campaignID string, meters []voucher.Meter) ([]int64, error) {
	return used(ctx, s.db, campaignID, meters)
}

func used(ctx context.Context, q sqldb.Queryer, campaignID string, meters []voucher.Meter) ([]int64, error) {
	all := make([]int64, len(meters))
	for i, m := range meters {
		err := q.QueryRowContext(ctx, `SELECT used FROM voucher_meters WHERE campaign_id = $1 AND limit_no = $2 AND subject = $3 AND period = $4`,
			campaignID, m.Limit, m.Subject, m.Period).Scan(&all[i])
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("read a limit: %w", err)
		}
	}
	return all, nil
}
