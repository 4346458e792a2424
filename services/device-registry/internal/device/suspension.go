package device

import (
	"cmp"
	"slices"
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Reason is why a device is suspended. The numbers are stored.
type Reason uint8

// The reasons. What each needs is in the table below.
const (
	OwnerLost   Reason = 1
	PartnerHold Reason = 2
	Risk        Reason = 3
	SystemClone Reason = 4
)

// Authority orders who may lift a suspension. The numbers are stored and their order is the rank.
type Authority uint8

// The ranks, lowest first.
const (
	AuthorityOwner    Authority = 1
	AuthorityPartner  Authority = 2
	AuthorityIssuer   Authority = 3
	AuthorityOperator Authority = 4
)

// rules says for each reason who adds it and who is needed at least to lift it.
var rules = map[Reason]struct {
	name   string
	needed Authority
	adds   []Role
}{
	OwnerLost:   {"owner_lost", AuthorityOwner, []Role{RoleWearer, RoleOperator}},
	PartnerHold: {"partner_hold", AuthorityPartner, []Role{RolePartner}},
	Risk:        {"risk", AuthorityOperator, []Role{RoleOperator}},
	SystemClone: {"system_clone", AuthorityOperator, []Role{RoleOperator, RoleService}},
}

// String is the name of the reason in lower case.
func (r Reason) String() string {
	if rule, ok := rules[r]; ok {
		return rule.name
	}
	return "unknown"
}

// Authority is the rank that is needed at least to lift a suspension of this reason.
func (r Reason) Authority() Authority { return rules[r].needed }

// Suspension is one reason why a device may not pay.
type Suspension struct {
	Reason    Reason
	Authority Authority
	At        time.Time
}

// Suspend adds a suspension. Adding one that stands already changes nothing and makes no event.
// It refuses with CALLER_NOT_ALLOWED when the actor's role may not give this reason.
func (d Device) Suspend(r Reason, note string, by Actor, now time.Time) (Device, []Event, error) {
	rule, ok := rules[r]
	if !ok {
		return d, nil, fault.InvalidField("reason", "there is no such reason")
	}
	if !slices.Contains(rule.adds, by.Role) {
		return d, nil, fault.New(fault.PermissionDenied, "CALLER_NOT_ALLOWED", "a %s cannot suspend for the reason %s", by.Role, r)
	}
	if d.suspension(r) >= 0 {
		return d, nil, nil
	}
	d.Suspensions = append(slices.Clone(d.Suspensions), Suspension{Reason: r, Authority: rule.needed, At: now})
	slices.SortFunc(d.Suspensions, func(a, b Suspension) int { return cmp.Compare(a.Reason, b.Reason) })
	d.AuthEpoch++
	return d, []Event{{Kind: EventSuspended, Device: d, By: by, At: now, Reason: r, Note: note}}, nil
}

// Lift removes a suspension. It refuses with SUSPENSION_NOT_FOUND when there is none of this reason, and with
// AUTHORITY_TOO_LOW when the actor's rank is below the suspension's.
func (d Device) Lift(r Reason, note string, by Actor, now time.Time) (Device, []Event, error) {
	i := d.suspension(r)
	if i < 0 {
		return d, nil, fault.New(fault.NotFound, "SUSPENSION_NOT_FOUND", "the device is not suspended for the reason %s", r)
	}
	if by.Authority() < d.Suspensions[i].Authority {
		return d, nil, fault.New(fault.PermissionDenied, "AUTHORITY_TOO_LOW",
			"a suspension for the reason %s is lifted by a higher authority; ask the one that added it", r)
	}
	d.Suspensions = slices.Delete(slices.Clone(d.Suspensions), i, i+1)
	d.AuthEpoch++
	return d, []Event{{Kind: EventSuspensionLifted, Device: d, By: by, At: now, Reason: r, Note: note}}, nil
}

func (d Device) suspension(r Reason) int {
	return slices.IndexFunc(d.Suspensions, func(s Suspension) bool { return s.Reason == r })
}
