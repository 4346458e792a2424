package challenge

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/armlet-pay/armlet/platform/fault"
	"github.com/armlet-pay/armlet/proto/wire"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestTheMarkMovesForwardOnly(t *testing.T) {
	at := func(m Mark, counter uint32, second int) (Mark, string) {
		m, f := moveMark(m, counter, noon.Add(time.Duration(second)*time.Second))
		if f == nil {
			return m, ""
		}
		return m, f.Reason
	}
	for name, c := range map[string]struct {
		mark    Mark
		counter uint32
		second  int
		high    int64
		reason  string
	}{
		"the first counter may be zero":              {Mark{HighWater: -1}, 0, 0, 0, ""},
		"a higher counter moves it":                  {Mark{HighWater: 5, MovedBy: noon}, 6, 1, 6, ""},
		"a gap is no reason":                         {Mark{HighWater: 5, MovedBy: noon}, 5000, 1, 5000, ""},
		"a higher one to an older challenge too":     {Mark{HighWater: 5, MovedBy: noon.Add(time.Minute)}, 6, 1, 5, "CHALLENGE_SUPERSEDED"},
		"the same counter is a copy":                 {Mark{HighWater: 5, MovedBy: noon}, 5, 1, 5, "CLONE_SUSPECTED"},
		"a lower counter is a copy":                  {Mark{HighWater: 5, MovedBy: noon}, 1, 1, 5, "CLONE_SUSPECTED"},
		"a lower one to an older challenge was late": {Mark{HighWater: 5, MovedBy: noon.Add(time.Minute)}, 4, 1, 5, "CHALLENGE_SUPERSEDED"},
		"nothing counts while a copy is not settled": {Mark{HighWater: 5, MovedBy: noon, Clone: "n"}, 9, 1, 5, "CLONE_SUSPECTED"},
	} {
		t.Run(name, func(t *testing.T) {
			got, reason := at(c.mark, c.counter, c.second)
			if got.HighWater != c.high || reason != c.reason {
				t.Errorf("high water %d, reason %q; want %d, %q", got.HighWater, reason, c.high, c.reason)
			}
		})
	}
}

func TestNoCounterIsEverAcceptedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, accepted := Mark{HighWater: -1}, map[uint32]bool{}
		for _, step := range rapid.SliceOfN(rapid.Custom(func(t *rapid.T) [2]uint32 {
			return [2]uint32{rapid.Uint32Range(0, 20).Draw(t, "counter"), rapid.Uint32Range(0, 10).Draw(t, "second")}
		}), 1, 60).Draw(t, "answers") {
			before := m
			d, next, evs, err := settle(noon.Add(time.Duration(step[1])*time.Second))(Decision{Counter: step[0], Approved: []byte{1}}, m)
			if err != nil {
				t.Fatal(err)
			}
			m = next
			if m.HighWater < before.HighWater || m.MovedBy.Before(before.MovedBy) {
				t.Fatalf("the mark fell from %+v to %+v", before, m)
			}
			if d.Reason != "" {
				if d.Approved != nil || m.HighWater != before.HighWater {
					t.Fatalf("a refusal approved or moved the mark: %+v", d)
				}
			} else {
				if accepted[step[0]] || before.Clone != "" {
					t.Fatalf("counter %d was accepted twice, or after a copy", step[0])
				}
				accepted[step[0]] = true
			}
			if clone := m.Clone != "" && before.Clone == ""; (len(evs) == 2) != clone {
				t.Fatalf("%d events; copy seen: %t", len(evs), clone)
			}
			if m.Clone != "" && rapid.Bool().Draw(t, "settled") {
				m.Clone = ""
			}
		}
	})
}

func TestAssuranceGrowsWithWhatTheBandSigned(t *testing.T) {
	const worn = wire.FlagGesture | wire.FlagOnWrist | wire.FlagUnlocked
	for flags, want := range map[wire.Flags]int{
		0: 0, wire.FlagOnWrist | wire.FlagUnlocked: 0, wire.FlagDisplayConfirmed: 0, wire.FlagGesture: 1,
		wire.FlagGesture | wire.FlagOnWrist: 1, wire.FlagGesture | wire.FlagDisplayConfirmed: 1, worn: 2, worn | wire.FlagDisplayConfirmed: 3,
	} {
		if got := assurance(flags); got != want {
			t.Errorf("%s gives %d, want %d", flags, got, want)
		}
	}
}

func TestAPaymentNeedsAWornBandWhereTheModelCanTell(t *testing.T) {
	const knock = wire.RequireGesture
	const worn = knock | wire.RequireOnWrist | wire.RequireUnlocked
	for _, c := range []struct {
		purpose wire.Purpose
		aware   bool
		display bool
		level   int
		risk    Risk
		want    wire.Require // 0: the band cannot show it
	}{
		{purpose: wire.PurposePay, aware: true, want: knock | wire.RequireOnWrist}, {purpose: wire.PurposePay, want: knock},
		{purpose: wire.PurposePay, aware: true, level: 1, want: knock | wire.RequireOnWrist},
		{purpose: wire.PurposePay, aware: true, level: 2, want: worn}, {purpose: wire.PurposePay, level: 2}, {purpose: wire.PurposePay, aware: true, level: 3},
		{purpose: wire.PurposePay, aware: true, display: true, level: 3, want: worn | wire.RequireDisplayConfirm},
		{purpose: wire.PurposePay, display: true, level: 3},
		{purpose: wire.PurposePay, aware: true, risk: RiskCounterGap, want: worn}, {purpose: wire.PurposePay, risk: RiskCounterGap, want: knock},
		{purpose: wire.PurposePresence, aware: true, want: knock | wire.RequireOnWrist}, {purpose: wire.PurposeVoucher, aware: true, want: knock},
		{purpose: wire.PurposeVoucher, aware: true, level: 2, want: worn},
		{purpose: wire.PurposeStepUp, aware: true, want: worn}, {purpose: wire.PurposeUnbind, aware: true, want: worn},
		{purpose: wire.PurposeOfflineRefill, aware: true, want: worn}, {purpose: wire.PurposeUnbind, want: knock},
	} {
		if got, err := (Policy{}).requirements(c.purpose, c.level, c.risk, Device{WristAware: c.aware, HasDisplay: c.display}); got != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
}

func TestWhoMayHaveABandSignWhat(t *testing.T) {
	callers := map[string]Caller{
		"payments": {Role: RoleService, ID: "payments"}, "notify": {Role: RoleService, ID: "notify"},
		"terminal": {Role: RoleTerminal, ID: "t"}, "wearer": {Role: RoleWearer, Account: "accounts/ann"},
		"partner": {Role: RolePartner, Partner: "acme"}, "redeemer": {Role: RolePartner, Partner: "acme", Scopes: []string{"vouchers.redeem"}},
		"verifier": {Role: RolePartner, Partner: "acme", Scopes: []string{"presence.verify"}}, "operator": {Role: "operator", ID: "operator"},
	}
	allowed := map[wire.Purpose]map[string]bool{
		wire.PurposePay: {"payments": true}, wire.PurposeVoucher: {"terminal": true, "wearer": true, "redeemer": true},
		wire.PurposePresence: {"verifier": true}, wire.PurposeStepUp: {"payments": true}, wire.PurposeUnbind: {"wearer": true},
		wire.PurposeOfflineRefill: {"payments": true, "wearer": true},
	}
	for p := wire.PurposePay; p <= wire.PurposePresence; p++ {
		for name, c := range callers {
			if got := c.mayCreate(p) == nil; got != allowed[p][name] {
				t.Errorf("%s for %s: %t", name, p, got)
			}
		}
	}
}

func TestWhoseBandsACallerSees(t *testing.T) {
	d := Device{Partner: "acme", Account: "accounts/ann"}
	for _, c := range []struct {
		caller Caller
		want   bool
	}{
		{Caller{Role: RoleService, ID: "payments"}, true}, {Caller{Role: RoleTerminal, ID: "t"}, true},
		{Caller{Role: RoleWearer, Account: "accounts/ann"}, true}, {Caller{Role: RoleWearer, Account: "accounts/eve"}, false},
		{Caller{Role: RoleWearer}, false}, {Caller{Role: RolePartner, Partner: "acme"}, true}, {Caller{Role: RolePartner, Partner: "globex"}, false},
	} {
		if got := c.caller.sees(d); got != c.want {
			t.Errorf("%+v: %t", c.caller, got)
		}
	}
	if (Caller{Role: RoleWearer}).sees(Device{}) || (Caller{Role: RolePartner}).sees(Device{}) {
		t.Error("an empty name equals an empty name")
	}
}

func TestAnAmountBelongsToAPaymentAlone(t *testing.T) {
	for _, c := range []struct {
		purpose  wire.Purpose
		minor    int64
		currency string
		ok       bool
	}{
		{wire.PurposePay, 1, "CNY", true}, {wire.PurposePay, 0, "CNY", false}, {wire.PurposePay, -1, "CNY", false},
		{wire.PurposePay, 1, "", false}, {wire.PurposePay, 1, "XXX", false}, {wire.PurposeVoucher, 0, "", true},
		{wire.PurposeVoucher, 1, "CNY", false}, {wire.PurposePresence, 0, "CNY", false},
	} {
		if err := checkAmount(c.purpose, c.minor, c.currency); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for currency, want := range map[string]uint8{"CNY": 2, "JPY": 0, "VND": 0, "KWD": 3, "CLF": 4, "EUR": 2} {
		if got := exponent(currency); got != want {
			t.Errorf("%s has %d decimals, want %d", currency, got, want)
		}
	}
}

func TestEveryReasonThatIsRecordedCanBeTold(t *testing.T) {
	for _, f := range []*fault.Error{ErrDeclined, ErrRequirement, ErrClone, ErrSuperseded, ErrExpired, ErrSuspended, ErrAlreadyBound, ErrDeviceLimit, ErrTransferCode} {
		if got := fault.ReasonOf(refusalOf(f.Reason)); got != f.Reason {
			t.Errorf("%s is told as %q", f.Reason, got)
		}
	}
	if err := refusalOf("NONSENSE"); err == nil || fault.KindOf(err) != fault.Internal {
		t.Errorf("a reason nobody knows is told as %v", err)
	}
}
