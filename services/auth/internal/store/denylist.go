package store

import (
	"context"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
	"github.com/armlet-pay/armlet/services/auth/internal/offline"
)

// The list holds each alias once, with the number of its last change: whoever reads what comes after a number finds there
// every alias that changed since, as it stands now.

// Deny implements challenge.Denials.
func (s *Store) Deny(ctx context.Context, uid wire.UID, at time.Time) error {
	var open int
	err := s.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM offline_grants WHERE uid = $1 AND valid_until > $2 AND denied_at IS NULL`,
		uid.String(), at.Unix()).Scan(&open)
	if err != nil || open == 0 { // as it is for most devices
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if _, err := lockMark(ctx, tx, uid); err != nil {
			return err
		}
		return denyGrants(ctx, tx, uid, wire.BindingID{}, at)
	})
}

// Notice implements offline.Store. The mark of the device remembers how new the newest answer of the registry was that
// anybody here rests on: decisions on an older one are refused from then on, in every process.
func (s *Store) Notice(ctx context.Context, n offline.Notice, at time.Time) error {
	kept := n.Keeps()
	var seen, wrong int64
	err := s.db.QueryRowContext(ctx, `SELECT COALESCE((SELECT auth_epoch FROM counters WHERE uid = $1), -1), (SELECT COUNT(*) FROM offline_grants
		WHERE uid = $1 AND valid_until > $2 AND (binding_id = $3 AND denied_at IS NOT NULL OR binding_id <> $3 AND denied_at IS NULL))`,
		n.UID.String(), at.Unix(), kept[:]).Scan(&seen, &wrong)
	if err != nil || seen > n.AuthEpoch || seen == n.AuthEpoch && wrong == 0 {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		mark, err := lockMark(ctx, tx, n.UID)
		if err != nil || mark.AuthEpoch > n.AuthEpoch {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE counters SET auth_epoch = $1 WHERE uid = $2`, n.AuthEpoch, n.UID.String()); err != nil {
			return err
		}
		if err := denyGrants(ctx, tx, n.UID, kept, at); err != nil || mark.Clone != "" { // the registry has yet to hear of the copy
			return err
		}
		return allowGrants(ctx, tx, n.UID, kept, at)
	})
}

// denyGrants puts the open grants of all bindings but one on the list.
func denyGrants(ctx context.Context, tx *sqldb.Tx, uid wire.UID, but wire.BindingID, at time.Time) error {
	changed, err := grantsOf(ctx, tx, `UPDATE offline_grants SET denied_at = $1 WHERE uid = $2 AND valid_until > $3 AND binding_id <> $4
		AND denied_at IS NULL RETURNING alias, valid_until`, at.UnixMicro(), uid.String(), at.Unix(), but[:])
	if err != nil {
		return err
	}
	for _, g := range changed {
		if err := list(ctx, tx, g, 0, at); err != nil {
			return err
		}
	}
	return nil
}

// allowGrants takes the open grants of a binding off the list. When they were on it is kept: taps from then stay refused.
func allowGrants(ctx context.Context, tx *sqldb.Tx, uid wire.UID, of wire.BindingID, at time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO offline_denials (grant_id, denied_at, lifted_at) SELECT id, denied_at, $1 FROM offline_grants
		WHERE uid = $2 AND valid_until > $3 AND binding_id = $4 AND denied_at IS NOT NULL`+sound+` ON CONFLICT DO NOTHING`,
		at.UnixMicro(), uid.String(), at.Unix(), of[:])
	if err != nil {
		return err
	}
	changed, err := grantsOf(ctx, tx, `UPDATE offline_grants SET denied_at = NULL WHERE uid = $1 AND valid_until > $2 AND binding_id = $3
		AND denied_at IS NOT NULL`+sound+` RETURNING alias, valid_until`, uid.String(), at.Unix(), of[:])
	if err != nil {
		return err
	}
	for _, g := range changed {
		if err := list(ctx, tx, g, 1, at); err != nil {
			return err
		}
	}
	return nil
}

// denyEpoch puts the open grants of a partner's devices of a key epoch on the list: what that key makes proves nothing any more.
func denyEpoch(ctx context.Context, tx *sqldb.Tx, k keys.Withdrawn, at time.Time) error {
	changed, err := grantsOf(ctx, tx, `UPDATE offline_grants SET denied_at = $1 WHERE partner = $2 AND key_epoch = $3 AND valid_until > $4
		AND denied_at IS NULL RETURNING alias, valid_until`, at.UnixMicro(), k.Partner, k.Epoch, at.Unix())
	if err != nil {
		return err
	}
	for _, g := range changed {
		if err := list(ctx, tx, g, 0, at); err != nil {
			return err
		}
	}
	return nil
}

// sound leaves out the grants whose key was withdrawn; they are never taken off the list.
const sound = ` AND NOT EXISTS (SELECT 1 FROM keys k WHERE k.purpose = 'master' AND k.partner = offline_grants.partner
		AND k.epoch = offline_grants.key_epoch AND k.state IN ('TAINTED', 'DESTROYED'))`

// changedGrant is what the list says of a grant.
type changedGrant struct {
	alias string
	end   int64
}

func grantsOf(ctx context.Context, tx *sqldb.Tx, query string, args ...any) ([]changedGrant, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []changedGrant
	for rows.Next() {
		var g changedGrant
		if err := rows.Scan(&g.alias, &g.end); err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, rows.Err()
}

// list gives a change its number. The row of the sequence is locked until the commit, so numbers become visible in order.
func list(ctx context.Context, tx *sqldb.Tx, g changedGrant, allowed int, at time.Time) error {
	number, err := next(ctx, tx, "deny_list")
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO deny_list (number, alias, expires_at, created_at, allowed) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (alias) DO UPDATE SET number = excluded.number, created_at = excluded.created_at, allowed = excluded.allowed`,
		number, g.alias, g.end, at.UnixMicro(), allowed)
	return err
}

// lifted are the times that a grant was on the list and is not any more.
func (s *Store) lifted(ctx context.Context, grant uint32) ([]offline.Denial, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT denied_at, lifted_at FROM offline_denials WHERE grant_id = $1 ORDER BY denied_at`, int64(grant))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []offline.Denial
	for rows.Next() {
		var from, until int64
		if err := rows.Scan(&from, &until); err != nil {
			return nil, err
		}
		all = append(all, offline.Denial{From: timeOf(from), Until: timeOf(until)})
	}
	return all, rows.Err()
}

// Holders implements offline.Store.
func (s *Store) Holders(ctx context.Context, after wire.UID, now time.Time, limit int) ([]wire.UID, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT DISTINCT uid FROM offline_grants WHERE uid > $1 AND valid_until > $2
		ORDER BY uid LIMIT $3`, after.String(), now.Unix(), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var holders []wire.UID
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		uid, err := wire.ParseUID(text)
		if err != nil {
			return nil, fmt.Errorf("store: offline grant of %s: %w", text, err)
		}
		holders = append(holders, uid)
	}
	return holders, rows.Err()
}

// DenyList implements offline.Store.
func (s *Store) DenyList(ctx context.Context, after int64, now time.Time, limit int) (entries []offline.Entry, upTo int64, err error) {
	// The end is read first: what is added meanwhile has higher numbers.
	if err := s.db.QueryRowContext(ctx, `SELECT value FROM sequences WHERE name = 'deny_list'`).Scan(&upTo); err != nil {
		return nil, 0, err
	}
	rows, err := s.db.QueryContext(ctx, `SELECT number, alias, expires_at, allowed FROM deny_list
		WHERE number > $1 AND number <= $2 AND expires_at > $3 ORDER BY number LIMIT $4`, after, upTo, now.Unix(), limit)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var e offline.Entry
		var alias string
		var end int64
		var allowed int
		if err := rows.Scan(&e.Number, &alias, &end, &allowed); err != nil {
			return nil, 0, err
		}
		if e.Alias, err = aliasOf(alias); err != nil {
			return nil, 0, err
		}
		e.ExpiresAt, e.Allowed = time.Unix(end, 0).UTC(), allowed != 0
		entries = append(entries, e)
	}
	if len(entries) == limit {
		upTo = entries[limit-1].Number
	}
	return entries, upTo, rows.Err()
}
