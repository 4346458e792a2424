package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/offline"
)

// next raises a sequence and returns its value. The row stays locked until the transaction ends, so numbers become visible
// in their order.
func next(ctx context.Context, q sqldb.Queryer, name string) (n int64, err error) {
	err = q.QueryRowContext(ctx, `UPDATE sequences SET value = value + 1 WHERE name = $1 RETURNING value`, name).Scan(&n)
	return n, err
}

// NextGrantID implements challenge.Store. A number that is not used is lost, which does no harm.
func (s *Store) NextGrantID(ctx context.Context) (id uint32, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := next(ctx, tx, "offline_grant")
		if err == nil && n != int64(uint32(n)) {
			return errors.New("store: the numbers of offline grants are used up")
		}
		id = uint32(n)
		return err
	})
	return id, err
}

// OpenGrants implements challenge.Store.
func (s *Store) OpenGrants(ctx context.Context, uid wire.UID, now time.Time) (n int, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM offline_grants WHERE uid = $1 AND valid_until > $2`,
		uid.String(), now.Unix()).Scan(&n)
	return n, err
}

const offlineGrantColumns = `id, uid, device, partner, account, suite, key_epoch, public_key, binding_id, bind_nonce, alias, max_tap,
	cumulative_limit, max_taps, currency, exponent, mcc_group, issued_at, valid_until, denied_at`

func insertOfflineGrant(ctx context.Context, tx *sqldb.Tx, d challenge.Decision) error {
	g := d.Grant
	if g == nil {
		return nil
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO offline_grants (`+offlineGrantColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, NULL)`,
		int64(g.ID), d.UID.String(), d.Device, d.Partner, d.Account, int(g.Suite), int(g.Epoch), bytesOf(g.PublicKey), g.BindingID[:],
		g.BindNonce[:], hex.EncodeToString(g.Alias[:]), int64(g.MaxTap), int64(g.CumulativeLimit), int64(g.MaxTaps), g.Currency,
		int(g.Exponent), int(g.MCCGroup), g.IssuedAt.UnixMicro(), int64(g.ValidUntil))
	return err
}

// OfflineGrant implements offline.Store.
func (s *Store) OfflineGrant(ctx context.Context, id uint32) (g offline.Grant, found bool, err error) {
	g, err = scanOfflineGrant(s.db.QueryRowContext(ctx, `SELECT `+offlineGrantColumns+` FROM offline_grants WHERE id = $1`, int64(id)))
	if errors.Is(err, sql.ErrNoRows) {
		return g, false, nil
	}
	return g, err == nil, err
}

func scanOfflineGrant(row scanner) (g offline.Grant, err error) {
	var uid, alias string
	var binding, nonce []byte
	var issued int64
	var denied sql.NullInt64
	err = row.Scan(&g.ID, &uid, &g.Device, &g.Partner, &g.Account, &g.Suite, &g.Epoch, &g.PublicKey, &binding, &nonce, &alias, &g.MaxTap,
		&g.CumulativeLimit, &g.MaxTaps, &g.Currency, &g.Exponent, &g.MCCGroup, &issued, &g.ValidUntil, &denied)
	if err != nil {
		return g, err
	}
	if g.UID, err = wire.ParseUID(uid); err != nil {
		return g, fmt.Errorf("store: offline grant %d: %w", g.ID, err)
	}
	if g.Alias, err = aliasOf(alias); err != nil || len(binding) != len(g.BindingID) || len(nonce) != len(g.BindNonce) {
		return g, fmt.Errorf("store: offline grant %d has a field of the wrong length", g.ID)
	}
	g.BindingID, g.BindNonce = wire.BindingID(binding), wire.Nonce(nonce)
	g.IssuedAt, g.DeniedAt = timeOf(issued), optionalTime(denied)
	return g, nil
}

func aliasOf(text string) (a wire.Alias, err error) {
	if n, err := hex.Decode(a[:], []byte(text)); err != nil || n != len(a) {
		return a, errors.New("store: this is no alias")
	}
	return a, nil
}

// RecordTap implements offline.Store.
func (s *Store) RecordTap(ctx context.Context, t offline.Tap, g offline.Grant, judge func(offline.Tap, offline.Seen) (offline.Tap, []any),
) (kept offline.Tap, missing int64, duplicate bool, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		mark, err := lockMark(ctx, tx, t.UID)
		if err != nil {
			return err
		}
		kept, err = readTap(ctx, tx, t)
		if duplicate = err == nil; duplicate {
			missing, err = missingTaps(ctx, tx, t.GrantID)
			return err
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		seen := offline.Seen{Clone: mark.Clone}
		err = tx.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM offline_taps WHERE uid = $1 AND counter = $2) > 0,
			(SELECT COUNT(*) FROM offline_taps WHERE grant_id = $3 AND reason = '')`, t.UID.String(), int64(t.Counter), int64(t.GrantID)).
			Scan(&seen.OtherWithCounter, &seen.TapsOfGrant)
		if err != nil {
			return err
		}
		var evs []any
		kept, evs = judge(t, seen)
		if err := insertTap(ctx, tx, kept); err != nil {
			return err
		}
		if kept.Reason == offline.CloneOfTheBand && mark.Clone == "" {
			mark.Clone = kept.CloneMark()
			if err := saveMark(ctx, tx, t.UID, g.Device, mark); err != nil {
				return err
			}
		}
		if missing, err = missingTaps(ctx, tx, t.GrantID); err != nil {
			return err
		}
		return s.publish(ctx, tx, t.VerifiedAt, evs...)
	})
	return kept, missing, duplicate, err
}

const tapColumns = `digest, grant_id, uid, counter, cumulative, fare_cap, mcc, terminal, taken_at, verified_at, reason`

func insertTap(ctx context.Context, tx *sqldb.Tx, t offline.Tap) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO offline_taps (`+tapColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		hex.EncodeToString(t.Digest[:]), int64(t.GrantID), t.UID.String(), int64(t.Counter), int64(t.Cumulative), int64(t.FareCap),
		int(t.MCC), hex.EncodeToString(t.Terminal[:]), t.TakenAt.Unix(), t.VerifiedAt.UnixMicro(), string(t.Reason))
	return err
}

// readTap finds the tap with the digest of t. What follows from the digest is that of t.
func readTap(ctx context.Context, q sqldb.Queryer, t offline.Tap) (offline.Tap, error) {
	var verified int64
	err := q.QueryRowContext(ctx, `SELECT verified_at, reason FROM offline_taps WHERE digest = $1`, hex.EncodeToString(t.Digest[:])).
		Scan(&verified, &t.Reason)
	t.VerifiedAt = timeOf(verified)
	return t, err
}

func missingTaps(ctx context.Context, q sqldb.Queryer, grant uint32) (n int64, err error) {
	err = q.QueryRowContext(ctx, `SELECT MAX(counter) - MIN(counter) + 1 - COUNT(DISTINCT counter) FROM offline_taps WHERE grant_id = $1`,
		int64(grant)).Scan(&n)
	return n, err
}

// Deny implements challenge.Denials.
func (s *Store) Deny(ctx context.Context, uid wire.UID, at time.Time) error {
	var open int
	err := s.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM offline_grants WHERE uid = $1 AND valid_until > $2 AND denied_at IS NULL`,
		uid.String(), at.Unix()).Scan(&open)
	if err != nil || open == 0 { // as it is for most devices
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		denied, err := denyGrants(ctx, tx, uid, at)
		if err != nil {
			return err
		}
		for _, e := range denied {
			number, err := next(ctx, tx, "deny_list")
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO deny_list (number, alias, expires_at, created_at) VALUES ($1, $2, $3, $4)`,
				number, hex.EncodeToString(e.Alias[:]), e.ExpiresAt.Unix(), at.UnixMicro())
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func denyGrants(ctx context.Context, tx *sqldb.Tx, uid wire.UID, at time.Time) ([]offline.Entry, error) {
	rows, err := tx.QueryContext(ctx, `UPDATE offline_grants SET denied_at = $1 WHERE uid = $2 AND valid_until > $3 AND denied_at IS NULL
		RETURNING alias, valid_until`, at.UnixMicro(), uid.String(), at.Unix())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var denied []offline.Entry
	for rows.Next() {
		var alias string
		var end int64
		if err := rows.Scan(&alias, &end); err != nil {
			return nil, err
		}
		a, err := aliasOf(alias)
		if err != nil {
			return nil, err
		}
		denied = append(denied, offline.Entry{Alias: a, ExpiresAt: time.Unix(end, 0).UTC()})
	}
	return denied, rows.Err()
}

// Holders implements offline.Store.
func (s *Store) Holders(ctx context.Context, after wire.UID, now time.Time, limit int) ([]wire.UID, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT DISTINCT uid FROM offline_grants WHERE uid > $1 AND valid_until > $2 AND denied_at IS NULL
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
	rows, err := s.db.QueryContext(ctx, `SELECT number, alias, expires_at FROM deny_list
		WHERE number > $1 AND number <= $2 AND expires_at > $3 ORDER BY number LIMIT $4`, after, upTo, now.Unix(), limit)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var e offline.Entry
		var alias string
		var end int64
		if err := rows.Scan(&e.Number, &alias, &end); err != nil {
			return nil, 0, err
		}
		if e.Alias, err = aliasOf(alias); err != nil {
			return nil, 0, err
		}
		e.ExpiresAt = time.Unix(end, 0).UTC()
		entries = append(entries, e)
	}
	if len(entries) == limit {
		upTo = entries[limit-1].Number
	}
	return entries, upTo, rows.Err()
}
