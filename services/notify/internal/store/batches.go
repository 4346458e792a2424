package store

import (
	"context"
	"fmt"
	"strings"
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
		return b, s.publish(ctx, tx, voucher.Generated{Batch: b, Campaign: c}, now)
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

// insertVouchers writes all rows with one statement.
func insertVouchers(ctx context.Context, tx *sqldb.Tx, v voucher.Voucher, next []voucher.Minted) error {
	var q strings.Builder
	q.WriteString(`INSERT INTO vouchers (id, campaign_id, account, device, code_hash, balance_minor, max_uses, created_at) VALUES `)
	args := make([]any, 4, 4+2*len(next))
	args[0], args[1], args[2], args[3] = v.CampaignID, v.Balance, v.MaxUses, micros(v.CreatedAt)
	for i, m := range next {
		if i > 0 {
			q.WriteByte(',')
		}
		fmt.Fprintf(&q, `($%d, $1, '', '', $%d, $2, $3, $4)`, len(args)+1, len(args)+2)
		args = append(args, m.ID, m.Hash)
	}
	q.WriteString(` ON CONFLICT (code_hash) DO NOTHING`)
	res, err := tx.ExecContext(ctx, q.String(), args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != int64(len(next)) {
		return fmt.Errorf("%d of %d vouchers: %w", n, len(next), orTaken(err))
	}
	return nil
}

func orTaken(err error) error {
	if err == nil {
		return voucher.ErrCodeTaken
	}
	return err
}

// BatchIDs implements voucher.Batches.
func (s *Store) BatchIDs(ctx context.Context, b voucher.Batch, from, to string) ([]string, error) {
	ids, err := s.strings(ctx, `SELECT id FROM vouchers WHERE campaign_id = $1 AND id >= $2 AND id < $3 ORDER BY id`, b.CampaignID, from, to)
	if err != nil {
		return nil, fmt.Errorf("read a batch: %w", err)
	}
	return ids, nil
}
