package device

import (
	"testing"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

var (
	noon     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	auth     = Actor{Role: RoleService, ID: "auth"}
	operator = Actor{Role: RoleOperator, ID: "desk"}
	acme     = Actor{Role: RolePartner, ID: "acme-1", Partner: "acme", PartnerNo: 7}
	alice    = Actor{Role: RoleWearer, ID: "alice", Account: "alice"}
	terminal = Actor{Role: "terminal", ID: "t1"}
)

func band() Device {
	return Device{
		UID: UID{3: 7, 15: 1}, Partner: "acme", ModelID: "w1", State: Available, Suite: HMACSHA256, KeyEpoch: 1,
		AuthEpoch: FirstAuthEpoch, CreatedAt: noon,
	}
}

func boundTo(t *testing.T, account string) Device {
	t.Helper()
	d, _, err := band().Bind(account, BindingID{1}, auth, noon)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func wantReason(t *testing.T, err error, reason string) {
	t.Helper()
	if got := fault.ReasonOf(err); got != reason {
		t.Errorf("reason is %q (%v), want %q", got, err, reason)
	}
}

func TestTransitionsAreThoseOfTheDrawing(t *testing.T) {
	legal := map[State]string{Registered: " x xx", Available: "  xxx", Bound: " xxxx", Retired: "     ", Revoked: "     "}
	for from := Registered; from <= Revoked; from++ {
		for to := Registered; to <= Revoked; to++ {
			if got, want := from.CanBecome(to), legal[from][to-1] == 'x'; got != want {
				t.Errorf("%s to %s: allowed %t, want %t", from, to, got, want)
			}
		}
	}
}

func TestBindDecidesOnStateOwnerAndSuspensions(t *testing.T) {
	for from := Registered; from <= Revoked; from++ {
		for _, owner := range []string{"alice", "bob"} {
			for _, lost := range []bool{false, true} {
				d := band()
				d.State = from
				if from == Bound {
					d.Account = owner
				}
				if lost {
					d.Suspensions = []Suspension{{Reason: OwnerLost, Authority: AuthorityOwner}}
				}
				want := ""
				switch {
				case from == Bound && owner == "bob":
					want = "ALREADY_BOUND"
				case lost:
					want = "DEVICE_SUSPENDED"
				case from != Available && from != Bound:
					want = "ILLEGAL_TRANSITION"
				}
				_, _, err := d.Bind("alice", BindingID{9}, auth, noon)
				if got := fault.ReasonOf(err); got != want {
					t.Errorf("%s, owner %s, lost %t: %q, want %q", from, owner, lost, got, want)
				}
			}
		}
	}
}

func TestBindBeginsANewGenerationAndRaisesTheEpoch(t *testing.T) {
	d := boundTo(t, "alice")
	if d.State != Bound || d.Account != "alice" || d.Generation != 1 || d.AuthEpoch != FirstAuthEpoch+1 {
		t.Fatalf("after the first binding: %+v", d)
	}
	again, ev, err := d.Bind("alice", BindingID{2}, auth, noon)
	if err != nil {
		t.Fatal(err)
	}
	if again.Generation != 2 || again.AuthEpoch != d.AuthEpoch+1 {
		t.Errorf("after the second binding: %+v", again)
	}
	if ev.Binding != (BindingID{2}) || ev.Device.AuthEpoch != again.AuthEpoch || ev.Action() != "binding.confirmed" {
		t.Errorf("event is %+v", ev)
	}
}

func TestBlockedNamesTheMostLastingCause(t *testing.T) {
	stop := []Suspension{{Reason: Risk, Authority: AuthorityOperator}}
	for _, c := range []struct {
		state State
		stops []Suspension
		want  Block
	}{
		{Bound, nil, NotBlocked},
		{Bound, stop, Suspended},
		{Available, nil, NotBound},
		{Registered, nil, NotBound},
		{Available, stop, Suspended},
		{Retired, nil, Ended},
		{Revoked, stop, Ended},
	} {
		if got := (Device{State: c.state, Suite: HMACSHA256, Suspensions: c.stops}).Blocked(noon); got != c.want {
			t.Errorf("%s with %d suspensions: %d, want %d", c.state, len(c.stops), got, c.want)
		}
	}
}

func TestWhoSeesADevice(t *testing.T) {
	free, bound := band(), boundTo(t, "alice")
	for _, c := range []struct {
		name          string
		actor         Actor
		seesFree      bool
		seesBound     bool
		seesItsHolder bool
	}{
		{"the operator", operator, true, true, true},
		{"a service", auth, true, true, true},
		{"its maker", acme, true, true, false},
		{"another maker", Actor{Role: RolePartner, Partner: "zenith", PartnerNo: 8}, false, false, false},
		{"a maker without a name", Actor{Role: RolePartner}, false, false, false},
		{"its wearer", alice, false, true, true},
		{"another wearer", Actor{Role: RoleWearer, Account: "bob"}, false, false, true},
		{"a wearer without an account", Actor{Role: RoleWearer}, false, false, true},
		{"a terminal", terminal, false, false, true},
	} {
		if got := c.actor.Sees(free); got != c.seesFree {
			t.Errorf("%s sees a free device: %t", c.name, got)
		}
		if got := c.actor.Sees(bound); got != c.seesBound {
			t.Errorf("%s sees a bound device: %t", c.name, got)
		}
		if got := c.actor.SeesAccount(); got != c.seesItsHolder {
			t.Errorf("%s sees the account: %t", c.name, got)
		}
	}
	wantReason(t, acme.Check(free, "zenith"), "DEVICE_NOT_FOUND")
	wantReason(t, acme.Check(free, "acme"), "")
	wantReason(t, acme.Check(free, AnyPartner), "")
	wantReason(t, operator.Check(free, "zenith"), "DEVICE_NOT_FOUND")
}

func TestListsAreNarrowedToWhatTheActorSees(t *testing.T) {
	for _, c := range []struct {
		name                    string
		actor                   Actor
		under                   string
		partner, account, error string
	}{
		{"operator, all", operator, "-", "", "", ""},
		{"operator, one partner", operator, "acme", "acme", "", ""},
		{"partner, own", acme, "acme", "acme", "", ""},
		{"partner, all it sees", acme, "-", "acme", "", ""},
		{"partner, another's", acme, "zenith", "", "", "CALLER_NOT_ALLOWED"},
		{"partner without a name", Actor{Role: RolePartner}, "-", "", "", "CALLER_NOT_ALLOWED"},
		{"wearer, all theirs", alice, "-", "", "alice", ""},
		{"wearer, theirs of one partner", alice, "acme", "acme", "alice", ""},
		{"wearer without an account", Actor{Role: RoleWearer}, "-", "", "", "CALLER_NOT_ALLOWED"},
		{"terminal", terminal, "-", "", "", "CALLER_NOT_ALLOWED"},
	} {
		partner, account, err := c.actor.Scope(c.under)
		if partner != c.partner || account != c.account || fault.ReasonOf(err) != c.error {
			t.Errorf("%s: %q %q %v", c.name, partner, account, err)
		}
	}
}

func TestModelsWithImpossibleFactsAreRefused(t *testing.T) {
	good := Model{Partner: "acme", ID: "w1", DisplayName: "W1", Suites: []Suite{HMACSHA256, Ed25519}, MinSVN: 65535}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*Model){
		"model.display_name": func(m *Model) { m.DisplayName = "" },
		"model.suites":       func(m *Model) { m.Suites = nil },
		"model.suites[1]":    func(m *Model) { m.Suites = []Suite{AESCMAC, AESCMAC} },
		"model.suites[0]":    func(m *Model) { m.Suites = []Suite{5} },
		"model.min_svn":      func(m *Model) { m.MinSVN = 65536 },
	} {
		m := good
		spoil(&m)
		f, ok := fault.As(m.Validate())
		if !ok || f.Field != field {
			t.Errorf("%s: %v", field, f)
		}
	}
	wantReason(t, good.Supports(AESCMAC), "SUITE_NOT_SUPPORTED")
	wantReason(t, good.Supports(Ed25519), "")
}
