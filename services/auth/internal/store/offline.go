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
	if err == nil {
		g.Lifted, err = s.lifted(ctx, id)
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
