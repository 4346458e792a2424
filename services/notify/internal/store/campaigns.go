package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

const campaignColumns = `id, display_name, partner, mode, state, kind, currency, value_minor, basis_points, cap_minor, entitlement,
	budget_minor, held_minor, redeemed_minor, voucher_limit, issued_count, voucher_uses, held_count, redeemed_count, proof_required,
	rules, starts_at, expires_at, created_at`

// CreateCampaign implements voucher.Campaigns.
func (s *Store) CreateCampaign(ctx context.Context, req once.Request, now time.Time,
	decide func() (voucher.Campaign, error),
) (voucher.Campaign, error) {
	return inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (voucher.Campaign, error) {
		c, err := decide()
		if err != nil {
			return c, err
		}
		rules, err := json.Marshal(c.Rules)
		if err != nil {
			return c, err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO campaigns (`+campaignColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, 0, $13, 0, $14, 0, 0, $15, $16, $17, $18, $19)`,
			c.ID, c.DisplayName, c.Partner, c.Mode, c.State, c.Kind, c.Currency, c.Value, c.BasisPoints, c.Cap, c.Entitlement,
			c.Budget, c.Limit, c.Uses, bit(c.ProofRequired), string(rules), micros(c.StartsAt), micros(c.ExpiresAt), micros(c.CreatedAt))
		if err != nil {
			return c, fmt.Errorf("store a campaign: %w", err)
		}
		return c, s.publish(ctx, tx, now, voucher.Changed{Campaign: c})
	})
}

// ChangeCampaign implements voucher.Campaigns.
func (s *Store) ChangeCampaign(ctx context.Context, req once.Request, id string, now time.Time,
	decide func(voucher.Campaign) (voucher.Campaign, error),
) (voucher.Campaign, error) {
	return inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (voucher.Campaign, error) {
		old, err := campaign(ctx, tx, id, tx.ForUpdate())
		if err != nil {
			return old, err
		}
		c, err := decide(old)
		if err != nil {
			return c, err
		}
		_, err = tx.ExecContext(ctx, `UPDATE campaigns SET display_name = $2, state = $3, budget_minor = $4, voucher_limit = $5, expires_at = $6
			WHERE id = $1`, c.ID, c.DisplayName, c.State, c.Budget, c.Limit, micros(c.ExpiresAt))
		if err != nil {
			return c, fmt.Errorf("change a campaign: %w", err)
		}
		return c, s.publish(ctx, tx, now, voucher.Changed{Campaign: c})
	})
}

// Campaign implements voucher.Campaigns.
func (s *Store) Campaign(ctx context.Context, id string) (voucher.Campaign, error) {
	return campaign(ctx, s.db, id, "")
}

func campaign(ctx context.Context, q sqldb.Queryer, id, lock string) (voucher.Campaign, error) {
	c, err := scanCampaign(q.QueryRowContext(ctx, `SELECT `+campaignColumns+` FROM campaigns WHERE id = $1`+lock, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return c, voucher.ErrCampaignNotFound
	}
	if err != nil {
		return c, fmt.Errorf("read a campaign: %w", err)
	}
	return c, nil
}

func scanCampaign(scan func(...any) error) (voucher.Campaign, error) {
	var c voucher.Campaign
	var rules string
	var starts, expires, created int64
	err := scan(&c.ID, &c.DisplayName, &c.Partner, &c.Mode, &c.State, &c.Kind, &c.Currency, &c.Value, &c.BasisPoints, &c.Cap, &c.Entitlement,
		&c.Budget, &c.Held, &c.Redeemed, &c.Limit, &c.Issued, &c.Uses, &c.HeldCount, &c.RedeemedCount, &c.ProofRequired,
		&rules, &starts, &expires, &created)
	if err != nil {
		return c, err
	}
	c.StartsAt, c.ExpiresAt, c.CreatedAt = fromMicros(starts), fromMicros(expires), fromMicros(created)
	return c, json.Unmarshal([]byte(rules), &c.Rules)
}

// CampaignsBefore are the newest campaigns with a smaller id, at most limit, newest first: all, or those of one partner and
// mode.
func (s *Store) CampaignsBefore(ctx context.Context, by voucher.Actor, before string, limit int) ([]voucher.Campaign, error) {
	where, args := ``, []any{orLast(before), limit}
	if by.Role != voucher.RoleOperator {
		where, args = ` AND partner = $3 AND mode = $4`, append(args, by.Partner, by.Mode)
	}
	rows, err := s.db.QueryContext(ctx, `SELECT `+campaignColumns+` FROM campaigns WHERE id < $1`+where+` ORDER BY id DESC LIMIT $2`, args...)
	if err != nil {
		return nil, fmt.Errorf("read campaigns: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all []voucher.Campaign
	for rows.Next() {
		c, err := scanCampaign(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("read campaigns: %w", err)
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
