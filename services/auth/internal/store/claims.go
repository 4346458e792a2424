package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
)

const claimColumns = `id, account, uid, device, partner, public_key, body, frame, state, tries, response_hash, counter, reason,
	result_frame, begun_at, expires_at`

// FindClaim implements challenge.ClaimStore.
func (s *Store) FindClaim(ctx context.Context, req request.ID) (c challenge.Claim, found bool, err error) {
	id, err := recall[string](ctx, s.db, req)
	if errors.Is(err, sql.ErrNoRows) {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	c, err = s.Claim(ctx, id)
	return c, err == nil, err
}

// InsertClaim implements challenge.ClaimStore.
func (s *Store) InsertClaim(ctx context.Context, req request.ID, c challenge.Claim) (challenge.Claim, error) {
	id, err := once(ctx, s, req, c.BegunAt, func(ctx context.Context, tx *sqldb.Tx) (string, error) {
		_, err := tx.ExecContext(ctx, `INSERT INTO claims (`+claimColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
			c.ID, c.Account, c.UID.String(), c.Device, c.Partner, bytesOf(c.PublicKey), c.Body, c.Frame, string(c.State), c.Tries,
			c.Digest, int64(c.Counter), c.Reason, c.Result, c.BegunAt.UnixMicro(), c.ExpiresAt().UnixMicro())
		return c.ID, err
	})
	if err != nil || id == c.ID {
		return c, err
	}
	return s.Claim(ctx, id)
}

// Claim implements challenge.ClaimStore.
func (s *Store) Claim(ctx context.Context, id string) (challenge.Claim, error) {
	return scanClaim(s.db.QueryRowContext(ctx, `SELECT `+claimColumns+` FROM claims WHERE id = $1`, id))
}

func scanClaim(row scanner) (challenge.Claim, error) {
	var c challenge.Claim
	var uid string
	var begun, expires int64
	err := row.Scan(&c.ID, &c.Account, &uid, &c.Device, &c.Partner, &c.PublicKey, &c.Body, &c.Frame, &c.State, &c.Tries,
		&c.Digest, &c.Counter, &c.Reason, &c.Result, &begun, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return c, challenge.ErrClaimNotFound
	}
	if err != nil {
		return c, err
	}
	if c.UID, err = wire.ParseUID(uid); err != nil {
		return c, fmt.Errorf("store: claim %s: %w", c.ID, err)
	}
	if c.Content, err = wire.ParseChallengeBody(c.Body); err != nil {
		return c, fmt.Errorf("store: claim %s: %w", c.ID, err)
	}
	c.BegunAt = timeOf(begun)
	return c, nil
}

// UpdateClaim implements challenge.ClaimStore.
func (s *Store) UpdateClaim(ctx context.Context, id string, now time.Time,
	change func(challenge.Claim, challenge.Mark) (challenge.Claim, challenge.Mark, []any, error),
) (challenge.Claim, error) {
	var next challenge.Claim
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		old, err := scanClaim(lock(ctx, tx, `SELECT `+claimColumns+` FROM claims WHERE id = $1`, id))
		if err != nil {
			return err
		}
		mark, err := lockMark(ctx, tx, old.UID)
		if err != nil {
			return err
		}
		var moved challenge.Mark
		var evs []any
		if next, moved, evs, err = change(old, mark); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE claims SET state = $1, tries = $2, response_hash = $3, counter = $4, reason = $5, result_frame = $6 WHERE id = $7`,
			string(next.State), next.Tries, next.Digest, int64(next.Counter), next.Reason, next.Result, id)
		if err != nil {
			return err
		}
		if moved != mark {
			if err := saveMark(ctx, tx, old.UID, old.Device, moved); err != nil {
				return err
			}
		}
		return s.publish(ctx, tx, now, evs...)
	})
	return next, err
}
