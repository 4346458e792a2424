// Package audit is the record of decisions about who may what: partners, clients, grants, keys and sessions. Entries are
// only ever added, each with the hash of the one before, so that one cannot be changed or removed without all behind it.
//
// What bands were answered is not here: that is one decision a tap, in a table of its own.
package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Entry is one decision. As an effect of a change it has neither number, time nor hash yet.
type Entry struct {
	Sequence int64 // counts from 1 without gaps
	At       time.Time
	Actor    string // who decided, as in "operator/operator"
	Action   string // as in "grant.revoked"
	Subject  string // resource name
	Detail   string // for people; never a secret
	Hash     [32]byte
}

// Sealed is the entry with the hash that follows prev, that of the entry before.
func (e Entry) Sealed(prev [32]byte) Entry {
	h := sha256.New()
	h.Write([]byte("armlet/auth-audit/1"))
	h.Write(prev[:])
	var n [8]byte
	for _, v := range []int64{e.Sequence, e.At.UnixMicro()} {
		binary.BigEndian.PutUint64(n[:], uint64(v))
		h.Write(n[:])
	}
	for _, text := range []string{e.Actor, e.Action, e.Subject, e.Detail} {
		// Each text carries its length, so that no two entries look alike.
		binary.BigEndian.PutUint64(n[:], uint64(len(text)))
		h.Write(n[:])
		h.Write([]byte(text))
	}
	e.Hash = [32]byte(h.Sum(nil))
	return e
}

// Broken is the number of the first entry that is not what was written behind prev, 0 when all are. The entries follow
// each other from the number first on.
func Broken(prev [32]byte, first int64, entries []Entry) int64 {
	for i, e := range entries {
		if want := first + int64(i); e.Sequence != want {
			return want
		}
		if e.Sealed(prev).Hash != e.Hash {
			return e.Sequence
		}
		prev = e.Hash
	}
	return 0
}
