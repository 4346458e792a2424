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

const voucherColumns = `v.id, v.campaign_id, v.account, v.device, v.balance_minor, v.max_uses, v.used_count, v.held_count, v.created_at`

// IssueVoucher implements voucher.Vouchers.
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
		if err := countIssued(ctx, tx, c.ID, 1); err != nil {
			return voucher.Voucher{}, err
		}
		stored, err := changed(ctx, tx, `INSERT INTO vouchers (id, campaign_id, account, device, code_hash, balance_minor, max_uses, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (code_hash) DO NOTHING`,
			v.ID, c.ID, v.Account, v.Device, hash, v.Balance, v.MaxUses, micros(v.CreatedAt))
		if err != nil {
			return voucher.Voucher{}, fmt.Errorf("store a voucher: %w", err)
		}
		if !stored {
			return voucher.Voucher{}, voucher.ErrCodeTaken
		}
		c.Issued++
		return v, s.publish(ctx, tx, now, voucher.Issued{Voucher: v, Campaign: c})
	})
}

// countIssued repeats the bound in the condition of its update.
func countIssued(ctx context.Context, tx *sqldb.Tx, campaignID string, n int64) error {
	counted, err := changed(ctx, tx, `UPDATE campaigns SET issued_count = issued_count + $2
		WHERE id = $1 AND issued_count + $2 <= voucher_limit`, campaignID, n)
	if err != nil {
		return fmt.Errorf("count vouchers: %w", err)
	}
	if !counted {
		return voucher.ErrLimitReached
	}
	return nil
}

// AssignVoucher implements voucher.Vouchers.
func (s *Store) AssignVoucher(ctx context.Context, req once.Request, id string, now time.Time,
	decide func(voucher.Voucher, voucher.Campaign) (voucher.Voucher, error),
) (voucher.Voucher, error) {
	return inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (voucher.Voucher, error) {
		v, c, err := voucherBy(ctx, tx, "v.id", id, tx.ForUpdate())
		if err != nil {
			return v, err
		}
		if v, err = decide(v, c); err != nil {
			return v, err
		}
		_, err = tx.ExecContext(ctx, `UPDATE vouchers SET account = $2, device = $3 WHERE id = $1 AND account = '' AND device = ''`,
			v.ID, v.Account, v.Device)
		if err != nil {
			return v, fmt.Errorf("assign a voucher: %w", err)
		}
		return v, s.publish(ctx, tx, now, voucher.Assigned{Voucher: v, Campaign: c})
	})
}

// VoucherByCode implements voucher.Vouchers.
func (s *Store) VoucherByCode(ctx context.Context, codeHash []byte) (voucher.Voucher, voucher.Campaign, error) {
	return voucherBy(ctx, s.db, "v.code_hash", codeHash, "")
}

func voucherBy(ctx context.Context, q sqldb.Queryer, column string, key any, lock string) (voucher.Voucher, voucher.Campaign, error) {
	v, err := scanVoucher(q.QueryRowContext(ctx, `SELECT `+voucherColumns+` FROM vouchers v WHERE `+column+` = $1`+lock, key).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return v, voucher.Campaign{}, voucher.ErrVoucherNotFound
	}
	if err != nil {
		return v, voucher.Campaign{}, fmt.Errorf("read a voucher: %w", err)
	}
	c, err := campaign(ctx, q, v.CampaignID, "")
	return v, c, err
}

func scanVoucher(scan func(...any) error) (voucher.Voucher, error) {
	var v voucher.Voucher
	var created int64
	err := scan(&v.ID, &v.CampaignID, &v.Account, &v.Device, &v.Balance, &v.MaxUses, &v.Uses, &v.HeldUses, &created)
	v.CreatedAt = fromMicros(created)
	return v, err
}

// VouchersBefore are the newest vouchers of a campaign with a smaller id, at most limit, newest first; before "" is all.
func (s *Store) VouchersBefore(ctx context.Context, c voucher.Campaign, before string, limit int) ([]voucher.Voucher, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT `+voucherColumns+` FROM vouchers v WHERE v.campaign_id = $1 AND v.id < $2
		ORDER BY v.id DESC LIMIT $3`, c.ID, orLast(before), limit)
	if err != nil {
		return nil, fmt.Errorf("read vouchers: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var all []voucher.Voucher
	for rows.Next() {
		v, err := scanVoucher(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("read vouchers: %w", err)
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// orLast sorts after every UUID when there is no cursor.
func orLast(before string) string {
	if before == "" {
		return "g" // after every hexadecimal digit
	}
	return before
}

// Payer implements voucher.Vouchers.
func (s *Store) Payer(ctx context.Context, account, deviceUID string) (ofAccount, device string, err error) {
	query, key := `SELECT account, device FROM wearers WHERE substr(device, length(device) - 25) = $1 ORDER BY auth_epoch DESC LIMIT 1`, deviceUID
	if deviceUID == "" {
		query, key = `SELECT account, device FROM wearers WHERE account = $1 ORDER BY updated_at DESC LIMIT 1`, account
	}
	err = s.db.QueryRowContext(ctx, query, key).Scan(&ofAccount, &device)
	if errors.Is(err, sql.ErrNoRows) {
		return account, "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("look up a wearer: %w", err)
	}
	return ofAccount, device, nil
}

// LockOut implements voucher.Vouchers.
func (s *Store) LockOut(ctx context.Context, guesser string, until time.Time) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO voucher_lockouts (guesser, locked_until) VALUES ($1, $2)
		ON CONFLICT (guesser) DO UPDATE SET locked_until = excluded.locked_until
		WHERE voucher_lockouts.locked_until < excluded.locked_until`, guesser, micros(until))
	if err != nil {
		return fmt.Errorf("lock a guesser out: %w", err)
	}
	return nil
}

// LockedUntil implements voucher.Vouchers.
func (s *Store) LockedUntil(ctx context.Context, guesser string) (time.Time, error) {
	var until int64
	err := s.db.QueryRowContext(ctx, `SELECT locked_until FROM voucher_lockouts WHERE guesser = $1`, guesser).Scan(&until)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read a lockout: %w", err)
	}
	return fromMicros(until), nil
}
