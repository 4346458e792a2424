package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
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

// ApplyChunks writes the devices of the chunks and takes the import further, all in one transaction where nothing stands against
// it. A chunk that was applied before is answered with what became of it that time. With an error come the answers to the chunks
// before the one that was refused.
func (s *Store) ApplyChunks(ctx context.Context, at imports.Position, chunks []imports.Chunk, by device.Actor, now time.Time) ([]imports.Ack, error) {
	a := applying{Store: s, at: at, by: by, now: now}
	if len(chunks) > 1 {
		if acks, err := a.together(ctx, chunks, false); err == nil {
			return acks, nil
		}
	}
	var acks []imports.Ack
	for i := range chunks {
		one := chunks[i : i+1]
		// Usually no device is there yet, and that is not asked before. When one is, nothing was written, and it is asked; another
		// import may still bring one in between.
		ack, err := a.together(ctx, one, false)
		for attempt := 0; attempt < applyAttempts && sqldb.IsUnique(err); attempt++ {
			ack, err = a.together(ctx, one, true)
		}
		if err != nil {
			return acks, err
		}
		acks = append(acks, ack...)
	}
	return acks, nil
}

const applyAttempts = 10

// applying are chunks of one import on their way into the database.
type applying struct {
	*Store
	at  imports.Position
	by  device.Actor
	now time.Time
}

// together applies chunks in one transaction. Unless it looks which devices are there, one that is fails it with a violated key.
func (a applying) together(ctx context.Context, chunks []imports.Chunk, look bool) ([]imports.Ack, error) {
	var acks []imports.Ack
	err := a.inTx(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		acks = acks[:0]
		i, err := loadImport(ctx, tx, a.at.Partner, a.at.ID, tx.ForUpdate())
		if err != nil {
			return err
		}
		for ; len(chunks) > 0 && chunks[0].Sequence <= i.Last; chunks = chunks[1:] {
			ack, err := appliedChunk(ctx, tx, a.at, chunks[0])
			if err != nil {
				return err
			}
			acks = append(acks, ack)
		}
		if len(chunks) == 0 {
			return nil
		}
		fresh, err := a.advance(ctx, tx, i, chunks, look || i.Unchanged > 0)
		acks = append(acks, fresh...)
		return err
	})
	return acks, err
}

// advance applies chunks that were not applied before.
func (a applying) advance(ctx context.Context, tx *sqldb.Tx, i imports.Import, chunks []imports.Chunk, look bool) ([]imports.Ack, error) {
	l, err := lockLot(ctx, tx, a.at.Partner, a.at.LotNo)
	if err != nil {
		return nil, err
	}
	if l.State == device.LotRecalled {
		return nil, device.ErrLotRecalled
	}
	var acks []imports.Ack
	var fresh []device.Device
	var events []lot.Event
	before := i.Created
	for _, c := range chunks {
		if err := i.Takes(c); err != nil {
			return nil, err
		}
		ack, rows, err := a.sort(ctx, i.Mode, c, look)
		if err != nil {
			return nil, err
		}
		if i, err = i.Next(c, ack, a.now); err != nil {
			return nil, err
		}
		acks, fresh = append(acks, ack), append(fresh, rows...)
		l.Count += uint64(ack.Created)
		note := fmt.Sprintf("import %s chunk %d: %d devices, rows %x", i.ID, c.Sequence, ack.Created, c.Digest)
		events = append(events, lot.Event{Action: lot.Imported, Lot: l, By: a.by, At: a.now, Note: note})
	}
	// In order over all chunks, so that two imports at once never wait for each other in a circle.
	slices.SortFunc(fresh, func(a, b device.Device) int { return bytes.Compare(a.UID[:], b.UID[:]) })
	if err := addDevices(ctx, tx, fresh); err != nil {
		return nil, err
	}
	if err := writeChunks(ctx, tx, i, chunks, acks); err != nil {
		return nil, err
	}
	if err := a.writeLot(ctx, tx, l, events); err != nil {
		return nil, err
	}
	return acks, a.charge(ctx, tx, l.Partner, quota.Amounts{Devices: int64(i.Created - before)})
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

// writeChunks remembers the answers to chunks and how far the import has come.
func writeChunks(ctx context.Context, tx *sqldb.Tx, i imports.Import, chunks []imports.Chunk, acks []imports.Ack) error {
	for n, c := range chunks {
		failures, err := json.Marshal(acks[n].Failures)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO import_chunks (partner, import_id, seq, digest, created, unchanged, failures)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			i.Partner, i.ID, int64(c.Sequence), c.Digest[:], int64(acks[n].Created), int64(acks[n].Unchanged), string(failures))
		if err != nil {
			return err
		}
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
	ack, _, err := s.sort(ctx, mode, c, true)
	return ack, err
}

// addDevices inserts devices that are not there, with their labels.
func addDevices(ctx context.Context, tx *sqldb.Tx, rows []device.Device) error {
	if err := insertDevices(ctx, tx, rows); err != nil {
		return err
	}
	return insertLabels(ctx, tx, rows)
}

// sort tells what becomes of the chunk, and which devices are new.
func (s *Store) sort(ctx context.Context, mode imports.Mode, c imports.Chunk, look bool) (imports.Ack, []device.Device, error) {
	inRange, err := s.inRange(ctx, c)
	if err != nil {
		return imports.Ack{}, nil, err
	}
	there := map[device.UID]device.Device{}
	if look {
		if there, err = s.there(ctx, c); err != nil {
			return imports.Ack{}, nil, err
		}
	}
	fresh := make([]device.Device, 0, len(c.Candidates))
	for _, cand := range c.Candidates {
		if _, ok := there[cand.Device.UID]; !ok && !inRange[cand.Device.UID] {
			fresh = append(fresh, cand.Device)
		}
	}
	return c.Ack(mode, there, inRange), fresh, nil
}

// there are those of the candidates that have a row.
func (s *Store) there(ctx context.Context, c imports.Chunk) (map[device.UID]device.Device, error) {
	uids := make([]device.UID, len(c.Candidates))
	for i, cand := range c.Candidates {
		uids[i] = cand.Device.UID
	}
	standings, err := s.seen(ctx, uids)
	found := make(map[device.UID]device.Device, len(standings))
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
