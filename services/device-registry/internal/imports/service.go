package imports

import (
	"context"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
)

// Store remembers imports.
type Store interface {
	// Lot fails with LOT_NOT_FOUND.
	Lot(ctx context.Context, partner string, no uint32) (lot.Lot, error)
	// Model fails with MODEL_NOT_FOUND.
	Model(ctx context.Context, partner, id string) (device.Model, error)
	// OpenImport remembers the import unless it is there, and returns what is there.
	OpenImport(ctx context.Context, fresh Import) (Import, error)
	// ApplyChunks writes the devices of the chunks and takes the import further, in one transaction for each chunk or for several. A chunk
	// that was applied before is answered with what became of it that time. With an error come the answers to the chunks before the
	// one that was refused.
	ApplyChunks(ctx context.Context, at Position, chunks []Chunk, by device.Actor, now time.Time) ([]Ack, error)
	// TryChunk tells what would become of the chunk.
	TryChunk(ctx context.Context, at Position, mode Mode, c Chunk) (Ack, error)
	// FinishImport lets finish decide on the import under a lock and writes what it returns.
	FinishImport(ctx context.Context, at Position, finish func(Import) (Import, error)) (Import, error)
}

// Position names an import and its lot.
type Position struct {
	Partner string
	ID      string
	LotNo   uint32
}

// Service runs imports.
type Service struct {
	store    Store
	parseUID func(text string) (device.UID, bool)
	parseKey func(suite device.Suite, key []byte) bool
}

// NewService makes a Service on a store. The two functions know the device protocol: the text form of a uid, and what a
// public key has to look like.
func NewService(store Store, parseUID func(string) (device.UID, bool), parseKey func(device.Suite, []byte) bool) *Service {
	return &Service{store: store, parseUID: parseUID, parseKey: parseKey}
}

// Stream is one stream of an import. Judge may run while Apply is busy with the chunk before.
type Stream struct {
	Import    Import // as it was when the stream began
	at        Position
	by        device.Actor
	store     Store
	reception Reception
	dry       bool
	tried     Import // of a dry stream
}

// Begin opens a stream. It refuses with CALLER_NOT_ALLOWED, LOT_NOT_FOUND, LOT_IS_RANGE, LOT_RECALLED or IMPORT_MISMATCH.
func (s *Service) Begin(ctx context.Context, by device.Actor, header Import, dry bool, now time.Time) (*Stream, error) {
	if err := by.Provisions(header.Partner); err != nil {
		return nil, err
	}
	l, err := s.store.Lot(ctx, header.Partner, header.LotNo)
	if err != nil {
		return nil, err
	}
	switch {
	case l.Kind != lot.Listed:
		return nil, fault.New(fault.FailedPrecondition, "LOT_IS_RANGE", "the lot is a range, whose devices need no rows; create a listed lot").WithField("header.lot")
	case l.State == device.LotRecalled:
		return nil, device.ErrLotRecalled
	}
	model, err := s.store.Model(ctx, l.Partner, l.ModelID)
	if err != nil {
		return nil, err
	}
	fresh, err := New(header, now)
	if err != nil {
		return nil, err
	}
	st := &Stream{
		Import: fresh, at: Position{Partner: header.Partner, ID: header.ID, LotNo: header.LotNo}, by: by, store: s.store, dry: dry, tried: fresh,
		reception: Reception{Lot: l, Model: model, ParseUID: s.parseUID, ParseKey: s.parseKey},
	}
	if dry {
		return st, nil
	}
	if st.Import, err = s.store.OpenImport(ctx, fresh); err != nil {
		return nil, err
	}
	return st, st.Import.Matches(header)
}

// Judge looks at the rows of a chunk.
func (s *Stream) Judge(sequence uint64, rows []Row, now time.Time) Chunk {
	return s.reception.Chunk(sequence, rows, now)
}

// Apply makes the devices of chunks that follow each other. It refuses with LOT_RECALLED, IMPORT_SEQUENCE_GAP, IMPORT_CHUNK_MISMATCH,
// IMPORT_TOO_LONG or QUOTA_EXCEEDED; the answers to the chunks before the refused one come with the refusal.
func (s *Stream) Apply(ctx context.Context, chunks []Chunk, now time.Time) ([]Ack, error) {
	if !s.dry {
		return s.store.ApplyChunks(ctx, s.at, chunks, s.by, now)
	}
	var acks []Ack
	for _, c := range chunks {
		if err := s.tried.Takes(c); err != nil {
			return acks, err
		}
		ack, err := s.store.TryChunk(ctx, s.at, s.tried.Mode, c)
		if err != nil {
			return acks, err
		}
		if s.tried, err = s.tried.Next(c, ack, now); err != nil {
			return acks, err
		}
		acks = append(acks, ack)
	}
	return acks, nil
}

// Finish ends the import. It refuses with IMPORT_INCOMPLETE or IMPORT_DIGEST_MISMATCH.
func (s *Stream) Finish(ctx context.Context, now time.Time) (Import, error) {
	if s.dry {
		done, err := s.tried.Finish(now)
		done.State, done.CreatedAt, done.UpdatedAt = Open, time.Time{}, time.Time{} // nothing is remembered of it
		return done, err
	}
	return s.store.FinishImport(ctx, s.at, func(i Import) (Import, error) { return i.Finish(now) })
}
