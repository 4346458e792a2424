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

const (
	campaignColumns = `c.id, c.display_name, c.partner, c.mode, c.value_minor, c.currency, c.voucher_limit, c.issued_count,
		c.redeemed_count, c.expires_at`
	voucherColumns = `v.id, v.account, v.state, v.expires_at, v.created_at`

	stateRedeemed = "REDEEMED"
)

// CreateCampaign implements voucher.Store.
func (s *Store) CreateCampaign(ctx context.Context, req once.Request, now time.Time,
	decide func() (voucher.Campaign, error),
) (voucher.Campaign, error) {
	return inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (voucher.Campaign, error) {
		c, err := decide()
		if err != nil {
			return c, err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO campaigns (id, display_name, partner, mode, value_minor, currency,
			voucher_limit, expires_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			c.ID, c.DisplayName, c.Partner, c.Mode, c.Value.MinorUnits, c.Value.Currency, c.Limit, micros(c.ExpiresAt), micros(now))
		if err != nil {
			return c, fmt.Errorf("store a campaign: %w", err)
		}
		return c, nil
	})
}

// Campaign implements voucher.Store.
func (s *Store) Campaign(ctx context.Context, id string) (voucher.Campaign, error) {
	return campaign(ctx, s.db, id, "")
}

func campaign(ctx context.Context, q sqldb.Queryer, id, lock string) (voucher.Campaign, error) {
	var c voucher.Campaign
	var expires int64
	err := q.QueryRowContext(ctx, `SELECT `+campaignColumns+` FROM campaigns c WHERE c.id = $1`+lock, id).
		Scan(&c.ID, &c.DisplayName, &c.Partner, &c.Mode, &c.Value.MinorUnits, &c.Value.Currency, &c.Limit, &c.Issued, &c.Redeemed, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return c, voucher.ErrCampaignNotFound
	}
	if err != nil {
		return c, fmt.Errorf("read a campaign: %w", err)
	}
	c.ExpiresAt = fromMicros(expires)
	return c, nil
}

// IssueVoucher implements voucher.Store.
func (s *Store) IssueVoucher(ctx context.Context, req once.Request, campaignID string, now time.Time,
	decide func(voucher.Campaign) (voucher.Voucher, []byte, error),
) (voucher.Voucher, error) {
	return inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (voucher.Voucher, error) {
		c, err := campaign(ctx, tx, campaignID, tx.ForUpdate())
		if err != nil {
			return voucher.Voucher{}, err
		}
		v, hash, err := decide(c)
		if err != nil {
			return voucher.Voucher{}, err
		}
		counted, err := changed(ctx, tx, `UPDATE campaigns SET issued_count = issued_count + 1
			WHERE id = $1 AND issued_count < voucher_limit`, c.ID)
		if err != nil {
			return voucher.Voucher{}, fmt.Errorf("count a voucher: %w", err)
		}
		if !counted {
			return voucher.Voucher{}, voucher.ErrBudgetExhausted
		}
		stored, err := changed(ctx, tx, `INSERT INTO vouchers (id, campaign_id, account, code_hash, state, expires_at, created_at)
			VALUES ($1, $2, $3, $4, 'ISSUED', $5, $6) ON CONFLICT (code_hash) DO NOTHING`,
			v.ID, c.ID, v.Account, hash, micros(v.ExpiresAt), micros(v.CreatedAt))
		if err != nil {
			return voucher.Voucher{}, fmt.Errorf("store a voucher: %w", err)
		}
		if !stored {
			return voucher.Voucher{}, voucher.ErrCodeTaken
		}
		c.Issued++
		return v, s.publish(ctx, tx, voucher.Issued{Voucher: v, Campaign: c}, now)
	})
}

// VoucherByCode implements voucher.Store.
func (s *Store) VoucherByCode(ctx context.Context, codeHash []byte) (voucher.Voucher, voucher.Campaign, error) {
	return voucherByCode(ctx, s.db, codeHash, "")
}

func voucherByCode(ctx context.Context, q sqldb.Queryer, codeHash []byte, lock string) (voucher.Voucher, voucher.Campaign, error) {
	var v voucher.Voucher
	var state string
	var expires, created int64
	err := q.QueryRowContext(ctx, `SELECT `+voucherColumns+`, v.campaign_id FROM vouchers v WHERE v.code_hash = $1`+lock, codeHash).
		Scan(&v.ID, &v.Account, &state, &expires, &created, &v.CampaignID)
	if errors.Is(err, sql.ErrNoRows) {
		return v, voucher.Campaign{}, voucher.ErrVoucherNotFound
	}
	if err != nil {
		return v, voucher.Campaign{}, fmt.Errorf("read a voucher: %w", err)
	}
	c, err := campaign(ctx, q, v.CampaignID, "")
	if err != nil {
		return v, c, err
	}
	complete(&v, c, state, expires, created)
	return v, c, nil
}

func complete(v *voucher.Voucher, c voucher.Campaign, state string, expires, created int64) {
	v.CampaignID, v.Value, v.Redeemed = c.ID, c.Value, state == stateRedeemed
	v.ExpiresAt, v.CreatedAt = fromMicros(expires), fromMicros(created)
}

// Redemption implements voucher.Store.
func (s *Store) Redemption(ctx context.Context, req once.Request) (voucher.Redemption, bool, error) {
	return answered[voucher.Redemption](ctx, s.db, req)
}

// Redeem implements voucher.Store.
func (s *Store) Redeem(ctx context.Context, req once.Request, codeHash []byte, now time.Time,
	decide func(voucher.Voucher, voucher.Campaign) (voucher.Redemption, error),
) (voucher.Redemption, error) {
	return inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (voucher.Redemption, error) {
		v, c, err := voucherByCode(ctx, tx, codeHash, tx.ForUpdate())
		if err != nil {
			return voucher.Redemption{}, err
		}
		r, err := decide(v, c)
		if err != nil {
			return voucher.Redemption{}, err
		}
		if err := redeem(ctx, tx, r, now); err != nil {
			return voucher.Redemption{}, err
		}
		c.Redeemed++
		return r, s.publish(ctx, tx, voucher.Redeemed{Redemption: r, Campaign: c}, now)
	})
}

// redeem repeats the decision in the conditions of its updates.
func redeem(ctx context.Context, tx *sqldb.Tx, r voucher.Redemption, now time.Time) error {
	used, err := changed(ctx, tx, `UPDATE vouchers SET state = 'REDEEMED' WHERE id = $1 AND state = 'ISSUED' AND expires_at > $2`,
		r.Voucher.ID, micros(now))
	if err != nil {
		return fmt.Errorf("use a voucher up: %w", err)
	}
	if !used {
		return voucher.ErrRedeemed
	}
	counted, err := changed(ctx, tx, `UPDATE campaigns SET redeemed_count = redeemed_count + 1
		WHERE id = $1 AND redeemed_count < issued_count`, r.Voucher.CampaignID)
	if err == nil && !counted {
		err = errors.New("more redeemed than issued")
	}
	if err != nil {
		return fmt.Errorf("count a redemption: %w", err)
	}
	assertion := sql.NullString{String: r.AssertionID, Valid: r.AssertionID != ""}
	stored, err := changed(ctx, tx, `INSERT INTO redemptions (id, voucher_id, merchant, assertion_id, created_at)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (assertion_id) DO NOTHING`,
		r.ID, r.Voucher.ID, r.Merchant, assertion, micros(r.CreatedAt))
	if err != nil {
		return fmt.Errorf("store a redemption: %w", err)
	}
	if !stored {
		return voucher.ErrProofUsed
	}
	return nil
}

// VouchersBefore are the newest vouchers of a campaign with a smaller id, at most limit, newest first; before "" is all.
func (s *Store) VouchersBefore(ctx context.Context, c voucher.Campaign, before string, limit int) ([]voucher.Voucher, error) {
	if before == "" {
		before = "g" // after every hexadecimal digit
	}
	rows, err := s.db.QueryContext(ctx, `SELECT `+voucherColumns+` FROM vouchers v WHERE v.campaign_id = $1 AND v.id < $2
		ORDER BY v.id DESC LIMIT $3`, c.ID, before, limit)
	if err != nil {
		return nil, fmt.Errorf("read vouchers: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all []voucher.Voucher
	for rows.Next() {
		var v voucher.Voucher
		var state string
		var expires, created int64
		if err := rows.Scan(&v.ID, &v.Account, &state, &expires, &created); err != nil {
			return nil, fmt.Errorf("read vouchers: %w", err)
		}
		complete(&v, c, state, expires, created)
		all = append(all, v)
	}
	return all, rows.Err()
}
