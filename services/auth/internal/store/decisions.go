package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

const decisionColumns = `nonce, owner, device, uid, partner, account, purpose, response_hash, reason, jti, assurance, counter,
	intent, amount, currency, merchant, approved_frame, declined_frame, expires_at, decided_at, risk, binding_id`

// Decision implements challenge.Store.
func (s *Store) Decision(ctx context.Context, nonce wire.Nonce) (challenge.Decision, bool, error) {
	return readDecision(ctx, s.db, nonce)
}

func readDecision(ctx context.Context, q sqldb.Queryer, nonce wire.Nonce) (challenge.Decision, bool, error) {
	d := challenge.Decision{Nonce: nonce}
	var text, uid string
	var digest, intent, merchant, binding []byte
	var amount, expires, decided int64
	err := q.QueryRowContext(ctx, `SELECT `+decisionColumns+` FROM decisions WHERE nonce = $1`, hex.EncodeToString(nonce[:])).Scan(
		&text, &d.Owner, &d.Device, &uid, &d.Partner, &d.Account, &d.Purpose, &digest, &d.Reason, &d.JTI, &d.Assurance, &d.Counter,
		&intent, &amount, &d.Currency, &merchant, &d.Approved, &d.Declined, &expires, &decided, &d.Risk, &binding)
	if errors.Is(err, sql.ErrNoRows) {
		return d, false, nil
	}
	if err != nil {
		return d, false, err
	}
	if d.UID, err = wire.ParseUID(uid); err != nil {
		return d, false, fmt.Errorf("store: decision %s: %w", text, err)
	}
	if len(digest) != len(d.Digest) || len(intent) != len(d.Intent) || len(merchant) != len(d.Merchant) {
		return d, false, fmt.Errorf("store: decision %s has a field of the wrong length", text)
	}
	d.Digest, d.Intent, d.Merchant = [32]byte(digest), [16]byte(intent), [16]byte(merchant)
	copy(d.BindingID[:], binding) // decisions of the first release have none
	d.Amount, d.ExpiresAt, d.DecidedAt = uint64(amount), timeOf(expires), timeOf(decided)
	return d, true, nil
}

// Record implements challenge.Store. The lock on the device's mark is taken first, so that of several callers with one
// challenge all but one find the decision.
func (s *Store) Record(ctx context.Context, d challenge.Decision,
	settle func(challenge.Decision, challenge.Mark) (challenge.Decision, challenge.Mark, []any, error),
) (challenge.Decision, error) {
	recorded := d
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		mark, err := lockMark(ctx, tx, d.UID)
		if err != nil {
			return err
		}
		old, found, err := readDecision(ctx, tx, d.Nonce)
		if err != nil || found {
			recorded = old
			return err
		}
		settled, moved, evs, err := settle(d, mark)
		if err != nil {
			return err
		}
		if err := insertDecision(ctx, tx, settled); err != nil {
			return err
		}
		if err := insertOfflineGrant(ctx, tx, settled); err != nil {
			return err
		}
		if err := saveMark(ctx, tx, d.UID, d.Device, moved); err != nil {
			return err
		}
		recorded = settled
		return s.publish(ctx, tx, d.DecidedAt, evs...)
	})
	return recorded, err
}

func insertDecision(ctx context.Context, tx *sqldb.Tx, d challenge.Decision) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO decisions (`+decisionColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)`,
		hex.EncodeToString(d.Nonce[:]), d.Owner, d.Device, d.UID.String(), d.Partner, d.Account, int(d.Purpose), d.Digest[:],
		d.Reason, d.JTI, d.Assurance, int64(d.Counter), d.Intent[:], int64(d.Amount), d.Currency, d.Merchant[:],
		bytesOf(d.Approved), bytesOf(d.Declined), d.ExpiresAt.UnixMicro(), d.DecidedAt.UnixMicro(),
		int(d.Risk), d.BindingID[:])
	return err
}

// lockMark locks the device's mark, making it first when it is not there.
func lockMark(ctx context.Context, tx *sqldb.Tx, uid wire.UID) (challenge.Mark, error) {
	m, err := lockedMark(ctx, tx, uid)
	if !errors.Is(err, sql.ErrNoRows) {
		return m, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO counters (uid, high_water, moved_by) VALUES ($1, -1, 0) ON CONFLICT DO NOTHING`, uid.String())
	if err != nil {
		return m, err
	}
	return lockedMark(ctx, tx, uid)
}

func lockedMark(ctx context.Context, tx *sqldb.Tx, uid wire.UID) (m challenge.Mark, err error) {
	var movedBy int64
	err = lock(ctx, tx, `SELECT high_water, moved_by, clone_nonce, auth_epoch, risk FROM counters WHERE uid = $1`, uid.String()).
		Scan(&m.HighWater, &movedBy, &m.Clone, &m.AuthEpoch, &m.Risk)
	m.MovedBy = timeOf(movedBy)
	return m, err
}

func saveMark(ctx context.Context, tx *sqldb.Tx, uid wire.UID, device string, m challenge.Mark) error {
	_, err := tx.ExecContext(ctx, `UPDATE counters SET high_water = $1, moved_by = $2, clone_nonce = $3, device = $4, auth_epoch = $5, risk = $6
		WHERE uid = $7`, m.HighWater, m.MovedBy.UnixMicro(), m.Clone, device, m.AuthEpoch, int(m.Risk), uid.String())
	return err
}

// OpenClones implements challenge.Store.
func (s *Store) OpenClones(ctx context.Context) ([]challenge.OpenClone, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT uid, device, clone_nonce FROM counters WHERE clone_nonce <> '' ORDER BY uid LIMIT 100`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var open []challenge.OpenClone
	for rows.Next() {
		var uid string
		var c challenge.OpenClone
		if err := rows.Scan(&uid, &c.Device, &c.Nonce); err != nil {
			return nil, err
		}
		if c.UID, err = wire.ParseUID(uid); err != nil {
			return nil, fmt.Errorf("store: counter %s: %w", uid, err)
		}
		open = append(open, c)
	}
	return open, rows.Err()
}

// CloseClone implements challenge.Store.
func (s *Store) CloseClone(ctx context.Context, c challenge.OpenClone) error {
	_, err := s.db.ExecContext(ctx, `UPDATE counters SET clone_nonce = '' WHERE uid = $1 AND clone_nonce = $2`, c.UID.String(), c.Nonce)
	return err
}
