package device

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Head is the end of a device's audit chain: the last entry's number and hash. The zero Head is an empty chain.
type Head struct {
	Sequence int64
	Hash     [sha256.Size]byte
}

// Entry is one change in the audit record of a device. Each holds the hash of the one before, so that an entry that was
// changed, dropped or slipped in later does not fit.
type Entry struct {
	// Subject names the lot or model; empty for a device, which is UID.
	Subject   string
	UID       UID
	Sequence  int64
	Actor     string
	Action    string
	State     State
	AuthEpoch int64
	At        time.Time // to the microsecond
	Note      string
	// Content is the hash of the thing after the change; zero in entries that are older than it.
	Content [sha256.Size]byte
	Hash    [sha256.Size]byte
	// Previous is the hash of the entry before; of the first entry, of where the chain began: zero, or the Genesis of a device that
	// was imported.
	Previous [sha256.Size]byte
	// Position is the entry's place in the log and LogHash the log's hash there; zero until it has one.
	Position int64
	LogHash  [sha256.Size]byte
}

// Record adds the event to the chain that ends at the head.
func Record(head Head, ev Event) (Entry, Head) {
	e := Entry{
		UID: ev.Device.UID, Sequence: head.Sequence + 1, Actor: ev.By.String(), Action: ev.Action(), State: ev.Device.State,
		AuthEpoch: ev.Device.AuthEpoch, At: ev.At.UTC().Truncate(time.Microsecond), Note: ev.Note, Content: ev.Device.Content(),
	}
	e.Hash, e.Previous = e.sum(head.Hash), head.Hash
	return e, Head{Sequence: e.Sequence, Hash: e.Hash}
}

// RecordOf adds a change of a lot or a model to the chain that ends at the head. Of the entry it takes Subject, Actor, Action,
// AuthEpoch, At, Note and Content.
func RecordOf(head Head, e Entry) (Entry, Head) {
	e.Sequence, e.At = head.Sequence+1, e.At.UTC().Truncate(time.Microsecond)
	e.Hash, e.Previous = e.sum(head.Hash), head.Hash
	return e, Head{Sequence: e.Sequence, Hash: e.Hash}
}

// Follows reports whether the entry is the untouched successor of the head.
func (e Entry) Follows(head Head) bool {
	return e.Sequence == head.Sequence+1 && e.Hash == e.sum(head.Hash)
}

// sum hashes the content with every variable part preceded by its length, so that no two contents look the same.
func (e Entry) sum(previous [sha256.Size]byte) [sha256.Size]byte {
	b := make([]byte, 0, 384)
	if e.Content == ([sha256.Size]byte{}) {
		b = append(b, "armlet/device-audit/1\x00"...)
	} else {
		b = append(b, "armlet/device-audit/2\x00"...)
		b = append(b, e.Content[:]...)
		b = appendText(b, e.Subject)
	}
	b = append(b, previous[:]...)
	b = append(b, e.UID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Sequence))
	b = append(b, byte(e.State))
	b = binary.BigEndian.AppendUint64(b, uint64(e.AuthEpoch))
	b = binary.BigEndian.AppendUint64(b, uint64(e.At.UnixMicro()))
	for _, s := range []string{e.Actor, e.Action, e.Note} {
		b = appendText(b, s)
	}
	return sha256.Sum256(b)
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// Next is the hash of the log when the entry follows one whose log hash is previous, at the entry's position.
func (e Entry) Next(previous [sha256.Size]byte) [sha256.Size]byte {
	b := make([]byte, 0, 192)
	b = append(b, "armlet/audit-log/1\x00"...)
	b = append(b, previous[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Position))
	b = append(b, e.UID[:]...)
	b = appendText(b, e.Subject)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Sequence))
	b = append(b, e.Hash[:]...)
	return sha256.Sum256(b)
}
