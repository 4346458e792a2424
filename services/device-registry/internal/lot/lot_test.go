package lot

import (
	"encoding/hex"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

func million() Lot {
	return Lot{
		Kind: Range, State: device.LotReleased, Partner: "acme", PartnerNo: 7, No: 3, ModelID: "w1", Suite: device.HMACSHA256,
		KeyEpoch: 1, First: 1000, Count: 1_000_000,
	}
}

func TestUIDIsPartnerLotAndSerial(t *testing.T) {
	l := Lot{PartnerNo: 0x01020304, No: 0x05060708}
	uid := l.UID(0x090a0b0c0d0e0f10)
	if got := hex.EncodeToString(uid[:]); got != "0102030405060708090a0b0c0d0e0f10" {
		t.Errorf("uid is %s", got)
	}
	if p, no := Numbers(uid); p != l.PartnerNo || no != l.No || uid.PartnerNo() != l.PartnerNo {
		t.Errorf("numbers are %x %x", p, no)
	}
}

func TestMembershipEndsWithTheRange(t *testing.T) {
	l := million()
	other, another := l, l
	other.PartnerNo, another.No = 8, 4
	for _, c := range []struct {
		name string
		uid  device.UID
		want bool
	}{
		{"the first", l.UID(1000), true},
		{"the last", l.UID(1_000_999), true},
		{"before the first", l.UID(999), false},
		{"after the last", l.UID(1_001_000), false},
		{"serial 0", l.UID(0), false},
		{"the largest serial", l.UID(math.MaxUint64), false},
		{"another partner's", other.UID(1000), false},
		{"another lot's", another.UID(1000), false},
	} {
		if got := l.Contains(c.uid); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
		d, ok := l.Device(c.uid)
		if ok != c.want || ok && (d.UID != c.uid || !d.Unseen() || d.State != device.Available || d.Blocked(time.Time{}) != device.NotBound) {
			t.Errorf("%s: device %+v, %t", c.name, d, ok)
		}
	}
}

func TestImpossibleLotsAreRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*Lot)
		want  string
	}{
		{"a good one", func(*Lot) {}, ""},
		{"number 0", func(l *Lot) { l.No = 0 }, "INVALID_FIELD"},
		{"epoch 0", func(l *Lot) { l.KeyEpoch = 0 }, "INVALID_FIELD"},
		{"no device", func(l *Lot) { l.Count = 0 }, "INVALID_FIELD"},
		{"too many devices", func(l *Lot) { l.Count = MaxCount + 1 }, "INVALID_FIELD"},
		{"a suite with public keys", func(l *Lot) { l.Suite = device.Ed25519 }, "SUITE_NOT_SUPPORTED"},
		{"up to the very last serial", func(l *Lot) { l.First, l.Count = math.MaxUint64-9, 10 }, ""},
		{"one past the last serial", func(l *Lot) { l.First, l.Count = math.MaxUint64-9, 11 }, "LOT_RANGE_OVERFLOW"},
		{"one device, the last serial", func(l *Lot) { l.First, l.Count = math.MaxUint64, 1 }, ""},
		{"two devices from the last serial", func(l *Lot) { l.First, l.Count = math.MaxUint64, 2 }, "LOT_RANGE_OVERFLOW"},
		{"a million from serial 0", func(l *Lot) { l.First = 0 }, ""},
		{"exceptions at both ends", func(l *Lot) { l.Exceptions = []Run{{1000, 1000}, {1_000_999, 1_000_999}} }, ""},
		{"exceptions that touch", func(l *Lot) { l.Exceptions = []Run{{1000, 1001}, {1001, 1002}} }, "INVALID_FIELD"},
		{"exceptions out of order", func(l *Lot) { l.Exceptions = []Run{{2000, 2001}, {1500, 1501}} }, "INVALID_FIELD"},
		{"an exception before the range", func(l *Lot) { l.Exceptions = []Run{{999, 1001}} }, "INVALID_FIELD"},
		{"an exception after the range", func(l *Lot) { l.Exceptions = []Run{{1000, 1_001_000}} }, "INVALID_FIELD"},
		{"an exception that ends before it begins", func(l *Lot) { l.Exceptions = []Run{{1002, 1001}} }, "INVALID_FIELD"},
		{"nothing but exceptions", func(l *Lot) { l.Exceptions = []Run{{1000, 1_000_999}} }, "INVALID_FIELD"},
		{"too many exceptions", func(l *Lot) { l.Exceptions = make([]Run, MaxExceptions+1) }, "INVALID_FIELD"},
		{"a list", func(l *Lot) { l.Kind, l.First, l.Count, l.Suite = Listed, 0, 0, device.Ed25519 }, ""},
		{"a list with a range", func(l *Lot) { l.Kind, l.Count = Listed, 0 }, "INVALID_FIELD"},
		{"a list with a count", func(l *Lot) { l.Kind, l.First = Listed, 0 }, "INVALID_FIELD"},
		{"a list with exceptions", func(l *Lot) { l.Kind, l.First, l.Count, l.Exceptions = Listed, 0, 0, []Run{{1, 1}} }, "INVALID_FIELD"},
	} {
		l := million()
		c.spoil(&l)
		if got := fault.ReasonOf(l.Validate()); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestMembershipIsBetweenFirstAndLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := million()
		l.Count = rapid.Uint64Range(1, MaxCount).Draw(t, "count")
		l.First = rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(math.MaxUint64-2*MaxCount, math.MaxUint64), rapid.Uint64Range(0, 5)).Draw(t, "first")
		if l.Validate() != nil {
			if l.First+(l.Count-1) >= l.First {
				t.Fatal("refused although nothing overflows")
			}
			return
		}
		last := l.Last()
		if last < l.First || last-l.First+1 != l.Count {
			t.Fatalf("last is %d", last)
		}
		serial := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(l.First, last), rapid.Just(last+1), rapid.Just(l.First-1)).Draw(t, "serial")
		if got, want := l.Contains(l.UID(serial)), serial >= l.First && serial <= last; got != want {
			t.Fatalf("serial %d: %t, want %t", serial, got, want)
		}
	})
}

// Whatever is excepted, what Serials lists is what Contains admits, and as many as Devices counts.
func TestTheSerialsOfALotAreThoseItContains(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := million()
		l.Count = rapid.Uint64Range(1, 60).Draw(t, "count")
		l.First = rapid.OneOf(rapid.Uint64Range(0, 5), rapid.Just(math.MaxUint64-(l.Count-1))).Draw(t, "first")
		for s := uint64(0); s < l.Count; {
			s += rapid.Uint64Range(0, 20).Draw(t, "gap")
			end := s + rapid.Uint64Range(0, 10).Draw(t, "length")
			if end >= l.Count {
				break
			}
			l.Exceptions = append(l.Exceptions, Run{l.First + s, l.First + end})
			s = end + 1
		}
		if l.Validate() != nil {
			return
		}
		var want []uint64
		for i := range l.Count {
			if l.Contains(l.UID(l.First + i)) {
				want = append(want, l.First+i)
			}
		}
		var got []uint64
		for page, from := 1, l.First; ; page++ {
			serials := l.Serials(from, 7)
			got = append(got, serials...)
			if len(serials) < 7 || serials[6] == math.MaxUint64 {
				break
			}
			from = serials[6] + 1
		}
		if !slices.Equal(got, want) || int64(len(want)) != l.Devices() {
			t.Fatalf("serials are %v, want %v; %d devices", got, want, l.Devices())
		}
	})
}

// The full product: every state and every change of it.
func TestALotIsHeldReleasedAndRecalled(t *testing.T) {
	for _, c := range []struct {
		from            device.LotState
		release, recall device.LotState // 0: refused
		released        int             // events
		recalled        int
	}{
		{device.LotHeld, device.LotReleased, device.LotRecalled, 1, 1},
		{device.LotReleased, device.LotReleased, device.LotRecalled, 0, 1},
		{device.LotRecalled, 0, device.LotRecalled, 0, 0},
	} {
		l := million()
		l.State = c.from
		for _, change := range []struct {
			call   func(string, device.Actor, time.Time) (Lot, []Event, error)
			want   device.LotState
			events int
		}{{l.Release, c.release, c.released}, {l.Recall, c.recall, c.recalled}} {
			next, events, err := change.call("why", device.Actor{}, time.Time{})
			if change.want == 0 {
				if fault.ReasonOf(err) != "ILLEGAL_TRANSITION" || next.State != c.from {
					t.Errorf("from %d: %v, %d", c.from, err, next.State)
				}
				continue
			}
			if err != nil || next.State != change.want || len(events) != change.events || next.Epoch != int64(change.events) {
				t.Errorf("from %d: %v, state %d, %d events, epoch %d", c.from, err, next.State, len(events), next.Epoch)
			}
		}
	}
}

func TestADeviceGoesWithItsLot(t *testing.T) {
	for state, want := range map[device.LotState]device.State{
		device.LotHeld: device.Registered, device.LotReleased: device.Available, device.LotRecalled: device.Available,
	} {
		l := million()
		l.State, l.Epoch = state, 3
		d, _ := l.Device(l.UID(1000))
		if d.State != want || d.AuthEpoch != 4 || (d.Blocked(time.Time{}) == device.LotIsRecalled) != (state == device.LotRecalled) {
			t.Errorf("lot %d: device %+v", state, d)
		}
		_, _, err := d.Bind("alice", device.BindingID{}, device.Actor{}, time.Time{})
		reason := map[device.LotState]string{device.LotHeld: "ILLEGAL_TRANSITION", device.LotRecalled: "LOT_RECALLED"}[state]
		if fault.ReasonOf(err) != reason {
			t.Errorf("lot %d: binding says %v, want %q", state, err, reason)
		}
	}
}
