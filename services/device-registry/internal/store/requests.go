package store

import (
	"bytes"
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
)

// Request identifies a call that may be repeated.
type Request struct {
	Caller      string
	Method      string
	ID          string
	Fingerprint []byte // SHA-256 of the content
	At          time.Time
}

// Once runs do in a transaction and remembers its answer under the request. A repetition gets the remembered answer; other
// content under the same id is refused with REQUEST_ID_REUSED. Of several at once one runs and the others wait for it.
// Calls of this store that get the context of do join the transaction.
func (s *Store) Once(ctx context.Context, r Request, do func(ctx context.Context) ([]byte, error)) (answer []byte, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		first, err := inserted(ctx, tx, `INSERT INTO requests (caller, method, request_id, fingerprint, response, created_at)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (caller, method, request_id) DO NOTHING`,
			r.Caller, r.Method, r.ID, r.Fingerprint, []byte{}, micros(r.At))
		if err != nil {
			return err
		}
		if !first {
			answer, err = remembered(ctx, tx, r)
			return err
		}
		if answer, err = do(ctx); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE requests SET response = $4 WHERE caller = $1 AND method = $2 AND request_id = $3`,
			r.Caller, r.Method, r.ID, answer)
		return err
	})
	return answer, err
}

func remembered(ctx context.Context, tx *sqldb.Tx, r Request) ([]byte, error) {
	var fingerprint, answer []byte
	err := tx.QueryRowContext(ctx, `SELECT fingerprint, response FROM requests WHERE caller = $1 AND method = $2 AND request_id = $3`,
		r.Caller, r.Method, r.ID).Scan(&fingerprint, &answer)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(fingerprint, r.Fingerprint) {
		return nil, fault.New(fault.FailedPrecondition, "REQUEST_ID_REUSED",
			"this request_id was used for a different request; use a new one").WithField("request_id")
	}
	return answer, nil
}
