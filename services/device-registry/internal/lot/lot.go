// Package lot is the arithmetic of range lots. A range lot is one row for any number of bands with consecutive serial
// numbers: whether a band belongs to it, and everything about a band nobody has claimed yet, follows from the row.
//
// The uid of its devices, big-endian:
//
//	partner_no u32 ‖ lot_no u32 ‖ serial u64
package lot

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"sort"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

// MaxCount is the largest number of devices in one lot.
const MaxCount = 1_000_000_000

// Lot is a run of a factory.
type Lot struct {
	Partner   string
	PartnerNo uint32
	No        uint32
	ModelID   string
	Suite     device.Suite
	KeyEpoch  uint16
	Kind      Kind
	State     device.LotState
	First     uint64 // the first serial number; 0 for a listed lot
	// Count is how many serial numbers a range spans, 1 to MaxCount, and how many devices a listed lot has.
	Count uint64
	// Exceptions are no devices: runs of serial numbers in the range, ascending and apart from each other.
	Exceptions []Run
	// Epoch is what the lot adds to the auth epoch of each of its devices.
	Epoch     int64
	Head      device.Head
	CreatedAt time.Time
}

// Kind says how a lot knows its devices. The numbers are stored.
type Kind uint8

// The kinds.
const (
	Range  Kind = 1
	Listed Kind = 2
)

// Run is serial numbers from First to Last.
type Run struct{ First, Last uint64 }

// MaxExceptions is the most runs of exceptions.
const MaxExceptions = 1000

// Event is one change to a lot.
type Event struct {
	Action string // in the audit record
	Lot    Lot    // after the change
	By     device.Actor
	At     time.Time
	Note   string
}

// The actions.
const (
	Created  = "lot.created"
	Released = "lot.released"
	Recalled = "lot.recalled"
	Imported = "lot.imported"
)

// Subject is the lot's name in the audit record.
func (l Lot) Subject() string { return fmt.Sprintf("lots/%s/%d", l.Partner, l.No) }

// Content is the hash of everything about the lot.
func (l Lot) Content() [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "armlet/lot/1\x00%s|%d|%d|%s|%d|%d|%d|%d|%d|%d|%v|%d|%d", l.Partner, l.PartnerNo, l.No, l.ModelID,
		l.Suite, l.KeyEpoch, l.Kind, l.State, l.First, l.Count, l.Exceptions, l.Epoch, l.CreatedAt.UnixMicro()))
}

// Record is the entry of an event of the lot, and the head of its chain after it.
func (e Event) Record() (device.Entry, device.Head) {
	return device.RecordOf(e.Lot.Head, device.Entry{
		Subject: e.Lot.Subject(), Actor: e.By.String(), Action: e.Action, AuthEpoch: e.Lot.Epoch, At: e.At, Note: e.Note,
		Content: e.Lot.Content(),
	})
}

// Release lets the devices be bound. Releasing a released lot changes nothing. It refuses with ILLEGAL_TRANSITION.
func (l Lot) Release(note string, by device.Actor, now time.Time) (Lot, []Event, error) {
	switch l.State {
	case device.LotReleased:
		return l, nil, nil
	case device.LotRecalled:
		return l, nil, fault.New(fault.FailedPrecondition, "ILLEGAL_TRANSITION", "a recalled lot cannot be released any more")
	case device.LotHeld:
	}
	l.State = device.LotReleased
	l.Epoch++
	return l, []Event{{Action: Released, Lot: l, By: by, At: now, Note: note}}, nil
}

// Recall stops the devices for good. Recalling a recalled lot changes nothing.
func (l Lot) Recall(note string, by device.Actor, now time.Time) (Lot, []Event, error) {
	if l.State == device.LotRecalled {
		return l, nil, nil
	}
	l.State = device.LotRecalled
	l.Epoch++
	return l, []Event{{Action: Recalled, Lot: l, By: by, At: now, Note: note}}, nil
}

// ErrNotFound is the refusal for a lot that is not there or not the caller's.
var ErrNotFound = fault.New(fault.NotFound, "LOT_NOT_FOUND", "there is no such lot, or it is not yours; check the name")

// Numbers are the lot's and partner's number in a uid, if it is one of a range lot.
func Numbers(uid device.UID) (partnerNo, lotNo uint32) {
	return binary.BigEndian.Uint32(uid[0:]), binary.BigEndian.Uint32(uid[4:])
}

// UID is the identity of the device with the serial number, which need not lie in the lot.
func (l Lot) UID(serial uint64) device.UID {
	var uid device.UID
	binary.BigEndian.PutUint32(uid[0:], l.PartnerNo)
	binary.BigEndian.PutUint32(uid[4:], l.No)
	binary.BigEndian.PutUint64(uid[8:], serial)
	return uid
}

// Last is the last serial number. The lot must be valid.
func (l Lot) Last() uint64 { return l.First + (l.Count - 1) }

// Contains reports whether the uid is one of the lot's.
func (l Lot) Contains(uid device.UID) bool {
	partnerNo, lotNo := Numbers(uid)
	serial := binary.BigEndian.Uint64(uid[8:])
	// The difference cannot wrap once the serial is known to be at or after the first.
	return l.Kind == Range && partnerNo == l.PartnerNo && lotNo == l.No && serial >= l.First && serial-l.First < l.Count &&
		!l.excepts(serial)
}

func (l Lot) excepts(serial uint64) bool {
	i := sort.Search(len(l.Exceptions), func(i int) bool { return l.Exceptions[i].Last >= serial })
	return i < len(l.Exceptions) && l.Exceptions[i].First <= serial
}

// Serials are at most n serial numbers of devices of the range, from the given one on.
func (l Lot) Serials(from uint64, n int) []uint64 {
	var serials []uint64
	for s := max(from, l.First); len(serials) < n && s-l.First < l.Count; s++ {
		if i := sort.Search(len(l.Exceptions), func(i int) bool { return l.Exceptions[i].Last >= s }); i < len(l.Exceptions) &&
			l.Exceptions[i].First <= s {
			s = l.Exceptions[i].Last
		} else {
			serials = append(serials, s)
		}
		if s == math.MaxUint64 {
			break
		}
	}
	return serials
}

// Devices is how many devices the lot has.
func (l Lot) Devices() int64 {
	n := l.Count
	for _, e := range l.Exceptions {
		n -= e.Last - e.First + 1
	}
	return int64(n)
}

// Device is what is known of a device of the lot that nobody has claimed, and false for a uid of elsewhere.
func (l Lot) Device(uid device.UID) (device.Device, bool) {
	if !l.Contains(uid) {
		return device.Device{}, false
	}
	return device.Device{
		UID: uid, Partner: l.Partner, ModelID: l.ModelID, LotNo: l.No, State: device.Available, Suite: l.Suite,
		KeyEpoch: l.KeyEpoch, AuthEpoch: l.Epoch + device.FirstAuthEpoch, SharedEpoch: l.Epoch, LotState: l.State,
	}.Settle(), true
}

// Validate refuses a lot that no factory could have made.
func (l Lot) Validate() error {
	switch {
	case l.No == 0:
		return fault.InvalidField("lot_no", "must be at least 1")
	case l.KeyEpoch == 0:
		return fault.InvalidField("key_epoch", "must be from 1 to 65535")
	case !l.Suite.Valid():
		return fault.InvalidField("suite", "must be a suite of the protocol")
	case l.Kind == Listed:
		return l.validateListed()
	case l.Count < 1 || l.Count > MaxCount:
		return fault.InvalidField("device_count", "must be from 1 to %d", MaxCount)
	case !l.Suite.Symmetric():
		return fault.New(fault.FailedPrecondition, "SUITE_NOT_SUPPORTED",
			"suite %d needs a public key per device; a range lot can only have suites 1 and 2", l.Suite)
	case l.Count-1 > math.MaxUint64-l.First:
		return fault.New(fault.Invalid, "LOT_RANGE_OVERFLOW",
			"the serial numbers run past 2^64-1; begin at %d or lower", math.MaxUint64-(l.Count-1)).WithField("first_serial")
	}
	return l.validateExceptions()
}

func (l Lot) validateListed() error {
	switch {
	case l.First != 0:
		return fault.InvalidField("first_serial", "a listed lot has no range; leave it 0")
	case l.Count != 0:
		return fault.InvalidField("device_count", "a listed lot counts what is imported; leave it 0")
	case len(l.Exceptions) > 0:
		return fault.InvalidField("exceptions", "a listed lot has no range to except from")
	}
	return nil
}

func (l Lot) validateExceptions() error {
	if len(l.Exceptions) > MaxExceptions {
		return fault.InvalidField("exceptions", "at most %d runs", MaxExceptions)
	}
	excepted := uint64(0)
	for i, e := range l.Exceptions {
		if e.Last < e.First || e.First < l.First || e.Last > l.Last() || i > 0 && e.First <= l.Exceptions[i-1].Last {
			return fault.InvalidField(fmt.Sprintf("exceptions[%d]", i), "must lie in the range, after the one before, and not end before it begins")
		}
		excepted += e.Last - e.First + 1
	}
	if excepted == l.Count {
		return fault.InvalidField("exceptions", "leave no device in the lot")
	}
	return nil
}
