package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/platform/sqldb"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/imports"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
	"github.com/armlet-pay/armlet/services/device-registry/internal/quota"
)

const importColumns = `lot_no, expected, digest, mode, state, last_seq, row_count, created, unchanged, failed, hasher, created_at, updated_at`

// Import reads an import. It fails with IMPORT_NOT_FOUND.
func (s *Store) Import(ctx context.Context, partner, id string) (imports.Import, error) {
	return loadImport(ctx, s.read(ctx), partner, id, "")
}

func loadImport(ctx context.Context, q sqldb.Queryer, partner, id, lock string) (imports.Import, error) {
	i := imports.Import{Partner: partner, ID: id}
	var expected, last, rows, created, unchanged, failed, begun, updated int64
	var digest []byte
	err := q.QueryRowContext(ctx, `SELECT `+importColumns+` FROM imports WHERE partner = $1 AND import_id = $2`+lock, partner, id).
		Scan(&i.LotNo, &expected, &digest, &i.Mode, &i.State, &last, &rows, &created, &unchanged, &failed, &i.Hasher, &begun, &updated)
	if err != nil {
		return i, missing(err, imports.ErrNotFound)
	}
	copy(i.Digest[:], digest)
	i.Expected, i.Last, i.Rows = uint64(expected), uint64(last), uint64(rows)
	i.Created, i.Unchanged, i.Failed = uint64(created), uint64(unchanged), uint64(failed)
	i.CreatedAt, i.UpdatedAt = fromMicros(begun), fromMicros(updated)
	return i, nil
}

// OpenImport remembers the import unless it is there, and returns what is there.
func (s *Store) OpenImport(ctx context.Context, fresh imports.Import) (imports.Import, error) {
	var there imports.Import
	err := s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO imports (partner, import_id, `+importColumns+`)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, 0, 0, $8, $9, $9) ON CONFLICT (partner, import_id) DO NOTHING`,
			fresh.Partner, fresh.ID, int64(fresh.LotNo), int64(fresh.Expected), fresh.Digest[:], int(fresh.Mode), int(fresh.State),
			fresh.Hasher, micros(fresh.CreatedAt))
		if err != nil {
			return err
		}
		there, err = loadImport(ctx, tx, fresh.Partner, fresh.ID, "")
		return err
	})
	return there, err
}

// ApplyChunk writes the devices of the chunk and takes the import further, in one transaction, unless the chunk was applied
// before; then it returns what became of it that time.
func (s *Store) ApplyChunk(ctx context.Context, at imports.Position, c imports.Chunk, by device.Actor, now time.Time) (imports.Ack, error) {
	var ack imports.Ack
	err := s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		i, err := loadImport(ctx, tx, at.Partner, at.ID, tx.ForUpdate())
		if err != nil {
			return err
		}
		if c.Sequence <= i.Last {
			ack, err = appliedChunk(ctx, tx, at, c)
			return err
		}
		if err := i.Takes(c); err != nil {
			return err
		}
		l, err := lockLot(ctx, tx, at.Partner, at.LotNo)
		if err != nil {
			return err
		}
		if l.State == device.LotRecalled {
			return device.ErrLotRecalled
		}
		if ack, err = s.addDevices(ctx, tx, i.Mode, c); err != nil {
			return err
		}
		if i, err = i.Next(c, ack, now); err != nil {
			return err
		}
		if err := s.writeChunk(ctx, tx, i, c, ack); err != nil {
			return err
		}
		l.Count += uint64(ack.Created)
		note := fmt.Sprintf("import %s chunk %d: %d devices, rows %x", i.ID, c.Sequence, ack.Created, c.Digest)
		if err := s.writeLot(ctx, tx, l, []lot.Event{{Action: lot.Imported, Lot: l, By: by, At: now, Note: note}}); err != nil {
			return err
		}
		return s.charge(ctx, tx, l.Partner, quota.Amounts{Devices: int64(ack.Created)})
	})
	return ack, err
}

// appliedChunk is what became of a chunk that was applied before.
func appliedChunk(ctx context.Context, tx *sqldb.Tx, at imports.Position, c imports.Chunk) (imports.Ack, error) {
	ack := imports.Ack{Sequence: c.Sequence}
	var digest []byte
	var failures string
	err := tx.QueryRowContext(ctx, `SELECT digest, created, unchanged, failures FROM import_chunks
		WHERE partner = $1 AND import_id = $2 AND seq = $3`, at.Partner, at.ID, int64(c.Sequence)).
		Scan(&digest, &ack.Created, &ack.Unchanged, &failures)
	if err != nil {
		return ack, err
	}
	if string(digest) != string(c.Digest[:]) {
		return ack, fault.New(fault.FailedPrecondition, "IMPORT_CHUNK_MISMATCH",
			"chunk %d was applied with other rows; cut the file as the first time", c.Sequence).WithField("chunk.rows")
	}
	return ack, json.Unmarshal([]byte(failures), &ack.Failures)
}

func (s *Store) writeChunk(ctx context.Context, tx *sqldb.Tx, i imports.Import, c imports.Chunk, ack imports.Ack) error {
	failures, err := json.Marshal(ack.Failures)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO import_chunks (partner, import_id, seq, digest, created, unchanged, failures)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		i.Partner, i.ID, int64(c.Sequence), c.Digest[:], int64(ack.Created), int64(ack.Unchanged), string(failures))
	if err != nil {
		return err
	}
	return updateImport(ctx, tx, i)
}

func updateImport(ctx context.Context, tx *sqldb.Tx, i imports.Import) error {
	_, err := tx.ExecContext(ctx, `UPDATE imports SET state = $3, last_seq = $4, row_count = $5, created = $6, unchanged = $7, failed = $8,
			hasher = $9, updated_at = $10 WHERE partner = $1 AND import_id = $2`,
		i.Partner, i.ID, int(i.State), int64(i.Last), int64(i.Rows), int64(i.Created), int64(i.Unchanged), int64(i.Failed), i.Hasher,
		micros(i.UpdatedAt))
	return err
}

// FinishImport lets finish decide on the import under a lock and writes what it returns.
func (s *Store) FinishImport(ctx context.Context, at imports.Position, finish func(imports.Import) (imports.Import, error)) (imports.Import, error) {
	var done imports.Import
	err := s.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		i, err := loadImport(ctx, tx, at.Partner, at.ID, tx.ForUpdate())
		if err != nil {
			return err
		}
		if done, err = finish(i); err != nil {
			return err
		}
		return updateImport(ctx, tx, done)
	})
	return done, err
}

// TryChunk tells what would become of the chunk.
func (s *Store) TryChunk(ctx context.Context, _ imports.Position, mode imports.Mode, c imports.Chunk) (imports.Ack, error) {
	inRange, err := s.inRange(ctx, c)
	if err != nil {
		return imports.Ack{}, err
	}
	there, err := s.there(ctx, uidsOf(c, nil, inRange))
	if err != nil {
		return imports.Ack{}, err
	}
	created := map[device.UID]bool{}
	for _, cand := range c.Candidates {
		if _, ok := there[cand.Device.UID]; !ok {
			created[cand.Device.UID] = true
		}
	}
	return c.Ack(mode, created, there, inRange), nil
}

// addDevices inserts the candidates that are not there and tells what became of the chunk.
func (s *Store) addDevices(ctx context.Context, tx *sqldb.Tx, mode imports.Mode, c imports.Chunk) (imports.Ack, error) {
	inRange, err := s.inRange(ctx, c)
	if err != nil {
		return imports.Ack{}, err
	}
	rows := make([]device.Device, 0, len(c.Candidates))
	for _, cand := range c.Candidates {
		if !inRange[cand.Device.UID] {
			rows = append(rows, cand.Device)
		}
	}
	created := make(map[device.UID]bool, len(rows))
	if err := insertDevices(ctx, tx, rows, created); err != nil {
		return imports.Ack{}, err
	}
	there := map[device.UID]device.Device{}
	if len(created) < len(rows) {
		if there, err = s.there(ctx, uidsOf(c, created, inRange)); err != nil {
			return imports.Ack{}, err
		}
	}
	if err := insertLabels(ctx, tx, rows, created); err != nil {
		return imports.Ack{}, err
	}
	return c.Ack(mode, created, there, inRange), nil
}

func uidsOf(c imports.Chunk, created, inRange map[device.UID]bool) []device.UID {
	var uids []device.UID
	for _, cand := range c.Candidates {
		if uid := cand.Device.UID; !created[uid] && !inRange[uid] {
			uids = append(uids, uid)
		}
	}
	return uids
}

// there are those of the devices that have a row.
func (s *Store) there(ctx context.Context, uids []device.UID) (map[device.UID]device.Device, error) {
	found := map[device.UID]device.Device{}
	if len(uids) == 0 {
		return found, nil
	}
	texts := make([]any, len(uids))
	for i, uid := range uids {
		texts[i] = uidText(uid)
	}
	standings, err := s.loadDevices(ctx, `uid IN (`+placeholders(1, len(texts))+`)`, ``, texts...)
	for _, st := range standings {
		found[st.Device.UID] = st.Device
	}
	return found, err
}

// inRange are the candidates whose uids lie in a range lot.
func (s *Store) inRange(ctx context.Context, c imports.Chunk) (map[device.UID]bool, error) {
	if len(c.Candidates) == 0 {
		return nil, nil
	}
	numbers := map[uint32]bool{}
	args := []any{int64(c.Candidates[0].Device.UID.PartnerNo())}
	for _, cand := range c.Candidates {
		if _, no := lot.Numbers(cand.Device.UID); no != 0 && !numbers[no] {
			numbers[no] = true
			args = append(args, int64(no))
		}
	}
	if len(numbers) == 0 {
		return nil, nil
	}
	rows, err := s.read(ctx).QueryContext(ctx, `SELECT `+lotColumns+` FROM lots l
		WHERE l.partner_no = $1 AND l.kind = 1 AND l.lot_no IN (`+placeholders(2, len(numbers))+`)`, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	inRange := map[device.UID]bool{}
	for rows.Next() {
		var row lotRow
		if err := rows.Scan(row.targets()...); err != nil {
			return nil, err
		}
		l, err := row.value()
		if err != nil {
			return nil, err
		}
		for _, cand := range c.Candidates {
			if l.Contains(cand.Device.UID) {
				inRange[cand.Device.UID] = true
			}
		}
	}
	return inRange, rows.Err()
}
