package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/proto/wire"
	"github.com/armlet-pay/armlet/services/auth/internal/challenge"
)

var (
	addMarks = sqldb.NewBulk("uid text", `INSERT INTO counters (uid, high_water, moved_by) SELECT uid, -1, 0 FROM {rows} AS r
		WHERE TRUE ORDER BY uid ON CONFLICT (uid) DO NOTHING`, 0)
	updateMarks = sqldb.NewBulk("uid text, high_water bigint, moved_by bigint, clone_nonce text, device text, auth_epoch bigint, risk bigint",
		`UPDATE counters AS c SET high_water = r.high_water, moved_by = r.moved_by, clone_nonce = r.clone_nonce, device = r.device,
		auth_epoch = r.auth_epoch, risk = r.risk FROM {rows} AS r WHERE c.uid = r.uid`, 0)
)

func addMark(to *sqldb.BulkRows, uid wire.UID, device string, m challenge.Mark) {
	to.Add(uid.String(), m.HighWater, m.MovedBy.UnixMicro(), m.Clone, device, m.AuthEpoch, int64(m.Risk))
}

func saveMark(ctx context.Context, tx *sqldb.Tx, uid wire.UID, device string, m challenge.Mark) error {
	one := updateMarks.Rows(1)
	addMark(one, uid, device, m)
	_, err := one.Exec(ctx, tx)
	return err
}

// lockMark is lockMarks for one device.
func lockMark(ctx context.Context, tx *sqldb.Tx, uid wire.UID) (challenge.Mark, error) {
	marks, err := lockMarks(ctx, tx, []string{uid.String()})
	return marks[uid], err
}

// lockMarks locks the devices' marks in the order of the uids, making those first that are not there.
func lockMarks(ctx context.Context, tx *sqldb.Tx, uids []string) (map[wire.UID]challenge.Mark, error) {
	slices.Sort(uids)
	uids = slices.Compact(uids)
	marks, err := lockedMarks(ctx, tx, uids)
	if err != nil || len(marks) == len(uids) {
		return marks, err
	}
	missing := addMarks.Rows(len(uids))
	for _, uid := range uids {
		missing.Add(uid)
	}
	if _, err := missing.Exec(ctx, tx); err != nil {
		return nil, err
	}
	return lockedMarks(ctx, tx, uids)
}

func lockedMarks(ctx context.Context, tx *sqldb.Tx, uids []string) (map[wire.UID]challenge.Mark, error) {
	in, arg, err := sqldb.In(tx.Dialect(), uids)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT uid, high_water, moved_by, clone_nonce, auth_epoch, risk FROM counters
		WHERE uid `+in+` ORDER BY uid`+tx.ForUpdate(), arg)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	marks := make(map[wire.UID]challenge.Mark, len(uids))
	for rows.Next() {
		var text string
		var movedBy int64
		var m challenge.Mark
		if err := rows.Scan(&text, &m.HighWater, &movedBy, &m.Clone, &m.AuthEpoch, &m.Risk); err != nil {
			return nil, err
		}
		uid, err := wire.ParseUID(text)
		if err != nil {
			return nil, fmt.Errorf("store: counter %s: %w", text, err)
		}
		m.MovedBy = timeOf(movedBy)
		marks[uid] = m
	}
	return marks, rows.Err()
}
