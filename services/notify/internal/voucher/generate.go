package voucher

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/notify/internal/once"
)

const (
	// batchPiece is how many vouchers are stored, and their codes sent, at once.
	batchPiece = 1000
	// mintAhead is how many pieces are computed while others are being stored.
	mintAhead = 2
)

// Batch is a number of bearer vouchers that are generated together. The ids of its vouchers follow from its own and their
// place, and the codes from the ids, so that a generation that was cut off goes on where it was.
type Batch struct {
	// ID is a UUIDv7.
	ID         string
	CampaignID string
	Count      int
	CreatedAt  time.Time
}

// Minted is a voucher that is about to be stored.
type Minted struct {
	ID   string
	Hash []byte
}

// Generate issues the vouchers of a batch and sends their codes in order, those after the given number. A piece is sent
// when its vouchers are stored.
func (s *Service) Generate(ctx context.Context, by Actor, req once.Request, campaignID string, count, after int, now time.Time,
	send func(codes []string, generated int) error,
) error {
	b, err := s.batches.CreateBatch(ctx, req, campaignID, now, func(c Campaign) (Batch, error) {
		if err := by.mayIssue(c, int64(count), now); err != nil {
			return Batch{}, err
		}
		return Batch{ID: s.newID(), CampaignID: c.ID, Count: count, CreatedAt: now}, nil
	})
	if err != nil {
		return err
	}
	c, err := s.campaigns.Campaign(ctx, campaignID)
	if err != nil {
		return err
	}
	template := c.voucher("", b.CreatedAt)
	stored, err := s.batches.FillBatch(ctx, b, after, template, nil)
	if err != nil {
		return err
	}
	if after > stored {
		return ErrCursor
	}
	for after < stored {
		to := min(after+batchPiece, stored)
		ids, err := s.batches.BatchIDs(ctx, b, b.place(after+1, 0), b.place(to+1, 0))
		if err != nil {
			return err
		}
		if len(ids) != to-after {
			return fault.New(fault.Internal, "BATCH_DAMAGED", "vouchers of the batch are missing")
		}
		codes := make([]string, len(ids))
		for i, id := range ids {
			codes[i] = s.codes.Code(id)
		}
		if err := send(codes, to); err != nil {
			return err
		}
		after = to
	}
	return s.fill(ctx, b, after, template, send)
}

// piece are vouchers first+1 … first+len(codes) of a batch.
type piece struct {
	first  int
	minted []Minted
	codes  []string
}

// fill generates what is missing. Computing codes takes as long as storing them, so both are done at once.
func (s *Service) fill(ctx context.Context, b Batch, first int, template Voucher, send func([]string, int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ahead := make(chan piece, mintAhead)
	go func() {
		defer close(ahead)
		for at := first; at < b.Count; at += batchPiece {
			select {
			case ahead <- s.mint(b, at, 0):
			case <-ctx.Done():
				return
			}
		}
	}()
	for p := range ahead {
		if err := s.store(ctx, b, p, template); err != nil {
			return err
		}
		if err := send(p.codes, p.first+len(p.codes)); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// store stores a piece. When a code of it exists already, which happens to one batch in hundreds, the whole piece is
// computed again.
func (s *Service) store(ctx context.Context, b Batch, p piece, template Voucher) error {
	for attempt := byte(1); ; attempt++ {
		_, err := s.batches.FillBatch(ctx, b, p.first, template, p.minted)
		if !errors.Is(err, ErrCodeTaken) || attempt > maxCodeTries {
			return err
		}
		again := s.mint(b, p.first, attempt)
		copy(p.minted, again.minted)
		copy(p.codes, again.codes)
	}
}

func (s *Service) mint(b Batch, first int, attempt byte) piece {
	n := min(batchPiece, b.Count-first)
	p := piece{first: first, minted: make([]Minted, n), codes: make([]string, n)}
	for i := range n {
		id := b.voucherID(first+i+1, attempt)
		body, _ := s.codes.bodyOf(id)
		p.minted[i] = Minted{ID: id, Hash: s.codes.hashOf(body)}
		p.codes[i] = format(body, s.codes.checkOf(body))
	}
	return p
}

// voucherID is a UUIDv7 that sorts by the voucher's place in the batch and follows from the two; another attempt gives
// another id.
func (b Batch) voucherID(place int, attempt byte) string {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint32([]byte(b.ID), uint32(place)), attempt))
	return b.place(place, binary.BigEndian.Uint64(sum[:])>>(64-placeShift))
}

// placeShift is how many bits of an id follow the 24 of the place.
const placeShift = 38

// place is an id at a place: the batch's time, version and first random bits, 24 bits of place, and 38 more. With 0 it
// sorts before all others at that place.
func (b Batch) place(place int, rest uint64) string {
	low := 0b10<<62 | uint64(place)<<placeShift | rest
	return fmt.Sprintf("%s%04x-%012x", b.ID[:19], low>>48, low&(1<<48-1))
}
