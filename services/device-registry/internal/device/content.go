package device

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"time"
)

// Content is the hash of everything that is the device's own, so that a row which was changed behind the record's back is
// found. What its model and lot say for all their devices is in their own records: of their epochs nothing counts in here,
// and REGISTERED and AVAILABLE are one for a device of a lot.
func (d Device) Content() [sha256.Size]byte {
	b := make([]byte, 0, 320)
	b = append(b, "armlet/device/1\x00"...)
	b = append(b, d.UID[:]...)
	b = appendText(b, d.Partner)
	b = appendText(b, d.ModelID)
	b = binary.BigEndian.AppendUint32(b, d.LotNo)
	state := d.State
	if d.LotNo != 0 && state == Registered {
		state = Available
	}
	b = append(b, byte(state), byte(d.Suite))
	b = binary.BigEndian.AppendUint16(b, d.KeyEpoch)
	b = appendInt(b, d.AuthEpoch-d.SharedEpoch)
	b = appendInt(b, d.Generation)
	b = appendText(b, d.Account)
	b = appendTime(b, d.CreatedAt)
	b = binary.BigEndian.AppendUint32(b, uint32(len(d.Suspensions)))
	for _, s := range d.Suspensions {
		b = append(b, byte(s.Reason), byte(s.Authority))
		b = appendTime(b, s.At)
	}
	b = binary.BigEndian.AppendUint32(b, d.CredentialCount)
	b = binary.BigEndian.AppendUint32(b, uint32(len(d.Credentials)))
	for _, c := range d.Credentials {
		b = binary.BigEndian.AppendUint32(b, c.ID)
		b = appendText(b, string(c.Key))
		b = appendTime(b, c.From)
		b = appendTime(b, c.Until)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(d.Labels)))
	if len(d.Labels) > 0 {
		for _, key := range slices.Sorted(maps.Keys(d.Labels)) {
			b = appendText(b, key)
			b = appendText(b, d.Labels[key])
		}
	}
	if d.Transfer != nil {
		b = append(b, d.Transfer.Hash[:]...)
		b = appendTime(b, d.Transfer.Until)
	}
	return sha256.Sum256(b)
}

// Genesis is where the chain of a device begins that was imported: such a device has no entry of its own, and the lot's
// record speaks of it.
func Genesis(d Device) Head {
	content := d.Content()
	return Head{Hash: sha256.Sum256(append([]byte("armlet/device-genesis/1\x00"), content[:]...))}
}

// Untouched reports whether the device is what its record says of it, given the last entry or, when there is none, nil.
func (d Device) Untouched(last *Entry) bool {
	switch {
	case last == nil && d.Head == (Head{}):
		return true // known from its lot alone
	case last == nil:
		return d.Head == Genesis(d)
	}
	// Entries of before contents were hashed say the state and the epoch.
	if last.Content == ([sha256.Size]byte{}) {
		return last.State == d.State && last.AuthEpoch == d.AuthEpoch-d.SharedEpoch
	}
	return last.Content == d.Content()
}

func appendInt(b []byte, n int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) }

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return appendInt(b, 0)
	}
	return appendInt(b, t.UnixMicro())
}
