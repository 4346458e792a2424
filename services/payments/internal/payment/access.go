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
	// MaxAmounts is the largest payment that a partner's grant permits, by currency; nil is no bound. Do not change it.
	MaxAmounts map[string]int64
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

// SeesDevice says whether the caller may know which band it was: terminals do not learn it of taps without a connection.
func (c Caller) SeesDevice(p Payment) bool { return c.Role != Terminal || !p.Offline }

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

// withinGrant refuses a payment that is larger than the partner's grant permits, or in a currency that it does not name.
func (c Caller) withinGrant(amount Money) error {
	if c.MaxAmounts == nil || amount.Minor <= c.MaxAmounts[amount.Currency] {
		return nil
	}
	return fault.New(fault.ResourceExhausted, "GRANT_LIMIT_EXCEEDED",
		"the partner's grant permits payments of at most %d minor units of %s; ask the operator for more", c.MaxAmounts[amount.Currency], amount.Currency).
		WithField("amount")
}

// runs says whether the caller may capture, void and refund: operators, and the terminals of the merchant.
func (c Caller) runs(p Payment) bool {
	return c.Role == Operator || c.Role == Terminal && c.Merchant != "" && c.Merchant == p.Merchant
}

// Filter picks payments; empty fields pick all.
type Filter struct {
	Merchant, Terminal, Account, Device string
	// Partner goes with Mode.
	Partner  string
	Mode     Mode
	States   []State
	Currency string
	// From is inclusive, To exclusive, by when they were created; zero is without end.
	From, To time.Time
	// NotOffline leaves out taps without a connection.
	NotOffline bool
}

// Filter narrows what the caller asks for to what it sees, as Sees does one by one. It returns CALLER_NOT_ALLOWED for a
// caller who sees nothing, or asks for what is not its own.
func (c Caller) Filter(want Filter) (Filter, error) {
	var mine *string
	var own string
	switch {
	case c.Role == Operator:
		return want, nil
	case c.Role == Partner && c.Partner != "":
		if want.Account != "" {
			return Filter{}, notAllowed("a partner does not learn whose account it is; ask by device")
		}
		want.Partner, want.Mode = c.Partner, c.Mode
		return want, nil
	case c.Role == Wearer && c.Account != "":
		mine, own = &want.Account, c.Account
	case c.Role == Terminal && c.Merchant != "":
		if want.Account != "" {
			return Filter{}, notAllowed("a terminal does not learn whose account it is; ask by device")
		}
		// Offline taps name the band by an alias, so that a terminal does not know it again.
		want.NotOffline = want.Device != ""
		mine, own = &want.Merchant, c.Merchant
	default:
		return Filter{}, notAllowed("this caller has no payments to see")
	}
	if *mine != "" && *mine != own {
		return Filter{}, notAllowed("a %s sees its own payments only", c.Role)
	}
	*mine = own
	return want, nil
}

// Cursor is the place of a payment in a list.
type Cursor struct {
	CreateTime time.Time
	ID         string
}

// Cursor is the payment's place.
func (p Payment) Cursor() Cursor { return Cursor{CreateTime: p.CreateTime, ID: p.ID} }
