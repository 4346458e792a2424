package store

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
)

// Device reads a device; one of a range lot that has no row is found through the lot. It fails with DEVICE_NOT_FOUND.
func (s *Store) Device(ctx context.Context, uid device.UID) (device.Device, error) {
	found, err := s.loadDevices(ctx, whereUID, ``, uidText(uid))
	if err != nil {
		return device.Device{}, err
	}
	if len(found) == 0 {
		d, _, err := s.unseen(ctx, uid)
		return d, err
	}
	return found[0].Device, nil
}

// CreateDevice adds a device, its first audit entry and its event. It fails with DEVICE_EXISTS when the uid has a row or
// lies in a range lot.
func (s *Store) CreateDevice(ctx context.Context, d device.Device, ev device.Event) error {
	exists := fault.New(fault.AlreadyExists, "DEVICE_EXISTS", "there is a device with this uid already, by itself or in a range lot")
	return s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		switch _, _, err := s.unseen(ctx, d.UID); {
		case err == nil:
			return exists
		case fault.KindOf(err) != fault.NotFound:
			return err
		}
		added, err := insertDevice(ctx, tx, d)
		if err != nil {
			return err
		}
		if !added {
			return exists
		}
		if err := s.write(ctx, tx, device.Device{}, d, []device.Event{ev}); err != nil {
			return err
		}
		return s.charge(ctx, tx, d.Partner, quota.Amounts{Devices: 1})
	})
}

// Update lets change decide on the device under a lock and writes what it returns together with the events. A device of a
// range lot gets its row here. It fails with DEVICE_NOT_FOUND; an error of change leaves everything as it was.
func (s *Store) Update(ctx context.Context, uid device.UID, now time.Time,
	change func(old device.Device) (device.Device, []device.Event, error),
) (device.Device, error) {
	var changed device.Device
	err := s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		old, err := s.lockDevice(ctx, tx, uid, now)
		if err != nil {
			return err
		}
		next, events, err := change(old)
		if err != nil {
			return err
		}
		changed = next
		return s.write(ctx, tx, old, next, events)
	})
	return changed, err
}

// lockDevice takes the lock on the device's row, which it makes if the device is known from its lot alone, and reads it.
func (s *Store) lockDevice(ctx context.Context, tx *sqldb.Tx, uid device.UID, now time.Time) (device.Device, error) {
	locked, err := lockRow(ctx, tx, uid)
	if err != nil {
		return device.Device{}, err
	}
	if !locked {
		d, _, err := s.unseen(ctx, uid)
		if err != nil {
			return device.Device{}, err
		}
		d.CreatedAt = now
		// Another transaction may have made the row since; then this waits for it and adds nothing.
		if _, err := insertDevice(ctx, tx, d); err != nil {
			return device.Device{}, err
		}
		if _, err := lockRow(ctx, tx, uid); err != nil {
			return device.Device{}, err
		}
	}
	return s.Device(ctx, uid)
}

func lockRow(ctx context.Context, tx *sqldb.Tx, uid device.UID) (bool, error) {
	rows, err := tx.QueryContext(ctx, `SELECT uid FROM devices WHERE uid = $1`+tx.ForUpdate(), uidText(uid))
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }()
	return rows.Next(), rows.Err()
}

func insertDevice(ctx context.Context, tx *sqldb.Tx, d device.Device) (bool, error) {
	key, credentials, err := keyColumns(d)
	if err != nil {
		return false, err
	}
	return inserted(ctx, tx, `INSERT INTO devices (uid, partner, model_id, lot_no, state, suite, key_epoch, public_key, auth_epoch,
			generation, audit_seq, audit_hash, created_at, credentials)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (uid) DO NOTHING`,
		uidText(d.UID), d.Partner, d.ModelID, int64(d.LotNo), int(d.State), int(d.Suite), int(d.KeyEpoch), key,
		d.AuthEpoch-d.SharedEpoch, d.Generation, d.Head.Sequence, d.Head.Hash[:], micros(d.CreatedAt), credentials)
}

// write brings the row of a locked device, its suspensions, its audit record and the outbox up to date. Nothing is
// written without an event: every change leaves a trace.
func (s *Store) write(ctx context.Context, tx *sqldb.Tx, old, d device.Device, events []device.Event) error {
	if len(events) == 0 {
		return nil
	}
	for _, ev := range events {
		entry, head := device.Record(d.Head, ev)
		d.Head = head
		if err := s.insertEntry(ctx, tx, entry); err != nil {
			return err
		}
		if err := s.outbox.DeviceEvent(ctx, tx, ev); err != nil {
			return err
		}
	}
	if err := updateDevice(ctx, tx, d); err != nil {
		return err
	}
	if old.Account != "" && d.Account == "" {
		_, err := tx.ExecContext(ctx, `UPDATE bindings SET state = 3 WHERE uid = $1 AND state = 2`, uidText(d.UID))
		if err != nil {
			return err
		}
	}
	if !maps.Equal(old.Labels, d.Labels) {
		if err := writeLabels(ctx, tx, d); err != nil {
			return err
		}
	}
	return writeSuspensions(ctx, tx, d.UID, old.Suspensions, d.Suspensions)
}

func updateDevice(ctx context.Context, tx *sqldb.Tx, d device.Device) error {
	key, credentials, err := keyColumns(d)
	if err != nil {
		return err
	}
	labels, err := labelColumn(d.Labels)
	if err != nil {
		return err
	}
	var transferHash, transferUntil any
	if d.Transfer != nil {
		transferHash, transferUntil = d.Transfer.Hash[:], micros(d.Transfer.Until)
	}
	_, err = tx.ExecContext(ctx, `UPDATE devices SET state = $2, auth_epoch = $3, generation = $4, audit_seq = $5, audit_hash = $6,
			public_key = $7, credentials = $8, labels = $9, transfer_hash = $10, transfer_until = $11
		WHERE uid = $1`, uidText(d.UID), int(d.State), d.AuthEpoch-d.SharedEpoch, d.Generation, d.Head.Sequence, d.Head.Hash[:],
		key, credentials, labels, transferHash, transferUntil)
	return err
}

func writeLabels(ctx context.Context, tx *sqldb.Tx, d device.Device) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM device_labels WHERE uid = $1`, uidText(d.UID)); err != nil {
		return err
	}
	for key, value := range d.Labels {
		_, err := tx.ExecContext(ctx, `INSERT INTO device_labels (uid, key, value) VALUES ($1, $2, $3)`, uidText(d.UID), key, value)
		if err != nil {
			return err
		}
	}
	return nil
}

func writeSuspensions(ctx context.Context, tx *sqldb.Tx, uid device.UID, old, now []device.Suspension) error {
	for _, gone := range old {
		if slices.Contains(now, gone) {
			continue
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM suspensions WHERE uid = $1 AND reason = $2`, uidText(uid), int(gone.Reason))
		if err != nil {
			return err
		}
	}
	for _, added := range now {
		if slices.Contains(old, added) {
			continue
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO suspensions (uid, reason, authority, created_at) VALUES ($1, $2, $3, $4)`,
			uidText(uid), int(added.Reason), int(added.Authority), micros(added.At))
		if err != nil {
			return err
		}
	}
	return nil
}
