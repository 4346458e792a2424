package device

import "github.com/armlet-pay/armlet/platform/fault"

// Role is the kind of caller.
type Role string

// The roles that have rules in this service. A role that is not listed may see and do nothing.
const (
	RoleOperator Role = "operator"
	RolePartner  Role = "partner"
	RoleWearer   Role = "wearer"
	RoleService  Role = "service"
)

// Actor is who asks.
type Actor struct {
	Role      Role
	ID        string
	Partner   string // of partners
	PartnerNo uint32 // of partners
	Account   string // of wearers, without a prefix
}

// String is how the actor stands in the audit record. A wearer stands there without an id: partners read the record
// and are not to learn who owns a band. The generation of the binding tells whom it was.
func (a Actor) String() string {
	if a.Role == RoleWearer {
		return string(a.Role)
	}
	return string(a.Role) + "/" + a.ID
}

// Authority is the rank at which the actor adds and lifts suspensions; 0 for none.
func (a Actor) Authority() Authority {
	switch a.Role {
	case RoleWearer:
		return AuthorityOwner
	case RolePartner:
		return AuthorityPartner
	case RoleOperator, RoleService:
		return AuthorityOperator
	}
	return 0
}

// Sees reports whether the device exists as far as the actor is concerned.
func (a Actor) Sees(d Device) bool {
	switch a.Role {
	case RoleOperator, RoleService:
		return true
	case RolePartner:
		return a.Partner != "" && a.Partner == d.Partner
	case RoleWearer:
		return a.Account != "" && a.Account == d.Account
	}
	return false
}

// SeesAccount reports whether the actor may learn whose device it is, given that it sees the device.
func (a Actor) SeesAccount() bool { return a.Role != RolePartner }

// Check is nil when the actor sees the device and it is of the partner it was asked for under, and DEVICE_NOT_FOUND
// otherwise, so that nothing can be learned about devices of others. AnyPartner matches every partner.
func (a Actor) Check(d Device, partner string) error {
	if partner != AnyPartner && partner != d.Partner || !a.Sees(d) {
		return ErrNotFound
	}
	return nil
}

// AnyPartner stands in a name for a partner that the caller does not know.
const AnyPartner = "-"

// Provisions is nil when the actor is the partner itself and its credentials carry its number.
func (a Actor) Provisions(partner string) error {
	if a.Role != RolePartner || a.Partner != partner {
		return fault.New(fault.PermissionDenied, "CALLER_NOT_ALLOWED", "a partner can only provision for itself")
	}
	if a.PartnerNo == 0 {
		return fault.New(fault.PermissionDenied, "CALLER_NOT_ALLOWED",
			"the access token names no partner number; get a new token")
	}
	return nil
}

// SeesPartner reports whether the partner's models and lots exist as far as the actor is concerned.
func (a Actor) SeesPartner(partner string) bool {
	return a.Role == RoleOperator || a.Role == RolePartner && a.Partner != "" && a.Partner == partner
}

// Scope narrows the devices that are listed under a partner, or AnyPartner, to those the actor may see: of one partner,
// bound to one account. Empty means any. It fails closed for an actor whose credentials do not say whose they are.
func (a Actor) Scope(under string) (partner, account string, err error) {
	if under != AnyPartner {
		partner = under
	}
	switch {
	case a.Role == RoleOperator:
		return partner, "", nil
	case a.Role == RoleWearer && a.Account != "":
		return partner, a.Account, nil
	case a.Role == RolePartner && a.Partner != "" && (partner == "" || partner == a.Partner):
		return a.Partner, "", nil
	}
	return "", "", ErrNotYours
}

// ErrNotYours is the refusal for a list of another partner's things.
var ErrNotYours = fault.New(fault.PermissionDenied, "CALLER_NOT_ALLOWED", "a partner can only list what is its own")
