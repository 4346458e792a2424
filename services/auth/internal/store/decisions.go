package store

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

const decisionColumns = `nonce, owner, device, uid, partner, account, purpose, response_hash, reason, jti, assurance, counter,
	intent, amount, currency, merchant, approved_frame, declined_frame, expires_at, decided_at, risk, binding_id`

// Decision implements challenge.Store.
func (s *Store) Decision(ctx context.Context, nonce wire.Nonce) (challenge.Decision, bool, error) {
	found, err := readDecisions(ctx, s.db, s.db.Dialect(), []string{hex.EncodeToString(nonce[:])})
	d, ok := found[nonce]
	return d, ok, err
}

// readDecisions finds those of the nonces that were decided on.
func readDecisions(ctx context.Context, q sqldb.Queryer, dialect sqldb.Dialect, nonces []string) (map[wire.Nonce]challenge.Decision, error) {
	in, arg, err := sqldb.In(dialect, nonces)
	if err != nil {
		return nil, err
	}
	rows, err := q.QueryContext(ctx, `SELECT `+decisionColumns+` FROM decisions WHERE nonce `+in, arg)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[wire.Nonce]challenge.Decision{}
	for rows.Next() {
		d, err := scanDecision(rows)
		if err != nil {
			return nil, err
		}
		found[d.Nonce] = d
	}
	return found, rows.Err()
}

func scanDecision(row scanner) (d challenge.Decision, err error) {
	var text, uid string
	var digest, intent, merchant, binding []byte
	var amount, expires, decided int64
	err = row.Scan(&text, &d.Owner, &d.Device, &uid, &d.Partner, &d.Account, &d.Purpose, &digest, &d.Reason, &d.JTI, &d.Assurance, &d.Counter,
		&intent, &amount, &d.Currency, &merchant, &d.Approved, &d.Declined, &expires, &decided, &d.Risk, &binding)
	if err != nil {
		return d, err
	}
	if d.UID, err = wire.ParseUID(uid); err != nil {
		return d, fmt.Errorf("store: decision %s: %w", text, err)
	}
	nonce, err := hex.DecodeString(text)
	if err != nil || len(nonce) != len(d.Nonce) || len(digest) != len(d.Digest) || len(intent) != len(d.Intent) || len(merchant) != len(d.Merchant) {
		return d, fmt.Errorf("store: decision %s has a field of the wrong length", text)
	}
	d.Nonce, d.Digest, d.Intent, d.Merchant = wire.Nonce(nonce), [32]byte(digest), [16]byte(intent), [16]byte(merchant)
	copy(d.BindingID[:], binding) // decisions of the first release have none
	d.Amount, d.ExpiresAt, d.DecidedAt = uint64(amount), timeOf(expires), timeOf(decided)
	return d, nil
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
