package device

import (
	"encoding/hex"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAuditHashStaysWhatItWas(t *testing.T) {
	d := band()
	entry, head := Record(Head{}, Event{Kind: EventCreated, Device: d, By: acme, At: noon, Note: "first"})
	// Stored chains depend on this value: if it changes, every chain in every database is broken.
	const want = "1d64ff84cc7def67f6fc52d45879308e37953c1696a78de87ee5f0f4f5de64a5"
	if got := hex.EncodeToString(entry.Hash[:]); got != want {
		t.Errorf("hash is %s, want %s", got, want)
	}
	if head.Sequence != 1 || head.Hash != entry.Hash {
		t.Errorf("head is %+v", head)
	}
}

func TestAnyChangeToAnEntryBreaksTheChain(t *testing.T) {
	_, head := Record(Head{}, Event{Kind: EventCreated, Device: band(), By: acme, At: noon})
	good, _ := Record(head, Event{Kind: EventSuspended, Device: band(), By: operator, At: noon, Reason: Risk, Note: "seen twice"})
	if !good.Follows(head) {
		t.Fatal("the untouched entry does not follow")
	}
	for name, spoil := range map[string]func(*Entry){
		"uid":                  func(e *Entry) { e.UID[15] ^= 1 },
		"sequence":             func(e *Entry) { e.Sequence++ },
		"actor":                func(e *Entry) { e.Actor = "operator/other" },
		"action":               func(e *Entry) { e.Action = "suspension.lifted.risk" },
		"state":                func(e *Entry) { e.State = Revoked },
		"auth epoch":           func(e *Entry) { e.AuthEpoch++ },
		"time":                 func(e *Entry) { e.At = e.At.Add(time.Microsecond) },
		"note":                 func(e *Entry) { e.Note = "" },
		"hash":                 func(e *Entry) { e.Hash[0] ^= 1 },
		"text moved elsewhere": func(e *Entry) { e.Actor, e.Action = e.Actor+e.Action[:1], e.Action[1:] },
	} {
		bad := good
		spoil(&bad)
		if bad.Follows(head) {
			t.Errorf("an entry with a changed %s still follows", name)
		}
	}
	if good.Follows(Head{Sequence: 1}) {
		t.Error("the entry follows another chain")
	}
}

func TestWearersStandInTheRecordWithoutTheirName(t *testing.T) {
	for want, by := range map[string]Actor{"wearer": alice, "service/auth": auth, "partner/acme-1": acme, "operator/desk": operator} {
		if got := by.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Whatever is tried in whatever order, the device stays legal and its record complete.
func TestLifeOfADevice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, chain := band(), []Entry(nil)
		actors := []Actor{alice, acme, operator, auth, {Role: RoleWearer, Account: "bob"}}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			by := rapid.SampledFrom(actors).Draw(t, "actor")
			reason := Reason(rapid.IntRange(1, 4).Draw(t, "reason"))
			before := d
			var next Device
			var events []Event
			var err error
			switch rapid.IntRange(0, 2).Draw(t, "call") {
			case 0:
				next, events, err = d.Suspend(reason, "n", by, noon)
			case 1:
				next, events, err = d.Lift(reason, "", by, noon)
			case 2:
				var ev Event
				next, ev, err = d.Bind(rapid.SampledFrom([]string{"alice", "bob"}).Draw(t, "account"), BindingID{}, auth, noon)
				events = []Event{ev}
			}
			if err != nil {
				continue
			}
			for _, ev := range events {
				entry, head := Record(next.Head, ev)
				next.Head = head
				chain = append(chain, entry)
			}
			d = next
			checkLife(t, before, d, len(events))
		}
		head := Head{}
		for _, e := range chain {
			if !e.Follows(head) {
				t.Fatalf("entry %d does not follow", e.Sequence)
			}
			head = Head{Sequence: e.Sequence, Hash: e.Hash}
		}
		if head != d.Head {
			t.Fatal("the device's head is not the end of its chain")
		}
	})
}

func checkLife(t *rapid.T, before, d Device, events int) {
	if d.AuthEpoch != before.AuthEpoch+int64(events) {
		t.Fatalf("epoch went from %d to %d with %d events", before.AuthEpoch, d.AuthEpoch, events)
	}
	if (d.State == Bound) != (d.Account != "") {
		t.Fatalf("%s with account %q", d.State, d.Account)
	}
	if before.State != d.State && !before.State.CanBecome(d.State) {
		t.Fatalf("%s became %s", before.State, d.State)
	}
	if before.Account != "" && d.Account != before.Account {
		t.Fatalf("the owner changed from %s to %s without a release", before.Account, d.Account)
	}
	for i, s := range d.Suspensions {
		if i > 0 && s.Reason <= d.Suspensions[i-1].Reason || s.Authority != s.Reason.Authority() {
			t.Fatalf("suspensions are %+v", d.Suspensions)
		}
	}
	if len(before.Suspensions) > 0 && d.Generation != before.Generation {
		t.Fatal("a suspended device was bound")
	}
}
