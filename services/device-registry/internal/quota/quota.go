// Package quota says how much a partner may register.
package quota

import "github.com/armlet-pay/armlet/platform/fault"

// Amounts are numbers of things: what a partner has, or may have, or is about to add.
type Amounts struct{ Models, Lots, Devices int64 }

// Allow is nil when a partner that has used may add more, and QUOTA_EXCEEDED otherwise. A limit of 0 is none.
func (a Amounts) Allow(used, more Amounts) error {
	for _, c := range []struct {
		what              string
		limit, used, more int64
	}{
		{"models", a.Models, used.Models, more.Models},
		{"lots", a.Lots, used.Lots, more.Lots},
		{"devices", a.Devices, used.Devices, more.Devices},
	} {
		if c.limit > 0 && c.more > 0 && c.used > c.limit-c.more {
			return fault.New(fault.ResourceExhausted, "QUOTA_EXCEEDED",
				"%d more %s are too many: the partner has %d of %d; ask the operator for a larger quota", c.more, c.what, c.used, c.limit)
		}
	}
	return nil
}

// Own are the limits that a partner has of its own; a nil one is the configuration's.
type Own struct{ Models, Lots, Devices *int64 }

// Over are the limits with those of the partner's own in their place.
func (o Own) Over(limits Amounts) Amounts {
	for _, l := range []struct {
		own   *int64
		limit *int64
	}{{o.Models, &limits.Models}, {o.Lots, &limits.Lots}, {o.Devices, &limits.Devices}} {
		if l.own != nil {
			*l.limit = *l.own
		}
	}
	return limits
}

// Plus is the sum of both.
func (a Amounts) Plus(b Amounts) Amounts {
	return Amounts{Models: a.Models + b.Models, Lots: a.Lots + b.Lots, Devices: a.Devices + b.Devices}
}
