package audit

import (
	"testing"
	"time"
)

func chain(n int) []Entry {
	var prev [32]byte
	var entries []Entry
	for i := range n {
		e := Entry{
			Sequence: int64(i + 1), At: time.Unix(1_900_000_000, int64(i)*1000), Actor: "operator/ann", Action: "grant.revoked",
			Subject: "partners/acme/grants/devices.read", Detail: "left",
		}.Sealed(prev)
		prev, entries = e.Hash, append(entries, e)
	}
	return entries
}

func TestAChangeToAnyPartOfAnEntryShows(t *testing.T) {
	if got := Broken([32]byte{}, 1, chain(5)); got != 0 {
		t.Fatalf("an untouched record is broken at %d", got)
	}
	for name, c := range map[string]struct {
		change func(e []Entry) []Entry
		at     int64
	}{
		"actor":  {func(e []Entry) []Entry { e[2].Actor = "operator/eve"; return e }, 3},
		"action": {func(e []Entry) []Entry { e[2].Action = "grant.approved"; return e }, 3},
		"subject": {func(e []Entry) []Entry {
			e[2].Subject = "partners/acme/grants/devices"
			e[2].Detail = ".readleft"
			return e
		}, 3},
		"detail":    {func(e []Entry) []Entry { e[2].Detail = ""; return e }, 3},
		"time":      {func(e []Entry) []Entry { e[2].At = e[2].At.Add(time.Microsecond); return e }, 3},
		"hash":      {func(e []Entry) []Entry { e[2].Hash[0]++; return e }, 3},
		"removed":   {func(e []Entry) []Entry { return append(e[:2], e[3:]...) }, 3},
		"swapped":   {func(e []Entry) []Entry { e[2], e[3] = e[3], e[2]; return e }, 3},
		"first one": {func(e []Entry) []Entry { return e[1:] }, 1},
		"resealed":  {func(e []Entry) []Entry { e[2].Detail = "x"; e[2] = e[2].Sealed(e[1].Hash); return e }, 4},
	} {
		if got := Broken([32]byte{}, 1, c.change(chain(5))); got != c.at {
			t.Errorf("%s: broken at %d, want %d", name, got, c.at)
		}
	}
}
