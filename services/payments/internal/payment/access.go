package payment

import (
	"time"

	"github.com/armlet-pay/armlet/platform/fault"
)

// Role says what kind of caller it is.
type Role string

// The roles that payments knows.
const (
	Operator Role = "operator"
	Partner  Role = "partner"
	Wearer   Role = "wearer"
	Terminal Role = "terminal"
)

// Caller is who asks. Ids are bare, without the collection in front.
type Caller struct {
	Role Role
	// ID is the subject of the token.
	ID string
	// Partner and PartnerNo are set for partners.
	Partner   string
	PartnerNo uint32
	// Account is set for wearers.
	Account string
	// Merchant and Terminal are set for terminals.
	Merchant, Terminal string
	Mode               Mode
}

// Key names the party behind the caller, the same for each of its tokens. It owns what the party creates, and the ids of
// its requests.
func (c Caller) Key() string {
	switch c.Role {
	case Partner:
		return "partner/" + string(c.Mode) + "/" + c.Partner
	case Wearer:
		return "wearer/" + c.Account
	case Terminal:
		return "terminal/" + c.Terminal
	default:
		return string(c.Role) + "/" + c.ID
	}
}

// Sees says whether the caller may know of the payment: operators see all, terminals their merchant's, wearers their
// own, partners those of their devices in their own mode.
func (c Caller) Sees(p Payment) bool {
	switch c.Role {
	case Operator:
		return true
	case Partner:
		return c.Partner != "" && c.Partner == p.Partner && c.Mode == p.Mode
	case Wearer:
		return c.Account != "" && c.Account == p.Account
	case Terminal:
		return c.Merchant != "" && c.Merchant == p.Merchant
	}
	return false
}

// SeesAccount says whether the caller may know whose money it is.
func (c Caller) SeesAccount() bool { return c.Role == Operator || c.Role == Wearer }

// SeesTap says whether the caller gets the challenge: only who created the payment, while it waits.
func (c Caller) SeesTap(p Payment) bool {
	return p.State == AwaitingTap && c.Key() == p.Creator
}

// owns is for steps that only the creator may take. Others learn nothing, not even that the payment exists.
func (c Caller) owns(p Payment) error {
	if c.Key() != p.Creator {
		return notFound()
	}
	return nil
}

// notAllowed refuses something that the caller's role may never do.
func notAllowed(format string, a ...any) error {
	return fault.New(fault.PermissionDenied, "CALLER_NOT_ALLOWED", format, a...)
}

// Filter picks payments; empty fields pick all.
type Filter struct {
	Merchant, Account string
	// Partner goes with Mode.
	Partner string
	Mode    Mode
}

// Filter picks what the caller sees, as Sees does one by one. It returns CALLER_NOT_ALLOWED for a caller who sees nothing.
func (c Caller) Filter() (Filter, error) {
	switch {
	case c.Role == Operator:
		return Filter{}, nil
	case c.Role == Partner && c.Partner != "":
		return Filter{Partner: c.Partner, Mode: c.Mode}, nil
	case c.Role == Wearer && c.Account != "":
		return Filter{Account: c.Account}, nil
	case c.Role == Terminal && c.Merchant != "":
		return Filter{Merchant: c.Merchant}, nil
	}
	return Filter{}, notAllowed("this caller has no payments to see")
}

// Cursor is the place of a payment in a list.
type Cursor struct {
	CreateTime time.Time
	ID         string
}

// Cursor is the payment's place.
func (p Payment) Cursor() Cursor { return Cursor{CreateTime: p.CreateTime, ID: p.ID} }
