package store

import (
	"context"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
	"github.com/armlet-pay/armlet/services/auth/internal/keys"
)

// Standing implements challenge.Store.
func (s *Store) Standing(ctx context.Context, of challenge.Subject) (st challenge.Standing, err error) {
	var since, until int64
	err = s.db.QueryRowContext(ctx, `SELECT COALESCE(MAX(l.bad), 0), COALESCE(MAX(l.since), 0), COALESCE(MAX(l.locked_until), 0),
		COALESCE(MAX(l.level), 0), COALESCE((SELECT risk FROM counters WHERE uid = $1), 0),
		COALESCE((SELECT state FROM keys WHERE purpose = $3 AND partner = $4 AND epoch = $5), '') FROM lockouts l WHERE l.uid = $1 AND l.account = $2`,
		of.UID.String(), of.Account, string(keys.Master), of.Partner, int(of.Epoch)).
		Scan(&st.Lockout.Bad, &since, &until, &st.Lockout.Level, &st.Risk, &st.Key)
	st.Lockout.Since, st.Lockout.Until = timeOf(since), timeOf(until)
	return st, err
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
