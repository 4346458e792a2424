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
)

// answerOnce runs do for a new request and keeps its answer; a known request gets the kept one. The row is inserted
// first: a second transaction with the same request waits for the first to end.
func answerOnce[T any](ctx context.Context, tx *sqldb.Tx, req once.Request, now time.Time, do func() (T, error)) (answer T, err error) {
	isNew, err := changed(ctx, tx, `INSERT INTO requests (caller, method, request_id, fingerprint, response, created_at)
		VALUES ($1, $2, $3, $4, '', $5) ON CONFLICT (caller, method, request_id) DO NOTHING`,
		req.Caller, req.Method, req.ID, req.Fingerprint, micros(now))
	if err != nil {
		return answer, fmt.Errorf("record the request: %w", err)
	}
	if !isNew {
		answer, found, err := answered[T](ctx, tx, req)
		if err == nil && !found {
			err = errors.New("the request's row is gone")
		}
		return answer, err
	}
	if answer, err = do(); err != nil {
		return answer, err
	}
	response, err := json.Marshal(answer)
	if err != nil {
		return answer, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE requests SET response = $1 WHERE caller = $2 AND method = $3 AND request_id = $4`,
		string(response), req.Caller, req.Method, req.ID)
	if err != nil {
		return answer, fmt.Errorf("record the answer: %w", err)
	}
	return answer, nil
}

// answered is the answer kept for a request.
func answered[T any](ctx context.Context, q sqldb.Queryer, req once.Request) (answer T, found bool, err error) {
	var fingerprint []byte
	var response string
	err = q.QueryRowContext(ctx, `SELECT fingerprint, response FROM requests
		WHERE caller = $1 AND method = $2 AND request_id = $3`, req.Caller, req.Method, req.ID).Scan(&fingerprint, &response)
	if errors.Is(err, sql.ErrNoRows) {
		return answer, false, nil
	}
	if err != nil {
		return answer, false, fmt.Errorf("look up the request: %w", err)
	}
	if err := req.Same(fingerprint); err != nil {
		return answer, false, err
	}
	if err := json.Unmarshal([]byte(response), &answer); err != nil {
		return answer, false, fmt.Errorf("read the kept answer: %w", err)
	}
	return answer, true, nil
}

// inTxOnce is answerOnce in a transaction of its own.
func inTxOnce[T any](ctx context.Context, db *sqldb.DB, req once.Request, now time.Time,
	do func(ctx context.Context, tx *sqldb.Tx) (T, error),
) (answer T, err error) {
	err = db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		answer, err = answerOnce(ctx, tx, req, now, func() (T, error) { return do(ctx, tx) })
		return err
	})
	return answer, err
}
