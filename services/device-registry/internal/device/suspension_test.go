package device

import (
	"fmt"
	"testing"

	"github.com/armlet-pay/armlet/platform/fault"
)

func TestEachRoleSuspendsForItsOwnReasonsOnly(t *testing.T) {
	allowed := map[Role][]Reason{
		RoleWearer:   {OwnerLost},
		RolePartner:  {PartnerHold},
		RoleOperator: {OwnerLost, Risk, SystemClone},
		RoleService:  {SystemClone},
		"terminal":   {},
	}
	for role, reasons := range allowed {
		for r := OwnerLost; r <= SystemClone; r++ {
			may := false
			for _, a := range reasons {
				may = may || a == r
			}
			want := "CALLER_NOT_ALLOWED"
			if may {
				want = ""
			}
			d, events, err := band().Suspend(r, "", Actor{Role: role}, noon)
			if got := fault.ReasonOf(err); got != want {
				t.Errorf("%s for %s: %q, want %q", role, r, got, want)
			}
			if may && (len(events) != 1 || d.AuthEpoch != FirstAuthEpoch+1 || len(d.Suspensions) != 1) {
				t.Errorf("%s for %s: %d events, device %+v", role, r, len(events), d)
			}
		}
	}
	_, _, err := band().Suspend(9, "", operator, noon)
	wantReason(t, err, "INVALID_FIELD")
}

func TestNobodyLiftsASuspensionOfAHigherAuthority(t *testing.T) {
	actors := []Actor{terminal, alice, acme, operator}
	needed := map[Reason]Authority{
		OwnerLost: AuthorityOwner, PartnerHold: AuthorityPartner, Risk: AuthorityOperator, SystemClone: AuthorityOperator,
	}
	for r, authority := range needed {
		for _, by := range actors {
			t.Run(fmt.Sprintf("%s lifts %s", by.Role, r), func(t *testing.T) {
				d := band()
				d.Suspensions = []Suspension{{Reason: r, Authority: authority, At: noon}}
				lifted, events, err := d.Lift(r, "", by, noon)
				if by.Authority() < authority {
					wantReason(t, err, "AUTHORITY_TOO_LOW")
					return
				}
				if err != nil || len(lifted.Suspensions) != 0 || len(events) != 1 {
					t.Errorf("%v, %+v, %d events", err, lifted, len(events))
				}
				if len(d.Suspensions) != 1 {
					t.Error("the old value changed as well")
				}
			})
		}
	}
	if OwnerLost.Authority() >= PartnerHold.Authority() || PartnerHold.Authority() >= AuthorityIssuer ||
		AuthorityIssuer >= Risk.Authority() || Risk.Authority() != SystemClone.Authority() {
		t.Error("the ranks are out of order")
	}
}

func TestLiftingWhatIsNotThereIsRefused(t *testing.T) {
	_, _, err := band().Lift(Risk, "", operator, noon)
	wantReason(t, err, "SUSPENSION_NOT_FOUND")
}

func TestSuspendingTwiceForOneReasonChangesNothing(t *testing.T) {
	d, _, err := band().Suspend(Risk, "first", operator, noon)
	if err != nil {
		t.Fatal(err)
	}
	again, events, err := d.Suspend(Risk, "second", operator, noon)
	if err != nil || len(events) != 0 || again.AuthEpoch != d.AuthEpoch || len(again.Suspensions) != 1 {
		t.Errorf("%v, %d events, %+v", err, len(events), again)
	}
}
