package store

import (
	"context"
	"fmt"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
)

var findStandings = sqldb.NewBulk("uid text, account text, partner text, epoch bigint", `SELECT r.uid, r.account, r.partner, r.epoch,
	COALESCE(l.bad, 0), COALESCE(l.since, 0), COALESCE(l.locked_until, 0), COALESCE(l.level, 0), COALESCE(c.risk, 0), COALESCE(k.state, '')
	FROM {rows} AS r LEFT JOIN lockouts AS l ON l.uid = r.uid AND l.account = r.account LEFT JOIN counters AS c ON c.uid = r.uid
	LEFT JOIN keys AS k ON k.purpose = '`+string(keys.Master)+`' AND k.partner = r.partner AND k.epoch = r.epoch`, 0)

// Standing implements challenge.Store.
func (s *Store) Standing(ctx context.Context, of challenge.Subject) (challenge.Standing, error) {
	return s.standings.Do(ctx, of)
}

// readStandings finds a standing for each of the subjects.
func (s *Store) readStandings(ctx context.Context, of []challenge.Subject) (map[challenge.Subject]challenge.Standing, error) {
	wanted := findStandings.Rows(len(of))
	for _, o := range of {
		wanted.Add(o.UID.String(), o.Account, o.Partner, int64(o.Epoch))
	}
	rows, err := wanted.Query(ctx, s.db, s.db.Dialect())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[challenge.Subject]challenge.Standing, len(of))
	for rows.Next() {
		var o challenge.Subject
		var uid string
		var st challenge.Standing
		var since, until int64
		err := rows.Scan(&uid, &o.Account, &o.Partner, &o.Epoch, &st.Lockout.Bad, &since, &until, &st.Lockout.Level, &st.Risk, &st.Key)
		if err != nil {
			return nil, err
		}
		if o.UID, err = wire.ParseUID(uid); err != nil {
			return nil, fmt.Errorf("store: device %s: %w", uid, err)
		}
		st.Lockout.Since, st.Lockout.Until = timeOf(since), timeOf(until)
		found[o] = st
	}
	return found, rows.Err()
}

// UpdateLockout implements challenge.Store.
func (s *Store) UpdateLockout(ctx context.Context, uid wire.UID, account string, change func(challenge.Lockout) challenge.Lockout) error {
	return s.db.InTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO lockouts (uid, account, bad, since, locked_until, level) VALUES ($1, $2, 0, 0, 0, 0)
			ON CONFLICT DO NOTHING`, uid.String(), account)
		if err != nil {
			return err
		}
		var l challenge.Lockout
		var since, until int64
		err = lock(ctx, tx, `SELECT bad, since, locked_until, level FROM lockouts WHERE uid = $1 AND account = $2`, uid.String(), account).
			Scan(&l.Bad, &since, &until, &l.Level)
		if err != nil {
			return err
		}
		l.Since, l.Until = timeOf(since), timeOf(until)
		l = change(l)
		_, err = tx.ExecContext(ctx, `UPDATE lockouts SET bad = $1, since = $2, locked_until = $3, level = $4 WHERE uid = $5 AND account = $6`,
			l.Bad, l.Since.UnixMicro(), l.Until.UnixMicro(), l.Level, uid.String(), account)
		return err
	})
}
