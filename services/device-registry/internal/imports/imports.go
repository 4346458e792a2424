// Package imports brings the devices of listed lots, row by row, over connections that may break anywhere.
//
// An import is a header and then chunks of rows, numbered from 1. The rows of a chunk and the number of the chunk are
// written together, so that a chunk is applied once however often it is sent, and an import that broke goes on behind the
// last number. What is wrong with a row fails that row alone. In the end the digest of all rows tells that exactly the
// maker's file arrived.
package imports

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Mode says what an import makes of a device that is there already. The numbers are stored.
type Mode uint8

// The modes.
const (
	CreateOnly Mode = 1 // it fails its row
	UpsertSame Mode = 2 // it is unchanged when it is equal, and fails its row when not
)

// State is how far an import has come. The numbers are stored.
type State uint8

// The states.
const (
	Open     State = 1
	Complete State = 2
)

// Import is what is known of an import.
type Import struct {
	Partner  string
	ID       string
	LotNo    uint32
	Expected uint64
	Digest   [sha256.Size]byte // of all rows, as the header says
	Mode     Mode

	State                      State
	Last                       uint64 // the last chunk that was applied
	Rows                       uint64
	Created, Unchanged, Failed uint64
	Hasher                     []byte // SHA-256 in the middle of the rows
	CreatedAt, UpdatedAt       time.Time
}

// ErrNotFound is the refusal for an import that is not there or not the caller's.
var ErrNotFound = fault.New(fault.NotFound, "IMPORT_NOT_FOUND", "there is no such import, or it is not yours; check the name")

// New is an import of which nothing has arrived.
func New(header Import, now time.Time) (Import, error) {
	state, err := hasherState(sha256.New())
	header.State, header.Hasher, header.CreatedAt, header.UpdatedAt = Open, state, now, now
	return header, err
}

// Matches is nil when the import was begun with this header, and IMPORT_MISMATCH otherwise.
func (i Import) Matches(header Import) error {
	if i.LotNo != header.LotNo || i.Expected != header.Expected || i.Digest != header.Digest || i.Mode != header.Mode {
		return fault.New(fault.FailedPrecondition, "IMPORT_MISMATCH",
			"import %s was begun with another lot, number of rows, digest or mode; use the same header, or another import_id", i.ID)
	}
	return nil
}

// Next is the import after the chunk, given what became of its rows. It refuses with IMPORT_SEQUENCE_GAP or
// IMPORT_TOO_LONG.
func (i Import) Next(c Chunk, ack Ack, now time.Time) (Import, error) {
	if err := i.Takes(c); err != nil {
		return i, err
	}
	h := sha256.New()
	resume, ok := h.(encoding.BinaryUnmarshaler)
	if !ok {
		return i, errors.New("imports: SHA-256 cannot be taken up in the middle")
	}
	if err := resume.UnmarshalBinary(i.Hasher); err != nil {
		return i, err
	}
	h.Write(c.Encoded)
	state, err := hasherState(h)
	i.Hasher, i.Last, i.UpdatedAt = state, c.Sequence, now
	i.Rows += uint64(c.Rows)
	i.Created += uint64(ack.Created)
	i.Unchanged += uint64(ack.Unchanged)
	i.Failed += uint64(len(ack.Failures))
	return i, err
}

// Takes is nil when the chunk is the next one and fits.
func (i Import) Takes(c Chunk) error {
	switch {
	case c.Sequence != i.Last+1:
		return fault.New(fault.FailedPrecondition, "IMPORT_SEQUENCE_GAP", "chunk %d came, the next is %d", c.Sequence, i.Last+1).WithField("chunk.sequence")
	case i.Rows+uint64(c.Rows) > i.Expected:
		return fault.New(fault.FailedPrecondition, "IMPORT_TOO_LONG", "with chunk %d the import has %d rows, its header says %d",
			c.Sequence, i.Rows+uint64(c.Rows), i.Expected)
	}
	return nil
}

// Finish is the import once all chunks were sent. Finishing a complete one changes nothing. It refuses with
// IMPORT_INCOMPLETE or IMPORT_DIGEST_MISMATCH.
func (i Import) Finish(now time.Time) (Import, error) {
	if i.State == Complete {
		return i, nil
	}
	if i.Rows != i.Expected {
		return i, fault.New(fault.FailedPrecondition, "IMPORT_INCOMPLETE", "%d of %d rows have arrived; send the chunks from %d on",
			i.Rows, i.Expected, i.Last+1)
	}
	sum, err := i.Sum()
	if err != nil {
		return i, err
	}
	if sum != i.Digest {
		return i, fault.New(fault.FailedPrecondition, "IMPORT_DIGEST_MISMATCH",
			"the rows that arrived are not those of the header's digest: %x; compare what was sent with the file", sum)
	}
	i.State, i.UpdatedAt = Complete, now
	return i, nil
}

// Sum is the digest of the rows that have arrived.
func (i Import) Sum() (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	resume, ok := h.(encoding.BinaryUnmarshaler)
	if !ok {
		return sum, errors.New("imports: SHA-256 cannot be taken up in the middle")
	}
	if err := resume.UnmarshalBinary(i.Hasher); err != nil {
		return sum, err
	}
	copy(sum[:], h.Sum(nil))
	return sum, nil
}

func hasherState(h any) ([]byte, error) {
	m, ok := h.(encoding.BinaryMarshaler)
	if !ok {
		return nil, errors.New("imports: SHA-256 cannot be kept in the middle")
	}
	return m.MarshalBinary()
}

// Row is one device as it was given. Zero Suite and KeyEpoch are the lot's.
type Row struct {
	UID      string
	Suite    uint8
	KeyEpoch uint16
	Key      []byte
	Labels   map[string]string
}

// append adds the row's encoding for the digest, which the contract describes.
func (r Row) append(b []byte) []byte {
	b = appendShort(b, r.UID)
	b = append(b, r.Suite)
	b = binary.BigEndian.AppendUint16(b, r.KeyEpoch)
	b = appendShort(b, string(r.Key))
	b = append(b, byte(len(r.Labels)))
	if len(r.Labels) == 0 {
		return b
	}
	for _, key := range slices.Sorted(maps.Keys(r.Labels)) {
		b = appendShort(b, key)
		b = appendShort(b, r.Labels[key])
	}
	return b
}

// appendShort is for texts that the field rules keep under 256 bytes.
func appendShort(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

// Failure says why a row was refused.
type Failure struct {
	Row     uint32 `json:"row"`
	UID     string `json:"uid"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Ack is what became of a chunk.
type Ack struct {
	Sequence           uint64
	Created, Unchanged uint32
	Failures           []Failure
}
