package imports

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"maps"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
	"github.com/armlet-pay/armlet/services/device-registry/internal/lot"
)

// Chunk is a piece of an import, judged as far as that is possible without looking at the devices that are there.
type Chunk struct {
	Sequence uint64
	Rows     int
	Encoded  []byte            // the rows, for the digest
	Digest   [sha256.Size]byte // of the rows of the chunk alone

	Candidates []Candidate // by uid, each once
	Failures   []Failure   // of the other rows
}

// Candidate is a row that may become a device.
type Candidate struct {
	Row    uint32
	Device device.Device
}

// Reception judges the rows of one import. Lot and Model are read when the stream begins: what is used of them never
// changes.
type Reception struct {
	Lot   lot.Lot
	Model device.Model
	// ParseUID reads the text form of a uid; ParseKey checks a public key as the device protocol wants it.
	ParseUID func(text string) (device.UID, bool)
	ParseKey func(suite device.Suite, key []byte) bool
}

// Chunk judges the rows of a chunk.
func (r Reception) Chunk(sequence uint64, rows []Row, now time.Time) Chunk {
	c := Chunk{Sequence: sequence, Rows: len(rows), Encoded: make([]byte, 0, 48*len(rows))}
	c.Candidates = make([]Candidate, 0, len(rows))
	seen := make(map[device.UID]bool, len(rows))
	for i, row := range rows {
		c.Encoded = row.append(c.Encoded)
		d, reason, message := r.judge(row, now)
		if reason == "" && seen[d.UID] {
			reason, message = "ROW_REPEATED", "the chunk has this uid before; leave one out"
		}
		if reason != "" {
			c.Failures = append(c.Failures, Failure{Row: uint32(i), UID: row.UID, Reason: reason, Message: message})
			continue
		}
		seen[d.UID] = true
		c.Candidates = append(c.Candidates, Candidate{Row: uint32(i), Device: d})
	}
	// In order, as they will be written.
	slices.SortFunc(c.Candidates, func(a, b Candidate) int { return bytes.Compare(a.Device.UID[:], b.Device.UID[:]) })
	c.Digest = sha256.Sum256(c.Encoded)
	return c
}

func (r Reception) judge(row Row, now time.Time) (d device.Device, reason, message string) {
	uid, ok := r.ParseUID(row.UID)
	if !ok {
		return d, "UID_INVALID", "the uid is not 26 characters of Crockford base32 that fit 16 bytes"
	}
	if uid.PartnerNo() != r.Lot.PartnerNo {
		return d, "UID_OUTSIDE_PARTNER", "the uid begins with another partner's number"
	}
	suite, epoch := device.Suite(row.Suite), row.KeyEpoch
	if row.Suite == 0 {
		suite = r.Lot.Suite
	}
	if epoch == 0 {
		epoch = r.Lot.KeyEpoch
	}
	if r.Model.Supports(suite) != nil {
		return d, "SUITE_NOT_SUPPORTED", "the lot's model does not list this suite"
	}
	if len(row.Key) == 0 && !suite.Symmetric() {
		return d, "CREDENTIAL_REQUIRED", "this suite needs the device's public key"
	}
	if len(row.Key) > 0 && (suite.Symmetric() || !r.ParseKey(suite, row.Key)) {
		return d, "CREDENTIAL_INVALID", "the public key is refused; suite 3 wants an uncompressed point of P-256 (65 bytes), " +
			"suite 4 a canonical Ed25519 key that is not of small order (32 bytes), suites 1 and 2 none"
	}
	if len(row.Labels) > 0 {
		if err := device.CheckLabels("labels", row.Labels); err != nil {
			return d, "LABELS_INVALID", "at most 16 labels, keys [a-z][a-z0-9_-]{0,31}, values 1 to 64 printable characters"
		}
	}
	d = device.Device{
		UID: uid, Partner: r.Lot.Partner, ModelID: r.Lot.ModelID, LotNo: r.Lot.No, State: device.Registered, Suite: suite,
		KeyEpoch: epoch, AuthEpoch: device.FirstAuthEpoch, Labels: row.Labels, CreatedAt: now,
	}.FirstCredential(row.Key)
	d.Head = device.Genesis(d)
	return d, "", ""
}

// Ack is what becomes of the chunk, given which of its devices are there already and which uids lie in a range lot; the others
// are created.
func (c Chunk) Ack(mode Mode, there map[device.UID]device.Device, inRange map[device.UID]bool) Ack {
	ack := Ack{Sequence: c.Sequence, Failures: slices.Clone(c.Failures)}
	fail := func(row Candidate, uid, reason, message string) {
		ack.Failures = append(ack.Failures, Failure{Row: row.Row, UID: uid, Reason: reason, Message: message})
	}
	for _, want := range c.Candidates {
		uid := want.Device.UID
		have, exists := there[uid]
		switch {
		case inRange[uid]:
			fail(want, "", "UID_IN_RANGE_LOT", "the uid lies in a range lot, whose devices need no rows")
		case !exists:
			ack.Created++
		case exists && mode == UpsertSame && same(want.Device, have):
			ack.Unchanged++
		case mode == UpsertSame:
			fail(want, "", "DEVICE_CONFLICT", "there is a device with this uid that differs from the row")
		default:
			fail(want, "", "DEVICE_EXISTS", "there is a device with this uid already")
		}
	}
	slices.SortFunc(ack.Failures, func(a, b Failure) int { return cmp.Compare(a.Row, b.Row) })
	return ack
}

// same reports whether a device that is there is what the row says: whatever has happened to it since does not count, but
// the key must be one of its own.
func same(want, have device.Device) bool {
	if want.Partner != have.Partner || want.ModelID != have.ModelID || want.LotNo != have.LotNo || want.Suite != have.Suite ||
		want.KeyEpoch != have.KeyEpoch || !maps.Equal(want.Labels, have.Labels) {
		return false
	}
	if len(want.Credentials) == 0 {
		return true
	}
	return slices.ContainsFunc(have.Credentials, func(c device.Credential) bool { return bytes.Equal(c.Key, want.Credentials[0].Key) })
}
