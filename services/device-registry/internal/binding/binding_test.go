package binding

import (
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/services/device-registry/internal/device"
)

var (
	noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	auth = device.Actor{Role: device.RoleService, ID: "auth"}
)

const limit = 5

func scene(account string) Scene {
	d := device.Device{
		UID: device.UID{3: 7}, Partner: "acme", State: device.Available, Suite: device.AESCMAC, AuthEpoch: 1, CreatedAt: noon,
	}
	return Scene{Binding: New(d, account, noon), Device: d}
}

// owned is the scene in which the device already is an account's.
func owned(t *testing.T, owner, claimant string) Scene {
	t.Helper()
	out, err := scene(owner).Confirm(limit, auth, noon)
	if err != nil {
		t.Fatal(err)
	}
	return Scene{Binding: New(out.Device, claimant, noon), Active: &out.Binding, Device: out.Device}
}

func TestConfirmingMakesThePendingBindingActive(t *testing.T) {
	s := scene("alice")
	out, err := s.Confirm(limit, auth, noon.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	b := out.Binding
	if b.State != Active || b.Generation != 1 || !b.BoundAt.Equal(noon.Add(time.Second)) || b.ID != s.Binding.ID || b.Nonce != s.Binding.Nonce {
		t.Errorf("binding is %+v", b)
	}
	if out.Device.Account != "alice" || out.Device.State != device.Bound || out.Ended != nil || len(out.Events) != 1 {
		t.Errorf("outcome is %+v", out)
	}
}

func TestConfirmingAgainChangesNothing(t *testing.T) {
	s := owned(t, "alice", "alice")
	s.Binding = *s.Active
	s.Device.Suspensions = []device.Suspension{{Reason: device.Risk, Authority: device.AuthorityOperator}}
	out, err := s.Confirm(limit, auth, noon)
	if err != nil || len(out.Events) != 0 || out.Binding != s.Binding {
		t.Errorf("%v, %+v", err, out)
	}
}

func TestClaimingAgainEndsTheOldGeneration(t *testing.T) {
	s := owned(t, "alice", "alice")
	s.Held = limit // the device itself is among them
	out, err := s.Confirm(limit, auth, noon)
	if err != nil {
		t.Fatal(err)
	}
	if out.Ended == nil || out.Ended.ID != s.Active.ID || out.Ended.State != Released || out.Binding.Generation != 2 {
		t.Errorf("outcome is %+v", out)
	}
	if s.Active.State != Active {
		t.Error("the old value changed as well")
	}
}

func TestConfirmationsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		scene func() Scene
		want  string
	}{
		{"superseded", func() Scene { s := scene("alice"); s.Binding.State = Released; return s }, "BINDING_SUPERSEDED"},
		{"another account's", func() Scene { return owned(t, "bob", "alice") }, "ALREADY_BOUND"},
		{"suspended", func() Scene {
			s := scene("alice")
			s.Device.Suspensions = []device.Suspension{{Reason: device.PartnerHold, Authority: device.AuthorityPartner}}
			return s
		}, "DEVICE_SUSPENDED"},
		{"lost by its own account", func() Scene {
			s := owned(t, "alice", "alice")
			s.Device.Suspensions = []device.Suspension{{Reason: device.OwnerLost, Authority: device.AuthorityOwner}}
			return s
		}, "DEVICE_SUSPENDED"},
		{"lost by another account", func() Scene {
			s := owned(t, "bob", "alice")
			s.Device.Suspensions = []device.Suspension{{Reason: device.OwnerLost, Authority: device.AuthorityOwner}}
			return s
		}, "ALREADY_BOUND"},
		{"one device too many", func() Scene { s := scene("alice"); s.Held = limit; return s }, "DEVICE_LIMIT_REACHED"},
		{"the last device allowed", func() Scene { s := scene("alice"); s.Held = limit - 1; return s }, ""},
		{"retired", func() Scene { s := scene("alice"); s.Device.State = device.Retired; return s }, "ILLEGAL_TRANSITION"},
	} {
		_, err := c.scene().Confirm(limit, auth, noon)
		if got := fault.ReasonOf(err); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestNewBindingsDifferInIDAndNonce(t *testing.T) {
	a, b := New(device.Device{}, "alice", noon), New(device.Device{}, "alice", noon)
	if a.ID == b.ID || a.Nonce == b.Nonce || a.ID == (device.BindingID{}) || a.Nonce == [16]byte{} {
		t.Errorf("%x %x, %x %x", a.ID, b.ID, a.Nonce, b.Nonce)
	}
}
