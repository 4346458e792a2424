package store

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/auth/internal/request"
)

// once runs effect in a transaction that also records the request, or returns the answer recorded before. The request's
// row is written first, so that of several transactions with one request id all but one wait for that one's answer.
func once[T any](ctx context.Context, s *Store, req request.ID, now time.Time, effect func(ctx context.Context, tx *sqldb.Tx) (T, error)) (T, error) {
	var answer T
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		first, err := claimRequest(ctx, tx, req, now)
		if err != nil {
			return err
		}
		if !first {
			answer, err = recall[T](ctx, tx, req)
			return err
		}
		if answer, err = effect(ctx, tx); err != nil {
			return err
		}
		text, err := json.Marshal(answer)
		if err != nil {
			return fmt.Errorf("store: remember the answer of %s: %w", req.Method, err)
		}
		_, err = tx.ExecContext(ctx, `UPDATE requests SET response = $1 WHERE caller = $2 AND method = $3 AND request_id = $4`,
			text, req.Caller, req.Method, req.ID)
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return answer, nil
}

func claimRequest(ctx context.Context, tx *sqldb.Tx, req request.ID, now time.Time) (first bool, err error) {
	res, err := tx.ExecContext(ctx, `INSERT INTO requests (caller, method, request_id, fingerprint, response, created_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		req.Caller, req.Method, req.ID, req.Fingerprint[:], []byte{}, now.UnixMicro())
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func recall[T any](ctx context.Context, tx sqldb.Queryer, req request.ID) (T, error) {
	var answer T
	var fingerprint, text []byte
	err := tx.QueryRowContext(ctx, `SELECT fingerprint, response FROM requests WHERE caller = $1 AND method = $2 AND request_id = $3`,
		req.Caller, req.Method, req.ID).Scan(&fingerprint, &text)
	if err != nil {
		return answer, err
	}
	if subtle.ConstantTimeCompare(fingerprint, req.Fingerprint[:]) != 1 {
		return answer, request.ErrReused
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return answer, fmt.Errorf("store: recall the answer of %s: %w", req.Method, err)
	}
	return answer, nil
}
