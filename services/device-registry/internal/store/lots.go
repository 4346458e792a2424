package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
)

const lotColumns = `l.partner, l.partner_no, l.lot_no, l.model_id, l.suite, l.key_epoch, l.first_uid, l.device_count, l.created_at,
	l.kind, l.state, l.exceptions, l.epoch, l.audit_seq, l.audit_hash`

type lotRow struct {
	lot     lot.Lot
	first   string
	count   int64
	created int64
	except  string
	head    []byte
}

func (r *lotRow) targets() []any {
	l := &r.lot
	return []any{
		&l.Partner, &l.PartnerNo, &l.No, &l.ModelID, &l.Suite, &l.KeyEpoch, &r.first, &r.count, &r.created,
		&l.Kind, &l.State, &r.except, &l.Epoch, &l.Head.Sequence, &r.head,
	}
}

func (r *lotRow) value() (lot.Lot, error) {
	first, err := parseUID(r.first)
	l := r.lot
	l.First, l.Count, l.CreatedAt = binary.BigEndian.Uint64(first[8:]), uint64(r.count), fromMicros(r.created)
	copy(l.Head.Hash[:], r.head) // null until there is an entry
	if err != nil || r.except == "" {
		return l, err
	}
	for text := range strings.SplitSeq(r.except, ",") {
		var run lot.Run
		if _, err := fmt.Sscanf(text, "%d-%d", &run.First, &run.Last); err != nil {
			return l, fmt.Errorf("store: stored exceptions: %w", err)
		}
		l.Exceptions = append(l.Exceptions, run)
	}
	return l, nil
}

func exceptionsText(runs []lot.Run) string {
	texts := make([]string, len(runs))
	for i, r := range runs {
		texts[i] = fmt.Sprintf("%d-%d", r.First, r.Last)
	}
	return strings.Join(texts, ",")
}

// CreateLot adds a lot and its event. It fails with LOT_EXISTS or QUOTA_EXCEEDED.
func (s *Store) CreateLot(ctx context.Context, l lot.Lot, ev lot.Event) error {
	return s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		added, err := inserted(ctx, tx, `INSERT INTO lots
			(partner_no, lot_no, partner, model_id, suite, key_epoch, first_uid, device_count, created_at,
				kind, state, exceptions)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING`,
			int64(l.PartnerNo), int64(l.No), l.Partner, l.ModelID, int(l.Suite), int(l.KeyEpoch), uidText(l.UID(l.First)),
			int64(l.Count), micros(l.CreatedAt), int(l.Kind), int(l.State), exceptionsText(l.Exceptions))
		if err != nil {
			return err
		}
		if !added {
			return fault.New(fault.AlreadyExists, "LOT_EXISTS", "there is a lot %d already; choose another number", l.No)
		}
		if err := s.writeLot(ctx, tx, l, []lot.Event{ev}); err != nil {
			return err
		}
		return s.charge(ctx, tx, l.Partner, quota.Amounts{Lots: 1, Devices: l.Devices()})
	})
}

// UpdateLot lets change decide on the lot under a lock and writes what it returns together with the events. It fails with
// LOT_NOT_FOUND; an error of change leaves everything as it was.
func (s *Store) UpdateLot(ctx context.Context, partner string, no uint32,
	change func(old lot.Lot) (lot.Lot, []lot.Event, error),
) (lot.Lot, error) {
	var changed lot.Lot
	err := s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		old, err := lockLot(ctx, tx, partner, no)
		if err != nil {
			return err
		}
		next, events, err := change(old)
		if err != nil {
			return err
		}
		changed = next
		return s.writeLot(ctx, tx, next, events)
	})
	return changed, err
}

func lockLot(ctx context.Context, tx *sqldb.Tx, partner string, no uint32) (lot.Lot, error) {
	var row lotRow
	err := tx.QueryRowContext(ctx, `SELECT `+lotColumns+` FROM lots l WHERE l.partner = $1 AND l.lot_no = $2`+tx.ForUpdate(),
		partner, int64(no)).Scan(row.targets()...)
	if err != nil {
		return lot.Lot{}, missing(err, lot.ErrNotFound)
	}
	return row.value()
}

// writeLot brings the row of a locked lot, its audit record and the outbox up to date.
func (s *Store) writeLot(ctx context.Context, tx *sqldb.Tx, l lot.Lot, events []lot.Event) error {
	for _, ev := range events {
		ev.Lot.Head = l.Head
		entry, head := ev.Record()
		l.Head = head
		if err := s.insertEntry(ctx, tx, entry); err != nil {
			return err
		}
		if err := s.outbox.LotEvent(ctx, tx, ev); err != nil {
			return err
		}
	}
	if len(events) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `UPDATE lots SET state = $3, epoch = $4, device_count = $5, audit_seq = $6, audit_hash = $7
		WHERE partner = $1 AND lot_no = $2`, l.Partner, int64(l.No), int(l.State), l.Epoch, int64(l.Count), l.Head.Sequence, l.Head.Hash[:])
	return err
}

// charge adds to what the partner has, under a lock, or fails with QUOTA_EXCEEDED. It comes last in a transaction.
func (s *Store) charge(ctx context.Context, tx *sqldb.Tx, partner string, more quota.Amounts) error {
	if err := beginUsage(ctx, tx, partner); err != nil {
		return err
	}
	limits, used, err := s.usage(ctx, tx, partner, tx.ForUpdate())
	if err != nil {
		return err
	}
	if err := limits.Allow(used, more); err != nil {
		return err
	}
	total := used.Plus(more)
	_, err = tx.ExecContext(ctx, `UPDATE partner_usage SET models = $2, lots = $3, devices = $4 WHERE partner = $1`,
		partner, total.Models, total.Lots, total.Devices)
	return err
}

func beginUsage(ctx context.Context, tx *sqldb.Tx, partner string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO partner_usage (partner, models, lots, devices) VALUES ($1, 0, 0, 0)
		ON CONFLICT (partner) DO NOTHING`, partner)
	return err
}

// Usage tells what a partner may have and has.
func (s *Store) Usage(ctx context.Context, partner string) (limits, used quota.Amounts, err error) {
	limits, used, err = s.usage(ctx, s.read(ctx), partner, ``)
	return limits, used, missing(err, nil)
}

func (s *Store) usage(ctx context.Context, q sqldb.Queryer, partner, lock string) (limits, used quota.Amounts, err error) {
	var own quota.Own
	err = q.QueryRowContext(ctx, `SELECT models, lots, devices, model_limit, lot_limit, device_limit FROM partner_usage
		WHERE partner = $1`+lock, partner).Scan(&used.Models, &used.Lots, &used.Devices, &own.Models, &own.Lots, &own.Devices)
	return own.Over(s.limits), used, err
}

// SetQuota gives a partner limits of its own.
func (s *Store) SetQuota(ctx context.Context, partner string, own quota.Own) error {
	return s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := beginUsage(ctx, tx, partner); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE partner_usage SET model_limit = $2, lot_limit = $3, device_limit = $4 WHERE partner = $1`,
			partner, own.Models, own.Lots, own.Devices)
		return err
	})
}

// Lot reads a lot. It fails with LOT_NOT_FOUND.
func (s *Store) Lot(ctx context.Context, partner string, no uint32) (lot.Lot, error) {
	var row lotRow
	err := s.read(ctx).QueryRowContext(ctx, `SELECT `+lotColumns+` FROM lots l WHERE l.partner = $1 AND l.lot_no = $2`,
		partner, int64(no)).Scan(row.targets()...)
	if err != nil {
		return lot.Lot{}, missing(err, lot.ErrNotFound)
	}
	return row.value()
}

// Lots lists at most limit lots of a partner whose numbers are above after, by number.
func (s *Store) Lots(ctx context.Context, partner string, after uint32, limit int) ([]lot.Lot, error) {
	rows, err := s.read(ctx).QueryContext(ctx, `SELECT `+lotColumns+` FROM lots l
		WHERE l.partner = $1 AND l.lot_no > $2 ORDER BY l.lot_no LIMIT $3`, partner, int64(after), limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var lots []lot.Lot
	for rows.Next() {
		var row lotRow
		if err := rows.Scan(row.targets()...); err != nil {
			return nil, err
		}
		l, err := row.value()
		if err != nil {
			return nil, err
		}
		lots = append(lots, l)
	}
	return lots, rows.Err()
}

// unseen finds a device through its range lot, with its model. It fails with DEVICE_NOT_FOUND.
func (s *Store) unseen(ctx context.Context, uid device.UID) (device.Device, device.Model, error) {
	l, model, err := s.rangeLot(ctx, binary.BigEndian.Uint32(uid[0:]), binary.BigEndian.Uint32(uid[4:]))
	if err != nil {
		return device.Device{}, device.Model{}, err
	}
	d, ok := l.Device(uid)
	if !ok {
		return device.Device{}, device.Model{}, device.ErrNotFound
	}
	return withModel(d, model), model, nil
}

// withModel is a device of a lot as its model lets it be.
func withModel(d device.Device, m device.Model) device.Device {
	d.ModelStatus = m.Status
	d.SharedEpoch += m.Epoch
	d.AuthEpoch += m.Epoch
	return d
}

// rangeLot reads the lot of these numbers with its model. It fails with DEVICE_NOT_FOUND.
func (s *Store) rangeLot(ctx context.Context, partnerNo, lotNo uint32) (lot.Lot, device.Model, error) {
	var lr lotRow
	var mr modelRow
	err := s.read(ctx).QueryRowContext(ctx, `SELECT `+lotColumns+`, `+modelColumns+` FROM lots l
		JOIN models m ON m.partner = l.partner AND m.model_id = l.model_id
		WHERE l.partner_no = $1 AND l.lot_no = $2`, int64(partnerNo), int64(lotNo)).Scan(append(lr.targets(), mr.targets()...)...)
	if err != nil {
		return lot.Lot{}, device.Model{}, missing(err, device.ErrNotFound)
	}
	l, err := lr.value()
	if err != nil {
		return lot.Lot{}, device.Model{}, err
	}
	model, err := mr.value()
	return l, model, err
}
