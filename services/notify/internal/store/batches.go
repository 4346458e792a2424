package store

import (
	"context"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
	"github.com/armlet-pay/armlet/services/notify/internal/voucher"
)

// CreateBatch implements voucher.Batches.
func (s *Store) CreateBatch(ctx context.Context, req once.Request, campaignID string, now time.Time,
	decide func(voucher.Campaign) (voucher.Batch, error),
) (voucher.Batch, error) {
	return inTxOnce(ctx, s.db, req, now, func(ctx context.Context, tx *sqldb.Tx) (voucher.Batch, error) {
		c, err := campaign(ctx, tx, campaignID, tx.ForUpdate())
		if err != nil {
			return voucher.Batch{}, err
		}
		b, err := decide(c)
		if err != nil {
			return b, err
		}
		if err := countIssued(ctx, tx, c.ID, int64(b.Count)); err != nil {
			return b, err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO voucher_batches (id, campaign_id, total, created_at) VALUES ($1, $2, $3, $4)`,
			b.ID, c.ID, b.Count, micros(b.CreatedAt))
		if err != nil {
			return b, fmt.Errorf("store a batch: %w", err)
		}
		return b, s.publish(ctx, tx, now, voucher.Generated{Batch: b, Campaign: c})
	})
}

// FillBatch implements voucher.Batches.
func (s *Store) FillBatch(ctx context.Context, b voucher.Batch, first int, template voucher.Voucher, next []voucher.Minted) (stored int, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT stored FROM voucher_batches WHERE id = $1`+tx.ForUpdate(), b.ID).Scan(&stored)
		if err != nil || len(next) == 0 {
			return err
		}
		if stored != first {
			return voucher.ErrBatchBusy
		}
		if err := insertVouchers(ctx, tx, template, next); err != nil {
			return err
		}
		stored += len(next)
		_, err = tx.ExecContext(ctx, `UPDATE voucher_batches SET stored = $2 WHERE id = $1`, b.ID, stored)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("fill a batch: %w", err)
	}
	return stored, nil
}

// insertVouchers writes all rows with one statement. Nobody looks first which codes are taken, since hardly ever one is.
func insertVouchers(ctx context.Context, tx *sqldb.Tx, v voucher.Voucher, next []voucher.Minted) (err error) {
	if tx.Dialect() == sqldb.Postgres {
		at := micros(v.CreatedAt)
		err = tx.Copy(ctx, "vouchers", voucherRow, len(next), func(i int) ([]any, error) {
			return []any{next[i].ID, v.CampaignID, "", "", next[i].Hash, v.Balance, v.MaxUses, at}, nil
		})
	} else {
		rows := insertMinted.Rows(len(next)).With(v.CampaignID, v.Balance, v.MaxUses, micros(v.CreatedAt))
		for _, m := range next {
			rows.Add(m.ID, m.Hash)
		}
		_, err = rows.Exec(ctx, tx)
	}
	if sqldb.IsUnique(err) {
		return voucher.ErrCodeTaken
	}
	return err
}

var (
	voucherRow   = []string{"id", "campaign_id", "account", "device", "code_hash", "balance_minor", "max_uses", "created_at"}
	insertMinted = sqldb.NewBulk("id text, code_hash bytea", `INSERT INTO vouchers
		(id, campaign_id, account, device, code_hash, balance_minor, max_uses, created_at) SELECT id, $1, '', '', code_hash, $2, $3, $4 FROM {rows} AS r`, 4)
)

// BatchIDs implements voucher.Batches.
func (s *Store) BatchIDs(ctx context.Context, b voucher.Batch, from, to string) ([]string, error) {
	ids, err := s.strings(ctx, `SELECT id FROM vouchers WHERE campaign_id = $1 AND id >= $2 AND id < $3 ORDER BY id`, b.CampaignID, from, to)
	if err != nil {
		return nil, fmt.Errorf("read a batch: %w", err)
	}
	return ids, nil
}
