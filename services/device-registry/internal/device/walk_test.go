package device

import (
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// TestEveryCallInEveryState walks the full product of states and calls: each gives the state of the table or the reason of the
// table, and a refusal changes nothing.
func TestEveryCallInEveryState(t *testing.T) {
	const illegalStep = "ILLEGAL_TRANSITION"
	states := []State{Registered, Available, Bound, Retired, Revoked}
	code := "code"
	in := func(s State) Device {
		d := band()
		d.State = s
		if s == Bound {
			d.Account, d.Generation = "alice", 1
			d.Transfer = &Transfer{Hash: TransferHash(d.UID, code), Until: noon.Add(time.Hour)}
		}
		return d
	}
	change := func(d Device, _ Event, err error) (Device, error) { return d, err }
	changes := func(d Device, _ []Event, err error) (Device, error) { return d, err }
	service := Actor{Role: RoleService, ID: "auth"}
	for call, row := range map[string]struct {
		do   func(Device) (Device, error)
		want [5]any // in the order of states: a State that follows, or a reason
	}{
		"bind": {
			func(d Device) (Device, error) { return change(d.Bind("alice", BindingID{9}, service, noon)) },
			[5]any{illegalStep, Bound, "TRANSFER_PENDING", illegalStep, illegalStep},
		},
		"release": {
			func(d Device) (Device, error) { return change(d.Release(BindingID{9}, "", service, noon)) },
			[5]any{illegalStep, illegalStep, Available, illegalStep, illegalStep},
		},
		"retire": {
			func(d Device) (Device, error) { return changes(d.End(Retired, "", operator, noon)) },
			[5]any{Retired, Retired, Retired, illegalStep, illegalStep},
		},
		"revoke": {
			func(d Device) (Device, error) { return changes(d.End(Revoked, "", operator, noon)) },
			[5]any{Revoked, Revoked, Revoked, illegalStep, illegalStep},
		},
		"begin a transfer": {
			func(d Device) (Device, error) { return changes(d.BeginTransfer(TransferHash(d.UID, "x"), alice, noon)) },
			[5]any{illegalStep, illegalStep, Bound, illegalStep, illegalStep},
		},
		"cancel a transfer": {
			func(d Device) (Device, error) { return changes(d.CancelTransfer(alice, noon)) },
			[5]any{"TRANSFER_NOT_FOUND", "TRANSFER_NOT_FOUND", Bound, "TRANSFER_NOT_FOUND", "TRANSFER_NOT_FOUND"},
		},
		"take over": {
			func(d Device) (Device, error) { return change(d.TakeOver("bob", code, BindingID{9}, service, noon)) },
			[5]any{"TRANSFER_CODE_INVALID", "TRANSFER_CODE_INVALID", Bound, "TRANSFER_CODE_INVALID", "TRANSFER_CODE_INVALID"},
		},
	} {
		for i, from := range states {
			before := in(from)
			after, err := row.do(before)
			switch want := row.want[i].(type) {
			case string:
				if fault.ReasonOf(err) != want {
					t.Errorf("%s when %s: %v, want %s", call, from, err, want)
				}
				if after.State != before.State || after.AuthEpoch != before.AuthEpoch || after.Account != before.Account {
					t.Errorf("%s when %s was refused and changed the device: %+v", call, from, after)
				}
			case State:
				if err != nil || after.State != want {
					t.Errorf("%s when %s: %s, %v, want %s", call, from, after.State, err, want)
				}
				if after.AuthEpoch <= before.AuthEpoch {
					t.Errorf("%s when %s leaves the epoch at %d", call, from, after.AuthEpoch)
				}
				if (after.Account != "") != (after.State == Bound) {
					t.Errorf("%s when %s: %s with account %q", call, from, after.State, after.Account)
				}
			}
		}
	}
}

// Whatever the state, suspending and lifting leaves it and raises the epoch.
func TestASuspensionIsNoStateOfItsOwn(t *testing.T) {
	for _, s := range []State{Registered, Available, Retired, Revoked} {
		d := band()
		d.State = s
		held, _, err := d.Suspend(Risk, "n", operator, noon)
		if err != nil {
			if fault.ReasonOf(err) != "ILLEGAL_TRANSITION" {
				t.Errorf("suspend when %s: %v", s, err)
			}
			continue
		}
		free, _, err := held.Lift(Risk, "", operator, noon)
		if err != nil || held.State != s || free.State != s || held.AuthEpoch <= d.AuthEpoch || free.AuthEpoch <= held.AuthEpoch {
			t.Errorf("when %s: %+v, %+v, %v", s, held, free, err)
		}
	}
}
